//! An event that may be stored: held against the catalogue, with a body for each version that an endpoint gets.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use axum::http::StatusCode;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::Serialize;

use super::event_body::Draft;
use crate::config::snapshot::EventCatalogue;
use crate::event::catalogue::{Given, PublishFault, Published, version_for};
use crate::event::{EventType, envelope};
use crate::web::problem::Problem;

/// The largest size of an event in all its versions, in bytes.
const MAX_BYTES: usize = 32 << 20;

/// An event that may be stored.
pub(super) struct Event {
    /// The type.
    pub(super) event_type: EventType,
    /// The key.
    pub(super) key: Arc<str>,
    /// A hash of all that the publish means.
    pub(super) digest: [u8; 32],
    /// The newest version that the app gave.
    pub(super) version: u16,
    /// The body of that version.
    pub(super) body: Bytes,
    /// The other versions.
    pub(super) others: BTreeMap<u16, OtherVersion>,
    /// The offset of the data in each body.
    pub(super) data_at: usize,
    /// The faults that the config lets pass.
    pub(super) warnings: Vec<Warning>,
}

/// Another version of an event than the newest that the app gave.
pub(super) struct OtherVersion {
    /// The body.
    pub(super) body: Bytes,
    /// The version that a mapping made it from; none if the app gave it.
    pub(super) mapped_from: Option<u16>,
}

/// An event as an endpoint gets it.
pub(super) struct Rendition<'e> {
    /// The version.
    pub(super) version: u16,
    /// The body.
    pub(super) body: &'e Bytes,
    /// The version that a mapping made it from; none if the app gave it.
    pub(super) mapped_from: Option<u16>,
}

/// A fault of an event that is sent nevertheless.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct Warning {
    /// The kind of the fault: `unknown_type`, `unknown_version` or `invalid_data`.
    pub(super) code: &'static str,
    /// A description of the fault. It repeats no value of the data.
    pub(super) error: String,
    /// The place in the request's body, as a JSON pointer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) at: Option<String>,
}

/// A publish that is refused.
pub(super) struct Refusal {
    /// The reason.
    pub(super) problem: Problem,
    /// The key of the publish and the hash of its meaning, if the same publish can have been accepted with another catalogue or other pins.
    pub(super) publish: Option<(Arc<str>, [u8; 32])>,
}

impl From<Problem> for Box<Refusal> {
    fn from(problem: Problem) -> Self {
        Self::new(Refusal {
            problem,
            publish: None,
        })
    }
}

/// Checks a publish: its body, its key, its type and its data. `pins` returns the pins of the endpoints that want a type. `reserve` takes memory
/// of so many bytes, before the versions are made that need it.
///
/// # Errors
/// The reason why it is refused.
pub(super) fn check<M>(
    body: &[u8],
    header_key: Option<&str>,
    now: SystemTime,
    events: Option<&EventCatalogue>,
    pins: impl FnOnce(&EventType) -> BTreeSet<Option<u32>>,
    reserve: impl FnOnce(usize) -> Result<M, Problem>,
) -> Result<(Event, M), Box<Refusal>> {
    let draft = Draft::read(body, header_key, now)?;
    let pins = match events {
        Some(_) => pins(&draft.event_type),
        None => BTreeSet::new(),
    };
    let made = events.map_or(0, |events| {
        let catalogue = &events.catalogue;
        catalogue.made_for(&draft.event_type, &draft.given, &pins)
    });
    let memory = reserve(other_bytes(&draft.given, made))?;
    let published = match events {
        Some(EventCatalogue { catalogue, policy }) => {
            catalogue.publish(&draft.event_type, &draft.given, &pins, *policy)
        }
        None => Published::unchecked(&draft.given),
    };
    let publish = Some((Arc::clone(&draft.key), draft.digest));
    let refuse = |problem| Box::new(Refusal { problem, publish });
    match published {
        Ok(published) => match Event::new(draft, &published) {
            Ok(event) => Ok((event, memory)),
            Err(problem) => Err(refuse(problem)),
        },
        Err(fault) => Err(refuse(refused(&fault, &draft.given))),
    }
}

/// Returns the bytes that other versions take than the one that fills the request: the others that the app gave, and `made` ones. Mappings add
/// nothing but what the catalogue says. More than an event may have is refused later.
fn other_bytes(given: &Given<'_>, made: usize) -> usize {
    let lengths = given.lengths();
    let largest = lengths.iter().copied().max().unwrap_or(0);
    let others = lengths.iter().sum::<usize>().saturating_sub(largest);
    others
        .saturating_add(largest.saturating_mul(made))
        .min(MAX_BYTES)
}

