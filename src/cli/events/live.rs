//! The view of a running gateway on the changes of a catalogue: who gets the versions that break, and whether the last published events are
//! valid in the new one.
use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::cli::error::Error;
use crate::cli::outbound_client::OutboundClient;
use crate::cli::outbound_list::list;
use crate::cli::term::{Look, Sign, clean, counted};
use crate::event::EventType;
use crate::event::catalogue::{Catalogue, TypeEntry};
use crate::event::diff::{Change, Changes};
use crate::event::document;

/// The number of published events of a type that are judged.
const EVENTS: u64 = 100;

/// The answers of a running gateway.
#[derive(Clone, Debug, Default)]
pub(super) struct Live {
    /// The receivers of each version that breaks.
    pub(super) receivers: Vec<Receivers>,
    /// The last events of each type that changed.
    pub(super) events: Vec<JudgedEvents>,
}

/// The receivers of a version of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Receivers {
    pub(super) event_type: EventType,
    pub(super) version: u32,
    pub(super) tenants: u64,
    pub(super) endpoints: u64,
}

/// The last published events of a type, held against the new catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct JudgedEvents {
    pub(super) event_type: EventType,
    pub(super) count: u64,
    /// The number of those that would be refused.
    pub(super) refused: u64,
    /// The newest of them.
    pub(super) first: Option<RefusedEvent>,
}

/// A published event that the new catalogue would refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RefusedEvent {
    pub(super) id: String,
    pub(super) version: u32,
    /// The reason. It holds no value of the data.
    pub(super) why: String,
}

/// The receivers of a version, as the API counts those of some tenants.
#[derive(Debug, Deserialize)]
struct VersionPins {
    version: u32,
    tenants: u64,
    endpoints: u64,
}

/// A published event, as the API lists it.
#[derive(Debug, Deserialize)]
struct PublishedEvent {
    id: String,
    version: u32,
    data: Box<RawValue>,
}

/// Asks a gateway about changes that lead to the catalogue `now`.
///
/// # Errors
/// As [`OutboundClient::get`].
pub(super) async fn ask(
    client: &OutboundClient,
    changes: &[Changes],
    now: &Catalogue,
) -> Result<Live, Error> {
    let mut live = Live::default();
    let mut types: Vec<&EventType> = changes.iter().map(|one| &one.event_type).collect();
    types.dedup();
    for event_type in types {
        let own = changes.iter().filter(|one| one.event_type == *event_type);
        let breaking: Vec<Option<u32>> = own
            .filter(|one| !one.changes.iter().all(Change::is_safe))
            .map(|one| one.version)
            .collect();
        if !breaking.is_empty() {
            live.receivers
                .extend(receivers(client, event_type, &breaking).await?);
        }
        if let Some(entry) = now.get(event_type) {
            live.events.extend(events(client, event_type, entry).await?);
        }
    }
    Ok(live)
}

/// Counts the receivers of versions of a type; `None` among them stands for all versions.
async fn receivers(
    client: &OutboundClient,
    event_type: &EventType,
    versions: &[Option<u32>],
) -> Result<Vec<Receivers>, Error> {
    // the words of a type need no escape
    let target = format!("/v1/event-types/{event_type}");
    let known: Option<IgnoredAny> = client.find(&target, "no_type").await?;
    let mut counts = BTreeMap::<u32, (u64, u64)>::new();
    if known.is_some() {
        let pins = format!("{target}/pins");
        let pages = list::<VersionPins>(client, &pins, "pins", u64::MAX).await?;
        for page in pages.items {
            let count = counts.entry(page.version).or_default();
            count.0 = count.0.saturating_add(page.tenants);
            count.1 = count.1.saturating_add(page.endpoints);
        }
    }
    let wanted = versions.iter().copied().flatten();
    let mut wanted: Vec<u32> = match versions.contains(&None) {
        true => counts.keys().copied().collect(),
        false => wanted.collect(),
    };
    wanted.sort_unstable();
    let receivers = wanted.into_iter().map(|version| {
        let (tenants, endpoints) = counts.get(&version).copied().unwrap_or_default();
        Receivers {
            event_type: event_type.clone(),
            version,
            tenants,
            endpoints,
        }
    });
    Ok(receivers.collect())
}

