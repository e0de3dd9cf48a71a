//! Claims the delivery ID of a request, by the policy of its route.
use std::time::Duration;

use crate::config::snapshot::{Action, Dedupe, OnStoreDown, WebhookRoute};
use crate::dedupe::claim::{self, Claim, ClaimOutcome};
use crate::dedupe::key::{BodyDigest, Identity, Scope};
use crate::delivery::Delivery;
use crate::gateway::Gate;
use crate::gateway::active_config::ActiveRoute;
use crate::refusal::Refusal;
use crate::store::{Key, Token};
use crate::verify::{Authentic, Cleared};

/// The time that a claim's lease has beyond the limits of the upstream and the store, so that it never lapses while its request is served.
const LEASE_MARGIN: Duration = Duration::from_secs(5);
/// The longest time that a duplicate waits for the one in flight.
const DUPLICATE_WAIT: Duration = Duration::from_secs(10);
/// The time by which the wait of a duplicate ends before its provider gives up.
const ANSWER_MARGIN: Duration = Duration::from_secs(1);
/// The longest time that a sender waits for the store. A delivery that is written later than that is delivered all the same.
pub(super) const STORE_WAIT: Duration = Duration::from_secs(10);

/// The claim of a delivery.
pub(super) enum DeliveryClaim {
    /// None: the delivery has no ID by which duplicates are found.
    Unclaimed,
    /// A claim that this request holds, which becomes its commit.
    Claimed(Claim),
    /// A claim in the memory of this gateway alone: the store could not be asked.
    Unchecked(Claim),
    /// A key without a claim: the queue claims and commits it when it accepts the delivery.
    Unasked(Unasked),
    /// None: this gateway forwarded or stored the delivery, and the store does not know of it yet.
    KnownHere,
    /// The key of a delivery that the ledger knows as delivered. Only the queue knows whether it is dead.
    Delivered(Key),
}

impl DeliveryClaim {
    /// Returns the ledger key, if the delivery has one.
    pub(super) fn key(&self) -> Option<Key> {
        match self {
            Self::Unclaimed | Self::KnownHere => None,
            Self::Claimed(claim) | Self::Unchecked(claim) => Some(claim.key()),
            Self::Unasked(Unasked { key, .. }) | Self::Delivered(key) => Some(*key),
        }
    }

    /// Returns the key and the token of a claim that this request holds.
    pub(super) fn holder(&self) -> Option<(Key, Token)> {
        match self {
            Self::Claimed(claim) | Self::Unchecked(claim) => Some((claim.key(), claim.token())),
            Self::Unclaimed | Self::Unasked(_) | Self::KnownHere | Self::Delivered(_) => None,
        }
    }
}

/// A key that is claimed and committed by accepting its delivery.
pub(super) struct Unasked {
    /// The ledger key.
    pub(super) key: Key,
    /// The sender, among those that wait for a duplicate in flight.
    pub(super) sender: Key,
    /// The longest time to wait for a duplicate in flight.
    pub(super) patience: Duration,
}

/// Returns whether a delivery has an ID from its provider.
pub(super) fn has_id(delivery: &Delivery) -> bool {
    matches!(delivery.cleared(), Cleared::Authentic(authentic) if authentic.delivery_id().is_some())
}

