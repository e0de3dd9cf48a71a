//! What would be changed, before it is.
use std::time::SystemTime;

use super::export::deliveries;
use crate::api::deliveries::{Filter, Plan};
use crate::cli::table::cut;
use crate::cli::term::{self, BOLD, Look};

/// Kinds of event that are told.
const KINDS: usize = 6;

/// The plan: how many of what, `more` about how, which kinds.
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
            text.push_str(&format!(", received {first} to {last}"))
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
    let line = kinds(plan).unwrap_or_else(|| sample(plan));
    let room = look
        .width
        .map_or(usize::MAX, |width| width.saturating_sub(6));
    if !line.is_empty() {
        text.push_str(&format!("      {}\n", cut(&line, room, look)));
    }
    text
}

/// `invoice.paid 811, charge.refunded 290`; nothing if no kind has a name.
fn kinds(plan: &Plan) -> Option<String> {
    let mut kinds: Vec<(&str, u64)> = plan
        .types
        .iter()
        .map(|(kind, count)| (kind.as_str(), *count))
        .collect();
    kinds.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(other.0)));
    kinds
        .iter()
        .any(|(kind, _)| !kind.is_empty())
        .then_some(())?;
    let rest: u64 = kinds.iter().skip(KINDS).map(|(_, count)| count).sum();
    let named = |kind: &str| {
        if kind.is_empty() {
            "without a kind".to_owned()
        } else {
            term::clean(kind)
        }
    };
    let mut said: Vec<String> = kinds
        .iter()
        .take(KINDS)
        .map(|(kind, count)| format!("{} {}", named(kind), term::count(*count)))
        .collect();
    if rest > 0 {
        said.push(format!("others {}", term::count(rest)));
    }
    Some(said.join(", "))
}

/// The first few IDs.
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
