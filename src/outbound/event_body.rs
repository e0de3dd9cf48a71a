//! The body of a publish: how it is read, its key and its meaning.
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use axum::http::{HeaderMap, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::event::EventType;
use crate::event::catalogue::Given;
use crate::web::input::{check_document, parse};
use crate::web::problem::Problem;

/// The longest key of a publish, in bytes.
const MAX_KEY: usize = 256;
/// The header with the key of a publish.
const KEY: &str = "idempotency-key";
/// The largest number of a version, as in the catalogue.
const MAX_VERSION: u32 = 9_999;
/// The most versions of an event, as in the catalogue.
const MAX_VERSIONS: usize = 64;

/// An event to be published.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Publish<'a> {
    /// The type: words of letters, digits and `_`, joined by dots, such as `invoice.paid`.
    #[serde(rename = "type", borrow)]
    event_type: Cow<'a, str>,
    /// The data. Endpoints get these bytes as they are written here. Required, unless `versions` has it.
    #[serde(borrow, default, deserialize_with = "given")]
    #[schemars(with = "Option<serde_json::Value>")]
    data: Option<&'a RawValue>,
    /// The version of the data, 1 to 9999 (default: the newest of the catalogue; 1 without a catalogue).
    version: Option<u32>,
    /// In the place of `data` and `version`: the data of several versions, by number.
    #[serde(borrow)]
    #[schemars(with = "Option<BTreeMap<String, serde_json::Value>>")]
    versions: Option<BTreeMap<String, &'a RawValue>>,
    /// The key of the event, 1 to 256 visible ASCII characters, unless the header `Idempotency-Key` has it.
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    /// The time at which it happened, as RFC 3339 (default: now).
    #[serde(borrow)]
    timestamp: Option<Cow<'a, str>>,
}

/// Reads a value that may be `null`.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// A publish that was read. Nothing of it was held against the catalogue.
pub struct Draft<'b> {
    /// The type.
    pub event_type: EventType,
    /// The key.
    pub key: Arc<str>,
    /// A hash of all that the publish means.
    pub digest: [u8; 32],
    /// The time at which it happened.
    pub timestamp: SystemTime,
    /// The data.
    pub given: Given<'b>,
}

/// The data are the customer's.
impl std::fmt::Debug for Draft<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Draft").finish_non_exhaustive()
    }
}

impl<'b> Draft<'b> {
    /// Reads a publish. `header` is its key, if a header has one.
    ///
    /// # Errors
    /// The first part that cannot be used.
    pub fn read(body: &'b [u8], header: Option<&str>, now: SystemTime) -> Result<Self, Problem> {
        check_document(body)?;
        let publish: Publish<'b> = parse(body)?;
        let event_type = EventType::new(&publish.event_type).map_err(|wrong| {
            Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "unknown_type",
                wrong.to_string(),
                "write words of letters, digits and `_`, joined by dots, such as `invoice.paid`",
            )
            .at("/type")
        })?;
        let key = key(publish.id.as_deref(), header)?;
        let timestamp = match &publish.timestamp {
            Some(text) => text
                .parse::<jiff::Timestamp>()
                .ok()
                .and_then(|at| SystemTime::try_from(at).ok())
                .ok_or_else(|| {
                    let error = "this is no time";
                    Problem::bad_request(error, "write RFC 3339, such as `2026-11-24T13:04:33Z`")
                        .at("/timestamp")
                })?,
            None => now,
        };
        let given = data(&publish)?;
        Ok(Self {
            digest: digest(&publish, &given),
            event_type,
            key,
            timestamp,
            given,
        })
    }
}

/// Returns the data of a publish: of one version, or of several.
fn data<'b>(publish: &Publish<'b>) -> Result<Given<'b>, Problem> {
    match (publish.data, &publish.versions) {
        (Some(data), None) => {
            let is_version = |version: u32| (1..=MAX_VERSION).contains(&version);
            if publish.version.is_some_and(|version| !is_version(version)) {
                return Err(no_version("/version"));
            }
            Ok(Given::One(publish.version, data))
        }
        (None, Some(versions)) => {
            if publish.version.is_some() {
                let help = "leave `version` out: `versions` has the numbers";
                let error = "`version` is for an event with `data`";
                return Err(Problem::bad_request(error, help).at("/version"));
            }
            if !(1..=MAX_VERSIONS).contains(&versions.len()) {
                let help = format!("write 1 to {MAX_VERSIONS}, such as `{{\"1\": …}}`");
                let error = "this number of versions cannot be published";
                return Err(Problem::bad_request(error, help).at("/versions"));
            }
            let numbered = versions.iter().map(|(text, data)| {
                let number = number(text).ok_or_else(|| no_version("/versions"))?;
                Ok((number, *data))
            });
            numbered.collect::<Result<_, _>>().map(Given::Many)
        }
        (Some(_), Some(_)) => {
            let help = "write `data` for one version, or `versions` for several";
            let error = "the event has both `data` and `versions`";
            Err(Problem::bad_request(error, help).at("/versions"))
        }
        (None, None) => {
            let help = "write the data of the event, any JSON";
            Err(Problem::bad_request("`data` is missing", help).at("/data"))
        }
    }
}

/// Reads the number of a version as it is written in the catalogue: without a sign, and without zeros in front.
fn number(text: &str) -> Option<u32> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    let number = text.parse().ok().filter(|_| is_plain)?;
    (number <= MAX_VERSION).then_some(number)
}

fn no_version(at: &str) -> Problem {
    let help = format!("write a number from 1 to {MAX_VERSION}");
    Problem::bad_request("this is not the number of a version", help).at(at)
}

/// Returns the key in the headers of a publish.
pub(super) fn header_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let key = headers.get(KEY).map(|value| value.to_str());
    let key = key.transpose().map_err(|_| bad_key())?;
    Ok(key.map(ToOwned::to_owned))
}

/// Returns the key of a publish.
fn key(id: Option<&str>, header: Option<&str>) -> Result<Arc<str>, Problem> {
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

/// Returns a hash of all that a publish means, as it is written: a version that was left out is none, whatever the newest one is. Each part
/// has its length in front.
fn digest(publish: &Publish<'_>, given: &Given<'_>) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut add = |part: &[u8]| {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    };
    add(publish.event_type.as_bytes());
    // no data is empty
    add(publish
        .data
        .map(RawValue::get)
        .unwrap_or_default()
        .as_bytes());
    add(publish.timestamp.as_deref().unwrap_or_default().as_bytes());
    match given {
        Given::One(None, _) => {}
        Given::One(Some(version), _) => add(&version.to_be_bytes()),
        Given::Many(versions) => {
            for (version, data) in versions {
                add(&version.to_be_bytes());
                add(data.get().as_bytes());
            }
        }
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests;
