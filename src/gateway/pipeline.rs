//! The spine of a request. Every step yields a value for the next, or a refusal.
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Now;
use crate::config::snapshot::{Acknowledgement, Action, Dedupe, Inline, WebhookRoute};
use crate::dedupe::claim::{self, Claiming};
use crate::dedupe::key::{BodyDigest, BodyHash, Identity, Scope};
use crate::delivery::{Answer, Delivery};
use crate::gateway::active_config::{Found, Live, LiveHook, LivePass};
use crate::gateway::body::{self, Arrived, BodyBounds, Sender};
use crate::gateway::enqueue::{self, Claimed, Receipt};
use crate::gateway::forward;
use crate::gateway::late::{self, Note};
use crate::gateway::{Gate, admit};
use crate::refusal::Refusal;
use crate::request::{Received, RequestHead};
use crate::store::{Key, Ledger};
use crate::telemetry::{Facts, Taken};
use crate::verify::handshake::HandshakeResponse;
use crate::verify::{Authentic, Cleared, Unverified};

/// Longer than any hand-on that began in time: what a lease adds to the upstream's own limits.
const LEASE_MARGIN: Duration = Duration::from_secs(5);
/// How long a duplicate waits for the one in flight, at most.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the sender is answered with.
#[derive(Debug)]
pub enum Reply {
    /// The upstream's answer.
    Forwarded(Answer),
    /// It is on the disk, and is delivered later.
    Taken(Receipt),
    /// This delivery was handed on before.
    Duplicate(Acknowledgement),
    /// A handshake, answered by the gate.
    Full(HandshakeResponse),
    /// To be streamed through.
    Pass(Arc<LivePass>, Box<RequestHead>),
}

impl Reply {
    /// Whether the sender need not send it again.
    fn is_done(&self) -> bool {
        match self {
            Self::Forwarded(answer) => answer.status.is_success(),
            Self::Taken(_) | Self::Duplicate(_) | Self::Full(_) | Self::Pass(..) => true,
        }
    }
}

/// Decides about one request and hands it on.
///
/// # Errors
/// The refusal to answer with, when it is not let through or the upstream gave no answer.
pub async fn run(
    gate: &Arc<Gate>,
    live: &Live,
    head: RequestHead,
    sender: &mut impl Sender,
    facts: &mut Facts,
) -> Result<Reply, Refusal> {
    let (route, params) = match live.find(&head) {
        Some(Found::Hook(route, params)) => (route, params),
        Some(Found::Pass(route)) => return pass(gate, route, head, facts),
        None => {
            return Err(gate
                .limits
                .charge(head.client, head.received.mono)
                .err()
                .unwrap_or(Refusal::NoRoute));
        }
    };
    let hook = &*route.hook;
    facts.of_route(&hook.name, hook.provider.as_ref());
    facts.hide(&hook.secret_locations);
    if !gate.accepts() {
        return Err(Refusal::Draining);
    }
    let ticket = admit::admit(hook, &route.limits, &head, &gate.limits)
        .inspect_err(|why| facts.of_refused_head(*why, &head))?;
    let mut check = hook
        .verifier
        .as_ref()
        .map(|verifier| verifier.begin(&head, &params));
    let timeout = live.snapshot.limits.body_timeout;
    let bounds = BodyBounds {
        max: hook.max_body,
        timeout,
        route: &hook.name,
        budget: &gate.budget,
        clock: &*gate.clock,
    };
    // boxed: it is large, and most requests have none
    let mut hash = hook
        .keys_by_body()
        .then(|| Box::new(gate.ids.bodies.begin()));
    let mut feed = |piece: &[u8]| {
        check.iter_mut().for_each(|check| check.update(piece));
        hash.iter_mut().for_each(|hash| hash.update(piece));
    };
    let Arrived { body, share } = body::read(sender, &head, bounds, &mut feed).await?;
    facts.body_bytes = u64::try_from(body.bytes().len()).unwrap_or(u64::MAX);
    let (arrived, now) = (head.received, gate.clock.now());
    let dates = gate.dates(now.mono);
    let observes = hook.observes(&dates);
    let received = Received { head, body };
    if let Some(full) =
        hook.handshakes
            .unsigned(hook.verifier.as_ref(), &received, &params, &dates)?
    {
        return Ok(Reply::Full(full));
    }
    let body_digest = hash.as_deref().map(BodyHash::finish);
    let cleared = match check {
        None => Cleared::Unverified(Unverified::by_config(received)),
        // age is judged at receipt, however long the body took
        Some(check) => {
            match late::judge(
                gate,
                route,
                check.judge(received, arrived, &dates),
                (&params, body_digest),
                observes,
                facts,
            )
            .await
            {
                Ok(authentic) => Cleared::Authentic(authentic),
                Err(refused) if observes => Cleared::Unverified(facts.would_refuse(refused)),
                Err(refused) => return Err(refused.why.into()),
            }
        }
    };
    let event_type = hook
        .verifier
        .as_ref()
        .and_then(|verifier| verifier.event_type(cleared.received()));
    facts.of_verdict(event_type, &cleared, now, gate.clock.now(), observes);
    ticket.refund(now.mono);
    // what is proved counts against the whole alone
    let _share = share.filter(|_| matches!(cleared, Cleared::Unverified(_)));
    if let Some(full) = hook
        .handshakes
        .signed(hook.verifier.as_ref(), &cleared, &params, &dates)
    {
        return Ok(Reply::Full(full));
    }
    // an observing route hands on what is authentic as it does the rest, so that enforcing alone brings proofs, claims and duplicates
    let cleared = if observes {
        cleared.without_proof()
    } else {
        cleared
    };
    let delivery = Delivery::new(hook.name.clone(), params, cleared);
    let note = late::note(gate, route, &delivery, body_digest);
    let reply = settle(gate, route, delivery, body_digest, facts, now).await;
    if reply.as_ref().is_ok_and(Reply::is_done) {
        note.into_iter().for_each(Note::discard);
    }
    reply
}

