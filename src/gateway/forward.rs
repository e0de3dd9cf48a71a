//! Forwards a delivery within its request, and settles its claim by the outcome.
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};

use crate::clock::Now;
use crate::config::snapshot::{Action, Spill, WebhookRoute};
use crate::dedupe::claim::Claim;
use crate::delivery::{Answer, AttemptContext, Delivery, Fault, Outcome, SendFacts};
use crate::gateway::Gate;
use crate::gateway::active_config::ActiveRoute;
use crate::gateway::claim::{self, DeliveryClaim};
use crate::gateway::enqueue::{self, Entry, Recorded};
use crate::gateway::reply::{Receipt, Reply};
use crate::queue::attempt::{attempt_row, recorded_headers, retry_after};
use crate::queue::outcome::{BeforeAttempt, next_step, was_attempted};
use crate::random;
use crate::refusal::Refusal;
use crate::store::Ownership;
use crate::store::queue::{self, Cause, Next, Start};
use crate::telemetry::{Acceptance, Facts};
use crate::upstream::client;

/// Forwards a delivery, and settles its claim by the outcome before the sender gets its response.
///
/// # Errors
/// The refusal, if the upstream gave no response and the delivery was not stored.
pub(super) async fn forward(
    gate: &Arc<Gate>,
    route: &Arc<ActiveRoute>,
    delivery: Delivery,
    claim: DeliveryClaim,
    facts: &mut Facts,
) -> Result<Reply, Refusal> {
    let (webhook, begun) = (&route.webhook, gate.clock.now());
    facts.id_unchecked = matches!(claim, DeliveryClaim::Unchecked(_));
    let (spill, sending) = Sending::of(webhook, begun, facts.id_unchecked);
    let (attempts, answer) = send(gate, route, &delivery, sending).await;
    let outcome = attempts.outcome();
    facts.of_attempt(
        &webhook.forward.upstream.name,
        attempts.sent(),
        gate.clock.mono().saturating_duration_since(begun.mono),
    );
    let headers = answer.as_ref().map(|answer| &answer.headers);
    let key = claim.key();
    let claim = match claim {
        DeliveryClaim::Claimed(claim) | DeliveryClaim::Unchecked(claim) => Some(claim),
        DeliveryClaim::Unclaimed
        | DeliveryClaim::Unasked(_)
        | DeliveryClaim::KnownHere
        | DeliveryClaim::Delivered(_) => None,
    };
    let claim = match settlement(outcome, spill) {
        Settlement::Commit => {
            if let (Some(claim), Some(_)) = (claim, webhook.dedupe) {
                let window = webhook.window_of(claim::has_id(&delivery));
                facts.lost_claim = matches!(claim.commit(window).await, Ok(Ownership::Lost));
            }
            None
        }
        Settlement::Release => claim,
        Settlement::Spill => {
            let asked = headers.and_then(|headers| retry_after(headers, begun.wall));
            // boxed, since few requests are stored: each byte of this future is moved with each request
            let spilled = Box::pin(spilled(
                gate,
                route,
                &delivery,
                claim,
                (attempts, asked, headers),
                facts,
            ));
            match spilled.await {
                Ok(reply) => return Ok(reply),
                // the sender gets the response that it would get without a queue
                Err(claim) => claim,
            }
        }
    };
    drop(claim);
    let recorded = Recorded {
        event_type: facts.event_type.as_deref(),
        key,
    };
    enqueue::record(gate, route, &delivery, recorded, outcome, || {
        attempts.rows(2, headers)
    });
    match (outcome, answer) {
        (Outcome::Answered(_), Some(answer)) => Ok(Reply::Forwarded(answer)),
        (Outcome::Answered(_), None) => Err(Refusal::UpstreamMalformed),
        (Outcome::Unreached(fault) | Outcome::Ambiguous(fault), _) => {
            facts.fault = Some(fault);
            Err(refusal_of(fault))
        }
    }
}

