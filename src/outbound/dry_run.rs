//! The plan of a publish that stores nothing: who would get the event, in which version, and why.
use schemars::JsonSchema;
use serde::Serialize;

use super::event_check::{Event, Rendition, Warning};
use super::state::{Api, Subscriber};
use crate::tenant::settings::Payload;

/// The endpoints that would get an event.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Planned {
    /// The version of the data.
    version: u16,
    /// The endpoints that would get it.
    targets: Vec<PlannedTarget>,
    /// The endpoints that would not.
    left_out: Vec<LeftOut>,
    /// The faults of the event that the config lets pass; left out if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    warnings: Vec<Warning>,
}

/// An endpoint that would get an event.
#[derive(Debug, Serialize, JsonSchema)]
struct PlannedTarget {
    /// The endpoint.
    endpoint: String,
    /// The version that it gets.
    version: u16,
    /// The bytes of the body.
    bytes: usize,
    /// Its state. Events wait for one that is paused.
    state: &'static str,
    /// The reason: the pattern that matches, and the mapping if there is one: `invoice.*, mapped 2 → 1`.
    why: String,
}

/// An endpoint that would not get an event.
#[derive(Debug, Serialize, JsonSchema)]
struct LeftOut {
    /// The endpoint.
    endpoint: String,
    /// The reason: `type`: none of its patterns matches.
    why: &'static str,
}

/// Returns who would get an event.
pub(super) fn planned(
    api: &Api,
    event: &Event,
    wanting: &[&Subscriber],
    others: &[&Subscriber],
) -> Planned {
    let left_out = |endpoint: &&Subscriber| LeftOut {
        endpoint: endpoint.id.to_string(),
        why: "type",
    };
    Planned {
        version: event.version,
        targets: wanting
            .iter()
            .map(|endpoint| target(api, event, endpoint))
            .collect(),
        left_out: others.iter().map(left_out).collect(),
        warnings: event.warnings.clone(),
    }
}

/// Returns how an endpoint would get an event.
fn target(api: &Api, event: &Event, endpoint: &Subscriber) -> PlannedTarget {
    let Rendition {
        version,
        body,
        mapped_from,
    } = event.for_pin(endpoint.pin(&event.event_type));
    let mut patterns = endpoint.settings.types.iter();
    let pattern = patterns.find(|pattern| pattern.matches(&event.event_type));
    let mut why = pattern.map(ToString::to_string).unwrap_or_default();
    if let Some(from) = mapped_from {
        why.push_str(&format!(", mapped {from} → {version}"));
    }
    PlannedTarget {
        endpoint: endpoint.id.to_string(),
        version,
        bytes: match endpoint.settings.payload {
            Payload::Envelope => body.len(),
            // the data is followed by `}`
            Payload::Raw => body.len().saturating_sub(event.data_at + 1),
        },
        state: if api.worker().endpoints().is_inactive(endpoint.target) {
            "paused"
        } else {
            "active"
        },
        why,
    }
}
