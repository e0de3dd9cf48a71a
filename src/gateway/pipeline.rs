//! The spine of a request. Every step yields a value for the next, or a refusal.
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::config::snapshot::{Dedupe, Hook};
use crate::dedupe::claim::{self, Claim, Claiming};
use crate::dedupe::key::{Parts, key_of};
use crate::delivery::{Answer, Attempt, Delivery, Fault, HandOn, Outcome};
use crate::gateway::body::{self, Arrived, BodyBounds, Sender};
use crate::gateway::live::{Found, Live, LiveHook, LivePass};
use crate::gateway::{Gate, admit};
use crate::refusal::Refusal;
use crate::request::{Received, RequestHead};
use crate::store::Held;
use crate::telemetry::Facts;
use crate::upstream::client::Onward;
use crate::verify::handshake::Full;
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
    /// This delivery was handed on before.
    Duplicate(StatusCode),
    /// A handshake, answered by the gate.
    Full(Full),
    /// To be streamed through.
    Pass(Arc<LivePass>, Box<RequestHead>),
}

/// Decides about one request and hands it on.
///
/// # Errors
/// The refusal to answer with, when it is not let through or the upstream gave no answer.
pub async fn run(gate: &Gate, live: &Live, head: RequestHead, sender: &mut impl Sender, facts: &mut Facts) -> Result<Reply, Refusal> {
    let (route, params) = match live.find(&head) {
        Some(Found::Hook(route, params)) => (route, params),
        Some(Found::Pass(route)) => return pass(gate, route, head, facts),
        None => return Err(gate.limits.charge(head.client, head.received.mono).err().unwrap_or(Refusal::NoRoute)),
    };
    let hook = &*route.hook;
    facts.of_route(&hook.name, hook.provider.as_ref());
    let ticket = admit::admit(hook, &route.limits, &head, &gate.limits)?;
    let mut check = hook.verifier.as_ref().map(|verifier| verifier.begin(&head, &params));
    let timeout = live.snapshot.limits.body_timeout;
    let bounds = BodyBounds { max: hook.max_body, timeout, route: &hook.name, budget: &gate.budget, clock: &*gate.clock };
    let Arrived { body, share } = body::read(sender, &head, bounds, check.as_mut()).await?;
    facts.body_bytes = u64::try_from(body.bytes().len()).unwrap_or(u64::MAX);
    let (arrived, now) = (head.received, gate.clock.now());
    let observes = hook.observes(now.wall);
    let received = Received { head, body };
    if let Some(full) = hook.handshakes.unsigned(hook.verifier.as_ref(), &received, &params, now)? {
        return Ok(Reply::Full(full));
    }
    let cleared = match check {
        None => Cleared::Unverified(Unverified::by_config(received)),
        // age is judged at receipt, however long the body took
        Some(check) => match check.finish(received, arrived) {
            Ok(authentic) => Cleared::Authentic(authentic),
            Err(refused) if observes => Cleared::Unverified(facts.would_refuse(refused)),
            Err(refused) => return Err(refused.why.into()),
        },
    };
    let event_type = hook.verifier.as_ref().and_then(|verifier| verifier.event_type(cleared.received()));
    facts.of_verdict(event_type, &cleared, now, gate.clock.now(), observes);
    ticket.refund(now.mono);
    // what is proved counts against the whole alone
    let _share = share.filter(|_| matches!(cleared, Cleared::Unverified(_)));
    if let Some(full) = hook.handshakes.signed(hook.verifier.as_ref(), &cleared, &params, now) {
        return Ok(Reply::Full(full));
    }
    // an observing route hands on what is authentic as it does the rest, so that enforcing alone brings proofs, claims and duplicates
    let cleared = if observes { cleared.without_proof() } else { cleared };
    gate.limits.after(&route.limits, &params, &cleared, now.mono)?;
    let delivery = Delivery::new(hook.name.clone(), params, cleared);
    let claim = match claim_of(gate, hook, &delivery).await? {
        Claimed::Fresh(claim) => claim,
        Claimed::HandedOn => return Ok(Reply::Duplicate(hook.success_status)),
    };
    settle(gate, route, delivery, claim, facts).await
}

/// Lets other traffic of an app through, unverified.
fn pass(gate: &Gate, route: &Arc<LivePass>, head: RequestHead, facts: &mut Facts) -> Result<Reply, Refusal> {
    facts.of_route(&route.pass.name, None);
    admit::admit_pass(route, &head, &gate.limits)?;
    Ok(Reply::Pass(Arc::clone(route), Box::new(head)))
}

/// What the ledger said.
enum Claimed {
    /// Hand it on. No claim: the route does not dedupe, or there is no proof to claim with.
    Fresh(Option<Claim>),
    /// It was handed on before.
    HandedOn,
}

/// Claims the delivery's ID, waiting, within bounds, for a duplicate in flight.
async fn claim_of(gate: &Gate, hook: &Hook, delivery: &Delivery) -> Result<Claimed, Refusal> {
    let (Some(dedupe), Cleared::Authentic(authentic)) = (&hook.dedupe, delivery.cleared()) else { return Ok(Claimed::Fresh(None)) };
    let key = ledger_key(&gate.ledger.hash_key(), hook, *dedupe, delivery, authentic);
    let lease = hook.forward.upstream.connect_timeout + hook.forward.timeout + LEASE_MARGIN;
    let patience = hook.answer_within.map_or(PATIENCE, |limit| limit.saturating_sub(Duration::from_secs(1)).min(PATIENCE));
    match claim::claim(&gate.ledger, key, lease, &gate.waiters, patience).await {
        Claiming::Fresh(claim) => Ok(Claimed::Fresh(Some(claim))),
        Claiming::HandedOn => Ok(Claimed::HandedOn),
        Claiming::StillInFlight { .. } => Err(Refusal::InFlight),
        Claiming::Store(_) => Err(Refusal::StoreUnavailable),
    }
}

