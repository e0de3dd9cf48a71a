//! Stores deliveries: before the acknowledgement on a route that queues, after a failed attempt on one that spills, and after the response
//! on one that records.
use std::sync::Arc;
use std::time::Duration;

use crate::clock::within;
use crate::config::snapshot::{Action, Inline, Recording, WebhookRoute};
use crate::dedupe::claim::{self, Claim};
use crate::dedupe::key::Scope;
use crate::deliver::{ReservedAttempt, Target, attempt_accepted};
use crate::delivery::{Delivery, Outcome};
use crate::gateway::Gate;
use crate::gateway::active_config::ActiveRoute;
use crate::gateway::claim::{DeliveryClaim, STORE_WAIT, Unasked};
use crate::gateway::reply::{Receipt, Reply};
use crate::queue::attempt::delivery_id;
use crate::queue::stored;
use crate::refusal::Refusal;
use crate::retry::Reason;
use crate::store::queue::{
    Accept, Accepted, Attempt, Dedupe, DeliveryRef, Lane, NewUnit, OnDead, OriginId, Start,
};
use crate::store::{Key, StoreError, Token, repeated};
use crate::telemetry::Acceptance;

/// The longest body, in bytes, that is delivered from memory. A longer one is read back from the disk, so that it does not crowd out new
/// requests.
const FROM_MEMORY: usize = 256 << 10;

/// The reason why a delivery is not stored, with its claim.
type NotEnqueued = (Refusal, Option<Claim>);

/// The part of a stored delivery that its route and its request decide.
pub(super) struct Entry<'a> {
    /// The event type.
    pub(super) event_type: Option<&'a str>,
    /// The time of the first attempt.
    pub(super) start: Start,
    /// The attempts that were made within its request.
    pub(super) attempts: Vec<Attempt>,
    /// The status that its sender got.
    pub(super) answered: &'a str,
}

/// Returns a delivery in the form in which the store accepts it.
pub(super) fn accept(
    gate: &Gate,
    webhook: &WebhookRoute,
    target: &Target,
    delivery: &Delivery,
    entry: Entry<'_>,
) -> Accept {
    let lane = lane(&gate.store.hash_key(), webhook, target, delivery);
    let Entry {
        event_type,
        start,
        attempts,
        answered,
    } = entry;
    let provider = webhook
        .provider
        .as_deref()
        .map(|name| (stored::PROVIDER, name));
    let more: Vec<_> = provider
        .into_iter()
        .chain([(stored::ANSWERED, answered)])
        .collect();
    Accept {
        id: DeliveryRef::draw(),
        origin: OriginId(target.id().0),
        delivery_id: delivery_id(delivery).map(Arc::from),
        key: None,
        event_type: event_type.map(Arc::from),
        to: vec![NewUnit {
            target: target.id(),
            lane,
            start,
            attempts,
        }],
        record: stored::record(
            delivery,
            &webhook.forward.dropped,
            &webhook.secret_locations,
            &more,
        ),
        body: delivery.body().clone(),
        versions: Vec::new(),
    }
}

/// Returns the lane of a delivery on a route with `fifo`; none for a delivery without the value that makes lanes. The scope of a lane is the
/// target, whose number stays the same when the route is renamed.
fn lane(
    hash_key: &[u8; 16],
    webhook: &WebhookRoute,
    target: &Target,
    delivery: &Delivery,
) -> Option<Lane> {
    let value = webhook.deliver.fifo.as_ref()?.find(delivery.received())?;
    Some(Scope::of(&target.id().0.to_string(), delivery).lane(hash_key, &value))
}