/// The attempts within one request.
#[derive(Clone, Copy)]
struct Attempts {
    /// The attempt before the last, if it was sent over a pooled connection that turned out to be closed.
    stale: Option<Sent>,
    /// The last attempt.
    last: Sent,
}

/// An attempt within a request.
#[derive(Clone, Copy)]
struct Sent {
    begun: Now,
    took: Duration,
    outcome: Outcome,
    facts: SendFacts,
}

impl Attempts {
    /// Returns the outcome of all attempts. After one that may have arrived, only a response is certain.
    fn outcome(&self) -> Outcome {
        match self.last.outcome {
            Outcome::Unreached(fault) if self.stale.is_some() => Outcome::Ambiguous(fault),
            outcome @ (Outcome::Answered(_) | Outcome::Unreached(_) | Outcome::Ambiguous(_)) => {
                outcome
            }
        }
    }

    /// Returns the number of attempts for which a connection was made or attempted.
    fn sent(&self) -> u32 {
        u32::from(self.stale.is_some()) + u32::from(was_attempted(self.last.outcome))
    }

    /// Returns the first `most` attempts in the form in which they are recorded. `headers` are those of the response to the last one.
    fn rows(&self, most: u32, headers: Option<&HeaderMap>) -> Vec<queue::Attempt> {
        let row = |(sent, headers): (Sent, Option<&HeaderMap>)| queue::Attempt {
            head: headers.map(recorded_headers).unwrap_or_default(),
            ..attempt_row(
                Cause::Schedule,
                sent.begun,
                sent.took,
                sent.outcome,
                sent.facts,
            )
        };
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let stale = self.stale.map(|stale| (stale, None));
        stale
            .into_iter()
            .chain([(self.last, headers)])
            .take(most)
            .map(row)
            .collect()
    }
}

/// The circumstances under which a delivery is sent within its request.
#[derive(Clone, Copy)]
struct Sending {
    begun: Now,
    /// The time for all attempts.
    budget: Duration,
    /// Whether it may be sent again over another connection.
    resend: bool,
    /// Whether the store could not be asked for its ID.
    id_unchecked: bool,
}

impl Sending {
    /// Returns what the route says of it, and what becomes of a delivery that the upstream cannot take.
    fn of(webhook: &WebhookRoute, begun: Now, id_unchecked: bool) -> (Option<Spill>, Self) {
        let (spill, resend) = match &webhook.action {
            Action::Forward(inline) => (inline.spill, inline.resend),
            Action::Queue => (None, false),
        };
        let budget = spill.map_or(webhook.forward.timeout, |spill| {
            spill.budget.min(webhook.forward.timeout)
        });
        let sending = Self {
            begun,
            budget,
            resend,
            id_unchecked,
        };
        (spill, sending)
    }
}

/// Sends the delivery, and once more if the pooled connection of the first attempt was closed and the route allows it.
async fn send(
    gate: &Gate,
    route: &ActiveRoute,
    delivery: &Delivery,
    sending: Sending,
) -> (Attempts, Option<Answer>) {
    let Sending {
        begun,
        budget,
        resend,
        id_unchecked,
    } = sending;
    let deadline = begun.mono + budget;
    let once = async |number: u32, begun: Now| {
        let budget = deadline.saturating_duration_since(begun.mono);
        let (received_at, dates) = (delivery.head().received.wall, gate.dates(begun.mono));
        let attempt = AttemptContext {
            number,
            received_at,
            budget,
            at: begun.wall,
            dates,
            inline: true,
            id_unchecked,
        };
        let client::Sent {
            outcome,
            answer,
            facts,
        } = route
            .upstream
            .deliver(delivery, &route.webhook, &attempt)
            .await;
        let took = gate.clock.mono().saturating_duration_since(begun.mono);
        (
            Sent {
                begun,
                took,
                outcome,
                facts,
            },
            answer,
        )
    };
    let (first, answer) = once(1, begun).await;
    let now = gate.clock.now();
    if first.outcome != Outcome::Ambiguous(Fault::Stale) || !resend || now.mono >= deadline {
        return (
            Attempts {
                stale: None,
                last: first,
            },
            answer,
        );
    }
    let (second, answer) = Box::pin(once(2, now)).await;
    (
        Attempts {
            stale: Some(first),
            last: second,
        },
        answer,
    )
}