impl Event {
    /// Renders the bodies.
    ///
    /// # Errors
    /// They are too large together.
    fn new(draft: Draft<'_>, published: &Published) -> Result<Self, Problem> {
        let (mut body, mut data_at, mut others) = (Bytes::new(), 0, BTreeMap::new());
        let mut bytes = 0_usize;
        for (number, own) in &published.versions {
            let rendered = envelope::render(&draft.event_type, draft.timestamp, &own.data);
            bytes = bytes.saturating_add(rendered.bytes.len());
            if bytes > MAX_BYTES && published.versions.len() > 1 {
                return Err(too_large());
            }
            // all bodies have the same beginning
            data_at = rendered.data_at;
            if *number == published.version {
                body = rendered.bytes;
            } else {
                let other = OtherVersion {
                    body: rendered.bytes,
                    mapped_from: own.mapped_from.map(small),
                };
                others.insert(small(*number), other);
            }
        }
        let warning = |fault: &PublishFault| Warning {
            code: fault.code(),
            error: fault.to_string(),
            at: place(fault, &draft.given),
        };
        Ok(Self {
            version: small(published.version),
            body,
            others,
            data_at,
            warnings: published.faults.iter().map(warning).collect(),
            event_type: draft.event_type,
            key: draft.key,
            digest: draft.digest,
        })
    }

    /// Returns what an endpoint with this pin gets.
    pub(super) fn for_pin(&self, pin: Option<u16>) -> Rendition<'_> {
        let all = self.others.keys().copied().chain([self.version]);
        let version =
            version_for(pin.map(u32::from), all.map(u32::from)).map_or(self.version, small);
        let other = self.others.get(&version);
        Rendition {
            version,
            body: other.map_or(&self.body, |other| &other.body),
            mapped_from: other.and_then(|other| other.mapped_from),
        }
    }
}

/// Makes the error of an event whose versions are too large together.
fn too_large() -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too_large",
        format!(
            "the event is larger than {MAX_BYTES} bytes in all its versions, those made by mappings too"
        ),
        "send less data, or fewer versions",
    )
}

/// Returns the number of a version as it is stored. The catalogue and a publish have none above 9,999.
fn small(version: u32) -> u16 {
    u16::try_from(version).unwrap_or(u16::MAX)
}

/// Returns the error of a publish that does not fit the catalogue.
fn refused(fault: &PublishFault, given: &Given<'_>) -> Problem {
    let problem = Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        fault.code(),
        fault.to_string(),
        fault.help(),
    );
    match place(fault, given) {
        Some(at) => problem.at(at),
        None => problem,
    }
}

/// Returns the place of a fault in the body of the publish; none if a mapping made the data.
fn place(fault: &PublishFault, given: &Given<'_>) -> Option<String> {
    match (fault, given) {
        (PublishFault::UnknownType(_), _) => Some("/type".to_owned()),
        (PublishFault::UnknownVersion { .. }, Given::One(..)) => Some("/version".to_owned()),
        (PublishFault::UnknownVersion { version, .. }, Given::Many(_)) => {
            Some(format!("/versions/{version}"))
        }
        (
            PublishFault::Invalid {
                mapped_from: None,
                version,
                breach,
            },
            given,
        ) => Some(match given {
            Given::One(..) => format!("/data{}", breach.at),
            Given::Many(_) => format!("/versions/{version}{}", breach.at),
        }),
        (
            PublishFault::Invalid { .. }
            | PublishFault::CannotMap { .. }
            | PublishFault::NothingGiven,
            _,
        ) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_other_versions_is_reserved_before_they_are_made() {
        let body = br#"{"type": "invoice.paid", "id": "1", "versions": {"1": [1], "2": [1, 2], "3": [2]}}"#;
        let check = |most: usize| {
            let reserve = |bytes: usize| {
                assert_eq!(bytes, "[1]".len() + "[2]".len());
                let refused = || Problem::bad_request("no memory", "wait");
                (bytes <= most).then_some(bytes).ok_or_else(refused)
            };
            let pins = |_: &EventType| BTreeSet::new();
            check(body, None, SystemTime::UNIX_EPOCH, None, pins, reserve)
        };
        let (event, reserved) = check(6).map_err(|refusal| refusal.problem).unwrap();
        assert_eq!((event.others.len(), reserved), (2, 6));
        let refused = check(5).map(|_| ()).unwrap_err();
        assert!(refused.publish.is_none(), "nothing was looked at");
    }

    #[test]
    fn each_version_that_is_made_takes_as_much_as_the_data() {
        let data: Box<serde_json::value::RawValue> = serde_json::from_str("[1, 2]").unwrap();
        let given = Given::One(None, &data);
        assert_eq!((other_bytes(&given, 0), other_bytes(&given, 3)), (0, 18));
        assert_eq!(other_bytes(&given, usize::MAX), MAX_BYTES);
    }
}
