//! The lines of `/-/tail`.
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::rfc3339;
use crate::telemetry::{After, TailEntry, TailEvent};

/// A line of `/-/tail`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum TailItem {
    /// A request or an attempt.
    Line(Box<TailLine>),
    /// The position in the stream.
    Position(StreamPosition),
}

/// The position in the stream. It is sent at the beginning, every 5 s, and where lines are missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StreamPosition {
    /// The value of `after` with which to continue from here.
    pub cursor: String,
    /// The number of lines, of any route, that were lost before this position.
    pub missed: u64,
    /// Whether the gateway was restarted since `after`. The number of lines lost by that is unknown.
    pub restarted: bool,
}

/// A request or an attempt that ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TailLine {
    /// The number of the line, counted from 1 without gaps over all routes since the gateway's start.
    pub seq: u64,
    /// When it ended: RFC 3339 in UTC.
    pub at: String,
    /// `request` or `attempt`.
    pub kind: String,
    /// The route, if one was found.
    pub route: Option<String>,
    /// The event type, for a request.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// Of a request `forwarded` (the upstream answered 2xx), `upstream_3xx`, `upstream_4xx`, `upstream_5xx`, `queued`, `spilled`, `revived`,
    /// `duplicate`, `handshake`, `passed`, `cut`, `refused` or `abandoned`; of an attempt `delivered`, `retrying`, `dead`, `late` or `unsaved`.
    pub outcome: String,
    /// The status of the response: to the sender of a request, or to the gateway's attempt.
    pub status: Option<u16>,
    /// The duration in seconds.
    pub took: f64,
    /// The provider's ID of the delivery, fit for showing.
    pub delivery_id: Option<String>,
    /// The gateway's ID of the delivery, for an attempt.
    pub delivery: Option<String>,
    /// The gateway's ID of the request.
    pub request_id: Option<String>,
    /// The code of a refusal, or the error code of an attempt without a response.
    pub code: Option<String>,
    /// The number of the attempt, counted from 1.
    #[serde(rename = "attempt")]
    pub number: Option<u32>,
    /// Seconds until the next attempt.
    pub retry_in: Option<f64>,
}

impl From<&TailEntry> for TailLine {
    fn from(entry: &TailEntry) -> Self {
        // whole microseconds are enough
        let took = u64::try_from(entry.took.as_micros()).unwrap_or(u64::MAX);
        let line = Self {
            seq: entry.seq,
            at: rfc3339(entry.at),
            route: entry.route.as_deref().map(str::to_owned),
            outcome: entry.event.outcome().to_owned(),
            status: entry.event.status().map(|status| status.as_u16()),
            took: Duration::from_micros(took).as_secs_f64(),
            delivery_id: entry.delivery_id.as_deref().map(str::to_owned),
            code: entry.event.code().map(str::to_owned),
            ..Self::default()
        };
        match &entry.event {
            TailEvent::Request {
                ended: _,
                event_type,
                request_id,
            } => Self {
                kind: "request".to_owned(),
                event_type: event_type.as_deref().map(str::to_owned),
                request_id: Some(request_id.to_string()),
                ..line
            },
            TailEvent::Attempt {
                delivery,
                number,
                outcome: _,
                error: _,
                after,
            } => Self {
                kind: "attempt".to_owned(),
                delivery: Some(delivery.to_string()),
                number: Some(*number),
                retry_in: match after {
                    After::RetryIn(delay) => Some(delay.as_secs_f64()),
                    After::Delivered | After::Dead | After::Late | After::Unsaved => None,
                },
                ..line
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use http::StatusCode;

    use super::*;
    use crate::delivery::Outcome;

    #[test]
    fn a_line_has_the_attempt_and_its_retry() {
        let entry = TailEntry {
            seq: 3,
            at: SystemTime::UNIX_EPOCH,
            took: Duration::from_nanos(84_000_999),
            route: Some("stripe".into()),
            delivery_id: Some("evt_1".into()),
            event: TailEvent::Attempt {
                delivery: uuid::Uuid::from_u128(7),
                number: 2,
                outcome: Outcome::Answered(StatusCode::SERVICE_UNAVAILABLE),
                error: None,
                after: After::RetryIn(Duration::from_secs(5)),
            },
        };
        let line = TailLine::from(&entry);
        assert_eq!(
            serde_json::to_value(line).unwrap(),
            serde_json::json!({
                "seq": 3, "at": "1970-01-01T00:00:00.000Z", "kind": "attempt", "route": "stripe", "type": null, "outcome": "retrying",
                "status": 503, "took": 0.084, "delivery_id": "evt_1", "delivery": "00000000-0000-0000-0000-000000000007", "request_id": null,
                "code": null, "attempt": 2, "retry_in": 5.0,
            })
        );
    }
}