/// Stores a delivery that the upstream cannot take now.
///
/// # Errors
/// The claim, if the delivery is not stored, or if it has no attempts left.
async fn spilled(
    gate: &Arc<Gate>,
    route: &ActiveRoute,
    delivery: &Delivery,
    claim: Option<Claim>,
    (attempts, asked, headers): (Attempts, Option<Duration>, Option<&HeaderMap>),
    facts: &Facts,
) -> Result<Reply, Option<Claim>> {
    let Some(app) = &route.destination else {
        return Err(claim);
    };
    let sent = attempts.sent();
    let before = BeforeAttempt {
        attempts: sent.saturating_sub(1),
        age: Duration::ZERO,
        is_probe: sent == 0,
    };
    let start = match next_step(
        &route.webhook.deliver.schedule,
        before,
        attempts.outcome(),
        asked,
        random::number(),
    ) {
        Next::RetryIn(delay) => Start::In(delay),
        Next::Later(_) | Next::GiveBack => Start::Anyone,
        Next::Delivered | Next::Dead(_) | Next::Cancelled => return Err(claim),
    };
    let answer = &route.webhook.answer;
    let entry = Entry {
        event_type: facts.event_type.as_deref(),
        start,
        attempts: attempts.rows(sent, headers),
        answered: answer.status.as_str(),
    };
    let accept = enqueue::accept(gate, &route.webhook, app.target(), delivery, entry);
    enqueue::spill(gate, route, accept, claim).await?;
    Ok(Reply::Accepted(Receipt {
        answer: answer.clone(),
        acceptance: Acceptance::Spilled,
    }))
}

/// The next step of a delivery and its claim after the attempts within its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settlement {
    /// The delivery was forwarded: duplicates are answered without the upstream from now on.
    Commit,
    /// The delivery was not forwarded: the provider's retry is forwarded again.
    Release,
    /// The delivery is stored.
    Spill,
}

/// Returns the next step after an outcome. Only a 2xx commits. Any other outcome is stored where the route says so; otherwise the sender
/// gets it unchanged, and the claim is released.
fn settlement(outcome: Outcome, spill: Option<Spill>) -> Settlement {
    let into_queue = |wanted: fn(&Spill) -> bool| {
        spill
            .filter(wanted)
            .map_or(Settlement::Release, |_| Settlement::Spill)
    };
    match outcome {
        Outcome::Answered(status) if status.is_success() => Settlement::Commit,
        // sent by a proxy in front of the upstream, or by an upstream that shuts down: how far the request came is not known
        Outcome::Answered(
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT,
        ) => into_queue(|spill| spill.ambiguous),
        Outcome::Answered(_) => Settlement::Release,
        Outcome::Unreached(_) => into_queue(|spill| spill.unreached),
        Outcome::Ambiguous(_) => into_queue(|spill| spill.ambiguous),
    }
}

/// Returns the refusal for a request to which the upstream gave no response.
pub(super) fn refusal_of(fault: Fault) -> Refusal {
    match fault {
        Fault::BreakerOpen(retry_after) => Refusal::UpstreamOpen { retry_after },
        Fault::Resolve | Fault::Blocked | Fault::Refused | Fault::Unreachable | Fault::Tls(_) => {
            Refusal::UpstreamUnreachable
        }
        Fault::ConnectTimeout | Fault::Timeout => Refusal::UpstreamTimeout,
        Fault::Reset | Fault::Stale => Refusal::UpstreamReset,
        Fault::Malformed | Fault::TooLarge => Refusal::UpstreamMalformed,
        Fault::Local(shortage) => Refusal::OutOf(shortage),
    }
}

#[cfg(test)]
mod tests;
