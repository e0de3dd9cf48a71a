//! The plan of a change: the deliveries that it would affect.
use std::time::SystemTime;

use super::export::deliveries;
use crate::api::deliveries::{Filter, Plan};
use crate::cli::table::cut;
use crate::cli::term::{self, BOLD, Look};

/// The number of event types that are named.
const MAX_TYPES: usize = 6;

/// Renders the plan: the number of deliveries, the lines `more`, the event types.
pub(super) fn render(
    plan: &Plan,
    filter: &Filter,
    order: &str,
    more: &[String],
    now: SystemTime,
    look: &Look,
) -> String {
    let of = filter
        .route
        .as_deref()
        .map(|route| format!(" of {}", term::clean(route)))
        .unwrap_or_default();
    let least = if plan.complete { "" } else { "at least " };
    let mut text = format!("plan: {least}{BOLD}{}{BOLD:#}{of}", deliveries(plan.count));
    let at = |at: &Option<String>| {
        at.as_deref()
            .and_then(term::moment)
            .map(|at| look.time(at, now))
    };
    match (at(&plan.first_at), at(&plan.last_at)) {
        (Some(first), Some(last)) if first != last => {
            text.push_str(&format!(", received {first} to {last}"));
        }
        (Some(first), _) => text.push_str(&format!(", received {first}")),
        (None, _) => {}
    }
    text.push_str(&format!(", {}", term::size(plan.bytes)));
    if !order.is_empty() {
        text.push_str(&format!(", {order}"));
    }
    text.push('\n');
    for line in more {
        text.push_str(&format!("      {line}\n"));
    }
    let line = event_types(plan).unwrap_or_else(|| sample(plan));
    let room = look
        .width
        .map_or(usize::MAX, |width| width.saturating_sub(6));
    if !line.is_empty() {
        text.push_str(&format!("      {}\n", cut(&line, room, look)));
    }
    text
}

/// Renders the event types: `invoice.paid 811, charge.refunded 290`. Returns `None` if no delivery has one.
fn event_types(plan: &Plan) -> Option<String> {
    let mut types: Vec<(&str, u64)> = plan
        .types
        .iter()
        .map(|(kind, count)| (kind.as_str(), *count))
        .collect();
    types.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(other.0)));
    types
        .iter()
        .any(|(kind, _)| !kind.is_empty())
        .then_some(())?;
    let rest: u64 = types.iter().skip(MAX_TYPES).map(|(_, count)| count).sum();
    let named = |kind: &str| {
        if kind.is_empty() {
            "without a type".to_owned()
        } else {
            term::clean(kind)
        }
    };
    let mut parts: Vec<String> = types
        .iter()
        .take(MAX_TYPES)
        .map(|(kind, count)| format!("{} {}", named(kind), term::count(*count)))
        .collect();
    if rest > 0 {
        parts.push(format!("others {}", term::count(rest)));
    }
    Some(parts.join(", "))
}

/// Renders the first few IDs.
fn sample(plan: &Plan) -> String {
    let ids: Vec<String> = plan
        .sample
        .iter()
        .take(3)
        .map(|delivery| term::clean(delivery.delivery_id.as_deref().unwrap_or(&delivery.id)))
        .collect();
    if ids.is_empty() {
        String::new()
    } else {
        format!("the first: {}", ids.join(", "))
    }
}