/// Judges the last published events of a type; `None` if there are none.
async fn events(
    client: &OutboundClient,
    event_type: &EventType,
    entry: &TypeEntry,
) -> Result<Option<JudgedEvents>, Error> {
    let target = format!("/v1/event-types/{event_type}/events");
    let listed = list::<PublishedEvent>(client, &target, "events", EVENTS).await?;
    if listed.items.is_empty() {
        return Ok(None);
    }
    let mut judged = JudgedEvents {
        event_type: event_type.clone(),
        count: 0,
        refused: 0,
        first: None,
    };
    for event in listed.items {
        judged.count += 1;
        if let Some(why) = fault(&event, entry) {
            judged.refused += 1;
            let PublishedEvent { id, version, .. } = event;
            judged
                .first
                .get_or_insert(RefusedEvent { id, version, why });
        }
    }
    Ok(Some(judged))
}

/// Returns the reason why a type refuses an event, if it does.
fn fault(event: &PublishedEvent, entry: &TypeEntry) -> Option<String> {
    let Some(version) = entry.versions.get(&event.version) else {
        return Some(format!("there is no version {}", event.version));
    };
    match document::parse(event.data.get().as_bytes()) {
        Ok(data) => {
            let breaches = version.schema.breaches(&data);
            breaches.first().map(ToString::to_string)
        }
        Err(fault) => Some(fault.to_string()),
    }
}

impl Live {
    /// Returns whether a published event would be refused.
    pub(super) fn is_bad(&self) -> bool {
        self.events.iter().any(|judged| judged.refused > 0)
    }

    /// Renders a line for each answer.
    pub(super) fn text(&self, look: &Look) -> String {
        let mut text = String::new();
        for one in &self.receivers {
            let sign = look.sign(if one.tenants > 0 {
                Sign::Warning
            } else {
                Sign::Good
            });
            text.push_str(&format!("{sign} {}\n", one.message()));
        }
        for one in &self.events {
            let sign = look.sign(if one.refused > 0 {
                Sign::Bad
            } else {
                Sign::Good
            });
            text.push_str(&format!("{sign} {}\n", one.message()));
        }
        if text.is_empty() {
            return text;
        }
        format!("\n{text}")
    }

    /// Returns the level, the file and the message of each answer that somebody should see at a pull request.
    pub(super) fn annotations(&self) -> Vec<(&'static str, String, String)> {
        let hit = self.receivers.iter().filter(|one| one.tenants > 0);
        let receivers = hit.map(|one| {
            let file = format!("{}/{}.schema.json", one.event_type, one.version);
            ("warning", file, one.message())
        });
        let events = self.events.iter().filter_map(|one| {
            let first = one.first.as_ref()?;
            let file = format!("{}/{}.schema.json", one.event_type, first.version);
            Some(("error", file, one.message()))
        });
        receivers.chain(events).collect()
    }

    /// Returns a JSON object for each answer.
    pub(super) fn json(&self) -> Vec<Value> {
        let receivers = self.receivers.iter().map(|one| {
            json!({
                "type": one.event_type.as_str(), "version": one.version,
                "tenants": one.tenants, "endpoints": one.endpoints,
            })
        });
        let events = self.events.iter().map(|one| {
            let first = one.first.as_ref().map(|first| {
                json!({ "event": first.id, "version": first.version, "message": first.why })
            });
            json!({
                "type": one.event_type.as_str(), "judged": one.count, "refused": one.refused, "first": first,
            })
        });
        receivers.chain(events).collect()
    }
}

impl Receivers {
    /// Returns `invoice.paid 2: 41 tenants get it, at 57 endpoints`.
    pub(super) fn message(&self) -> String {
        let name = format!("{} {}", self.event_type, self.version);
        match self.tenants {
            0 => format!("{name}: no tenant gets it"),
            tenants => {
                let verb = if tenants == 1 { "gets" } else { "get" };
                let (tenants, endpoints) = (
                    counted(tenants, "tenant"),
                    counted(self.endpoints, "endpoint"),
                );
                format!("{name}: {tenants} {verb} it, at {endpoints}")
            }
        }
    }
}

impl JudgedEvents {
    /// Returns `invoice.paid: the last 100 events are valid`, or how many would be refused.
    pub(super) fn message(&self) -> String {
        let name = &self.event_type;
        let all = match self.count {
            1 => "the last event".to_owned(),
            count => format!("the last {count} events"),
        };
        match &self.first {
            None if self.count == 1 => format!("{name}: {all} is valid"),
            None => format!("{name}: {all} are valid"),
            Some(first) => {
                let which = match self.count {
                    1 => format!("{all} would be refused:"),
                    _ => format!("{} of {all} would be refused, such as", self.refused),
                };
                let (id, why) = (clean(&first.id), clean(&first.why));
                format!("{name}: {which} {id} in version {}: {why}", first.version)
            }
        }
    }
}

#[cfg(test)]
mod tests;
