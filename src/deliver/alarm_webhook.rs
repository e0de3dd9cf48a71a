//! Delivers what goes to no upstream: the gate's own alarms, signed, to the place that the config names now, past the egress guard.
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, StatusCode};

use super::attempt::{look, recorded, settle};
use super::{Place, Target};
use crate::config::snapshot::{AlarmWebhook, Deliver, Egress, Snapshot};
use crate::delivery::{Fault, Outcome, SendFacts};
use crate::gateway::{Gate, InFlight};
use crate::queue::outcome::{self, Before};
use crate::queue::pause;
use crate::random;
use crate::retry::{Backoff, Schedule};
use crate::store::queue::{Cause, DeliveryRef, Leased, Next, Subject};
use crate::upstream::Outgoing;
use crate::upstream::call::{NotCalled, call};
use crate::upstream::client::Sent;

/// How long one try may take in all.
const BUDGET: Duration = Duration::from_secs(15);
/// How long a try is leased: longer than it can take, with the way to the disk.
pub(crate) const LEASE: Duration = Duration::from_secs(60);
/// When one is tried again: for a day, however often that is.
const BACKOFF: Backoff = Backoff {
    initial: Duration::from_secs(5),
    factor: 2.0,
    max: Duration::from_secs(3600),
    max_attempts: None,
};
const MAX_AGE: Duration = Duration::from_secs(86_400);
/// The first pause of a receiver that is away or has too much to do.
const PAUSE: Duration = Duration::from_secs(5);

/// How a receiver knows an alarm again: the same with each try.
pub(crate) fn message_id(id: DeliveryRef) -> String {
    format!("msg_{}", id.0.simple())
}

/// How alarms are delivered: one after the other.
fn policy() -> Option<Deliver> {
    let schedule = Schedule::growing(BACKOFF, MAX_AGE).ok()?;
    Some(Deliver {
        schedule,
        rate: None,
        concurrency: 1,
        fifo: None,
    })
}

/// Where alarms go now, with what they need at run time.
#[derive(Debug)]
pub(crate) struct LiveAlarms {
    webhook: Arc<AlarmWebhook>,
    /// What may be called.
    egress: Arc<Egress>,
    deliver: Deliver,
    /// What waits for it.
    pub(crate) target: Arc<Target>,
}

impl LiveAlarms {
    /// Where the alarms of a config go, if they go anywhere.
    pub(crate) fn of(snapshot: &Snapshot, target: &Arc<Target>) -> Option<Self> {
        let (webhook, deliver) = (Arc::clone(snapshot.alarms.webhook.as_ref()?), policy()?);
        target.follow(&deliver);
        Some(Self {
            webhook,
            egress: Arc::clone(&snapshot.egress),
            deliver,
            target: Arc::clone(target),
        })
    }
}

/// Makes a try with an alarm and settles it.
pub(crate) async fn attempt(
    gate: &Arc<Gate>,
    to: &LiveAlarms,
    leased: Leased,
    probe: bool,
    place: &Place,
) {
    let gate = InFlight::begin(Arc::clone(gate));
    let (
        gate,
        LiveAlarms {
            webhook,
            egress,
            deliver,
            ..
        },
    ) = (&gate.0, to);
    let Leased {
        lease,
        tries,
        cause,
        age,
        lane,
        bytes: _,
        stored,
    } = leased;
    let (before, cause) = (
        Before { tries, age, probe },
        if probe { Cause::Probe } else { cause },
    );
    let begun = gate.clock.now();
    let sent = match render(webhook, stored.id, stored.body.clone(), begun.wall) {
        Some(outgoing) => {
            call(
                &webhook.to,
                &outgoing,
                egress,
                BUDGET,
                Arc::clone(&gate.clock),
            )
            .await
        }
        None => Ok(Sent {
            outcome: Outcome::Unreached(Fault::Malformed),
            answer: None,
            facts: SendFacts::default(),
        }),
    };
    let (outcome, answer, facts, why) = match sent {
        Ok(Sent {
            outcome,
            answer,
            facts,
        }) => (outcome, answer, facts, None),
        Err(why) => (
            Outcome::Unreached(Fault::Connect),
            None,
            SendFacts::default(),
            Some(why),
        ),
    };
    let seen = look(answer, begun.wall).await;
    let ended = gate.clock.mono();
    let took = ended.saturating_duration_since(begun.mono);
    if let Some(sign) = pause::sign(outcome, facts.connect.is_some(), seen.asked) {
        place.heard(
            sign,
            Subject {
                delivery: stored.id,
                lane,
            },
            PAUSE,
            ended,
        );
    }
    let next = outcome::next(
        &deliver.schedule,
        before,
        outcome,
        seen.asked,
        random::number(),
    );
    let mut row = recorded(cause, begun, took, outcome, facts, seen);
    if let Some(why) = &why {
        row.error = Some(why.word().into());
    }
    tell(
        &stored.id,
        lease.attempt,
        status(outcome),
        why.as_ref(),
        row.error.as_deref(),
        next,
    );
    settle(gate, lease, Some(row), next).await;
}

fn status(outcome: Outcome) -> Option<StatusCode> {
    match outcome {
        Outcome::Answered(status) => Some(status),
        Outcome::Unreached(_) | Outcome::Ambiguous(_) => None,
    }
}

/// A line of what a try came to, unless it is delivered.
fn tell(
    id: &DeliveryRef,
    attempt: u32,
    status: Option<StatusCode>,
    why: Option<&NotCalled>,
    error: Option<&str>,
    next: Next,
) {
    let why = why.map(ToString::to_string);
    let status = status.map(|status| status.as_u16());
    match next {
        Next::Delivered => tracing::debug!(delivery = %id, attempt, status, "alarm delivered"),
        Next::RetryIn(again) | Next::Later(again) => {
            tracing::warn!(delivery = %id, attempt, status, error, why, again_s = again.as_secs(), "an alarm is not delivered yet");
        }
        Next::Dead(_) | Next::Cancelled | Next::GiveBack => {
            tracing::error!(delivery = %id, attempt, status, error, why, "an alarm is not delivered: its tries are over");
        }
    }
}

/// The request, signed as of `now`; none if the config names a host that cannot stand in a header.
fn render(
    webhook: &AlarmWebhook,
    id: DeliveryRef,
    body: Bytes,
    now: std::time::SystemTime,
) -> Option<Outgoing> {
    let host = HeaderValue::from_str(&webhook.to.authority).ok()?;
    let mut headers = vec![
        (header::HOST, host),
        (header::CONTENT_LENGTH, HeaderValue::from(body.len())),
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        ),
        (
            header::ACCEPT_ENCODING,
            HeaderValue::from_static("identity"),
        ),
        (
            header::USER_AGENT,
            HeaderValue::from_static(concat!("hookgate/", env!("CARGO_PKG_VERSION"))),
        ),
    ];
    headers.extend(webhook.key.sign(&message_id(id), now, &body)?);
    Some(Outgoing {
        method: Method::POST,
        target: webhook.to.target.clone(),
        headers,
        body,
    })
}