/// Claims the delivery's ID. Waits, within bounds, for a duplicate in flight. A route that queues needs no claim: accepting a delivery is one
/// transaction, and nothing is done before it.
///
/// # Errors
/// `InFlight` if the duplicate takes longer, `StoreUnavailable`.
pub(super) async fn claim(
    gate: &Gate,
    route: &ActiveRoute,
    delivery: &Delivery,
    body: Option<BodyDigest>,
) -> Result<DeliveryClaim, Refusal> {
    let webhook = &*route.webhook;
    let (Some(dedupe), Cleared::Authentic(authentic)) = (&webhook.dedupe, delivery.cleared())
    else {
        return Ok(DeliveryClaim::Unclaimed);
    };
    let scope = Scope::of(&route.ledger, delivery);
    let hash_key = gate.store.hash_key();
    let key = ledger_key(gate, scope, (webhook, *dedupe), authentic, body);
    let patience = webhook.answer_within.map_or(DUPLICATE_WAIT, |limit| {
        limit.saturating_sub(ANSWER_MARGIN).min(DUPLICATE_WAIT)
    });
    let sender = scope.sender(&hash_key);
    if matches!(webhook.action, Action::Queue) {
        // the wait for the store ends later, else a duplicate in flight would look like a store that is away
        let patience = patience.min(STORE_WAIT.saturating_sub(ANSWER_MARGIN));
        return Ok(DeliveryClaim::Unasked(Unasked {
            key,
            sender,
            patience,
        }));
    }
    let waiters = gate.ids.waiters.of(sender);
    let lease = lease_of(webhook);
    if (gate.ids.fallback.as_ref()).is_some_and(|fallback| fallback.owes(key)) {
        return Ok(DeliveryClaim::KnownHere);
    }
    let asked = claim::claim(&gate.ids.ledger, key, lease, waiters, patience).await;
    match (&asked, &gate.ids.fallback, dedupe.on_store_down) {
        (ClaimOutcome::Store(_), Some(fallback), OnStoreDown::Pass) => {
            let near = fallback.near();
            let asked = claim::claim(&near, key, lease, waiters, patience).await;
            if matches!(asked, ClaimOutcome::Committed) {
                return Ok(DeliveryClaim::KnownHere);
            }
            decided(asked, key, DeliveryClaim::Unchecked)
        }
        _ => decided(asked, key, DeliveryClaim::Claimed),
    }
}

fn decided(
    outcome: ClaimOutcome,
    key: Key,
    claimed: fn(Claim) -> DeliveryClaim,
) -> Result<DeliveryClaim, Refusal> {
    match outcome {
        ClaimOutcome::Fresh(claim) => Ok(claimed(claim)),
        ClaimOutcome::Committed => Ok(DeliveryClaim::Delivered(key)),
        ClaimOutcome::StillInFlight { .. } => Err(Refusal::InFlight),
        ClaimOutcome::Store(_) => Err(Refusal::StoreUnavailable),
    }
}

/// Returns the key of the delivery ID, and of the body wherever the signature does not cover the ID. Otherwise a captured request with a
/// guessed ID would make the honest one a duplicate. `body` is the body's digest, if it was computed while the body arrived.
fn ledger_key(
    gate: &Gate,
    scope: Scope<'_>,
    (webhook, dedupe): (&WebhookRoute, Dedupe),
    authentic: &Authentic,
    body: Option<BodyDigest>,
) -> Key {
    let keeps_time = webhook.late_retries().is_some();
    // where retries repeat the signed time, time and body identify the delivery: a copy cannot change them, but can change an ID that is not covered
    let by_time = !dedupe.by_content
        && keeps_time
        && !(authentic.id_covered() && authentic.delivery_id().is_some());
    let signed_at = authentic.signed_at().filter(|_| by_time);
    let id = authentic
        .delivery_id()
        .filter(|_| !dedupe.by_content && !by_time);
    let digest =
        || body.unwrap_or_else(|| gate.ids.bodies.digest(authentic.received().body.bytes()));
    let digest = (id.is_none() || !authentic.id_covered() || webhook.id_with_body).then(digest);
    let secret = dedupe.per_secret.then(|| &**authentic.secret());
    scope.ledger_key(
        &gate.store.hash_key(),
        Identity {
            id: id.map(str::as_bytes),
            signed_at,
            secret,
            digest,
        },
    )
}

/// Returns how long a claim lasts: longer than its delivery can take on any path.
fn lease_of(webhook: &WebhookRoute) -> Duration {
    let forwarding = match webhook.action {
        Action::Forward(_) => webhook.forward.upstream.connect_timeout + webhook.forward.timeout,
        Action::Queue => Duration::ZERO,
    };
    let storing = if webhook.action.queues() {
        STORE_WAIT
    } else {
        Duration::ZERO
    };
    forwarding + storing + LEASE_MARGIN
}
