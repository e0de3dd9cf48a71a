//! Converts deliveries of the store into those of the API.
use std::time::Duration;

use axum::http::HeaderName;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::api::deliveries::{
    Attempt, BodyFacts, Delivery, DeliveryDetails, DeliveryState, Header, LastAttempt, Request,
    Target,
};
use crate::clock::rfc3339;
use crate::deliver::attempt_message;
use crate::queue::attempt::read_error;
use crate::queue::stored::{self, fact};
use crate::replay::{Names, StoreAccess};
use crate::retry::Reason;
use crate::store::archive::{self, AttemptShown, AttemptSummary, Row, Status, UnitShown};
use crate::store::queue::{Cause, DeliveryRef, OriginId};
use crate::store::record::{Pairs, Record, parse_headers};
use crate::verify::SecretLocations;

/// The text in front of the digits of an event's ID, as its receivers know it.
pub(super) const EVENT: &str = "msg_";

/// Returns the gateway's ID of a delivery.
fn id(id: DeliveryRef, origin: OriginId) -> String {
    if origin.is_tenant() {
        format!("{EVENT}{}", id.0.simple())
    } else {
        id.to_string()
    }
}

/// Everything that the conversion needs besides the delivery.
pub(super) struct View<'a> {
    pub(super) access: &'a StoreAccess,
    pub(super) names: &'a Names,
}

impl View<'_> {
    /// Converts a row of a list.
    pub(super) fn row(&self, row: &Row) -> Delivery {
        Delivery {
            id: id(row.id, row.origin),
            origin: self.names.origin(row.origin.0),
            delivery_id: row.delivery_id.as_deref().map(str::to_owned),
            account: fact(&row.record, stored::ACCOUNT).map(str::to_owned),
            event_type: row.event_type.as_deref().map(str::to_owned),
            received_at: rfc3339(row.id.drawn_at()),
            size: row.size,
            targets: row.units.iter().map(|unit| self.target(unit)).collect(),
        }
    }

    fn target(&self, unit: &UnitShown) -> Target {
        let target = self.names.origin(unit.target.0).name;
        let state = match unit.status {
            Status::Pending | Status::Retrying if self.names.is_gone(unit.target) => {
                DeliveryState::Parked
            }
            Status::Pending => DeliveryState::Pending,
            Status::Retrying => DeliveryState::Retrying,
            Status::Dead => DeliveryState::Dead,
            Status::Cancelled => DeliveryState::Cancelled,
            Status::Delivered => DeliveryState::Delivered,
        };
        let routes = &self.access.routes;
        let waits = matches!(state, DeliveryState::Pending | DeliveryState::Retrying);
        let paused =
            waits && !unit.leased && unit.target.is_endpoint() && routes.is_paused(unit.target);
        let planned = unit
            .next_in
            .filter(|_| !unit.leased && !paused && state != DeliveryState::Parked);
        let policy = if unit.target.is_endpoint() {
            routes.policy_of_endpoints()
        } else {
            routes.policy(&target)
        };
        Target {
            max_attempts: policy.and_then(|policy| policy.max_attempts),
            target,
            state,
            attempt_count: unit.attempts,
            next_at: planned
                .and_then(|next| self.access.now().wall.checked_add(next))
                .map(rfc3339),
            paused,
            leased: unit.leased,
            reason: unit.reason.map(reason),
            last: unit.last.as_ref().map(last),
        }
    }

    /// Converts a delivery with its request and attempts. `bodies` says whether the bodies of responses are shown.
    pub(super) fn details(
        &self,
        shown: &archive::Shown,
        same_id_count: u64,
        bodies: bool,
    ) -> DeliveryDetails {
        let stored = &shown.stored;
        let record = &stored.record;
        let secrets = stored::secret_locations(record);
        let size = u64::try_from(stored.body.len()).unwrap_or(u64::MAX);
        let delivery = Delivery {
            id: id(stored.id, stored.origin),
            origin: self.names.origin(stored.origin.0),
            delivery_id: stored.delivery_id.as_deref().map(str::to_owned),
            account: fact(record, stored::ACCOUNT).map(str::to_owned),
            event_type: stored.event_type.as_deref().map(str::to_owned),
            received_at: rfc3339(stored.id.drawn_at()),
            size,
            targets: shown.units.iter().map(|unit| self.target(unit)).collect(),
        };
        DeliveryDetails {
            delivery,
            same_id_count,
            request: request(record, &secrets),
            body: BodyFacts {
                size,
                sha256: hex::encode(Sha256::digest(&stored.body)),
                content_type: header(&record.headers, "content-type")
                    .map(|value| shown_value("content-type", &value, &secrets)),
            },
            attempts: shown
                .attempts
                .iter()
                .map(|attempt| self.attempt(attempt, &secrets, bodies))
                .collect(),
        }
    }

    fn attempt(&self, shown: &AttemptShown, secrets: &SecretLocations, bodies: bool) -> Attempt {
        let AttemptShown {
            target,
            number,
            late,
            attempt,
        } = shown;
        let error = attempt.error.as_deref().map(read_error);
        let message = if target.is_endpoint() {
            attempt_message(attempt)
        } else {
            error.as_ref().and_then(|(_, message)| message.clone())
        };
        Attempt {
            target: self.names.origin(target.0).name,
            number: *number,
            cause: cause(attempt.cause).to_owned(),
            late: *late,
            started_at: rfc3339(attempt.started),
            took: seconds(attempt.took),
            connect: attempt.connect.map(seconds),
            first_byte: attempt.first_byte.map(seconds),
            outcome: outcome(attempt.status, attempt.error.as_deref()),
            status: attempt.status,
            error: error.as_ref().map(|(code, _)| (*code).to_owned()),
            message,
            peer: attempt.peer.as_deref().map(str::to_owned),
            headers: parse_headers(attempt.head.clone())
                .map(|pairs| headers(&pairs, secrets))
                .unwrap_or_default(),
            body_text: bodies.then(|| String::from_utf8_lossy(&attempt.body).into_owned()),
        }
    }
}

