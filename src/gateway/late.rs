//! Late retries: asks the ledger about requests that are too old, and notes the requests that are not delivered.
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::dedupe::key::{BodyDigest, Scope};
use crate::dedupe::late::LateRule;
use crate::delivery::Delivery;
use crate::gateway::Gate;
use crate::gateway::active_config::ActiveRoute;
use crate::request::Params;
use crate::store::{Key, Remembered, Store};
use crate::telemetry::Facts;
use crate::verify::{Authentic, Cleared, Refused, Stale, Verdict};

/// Turns a verdict into a proof. A request whose one fault is its age is authentic if it is a retry of one that was not delivered.
/// A route that observes claims nothing, so its ledger says nothing about a retry.
///
/// # Errors
/// The reason why the request is not authentic, with the request.
pub(super) async fn judge(
    gate: &Gate,
    route: &ActiveRoute,
    verdict: Verdict<'_>,
    (params, body): (&Params, Option<BodyDigest>),
    observes: bool,
    facts: &mut Facts,
) -> Result<Authentic, Refused> {
    let stale = match verdict {
        Verdict::Authentic(authentic) => return Ok(authentic),
        Verdict::Refused(refused) => return Err(refused),
        Verdict::Stale(stale) => stale,
    };
    let Some(rule) = route.webhook.late_retries().filter(|_| !observes) else {
        return Err(stale.refuse());
    };
    // boxed, since few requests are late
    let is_retry = Box::pin(is_retry(gate, route, rule, &stale, (params, body))).await;
    let resolved = stale.resolve(is_retry);
    facts.late_retry = resolved.is_ok();
    resolved
}

async fn is_retry(
    gate: &Gate,
    route: &ActiveRoute,
    rule: LateRule,
    stale: &Stale<'_>,
    (params, body): (&Params, Option<BodyDigest>),
) -> bool {
    let age = age(stale.signed_at(), stale.received().head.received.wall);
    if age > rule.oldest() {
        return false;
    }
    let scope = Scope::of_stale(&route.ledger, params, stale);
    let id = stale.covered_id();
    let body = body.unwrap_or_else(|| gate.ids.bodies.digest(stale.received().body.bytes()));
    let key = scope.request_key(
        &gate.store.hash_key(),
        id.as_deref(),
        stale.signed_at(),
        body,
    );
    let known = gate
        .store
        .recall(&route.ledger, key)
        .await
        .unwrap_or_default();
    // while it observed, it claimed nothing
    let enforced_for = route
        .webhook
        .observe_until
        .map(|until| self::age(until, gate.clock.now().wall));
    let complete_for = known
        .complete_for
        .map(|complete| enforced_for.map_or(complete, |enforced| complete.min(enforced)));
    rule.accepts(
        age,
        Remembered {
            complete_for,
            ..known
        },
    )
}

/// A note that a request was not delivered, written when it is dropped. Whatever the reason, a retry with the same signed time must get through.
#[must_use = "a dropped note is written"]
pub(super) struct Note {
    ledger: Arc<dyn Store>,
    key: Key,
    window: Duration,
}

impl Note {
    /// Discards the note, because the request was delivered or is stored.
    pub(super) fn discard(mut self) {
        self.window = Duration::ZERO;
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        if !self.window.is_zero() {
            self.ledger.note_soon(self.key, self.window);
        }
    }
}

/// Makes the note for an authentic delivery of a route with late retries.
pub(super) fn note(
    gate: &Gate,
    route: &ActiveRoute,
    delivery: &Delivery,
    body: Option<BodyDigest>,
) -> Option<Note> {
    let (rule, Cleared::Authentic(authentic)) = (route.webhook.late_retries()?, delivery.cleared())
    else {
        return None;
    };
    let signed_at = authentic.signed_at()?;
    let body = body.unwrap_or_else(|| gate.ids.bodies.digest(delivery.body()));
    let id = authentic.delivery_id().filter(|_| authentic.id_covered());
    let key =
        Scope::of(&route.ledger, delivery).request_key(&gate.store.hash_key(), id, signed_at, body);
    let window = rule.noted_for(age(signed_at, delivery.head().received.wall));
    Some(Note {
        ledger: Arc::clone(&gate.store),
        key,
        window,
    })
}

/// Returns how long ago a time is; zero if it is in the future.
fn age(at: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(at).unwrap_or_default()
}
