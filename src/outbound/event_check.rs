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

/// Checks a publish: its body, its key, its type and its data. `pins` returns the pins of the endpoints that want a type.
///
/// # Errors
/// The reason why it is refused.
pub(super) fn check(
    body: &[u8],
    header_key: Option<&str>,
    now: SystemTime,
    events: Option<&EventCatalogue>,
    pins: impl FnOnce(&EventType) -> BTreeSet<Option<u32>>,
) -> Result<Event, Box<Refusal>> {
    let draft = Draft::read(body, header_key, now)?;
    let published = match events {
        Some(EventCatalogue { catalogue, policy }) => catalogue.publish(
            &draft.event_type,
            &draft.given,
            &pins(&draft.event_type),
            *policy,
        ),
        None => Published::unchecked(&draft.given),
    };
    let publish = Some((Arc::clone(&draft.key), draft.digest));
    let refuse = |problem| Box::new(Refusal { problem, publish });
    match published {
        Ok(published) => Event::new(draft, &published).map_err(refuse),
        Err(fault) => Err(refuse(refused(&fault, &draft.given))),
    }
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

    /// Returns the size of the bodies of the other versions, in bytes.
    pub(super) fn other_bytes(&self) -> usize {
        self.others.values().map(|other| other.body.len()).sum()
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
