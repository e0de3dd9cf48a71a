//! The spine of a request. Every step yields a value for the next, or a refusal.
use std::time::Duration;

use http::StatusCode;

use crate::config::snapshot::Hook;
use crate::dedupe::claim::{self, Claim, Waited};
use crate::delivery::{Answer, Attempt, Delivery, Fault, HandOn, Outcome};
use crate::gateway::body::{self, BodyBounds, Sender};
use crate::gateway::live::{Live, LiveHook};
use crate::gateway::{Gate, admit};
use crate::refusal::Refusal;
use crate::request::{Received, RequestHead};
use crate::store::{Held, Token};
use crate::telemetry::Facts;
use crate::verify::{Cleared, Unverified};

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
}

/// Decides about one request and hands it on.
///
/// # Errors
/// The refusal to answer with, when it is not let through or the upstream gave no answer.
pub async fn run(gate: &Gate, live: &Live, head: RequestHead, sender: &mut impl Sender, facts: &mut Facts) -> Result<Reply, Refusal> {
    let Some((route, params)) = live.find(&head) else {
        return Err(gate.limits.charge(head.client, head.received.mono).err().unwrap_or(Refusal::NoRoute));
    };
    let hook = &*route.hook;
    facts.of_route(hook);
    let ticket = admit::admit(hook, &route.limits, &head, &gate.limits)?;
    let mut check = hook.verifier.as_ref().map(|verifier| verifier.begin(&head, &params));
    let bounds = BodyBounds { max: hook.max_body, timeout: live.snapshot.limits.body_timeout };
    let body = body::read(sender, &head, bounds, &gate.budget, check.as_mut()).await?;
    facts.body_bytes = u64::try_from(body.bytes().len()).unwrap_or(u64::MAX);
    let received = Received { head, body };
    let now = gate.clock.now();
    let cleared = match check {
        None => Cleared::Unverified(Unverified::by_config(received)),
        Some(check) => Cleared::Authentic(check.finish(received, now).map_err(|refused| refused.why)?),
    };
    facts.of_verdict(hook, &cleared, now, gate.clock.now());
    ticket.refund(now.mono);
    gate.limits.after(&route.limits, &params, &cleared, now.mono)?;
    let delivery = Delivery::new(hook.name.clone(), params, cleared);
    let claim = match claim_of(gate, hook, &delivery).await? {
        Waited::Fresh(claim) => claim,
        Waited::HandedOn => return Ok(Reply::Duplicate(hook.success_status)),
    };
    settle(gate, route, delivery, claim, facts).await
}

/// Claims the delivery's ID, waiting, within bounds, for a duplicate in flight.
/// Without dedupe, and without a proof, there is nothing to claim.
async fn claim_of(gate: &Gate, hook: &Hook, delivery: &Delivery) -> Result<Waited<Option<Claim>>, Refusal> {
    let (Some(dedupe), Cleared::Authentic(authentic)) = (&hook.dedupe, delivery.cleared()) else { return Ok(Waited::Fresh(None)) };
    let key = crate::dedupe::key::of_delivery(&gate.ledger.hash_key(), hook, dedupe, delivery.params(), authentic);
    let lease = hook.forward.upstream.connect_timeout + hook.forward.timeout + LEASE_MARGIN;
    let patience = hook.answer_within.map_or(PATIENCE, |limit| limit.saturating_sub(Duration::from_secs(1)).min(PATIENCE));
    let token = Token(uuid::Uuid::new_v4().as_u128());
    match claim::claim(&gate.ledger, &gate.waiters, key, token, lease, patience).await {
        Ok(Waited::Fresh(claim)) => Ok(Waited::Fresh(Some(claim))),
        Ok(Waited::HandedOn) => Ok(Waited::HandedOn),
        Err(claim::NotClaimed::InFlight) => Err(Refusal::InFlight),
        Err(claim::NotClaimed::Store(_)) => Err(Refusal::StoreUnavailable),
    }
}

/// Hands the delivery on and settles its claim by what came of it, before the sender is answered.
async fn settle(gate: &Gate, route: &LiveHook, delivery: Delivery, claim: Option<Claim>, facts: &mut Facts) -> Result<Reply, Refusal> {
    let begun = gate.clock.now();
    let attempt = Attempt { number: 1, received_at: delivery.head().received.wall, budget: route.hook.forward.timeout };
    let (outcome, answer) = route.upstream.hand_on(&delivery, attempt).await;
    facts.of_attempt(&route.hook, gate.clock.now().mono.saturating_duration_since(begun.mono));
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

fn refusal_of(fault: Fault) -> Refusal {
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