/// Stores a delivery, and delivers it from memory if it may be attempted at once. Its sender gets `receipt`, unless it is a duplicate.
///
/// # Errors
/// `StoreUnavailable`, `StoreFull`, `InFlight`.
pub(super) async fn enqueue(
    gate: &Arc<Gate>,
    route: &Arc<ActiveRoute>,
    delivery: Delivery,
    claim: DeliveryClaim,
    receipt: Receipt,
    event_type: Option<&str>,
) -> Result<Reply, Refusal> {
    let app = route
        .destination
        .as_ref()
        .ok_or(Refusal::StoreUnavailable)?;
    let at_once = delivery.body().len() <= FROM_MEMORY
        && !matches!(claim, DeliveryClaim::Delivered(_))
        && !gate.lifecycle.activity.is_leaving();
    let slot = if at_once {
        app.reserve(delivery.body().len(), gate.clock.mono())
    } else {
        None
    };
    let start = if slot.is_some() {
        Start::Mine(app.lease())
    } else {
        Start::Anyone
    };
    let status = receipt.answer.status;
    let accept = accept(
        gate,
        &route.webhook,
        app.target(),
        &delivery,
        Entry {
            event_type,
            start,
            attempts: Vec::new(),
            answered: status.as_str(),
        },
    );
    let lane = accept.to.first().and_then(|to| to.lane);
    if start == Start::Anyone {
        app.target().set_backlog(true);
    }
    match put(gate, &route.webhook, accept, claim)
        .await
        .map_err(|(refusal, _claim)| refusal)?
    {
        Accepted::New(leases) => {
            if let (Some(slot), Some(&lease)) = (slot, leases.first()) {
                let reserved = ReservedAttempt { lease, lane, slot };
                attempt_accepted(&gate.worker, app, delivery, reserved);
            }
            Ok(Reply::Accepted(receipt))
        }
        Accepted::Revived { .. } => Ok(Reply::Accepted(Receipt {
            acceptance: Acceptance::Revived,
            ..receipt
        })),
        Accepted::Duplicate { .. } | Accepted::Other { .. } => Ok(Reply::Duplicate(receipt.answer)),
        Accepted::InFlight { .. } => Err(Refusal::InFlight),
    }
}

/// Stores a delivery that the upstream cannot take now, with the attempts that were made.
///
/// # Errors
/// The claim, if the delivery is not stored.
pub(super) async fn spill(
    gate: &Gate,
    route: &ActiveRoute,
    accept: Accept,
    claim: Option<Claim>,
) -> Result<(), Option<Claim>> {
    match put(
        gate,
        &route.webhook,
        accept,
        claim.map_or(DeliveryClaim::Unclaimed, DeliveryClaim::Claimed),
    )
    .await
    {
        Ok(
            Accepted::New(_)
            | Accepted::Duplicate { .. }
            | Accepted::Other { .. }
            | Accepted::Revived { .. },
        ) => Ok(()),
        // the claim lapsed and another request has it, whose outcome is not known
        Ok(Accepted::InFlight { .. }) => Err(None),
        Err((_, claim)) => Err(claim),
    }
}

/// Writes a delivery, and waits for the store within bounds.
async fn put(
    gate: &Gate,
    webhook: &WebhookRoute,
    accept: Accept,
    claim: DeliveryClaim,
) -> Result<Accepted, NotEnqueued> {
    let accept = Arc::new(accept);
    let store = &*gate.store;
    let window = webhook.window_of(accept.delivery_id.is_some());
    let by_key = |key| Dedupe::Key {
        key,
        window,
        dead: OnDead::Revive,
    };
    let spooled = claim.key().map_or(Dedupe::None, by_key);
    let holder = claim.holder();
    let writing = async {
        match claim {
            DeliveryClaim::Claimed(claim) | DeliveryClaim::Unchecked(claim) => claim
                .accept(store, Arc::clone(&accept), window, OnDead::Revive)
                .await
                .map_err(|(error, claim)| (error, Some(claim))),
            DeliveryClaim::Unclaimed | DeliveryClaim::KnownHere => {
                repeated(|| store.accept(Arc::clone(&accept), Dedupe::None))
                    .await
                    .map_err(|error| (error, None))
            }
            DeliveryClaim::Unasked(Unasked {
                key,
                sender,
                patience,
            }) => {
                let ask = || repeated(|| store.accept(Arc::clone(&accept), by_key(key)));
                let holder = |answer: &Accepted| match answer {
                    Accepted::InFlight { lapses_in } => Some(*lapses_in),
                    Accepted::New(_)
                    | Accepted::Duplicate { .. }
                    | Accepted::Other { .. }
                    | Accepted::Revived { .. } => None,
                };
                let waiters = gate.ids.waiters.of(sender);
                claim::until_free(store, key, waiters, patience, ask, holder)
                    .await
                    .map_err(|error| (error, None))
            }
            DeliveryClaim::Delivered(key) => {
                repeated(|| store.accept(Arc::clone(&accept), by_key(key)))
                    .await
                    .map_err(|error| (error, None))
            }
        }
    };
    let (error, claim) = match within(gate.clock.mono() + STORE_WAIT, writing).await {
        Ok(Ok(accepted)) => return Ok(accepted),
        Ok(Err(failed)) => failed,
        // the delivery may be stored, so its claim is not released
        Err(_) => (StoreError::Unknown("no answer in time".into()), None),
    };
    tracing::debug!(%error, route = &*webhook.name, "a delivery could not be stored");
    match &gate.spool {
        Some(spool) if is_away(gate, &error) => match spool.keep(&accept, spooled).await {
            Ok(accepted) => {
                keep_claim(gate, holder, claim, window).await;
                Ok(accepted)
            }
            Err(error) => {
                tracing::debug!(%error, route = &*webhook.name, "the spool could not store a delivery");
                Err((refusal_of(&error), claim))
            }
        },
        _ => Err((refusal_of(&error), claim)),
    }
}