/// Claims a delivery that may go on, and hands it on or stores it.
async fn settle(
    gate: &Arc<Gate>,
    route: &Arc<LiveHook>,
    delivery: Delivery,
    body: Option<BodyDigest>,
    facts: &mut Facts,
    now: Now,
) -> Result<Reply, Refusal> {
    let hook = &*route.hook;
    let scope = Scope::of(&route.ledger, &delivery);
    gate.limits
        .after(&route.limits, scope, &delivery, now.mono)?;
    let claimed = claim_of(gate, route, &delivery, body).await?;
    let receipt = match (&hook.action, &claimed) {
        (Action::Queue, _) => Receipt {
            answer: hook.answer.clone(),
            taken: Taken::Queued,
        },
        // the one that it duplicates may be dead, or cancelled
        (Action::Forward(Inline { spill: Some(_), .. }), Claimed::Known(_)) => Receipt {
            answer: hook.answer.clone(),
            taken: Taken::Spilled,
        },
        (Action::Forward(_), Claimed::Known(_)) => {
            return Ok(Reply::Duplicate(hook.answer.clone()));
        }
        (Action::Forward(_), Claimed::Not | Claimed::Held(_)) => {
            return forward::forward(gate, route, delivery, claimed, facts).await;
        }
    };
    enqueue::enqueue(
        gate,
        route,
        delivery,
        claimed,
        receipt,
        facts.event_type.as_deref(),
    )
    .await
}

/// Lets other traffic of an app through, unverified.
fn pass(
    gate: &Gate,
    route: &Arc<LivePass>,
    head: RequestHead,
    facts: &mut Facts,
) -> Result<Reply, Refusal> {
    facts.of_route(&route.pass.name, None);
    admit::admit_pass(route, &head, &gate.limits)?;
    Ok(Reply::Pass(Arc::clone(route), Box::new(head)))
}

/// Claims the delivery's ID, waiting, within bounds, for a duplicate in flight.
async fn claim_of(
    gate: &Gate,
    route: &LiveHook,
    delivery: &Delivery,
    body: Option<BodyDigest>,
) -> Result<Claimed, Refusal> {
    let hook = &*route.hook;
    let (Some(dedupe), Cleared::Authentic(authentic)) = (&hook.dedupe, delivery.cleared()) else {
        return Ok(Claimed::Not);
    };
    let (scope, hash_key) = (Scope::of(&route.ledger, delivery), gate.store.hash_key());
    let key = ledger_key(gate, scope, (hook, *dedupe), authentic, body);
    let lease = lease_of(hook);
    let patience = hook.answer_within.map_or(PATIENCE, |limit| {
        limit.saturating_sub(Duration::from_secs(1)).min(PATIENCE)
    });
    let ledger = Arc::clone(&gate.store) as Arc<dyn Ledger>;
    match claim::claim(
        &ledger,
        key,
        lease,
        gate.ids.waiters.of(scope.sender(&hash_key)),
        patience,
    )
    .await
    {
        Claiming::Fresh(claim) => Ok(Claimed::Held(claim)),
        Claiming::HandedOn => Ok(Claimed::Known(key)),
        Claiming::StillInFlight { .. } => Err(Refusal::InFlight),
        Claiming::Store(_) => Err(Refusal::StoreUnavailable),
    }
}

/// Returns the key of the delivery ID, and of the body wherever the signature does not cover the ID: else a captured request under a guessed ID
/// would have the honest one answered as a duplicate. `body` is its digest, where it was made as the body arrived.
fn ledger_key(
    gate: &Gate,
    scope: Scope<'_>,
    (hook, dedupe): (&WebhookRoute, Dedupe),
    authentic: &Authentic,
    body: Option<BodyDigest>,
) -> Key {
    let keeps_time = hook.late_retries().is_some();
    // where a retry keeps its time, time and body are what no copy can change; an ID that is not covered is not
    let by_time = !dedupe.by_content
        && keeps_time
        && !(authentic.id_covered() && authentic.delivery_id().is_some());
    let signed_at = authentic.signed_at().filter(|_| by_time);
    let id = authentic
        .delivery_id()
        .filter(|_| !dedupe.by_content && !by_time);
    let digest =
        || body.unwrap_or_else(|| gate.ids.bodies.digest(authentic.received().body.bytes()));
    let digest = (id.is_none() || !authentic.id_covered() || hook.id_with_body).then(digest);
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

/// How long a claim lasts: longer than any way its delivery can take.
fn lease_of(hook: &WebhookRoute) -> Duration {
    let handing_on = match hook.action {
        Action::Forward(_) => hook.forward.upstream.connect_timeout + hook.forward.timeout,
        Action::Queue => Duration::ZERO,
    };
    let writing = if hook.action.queues() {
        enqueue::PATIENCE
    } else {
        Duration::ZERO
    };
    handing_on + writing + LEASE_MARGIN
}
