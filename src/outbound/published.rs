//! The answer to a publish, and how a repeated publish gets the first one again.
use schemars::JsonSchema;
use serde::Serialize;

use super::event_check::{Refusal, Warning};
use super::faults;
use super::state::{Api, Customer};
use crate::clock::rfc3339;
use crate::deliver::EventFacts;
use crate::queue::stored::RECEIVED_AT;
use crate::store::archive::{Filter, Order, Row, Scope, UnitsShown};
use crate::store::queue::DeliveryRef;
use crate::store::record::DIGEST;
use crate::tenant::event_id::event_id;
use crate::web::problem::Problem;

/// The fact of an event's record that says to how many endpoints it goes.
pub(super) const TARGETS: &str = "targets";

/// An event that is stored.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Published {
    /// The ID of the event, which endpoints get as `webhook-id`.
    pub(super) id: String,
    /// Its type.
    #[serde(rename = "type")]
    pub(super) event_type: String,
    /// The version of the stored data.
    pub(super) version: u16,
    /// The number of endpoints that get it.
    pub(super) targets: usize,
    /// The time at which it was accepted, as RFC 3339.
    pub(super) accepted_at: String,
    /// Whether an earlier request with the same key stored it.
    pub(super) repeated: bool,
    /// The faults of the event that the config lets pass; left out if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub(super) warnings: Vec<Warning>,
}

/// Returns the first answer of an event that the catalogue refuses now, if it was accepted before: the catalogue may have changed since.
///
/// # Errors
/// It was not accepted, or the store does not answer.
pub(super) async fn accepted_before(
    api: &Api,
    customer: &Customer,
    refusal: Refusal,
) -> Result<Published, Problem> {
    let Some((key, digest)) = refusal.publish else {
        return Err(refusal.problem);
    };
    let filter = Filter {
        delivery_id: Some(key),
        ..Filter::default()
    };
    let scope = Scope::of(customer.tenant.origin);
    let units = UnitsShown::First(0);
    let page = api
        .store()
        .page(scope, &filter, Order::Oldest, None, 1, units);
    let page = api.ask(page).await?;
    let is_same = |row: &&Row| {
        let known = row.record.fact(DIGEST);
        known.is_some_and(|known| known == &digest[..])
    };
    match page.rows.first().filter(is_same) {
        Some(row) => repeated(api, customer, Some(row.id)).await,
        None => Err(refusal.problem),
    }
}

/// Returns the answer that an event got when it was published first.
///
/// # Errors
/// The event was deleted, or the store does not answer.
pub(super) async fn repeated(
    api: &Api,
    customer: &Customer,
    of: Option<DeliveryRef>,
) -> Result<Published, Problem> {
    let scope = Scope::of(customer.tenant.origin);
    let stored = match of {
        Some(of) => api.ask(api.store().stored(scope, of)).await?,
        None => None,
    };
    // it was deleted in this very moment, so its key is free
    let Some(stored) = stored else {
        return Err(faults::unavailable(
            "store_unavailable",
            "the event with this key was just deleted",
            std::time::Duration::from_secs(1),
        ));
    };
    let fact = |name: &str| {
        let facts = &stored.record.facts;
        let found = facts.iter().find(|(known, _)| known == name.as_bytes());
        found.and_then(|(_, value)| std::str::from_utf8(value).ok()?.parse::<u64>().ok())
    };
    let accepted_at = fact(RECEIVED_AT).map_or_else(
        || stored.id.drawn_at(),
        |ms| std::time::UNIX_EPOCH + std::time::Duration::from_millis(ms),
    );
    Ok(Published {
        id: event_id(stored.id.0),
        event_type: stored.event_type.as_deref().unwrap_or_default().to_owned(),
        version: EventFacts::of(&stored).version,
        targets: fact(TARGETS)
            .and_then(|count| usize::try_from(count).ok())
            .unwrap_or(0),
        accepted_at: rfc3339(accepted_at),
        repeated: true,
        warnings: Vec::new(),
    })
}