/// Keeps the claim of a delivery that is in the spool: this gateway remembers it, and in the store it lapses.
async fn keep_claim(
    gate: &Gate,
    holder: Option<(Key, Token)>,
    claim: Option<Claim>,
    window: Duration,
) {
    if let (Some((key, token)), Some(fallback)) = (holder, &gate.ids.fallback) {
        fallback.remember(key, token, window).await;
    }
    if let Some(claim) = claim {
        claim.leave();
    }
}

/// Returns whether a store that did not take a delivery is away: one that is there refuses it again later.
fn is_away(gate: &Gate, error: &StoreError) -> bool {
    match error {
        StoreError::Unavailable(_) => gate.store.health().trouble.is_some(),
        StoreError::Unknown(_) => true,
        StoreError::Full | StoreError::Corrupted(_) => false,
    }
}

/// Returns the refusal for a delivery that could not be stored.
fn refusal_of(error: &StoreError) -> Refusal {
    match error {
        StoreError::Full => Refusal::StoreFull,
        StoreError::Unavailable(_) | StoreError::Unknown(_) | StoreError::Corrupted(_) => {
            Refusal::StoreUnavailable
        }
    }
}

/// The part of a forwarded delivery's record that is not in its request.
#[derive(Clone, Copy)]
pub(super) struct Recorded<'a> {
    /// The event type.
    pub(super) event_type: Option<&'a str>,
    /// The ledger key, so that a person can have it forgotten.
    pub(super) key: Option<Key>,
}

/// Records the outcome of a delivery that was forwarded within its request, if its route records it. The request does not wait for it.
pub(super) fn record(
    gate: &Arc<Gate>,
    route: &ActiveRoute,
    delivery: &Delivery,
    facts: Recorded<'_>,
    outcome: Outcome,
    attempts: impl FnOnce() -> Vec<Attempt>,
) {
    let Action::Forward(Inline {
        record: recording, ..
    }) = &route.webhook.action
    else {
        return;
    };
    let Recorded { event_type, key } = facts;
    let forwarded = matches!(outcome, Outcome::Answered(status) if status.is_success());
    let is_recorded = match recording {
        Recording::All => true,
        Recording::Failures => !forwarded,
        Recording::None => false,
    };
    let Some(app) = route.destination.as_ref().filter(|_| is_recorded) else {
        return;
    };
    let reason = match outcome {
        Outcome::Answered(status) if !forwarded => Some(Reason::Status(status)),
        Outcome::Answered(_) => None,
        Outcome::Unreached(_) | Outcome::Ambiguous(_) => Some(Reason::Attempts),
    };
    let attempts = attempts();
    let answered = attempts
        .last()
        .and_then(|attempt| attempt.status)
        .map_or_else(String::new, |status| status.to_string());
    let entry = Entry {
        event_type,
        start: Start::Over(reason),
        attempts,
        answered: &answered,
    };
    let accept = Arc::new(Accept {
        key,
        ..accept(gate, &route.webhook, app.target(), delivery, entry)
    });
    let gate = Arc::clone(gate);
    tokio::spawn(async move {
        if let Err(error) = repeated(|| gate.store.accept(Arc::clone(&accept), Dedupe::None)).await
        {
            gate.telemetry.not_recorded();
            tracing::debug!(%error, "a delivery could not be recorded");
        }
    });
}
