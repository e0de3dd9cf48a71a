//! The receiver of the gateway's own alarms, as a destination. It is no upstream: requests are signed and pass the egress guard.
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::Method;
use http::header::{self, HeaderValue};

use super::report::{AttemptReport, SendResult};
use super::target::Target;
use crate::clock::{Now, unix_ms};
use crate::config::snapshot::{AlarmWebhook, Deliver, Egress, LimitScope, Snapshot};
use crate::delivery::Fault;
use crate::queue::stored::RECEIVED_AT;
use crate::retry::{Backoff, Schedule};
use crate::store::queue::{
    Accept, DeliveryRef, Lane, NewUnit, Next, OriginId, Start, Stored, TargetId,
};
use crate::store::record::Record;
use crate::upstream::outside::{GATEWAY, Outside};
use crate::upstream::{Lines, Outgoing};
use crate::verify::standard::sign_all;

/// The time that one attempt may take in all.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(15);
/// The time that an alarm is leased: longer than an attempt can take, with saving its result.
pub(super) const LEASE: Duration = Duration::from_secs(60);
/// The backoff between attempts. Only the age of an alarm ends them.
const BACKOFF: Backoff = Backoff {
    initial: Duration::from_secs(5),
    factor: 2.0,
    max: Duration::from_secs(3600),
    max_attempts: None,
};
const MAX_AGE: Duration = Duration::from_secs(86_400);
/// The first pause of a receiver that is unavailable or overloaded.
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// Returns the ID by which a receiver recognizes an alarm: the same with each attempt.
fn message_id(id: DeliveryRef) -> String {
    format!("msg_{}", id.0.simple())
}

/// Returns a message of the gateway as the store takes it: an alarm, or a notification about an endpoint.
pub(crate) fn alarm(
    id: DeliveryRef,
    target: TargetId,
    event_type: &str,
    at: SystemTime,
    body: Bytes,
    lane: Lane,
) -> Accept {
    let fact = |name: &'static str, value: String| {
        (Bytes::from_static(name.as_bytes()), Bytes::from(value))
    };
    let record = Record {
        method: Bytes::from_static(b"POST"),
        // the target is not stored: the config decides when the message is sent
        target: Bytes::from_static(b"/"),
        authority: Bytes::new(),
        tls: false,
        headers: vec![(
            Bytes::from_static(b"content-type"),
            Bytes::from_static(b"application/json"),
        )],
        facts: vec![fact(RECEIVED_AT, unix_ms(at).to_string())],
    };
    Accept {
        id,
        origin: OriginId(target.0),
        delivery_id: Some(message_id(id).into()),
        key: None,
        event_type: Some(event_type.into()),
        to: vec![NewUnit {
            target,
            lane: Some(lane),
            start: Start::Anyone,
            attempts: Vec::new(),
        }],
        record,
        body,
        versions: Vec::new(),
    }
}

/// Returns the policy of alarms: they are delivered one after the other.
fn policy() -> Option<Deliver> {
    let schedule = Schedule::growing(BACKOFF, MAX_AGE).ok()?;
    Some(Deliver {
        schedule,
        rate: None,
        rate_scope: LimitScope::Gateway,
        concurrency: 1,
        fifo: None,
    })
}

/// The receiver of the alarms, or of the notifications about endpoints, of one config generation.
#[derive(Debug)]
pub(super) struct AlarmReceiver {
    webhook: Arc<AlarmWebhook>,
    /// The rules about which addresses may be called.
    egress: Arc<Egress>,
    outside: Arc<Outside>,
    schedule: Schedule,
    target: Arc<Target>,
    name: &'static str,
}

impl AlarmReceiver {
    /// Returns the receiver of a config's alarms, if it has one. The target follows its policy from now on.
    pub(super) fn of(
        snapshot: &Snapshot,
        target: &Arc<Target>,
        outside: &Arc<Outside>,
    ) -> Option<Self> {
        let webhook = snapshot.alarms.webhook.as_ref();
        Self::new("alarms", webhook?, snapshot, target, outside)
    }

    /// Returns the receiver of a config's notifications about endpoints, if it has one.
    pub(super) fn of_notices(
        snapshot: &Snapshot,
        target: &Arc<Target>,
        outside: &Arc<Outside>,
    ) -> Option<Self> {
        let webhook = snapshot.outbound.as_ref()?.notices.as_ref();
        Self::new("notices", webhook?, snapshot, target, outside)
    }

    fn new(
        name: &'static str,
        webhook: &Arc<AlarmWebhook>,
        snapshot: &Snapshot,
        target: &Arc<Target>,
        outside: &Arc<Outside>,
    ) -> Option<Self> {
        let policy = policy()?;
        target.follow(&policy, None);
        Some(Self {
            name,
            webhook: Arc::clone(webhook),
            egress: Arc::clone(&snapshot.egress),
            outside: Arc::clone(outside),
            schedule: policy.schedule,
            target: Arc::clone(target),
        })
    }

    /// Returns its name: `alarms` or `notices`.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn target(&self) -> &Arc<Target> {
        &self.target
    }

    pub(super) fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Sends an alarm once, signed as of now.
    pub(super) async fn send(&self, stored: &Stored, begun: Now) -> SendResult {
        let Some(outgoing) = render(&self.webhook, stored.id, stored.body.clone(), begun.wall)
        else {
            return SendResult::unreached(Fault::Malformed);
        };
        let sent = self.outside.send(
            &self.webhook.to,
            &outgoing,
            &self.egress,
            GATEWAY,
            ATTEMPT_TIMEOUT,
        );
        sent.await.map_or_else(SendResult::from, SendResult::from)
    }
}

/// Logs an attempt.
pub(super) fn report(report: &AttemptReport) {
    let AttemptReport {
        lease,
        outcome,
        error,
        not_called,
        next,
        ..
    } = report;
    let (id, attempt) = (lease.unit.delivery, lease.attempt);
    let why = not_called.as_ref().map(ToString::to_string);
    let status = outcome.status().map(|status| status.as_u16());
    match next {
        Next::Delivered => tracing::debug!(delivery = %id, attempt, status, "alarm delivered"),
        Next::RetryIn(again) | Next::Later(again) => {
            tracing::warn!(delivery = %id, attempt, status, error, why, retry_s = again.as_secs(), "an alarm is not delivered yet");
        }
        Next::Dead(_) | Next::Cancelled | Next::GiveBack => {
            tracing::error!(delivery = %id, attempt, status, error, why, "an alarm is not delivered: its attempts are exhausted");
        }
    }
}

/// Renders the request, signed as of `now`; `None` if the config names a host that no header can hold.
fn render(
    webhook: &AlarmWebhook,
    id: DeliveryRef,
    body: Bytes,
    now: SystemTime,
) -> Option<Outgoing> {
    let host = HeaderValue::from_str(&webhook.to.authority).ok()?;
    let mut headers = Lines::default();
    headers.push(&header::HOST, &host);
    headers.push(&header::CONTENT_LENGTH, &HeaderValue::from(body.len()));
    headers.push_text(&header::CONTENT_TYPE, "application/json");
    headers.push_text(&header::ACCEPT_ENCODING, "identity");
    let agent = concat!("hookgate/", env!("CARGO_PKG_VERSION"));
    headers.push_text(&header::USER_AGENT, agent);
    headers.extend(sign_all(&webhook.keys, &message_id(id), now, &body)?);
    Some(Outgoing {
        method: Method::POST,
        target: webhook.to.target.clone(),
        headers,
        body,
    })
}
