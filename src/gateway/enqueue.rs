//! Puts deliveries on the disk: on a route that queues before it is acknowledged, on one that spills when the app cannot take it, on one that
//! records afterwards.
use std::sync::Arc;
use std::time::Duration;

use crate::clock::within;
use crate::config::snapshot::{Acknowledgement, Action, Inline, Recording, WebhookRoute};
use crate::dedupe::claim::Claim;
use crate::dedupe::key::Scope;
use crate::deliver::{ReservedAttempt, Target, attempt_accepted};
use crate::delivery::{Delivery, Outcome};
use crate::gateway::Gate;
use crate::gateway::active_config::LiveHook;
use crate::gateway::pipeline::Reply;
use crate::queue::attempt::delivery_id;
use crate::queue::stored;
use crate::refusal::Refusal;
use crate::retry::Reason;
use crate::store::queue::{
    Accept, Accepted, Attempt, Dedupe, DeliveryRef, Lane, OnDead, OriginId, Start, To,
};
use crate::store::{Key, StoreError, repeated};
use crate::telemetry::Taken;
use crate::verify::Cleared;

/// How long a sender waits for the disk at most; what is written later than that is delivered all the same.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a body that is delivered from memory at most: larger ones come back from the disk, so that they do not crowd out those that come in.
const FROM_MEMORY: usize = 256 << 10;

/// The answer to a delivery that is on the disk.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// The answer.
    pub answer: Acknowledgement,
    /// Why it is there.
    pub taken: Taken,
}

/// How a delivery is claimed.
pub(super) enum Claimed {
    /// Not at all: it is nobody's duplicate.
    Not,
    /// By a claim, which becomes its commit.
    Held(Claim),
    /// By its key, which the ledger says was handed on before: only the disk knows whether it is dead.
    Known(Key),
}

/// Why it is not on the disk, with the claim given back.
type NotEnqueued = (Refusal, Option<Claim>);

/// How a delivery comes into the store.
pub(super) struct Entry<'a> {
    /// What kind of event it is.
    pub(super) event_type: Option<&'a str>,
    /// When it is tried.
    pub(super) start: Start,
    /// The attempts that were made within its request.
    pub(super) tried: Vec<Attempt>,
    /// What its sender is answered with.
    pub(super) answered: &'a str,
}

/// Returns whether a delivery has an ID of its provider's.
pub(super) fn has_id(delivery: &Delivery) -> bool {
    matches!(delivery.cleared(), Cleared::Authentic(authentic) if authentic.delivery_id().is_some())
}

/// A delivery as the store takes it.
pub(super) fn accept(
    gate: &Gate,
    hook: &WebhookRoute,
    target: &Target,
    delivery: &Delivery,
    entry: Entry<'_>,
) -> Accept {
    let lane = lane(&gate.store.hash_key(), hook, target, delivery);
    let Entry {
        event_type,
        start,
        tried,
        answered,
    } = entry;
    let provider = hook
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
        to: vec![To {
            target: target.id(),
            lane,
            start,
            tried,
        }],
        record: stored::record(
            delivery,
            &hook.forward.dropped,
            &hook.secret_locations,
            &more,
        ),
        body: delivery.body().clone(),
    }
}

/// Returns the lane of a delivery on a route with `fifo`; deliveries without such a value share none. Its scope is the target, which keeps its
/// number when the route is renamed.
fn lane(
    hash_key: &[u8; 16],
    hook: &WebhookRoute,
    target: &Target,
    delivery: &Delivery,
) -> Option<Lane> {
    let value = hook.deliver.fifo.as_ref()?.find(delivery.received())?;
    Some(Scope::of(&target.id().0.to_string(), delivery).lane(hash_key, &value))
}

/// Puts a delivery on the disk, and delivers it from memory if it may be delivered at once. Its sender gets `receipt`, unless it is a duplicate.
pub(super) async fn enqueue(
    gate: &Arc<Gate>,
    route: &Arc<LiveHook>,
    delivery: Delivery,
    claimed: Claimed,
    receipt: Receipt,
    event_type: Option<&str>,
) -> Result<Reply, Refusal> {
    let app = route
        .destination
        .as_ref()
        .ok_or(Refusal::StoreUnavailable)?;
    let at_once = delivery.body().len() <= FROM_MEMORY
        && !matches!(claimed, Claimed::Known(_))
        && !gate.is_leaving();
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
        &route.hook,
        app.target(),
        &delivery,
        Entry {
            event_type,
            start,
            tried: Vec::new(),
            answered: status.as_str(),
        },
    );
    let lane = accept.to.first().and_then(|to| to.lane);
    if start == Start::Anyone {
        app.target().set_backlog(true);
    }
    match put(gate, &route.hook, accept, claimed)
        .await
        .map_err(|(refusal, _claim)| refusal)?
    {
        Accepted::New(leases) => {
            if let (Some(slot), Some(&lease)) = (slot, leases.first()) {
                let reserved = ReservedAttempt { lease, lane, slot };
                attempt_accepted(&gate.worker, app, delivery, reserved);
            }
            Ok(Reply::Taken(receipt))
        }
        Accepted::Revived { .. } => Ok(Reply::Taken(Receipt {
            taken: Taken::Revived,
            ..receipt
        })),
        Accepted::Duplicate { .. } => Ok(Reply::Duplicate(receipt.answer)),
        Accepted::InFlight { .. } => Err(Refusal::InFlight),
    }
}

