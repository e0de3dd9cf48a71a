//! The body of a publish: its check, its key and its meaning.
use std::borrow::Cow;
use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::state::Api;
use crate::event::{EventType, envelope};
use crate::web::input::{check_document, parse};
use crate::web::problem::Problem;

/// The longest key of a publish, in bytes.
const MAX_KEY: usize = 256;
/// The header with the key of a publish.
const KEY: &str = "idempotency-key";
/// An event to be published.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Publish<'a> {
    /// The type: words of letters, digits and `_`, joined by dots, such as `invoice.paid`.
    #[serde(rename = "type", borrow)]
    event_type: Cow<'a, str>,
    /// The data. Endpoints get these bytes as they are written here.
    #[serde(borrow)]
    #[schemars(with = "serde_json::Value")]
    data: &'a RawValue,
    /// The key of the event, 1 to 256 visible ASCII characters, unless the header `Idempotency-Key` has it.
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    /// The time at which it happened, as RFC 3339 (default: now).
    #[serde(borrow)]
    timestamp: Option<Cow<'a, str>>,
}

/// An event that was checked.
pub(super) struct Event {
    /// The type.
    pub(super) event_type: EventType,
    /// The key.
    pub(super) key: Arc<str>,
    /// A hash of all that the publish means.
    pub(super) digest: [u8; 32],
    /// The body that endpoints get.
    pub(super) body: envelope::Envelope,
}

/// Checks a publish: its body, its type and its key.
pub(super) fn check(body: &Bytes, headers: &HeaderMap, api: &Api) -> Result<Event, Problem> {
    check_document(body)?;
    let publish: Publish<'_> = parse(body)?;
    let event_type = EventType::new(&publish.event_type).map_err(|wrong| {
        Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "unknown_type",
            wrong.to_string(),
            "write words of letters, digits and `_`, joined by dots, such as `invoice.paid`",
        )
        .at("/type")
    })?;
    let key = key(publish.id.as_deref(), headers)?;
    let timestamp = match &publish.timestamp {
        Some(text) => text
            .parse::<jiff::Timestamp>()
            .ok()
            .and_then(|at| std::time::SystemTime::try_from(at).ok())
            .ok_or_else(|| {
                let error = "this is no time";
                Problem::bad_request(error, "write RFC 3339, such as `2026-11-24T13:04:33Z`")
                    .at("/timestamp")
            })?,
        None => api.clock().now().wall,
    };
    let body = envelope::render(&event_type, timestamp, publish.data);
    Ok(Event {
        digest: digest(&publish),
        event_type,
        key,
        body,
    })
}

/// Returns the key of a publish.
fn key(id: Option<&str>, headers: &HeaderMap) -> Result<Arc<str>, Problem> {
    let header = match headers.get(KEY) {
        Some(value) => Some(value.to_str().map_err(|_| bad_key())?),
        None => None,
    };
    let key = match (id, header) {
        (Some(id), Some(header)) if id != header => {
            let help = "send the key once, or twice the same";
            let error = "`id` and the header `Idempotency-Key` differ";
            return Err(Problem::bad_request(error, help).at("/id"));
        }
        (Some(key), _) | (None, Some(key)) => key,
        (None, None) => {
            let help = "send `id`, or the header `Idempotency-Key`: with the same key you can repeat a publish that got no answer";
            let error = "the event has no key";
            return Err(Problem::new(StatusCode::BAD_REQUEST, "no_key", error, help));
        }
    };
    let is_plain = key.bytes().all(|byte| byte.is_ascii_graphic());
    if key.is_empty() || key.len() > MAX_KEY || !is_plain {
        return Err(bad_key());
    }
    Ok(Arc::from(key))
}

fn bad_key() -> Problem {
    let help = format!("write 1 to {MAX_KEY} visible ASCII characters, such as a UUID");
    Problem::bad_request("the key of the event cannot be used", help).at("/id")
}

/// Returns a hash of all that a publish means. Each part has its length in front.
fn digest(publish: &Publish<'_>) -> [u8; 32] {
    let mut hash = Sha256::new();
    let timestamp = publish.timestamp.as_deref().unwrap_or_default();
    for part in [&*publish.event_type, publish.data.get(), timestamp] {
        hash.update(part.len().to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().into()
}