fn request(record: &Record, secrets: &SecretLocations) -> Request {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (path, query) = match record.target.iter().position(|byte| *byte == b'?') {
        Some(at) => (record.target.get(..at).unwrap_or_default(), true),
        None => (&record.target[..], false),
    };
    let text_of = |name| fact(record, name).map(str::to_owned);
    let at = |name| stored::time(record, name).map(rfc3339);
    Request {
        method: text(&record.method),
        path: text(path),
        query,
        host: text(&record.authority),
        headers: headers(&record.headers, secrets),
        client: text_of(stored::CLIENT),
        tls: record.tls,
        received_at: at(stored::RECEIVED_AT),
        request_id: text_of(stored::REQUEST_ID),
        provider: text_of(stored::PROVIDER),
        verified: fact(record, stored::VERIFIED) == Some("true"),
        secret: text_of(stored::SECRET),
        signed_at: at(stored::SIGNED_AT),
        covers: text_of(stored::COVERS),
        params: stored::parameters(record)
            .0
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect(),
        response_status: fact(record, stored::ANSWERED).and_then(|status| status.parse().ok()),
        from_quarantine: fact(record, stored::FROM_QUARANTINE) == Some("true"),
    }
}

/// Converts headers, without the secrets in them.
fn headers(pairs: &Pairs, secrets: &SecretLocations) -> Vec<Header> {
    let shown = |(name, value): &(Bytes, Bytes)| {
        let name = String::from_utf8_lossy(name).into_owned();
        Header {
            value: shown_value(&name, value, secrets),
            name,
        }
    };
    pairs.iter().map(shown).collect()
}

/// Returns the value of a header without the secrets in it.
fn shown_value(name: &str, value: &[u8], secrets: &SecretLocations) -> String {
    HeaderName::from_bytes(name.as_bytes()).map_or_else(
        |_| format!("[{} bytes]", value.len()),
        |name| secrets.show_header(&name, value),
    )
}

/// Returns the first header with that name.
pub(super) fn header(pairs: &Pairs, name: &str) -> Option<Bytes> {
    pairs
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()))
        .map(|(_, value)| value.clone())
}

/// Returns the request in HTTP/1.1, as far as it was stored and without its secrets.
pub(super) fn raw(record: &Record, body: &[u8]) -> Vec<u8> {
    let secrets = stored::secret_locations(record);
    let body = secrets.show_body(body);
    let mut raw = Vec::with_capacity(body.len() + 1024);
    for part in [
        &record.method[..],
        b" ",
        &secrets.show_target(&record.target),
        b" HTTP/1.1\r\n",
    ] {
        raw.extend_from_slice(part);
    }
    let mut line = |name: &[u8], value: &[u8]| {
        for part in [name, b": ", value, b"\r\n"] {
            raw.extend_from_slice(part);
        }
    };
    if header(&record.headers, "host").is_none() {
        line(b"host", &record.authority);
    }
    // the body is complete now, however it was framed
    let is_framing = |name: &[u8]| {
        name.eq_ignore_ascii_case(b"transfer-encoding")
            || name.eq_ignore_ascii_case(b"content-length")
    };
    for (name, value) in record.headers.iter().filter(|(name, _)| !is_framing(name)) {
        line(name, secrets.show_raw_header(name, value));
    }
    line(b"content-length", body.len().to_string().as_bytes());
    raw.extend_from_slice(b"\r\n");
    raw.extend_from_slice(&body);
    raw
}

/// Returns a stored body without the secrets in it.
pub(super) fn body(record: &Record, body: &[u8]) -> Vec<u8> {
    stored::secret_locations(record)
        .show_body(body)
        .into_owned()
}

fn last(last: &AttemptSummary) -> LastAttempt {
    LastAttempt {
        at: rfc3339(last.started),
        outcome: outcome(last.status, last.error.as_deref()),
        took: seconds(last.took),
    }
}

fn outcome(status: Option<u16>, error: Option<&str>) -> String {
    status.map_or_else(
        || {
            error
                .map_or("unknown", |error| read_error(error).0)
                .to_owned()
        },
        |status| status.to_string(),
    )
}

fn reason(reason: Reason) -> String {
    match reason {
        Reason::Attempts => "attempts".to_owned(),
        Reason::Age => "age".to_owned(),
        Reason::Paused => "paused".to_owned(),
        Reason::Removed => "removed".to_owned(),
        Reason::Status(status) => status.as_u16().to_string(),
    }
}

fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Schedule => "schedule",
        Cause::Replay => "replay",
        Cause::Test => "test",
        Cause::Probe => "probe",
    }
}

pub(super) fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}