/// Puts a delivery on the disk that the app could not take, with the try that was made. Given back is the claim, if it is not there.
pub(super) async fn spill(
    gate: &Gate,
    route: &LiveHook,
    accept: Accept,
    claim: Option<Claim>,
) -> Result<(), Option<Claim>> {
    match put(
        gate,
        &route.hook,
        accept,
        claim.map_or(Claimed::Not, Claimed::Held),
    )
    .await
    {
        Ok(Accepted::New(_) | Accepted::Duplicate { .. } | Accepted::Revived { .. }) => Ok(()),
        // the claim lapsed, and another has it: what becomes of that one is not known
        Ok(Accepted::InFlight { .. }) => Err(None),
        Err((_, claim)) => Err(claim),
    }
}

/// Writes it, waiting for the disk within bounds.
async fn put(
    gate: &Gate,
    hook: &WebhookRoute,
    accept: Accept,
    claimed: Claimed,
) -> Result<Accepted, NotEnqueued> {
    let accept = Arc::new(accept);
    let store = &*gate.store;
    let window = hook.window_of(accept.delivery_id.is_some());
    let writing = async {
        match claimed {
            Claimed::Held(claim) => claim
                .accept(store, accept, window, OnDead::Revive)
                .await
                .map_err(|(error, claim)| (error, Some(claim))),
            Claimed::Not => repeated(|| store.accept(Arc::clone(&accept), Dedupe::None))
                .await
                .map_err(|error| (error, None)),
            Claimed::Known(key) => {
                let dedupe = Dedupe::Key {
                    key,
                    window,
                    dead: OnDead::Revive,
                };
                repeated(|| store.accept(Arc::clone(&accept), dedupe))
                    .await
                    .map_err(|error| (error, None))
            }
        }
    };
    match within(gate.clock.mono() + PATIENCE, writing).await {
        Ok(Ok(accepted)) => Ok(accepted),
        Ok(Err((error, claim))) => {
            tracing::debug!(%error, route = &*hook.name, "a delivery is not on the disk");
            Err((refusal_of(&error), claim))
        }
        // it may be there: a claim that was to become its commit is not given back
        Err(_) => Err((Refusal::StoreUnavailable, None)),
    }
}

/// How a sender is refused whose delivery is not on the disk.
fn refusal_of(error: &StoreError) -> Refusal {
    match error {
        StoreError::Full => Refusal::StoreFull,
        StoreError::Unavailable(_) | StoreError::Unknown(_) | StoreError::Corrupted(_) => {
            Refusal::StoreUnavailable
        }
    }
}

/// What is recorded of a forwarded delivery beside the request.
#[derive(Clone, Copy)]
pub(super) struct Recorded<'a> {
    /// What kind of event it is.
    pub(super) event_type: Option<&'a str>,
    /// Its ledger key, so that a person can have it forgotten.
    pub(super) key: Option<Key>,
}

/// Keeps on record what became of a delivery that was handed on, or not, within its request. Nobody waits for it.
pub(super) fn keep(
    gate: &Arc<Gate>,
    route: &LiveHook,
    delivery: &Delivery,
    facts: Recorded<'_>,
    outcome: Outcome,
    attempts: impl FnOnce() -> Vec<Attempt>,
) {
    let Action::Forward(Inline { record, .. }) = &route.hook.action else {
        return;
    };
    let Recorded { event_type, key } = facts;
    let handed_on = matches!(outcome, Outcome::Answered(status) if status.is_success());
    let wanted = match record {
        Recording::All => true,
        Recording::Failures => !handed_on,
        Recording::None => false,
    };
    let Some(app) = route.destination.as_ref().filter(|_| wanted) else {
        return;
    };
    let reason = match outcome {
        Outcome::Answered(status) if !handed_on => Some(Reason::Status(status)),
        Outcome::Answered(_) => None,
        Outcome::Unreached(_) | Outcome::Ambiguous(_) => Some(Reason::Attempts),
    };
    let tried = attempts();
    let answered = tried
        .last()
        .and_then(|attempt| attempt.status)
        .map_or_else(String::new, |status| status.to_string());
    let entry = Entry {
        event_type,
        start: Start::Over(reason),
        tried,
        answered: &answered,
    };
    let accept = Arc::new(Accept {
        key,
        ..accept(gate, &route.hook, app.target(), delivery, entry)
    });
    let gate = Arc::clone(gate);
    tokio::spawn(async move {
        if let Err(error) = repeated(|| gate.store.accept(Arc::clone(&accept), Dedupe::None)).await
        {
            gate.telemetry.not_recorded();
            tracing::debug!(%error, "a delivery is not kept on record");
        }
    });
}
