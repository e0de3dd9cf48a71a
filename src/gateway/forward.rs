//! Hands a delivery on within its request, and says what becomes of it and of its claim.
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::config::snapshot::{Action, Spill};
use crate::dedupe::claim::Claim;
use crate::delivery::{Attempt, Delivery, Fault, HandOn as _, Outcome};
use crate::gateway::Gate;
use crate::gateway::deliver::{asked, attempt_row, kept_head};
use crate::gateway::enqueue::{self, Claimed, Entry, Receipt, Recorded};
use crate::gateway::live::LiveHook;
use crate::gateway::pipeline::Reply;
use crate::queue::outcome::{self, Before};
use crate::random;
use crate::refusal::Refusal;
use crate::store::Held;
use crate::store::queue::{self, Cause, Next, Start};
use crate::telemetry::{Facts, Taken};
use crate::upstream::client::Onward;

/// Hands the delivery on and settles its claim by what came of it, before the sender is answered.
pub(super) async fn forward(
    gate: &Arc<Gate>,
    route: &Arc<LiveHook>,
    delivery: Delivery,
    claimed: Claimed,
    facts: &mut Facts,
) -> Result<Reply, Refusal> {
    let (hook, begun) = (&route.hook, gate.clock.now());
    let spill = match &hook.action {
        Action::Forward(inline) => inline.spill,
        Action::Queue => None,
    };
    let budget = spill.map_or(hook.forward.timeout, |spill| spill.budget.min(hook.forward.timeout));
    let attempt = Attempt {
        number: 1,
        received_at: delivery.head().received.wall,
        budget,
        at: begun.wall,
        dates: gate.dates(begun.mono),
        inline: true,
    };
    let onward = Onward::new(Arc::clone(&route.upstream), Arc::clone(hook));
    let (outcome, answer) = onward.hand_on(&delivery, attempt).await;
    let took = gate.clock.mono().saturating_duration_since(begun.mono);
    let made = onward.made();
    facts.of_attempt(&hook.forward.upstream.name, made.tries, took);
    let headers = answer.as_ref().map(|answer| &answer.headers);
    let head = || headers.map(kept_head).unwrap_or_default();
    let row = || queue::Attempt { head: head(), ..attempt_row(Cause::Schedule, begun, took, outcome, made) };
    let (key, claim) = match claimed {
        Claimed::Held(claim) => (Some(claim.key()), Some(claim)),
        Claimed::Known(key) => (Some(key), None),
        Claimed::Not => (None, None),
    };
    let claim = match settlement(outcome, spill) {
        Settlement::Commit => {
            if let (Some(claim), Some(_)) = (claim, hook.dedupe) {
                let window = hook.window_of(enqueue::has_id(&delivery));
                facts.lost_claim = matches!(claim.commit(window).await, Ok(Held::Lost));
            }
            None
        }
        Settlement::Release => claim,
        Settlement::Spill => {
            let asked = answer.as_ref().and_then(|answer| asked(answer, begun.wall));
            match spilled(gate, route, &delivery, claim, Tried { outcome, asked, row: &row }, facts).await {
                Ok(reply) => return Ok(reply),
                // the sender is told what it would be without a queue
                Err(claim) => claim,
            }
        }
    };
    drop(claim);
    enqueue::keep(gate, route, &delivery, Recorded { event_type: facts.event_type.as_deref(), key }, outcome, row);
    match (outcome, answer) {
        (Outcome::Answered(_), Some(answer)) => Ok(Reply::Forwarded(answer)),
        (Outcome::Answered(_), None) => Err(Refusal::UpstreamMalformed),
        (Outcome::Unreached(fault) | Outcome::Ambiguous(fault), _) => Err(refusal_of(fault)),
    }
}

/// The try within the request.
struct Tried<'a> {
    outcome: Outcome,
    /// The wait that the app asked for.
    asked: Option<Duration>,
    /// As it is recorded.
    row: &'a (dyn Fn() -> queue::Attempt + Sync),
}

