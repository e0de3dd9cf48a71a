//! Pins: the version of each type that an endpoint gets.
//!
//! An endpoint is pinned to the newest version of each type that it begins to get, so that no new version reaches it by itself. A type with
//! one version needs no pin: without one, an endpoint gets the lowest version.
use std::collections::BTreeMap;

use crate::event::EventType;
use crate::event::catalogue::{Catalogue, PublishFault};
use crate::tenant::settings::EndpointSettings;

/// The pins by type.
pub type Pins = BTreeMap<EventType, u16>;

/// Returns the pins of an endpoint that gets the types of `now`. `before` is how it was, if it was there; `given` are the pins that the request
/// has, which win. A type that it got before keeps its pin, and gets none if it had none.
pub fn pins(
    before: Option<&EndpointSettings>,
    now: &EndpointSettings,
    given: &Pins,
    catalogue: Option<&Catalogue>,
) -> Pins {
    let mut pins = given.clone();
    let got = |event_type: &EventType| before.is_some_and(|before| before.wants(event_type));
    for (event_type, version) in before.iter().flat_map(|before| &before.versions) {
        // a type that it does not get any more is a new one if it gets it again
        if now.wants(event_type) || !got(event_type) {
            pins.entry(event_type.clone()).or_insert(*version);
        }
    }
    for (event_type, entry) in catalogue.iter().flat_map(|catalogue| catalogue.types()) {
        let newest = entry
            .newest()
            .and_then(|newest| u16::try_from(newest).ok())
            .filter(|_| entry.versions.len() > 1);
        if let Some(newest) = newest
            && now.wants(event_type)
            && !got(event_type)
        {
            pins.entry(event_type.clone()).or_insert(newest);
        }
    }
    pins
}

/// Checks that the catalogue has the versions that a request pins. Pins that the endpoint has already are not checked: the catalogue may
/// have lost them since.
///
/// # Errors
/// The first type or version that the catalogue does not have.
pub fn check(
    before: Option<&EndpointSettings>,
    given: &Pins,
    catalogue: &Catalogue,
) -> Result<(), (EventType, PublishFault)> {
    for (event_type, version) in given {
        let known = before.and_then(|before| before.versions.get(event_type));
        if known == Some(version) {
            continue;
        }
        let fault = match catalogue.get(event_type) {
            None => PublishFault::UnknownType(event_type.clone()),
            Some(entry) if entry.versions.contains_key(&u32::from(*version)) => continue,
            Some(entry) => PublishFault::UnknownVersion {
                version: u32::from(*version),
                known: entry.versions.keys().copied().collect(),
            },
        };
        return Err((event_type.clone(), fault));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