/// The delivery ID, and the signed body wherever the signature does not cover the ID: else a captured request under a guessed ID
/// would have the honest one answered as a duplicate.
fn ledger_key(hash_key: &[u8; 16], hook: &Hook, dedupe: Dedupe, delivery: &Delivery, authentic: &Authentic) -> crate::store::Key {
    let id = authentic.delivery_id().filter(|_| !dedupe.by_content);
    let digest = (id.is_none() || !authentic.id_covered()).then(|| authentic.content_digest());
    let parts = Parts {
        ledger: &hook.ledger_name,
        params: delivery.params(),
        id: id.map(str::as_bytes),
        digest: digest.as_ref().map(<[u8; 32]>::as_slice),
    };
    key_of(hash_key, parts)
}

/// Hands the delivery on and settles its claim by what came of it, before the sender is answered.
async fn settle(gate: &Gate, route: &LiveHook, delivery: Delivery, claim: Option<Claim>, facts: &mut Facts) -> Result<Reply, Refusal> {
    let begun = gate.clock.mono();
    let attempt = Attempt { number: 1, received_at: delivery.head().received.wall, budget: route.hook.forward.timeout };
    let onward = Onward::new(route.upstream.clone(), route.hook.clone());
    let (outcome, answer) = onward.hand_on(&delivery, attempt).await;
    let took = gate.clock.mono().saturating_duration_since(begun);
    facts.of_attempt(&route.hook.forward.upstream.name, onward.tries(), took);
    if let (Some(claim), Some(dedupe)) = (claim, &route.hook.dedupe) {
        match settlement(outcome) {
            Settlement::Commit => facts.lost_claim = matches!(claim.commit(dedupe.window).await, Ok(Held::Lost)),
            Settlement::Release => drop(claim),
        }
    }
    match (outcome, answer) {
        (Outcome::Answered(_), Some(answer)) => Ok(Reply::Forwarded(answer)),
        (Outcome::Answered(_), None) => Err(Refusal::UpstreamMalformed),
        (Outcome::Unreached(fault) | Outcome::Ambiguous(fault), _) => Err(refusal_of(fault)),
    }
}

/// What becomes of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settlement {
    /// It was handed on: duplicates are dropped from now on.
    Commit,
    /// It was not: the provider's retry shall reach the app.
    Release,
}

/// Only a final 2xx is handed on. All else passes through unchanged and gives the ID back.
fn settlement(outcome: Outcome) -> Settlement {
    match outcome {
        Outcome::Answered(status) if status.is_success() => Settlement::Commit,
        Outcome::Answered(_) | Outcome::Unreached(_) | Outcome::Ambiguous(_) => Settlement::Release,
    }
}

/// How a request is refused that the upstream gave no answer to.
pub(super) fn refusal_of(fault: Fault) -> Refusal {
    match fault {
        Fault::BreakerOpen(retry_after) => Refusal::UpstreamOpen { retry_after },
        Fault::Resolve | Fault::Connect => Refusal::UpstreamUnreachable,
        Fault::ConnectTimeout | Fault::Timeout => Refusal::UpstreamTimeout,
        Fault::Reset => Refusal::UpstreamReset,
        Fault::Malformed => Refusal::UpstreamMalformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(outcome: Outcome, settled: Settlement, status: Option<u16>) {
        assert_eq!(settlement(outcome), settled);
        let answered = match outcome {
            Outcome::Answered(_) => None,
            Outcome::Unreached(fault) | Outcome::Ambiguous(fault) => Some(refusal_of(fault).status().as_u16()),
        };
        assert_eq!(answered, status);
    }

    #[test]
    fn outcomes() {
        check(Outcome::Answered(StatusCode::OK), Settlement::Commit, None);
        check(Outcome::Answered(StatusCode::NO_CONTENT), Settlement::Commit, None);
        check(Outcome::Answered(StatusCode::FOUND), Settlement::Release, None);
        check(Outcome::Answered(StatusCode::GONE), Settlement::Release, None);
        check(Outcome::Answered(StatusCode::INTERNAL_SERVER_ERROR), Settlement::Release, None);
        check(Outcome::Unreached(Fault::BreakerOpen(Duration::ZERO)), Settlement::Release, Some(503));
        check(Outcome::Unreached(Fault::Connect), Settlement::Release, Some(502));
        check(Outcome::Unreached(Fault::Resolve), Settlement::Release, Some(502));
        check(Outcome::Unreached(Fault::ConnectTimeout), Settlement::Release, Some(504));
        check(Outcome::Ambiguous(Fault::Reset), Settlement::Release, Some(502));
        check(Outcome::Ambiguous(Fault::Malformed), Settlement::Release, Some(502));
        check(Outcome::Ambiguous(Fault::Timeout), Settlement::Release, Some(504));
    }
}