/// Puts a delivery into the queue that the app could not take. Given back is the claim, where the disk does not take it or its tries are over.
async fn spilled(
    gate: &Arc<Gate>,
    route: &LiveHook,
    delivery: &Delivery,
    claim: Option<Claim>,
    Tried { outcome, asked, row }: Tried<'_>,
    facts: &Facts,
) -> Result<Reply, Option<Claim>> {
    let Some(target) = &route.target else { return Err(claim) };
    let tried = outcome::was_tried(outcome).then(row);
    let before = Before { tries: 0, age: Duration::ZERO, probe: tried.is_none() };
    let start = match outcome::next(&route.hook.deliver.schedule, before, outcome, asked, random::number()) {
        Next::RetryIn(delay) => Start::In(delay),
        Next::Later(_) | Next::GiveBack => Start::Anyone,
        Next::Delivered | Next::Dead(_) | Next::Cancelled => return Err(claim),
    };
    let answer = &route.hook.answer;
    let entry = Entry { event_type: facts.event_type.as_deref(), start, tried, answered: answer.status.as_str() };
    let accept = enqueue::accept(gate, &route.hook, target, delivery, entry);
    enqueue::spill(gate, route, accept, claim).await?;
    Ok(Reply::Taken(Receipt { answer: answer.clone(), taken: Taken::Spilled }))
}

/// What becomes of a delivery and its claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settlement {
    /// It was handed on: duplicates are dropped from now on.
    Commit,
    /// It was not: the provider's retry shall reach the app.
    Release,
    /// It goes into the queue.
    Spill,
}

/// Only a final 2xx is handed on. All else goes into the queue, where the route says so, or passes through unchanged and gives the ID back.
fn settlement(outcome: Outcome, spill: Option<Spill>) -> Settlement {
    let into_queue = |wanted: fn(&Spill) -> bool| spill.filter(wanted).map_or(Settlement::Release, |_| Settlement::Spill);
    match outcome {
        Outcome::Answered(status) if status.is_success() => Settlement::Commit,
        // what a proxy before the app, or an app that is going down, says: nobody knows how far it came
        Outcome::Answered(StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT) => {
            into_queue(|spill| spill.ambiguous)
        }
        Outcome::Answered(_) => Settlement::Release,
        Outcome::Unreached(_) => into_queue(|spill| spill.unreached),
        Outcome::Ambiguous(_) => into_queue(|spill| spill.ambiguous),
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

    const BOTH: Spill = Spill { unreached: true, ambiguous: true, budget: Duration::from_secs(5) };

    /// Without a queue, with one for all, with one for what was not reached alone.
    #[track_caller]
    fn check(outcome: Outcome, without: Settlement, all: Settlement, unreached: Settlement, refused: Option<u16>) {
        assert_eq!(settlement(outcome, None), without);
        assert_eq!(settlement(outcome, Some(BOTH)), all);
        assert_eq!(settlement(outcome, Some(Spill { ambiguous: false, ..BOTH })), unreached);
        let answered = match outcome {
            Outcome::Answered(_) => None,
            Outcome::Unreached(fault) | Outcome::Ambiguous(fault) => Some(refusal_of(fault).status().as_u16()),
        };
        assert_eq!(answered, refused);
    }

    #[test]
    fn outcomes() {
        let (commit, release, spill) = (Settlement::Commit, Settlement::Release, Settlement::Spill);
        for status in [StatusCode::OK, StatusCode::NO_CONTENT] {
            check(Outcome::Answered(status), commit, commit, commit, None);
        }
        for status in [StatusCode::FOUND, StatusCode::GONE, StatusCode::TOO_MANY_REQUESTS, StatusCode::INTERNAL_SERVER_ERROR] {
            check(Outcome::Answered(status), release, release, release, None);
        }
        for status in [StatusCode::BAD_GATEWAY, StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT] {
            check(Outcome::Answered(status), release, spill, release, None);
        }
        check(Outcome::Unreached(Fault::BreakerOpen(Duration::ZERO)), release, spill, spill, Some(503));
        check(Outcome::Unreached(Fault::Connect), release, spill, spill, Some(502));
        check(Outcome::Unreached(Fault::Resolve), release, spill, spill, Some(502));
        check(Outcome::Unreached(Fault::ConnectTimeout), release, spill, spill, Some(504));
        check(Outcome::Ambiguous(Fault::Reset), release, spill, release, Some(502));
        check(Outcome::Ambiguous(Fault::Malformed), release, spill, release, Some(502));
        check(Outcome::Ambiguous(Fault::Timeout), release, spill, release, Some(504));
    }
}
