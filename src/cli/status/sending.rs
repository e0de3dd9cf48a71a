//! The lines about sending of `hookgate status`.
use std::time::{Duration, SystemTime};

use crate::api::status::{FailingEndpoint, OutboundStatus};
use crate::cli::table::cut;
use crate::cli::term::{self, DIM, Look, moment};

/// A delay of due events from which on it is shown, in seconds.
const SHOWN_DELAY: f64 = 1.0;

/// Describes sending: `3 tenants, 12 endpoints (2 paused); 1,204 events published, 31 wait, oldest due 12 s`.
pub(super) fn summary(outbound: &OutboundStatus) -> String {
    let endpoints: u64 = outbound.endpoints.values().sum();
    let paused: u64 = outbound
        .endpoints
        .iter()
        .filter(|(state, _)| state.starts_with("paused"))
        .map(|(_, count)| count)
        .sum();
    let paused = if paused > 0 {
        format!(" ({} paused)", term::count(paused))
    } else {
        String::new()
    };
    let mut text = format!(
        "{}, {}{paused}; {} published, {} wait{}",
        term::counted(outbound.tenants, "tenant"),
        term::counted(endpoints, "endpoint"),
        term::counted(outbound.published, "event"),
        term::count(outbound.waiting),
        if outbound.waiting == 1 { "s" } else { "" },
    );
    let oldest = outbound
        .oldest_due_seconds
        .filter(|delay| *delay >= SHOWN_DELAY);
    if let Some(delay) = oldest.and_then(|delay| Duration::try_from_secs_f64(delay).ok()) {
        text.push_str(&format!(", oldest due {}", term::wait(delay)));
    }
    if outbound.dead > 0 {
        text.push_str(&format!(", {} dead", term::count(outbound.dead)));
    }
    if !outbound.sends {
        text.push_str("; the config has no `outbound`: nothing is sent");
    }
    text
}

/// Renders a line for each endpoint that fails, with a line above them.
pub(super) fn failing(outbound: &OutboundStatus, now: SystemTime, look: &Look) -> String {
    if outbound.failing.is_empty() {
        return String::new();
    }
    // they are no alarm, so the first line of the page does not count them
    let mut text = "  endpoints that fail, for their customers to repair:\n".to_owned();
    for one in &outbound.failing {
        let room = look
            .width
            .map_or(usize::MAX, |width| width.saturating_sub(4).max(20));
        let line = cut(&term::clean(&endpoint(one, now, look)), room, look);
        text.push_str(&format!("    {DIM}{line}{DIM:#}\n"));
    }
    if outbound.more_failing > 0 {
        let more = term::count(outbound.more_failing);
        text.push_str(&format!(
            "    {DIM}and {more} more: hookgate endpoints list TENANT{DIM:#}\n"
        ));
    }
    text
}

/// Describes an endpoint that fails: `acme main (ep_9D1C): hooks.acme.example failed (503); 12 failures since 09:14:00`.
fn endpoint(one: &FailingEndpoint, now: SystemTime, look: &Look) -> String {
    let since = moment(&one.since).map_or_else(|| one.since.clone(), |at| look.time(at, now));
    let state = if one.state == "active" {
        String::new()
    } else {
        format!(", {}", one.state)
    };
    let name = match &one.uid {
        Some(uid) => format!("{} {uid} ({}{state})", one.tenant, one.id),
        None => format!("{} {}{state}", one.tenant, one.id),
    };
    format!(
        "{name}: {}; {} since {since}",
        one.message,
        term::counted(u64::from(one.failures), "failure"),
    )
}
