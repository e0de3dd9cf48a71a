//! The catalogue of events: which types and versions there are, and how their data looks.
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use serde_json::value::RawValue;

use crate::event::event_type::EventType;
use crate::event::mapping::Mapping;
use crate::event::schema::Schema;

mod compile;
mod file_name;
mod finding;
mod publish;
mod sources;

pub use compile::{MAX_FILE_BYTES, MAX_TOTAL_BYTES};
pub use finding::{Finding, Level};
pub use publish::{Given, OnFault, Policy, PublishFault, Published, PublishedData, version_for};

/// The files of a catalogue: the path below its directory, with `/`, and the bytes.
pub type Files = BTreeMap<String, Vec<u8>>;

/// All types of events, with their versions.
#[derive(Debug, Default)]
pub struct Catalogue {
    types: BTreeMap<EventType, TypeEntry>,
}

/// A type of events.
#[derive(Debug, Default)]
pub struct TypeEntry {
    /// The text of `about.md`.
    pub about: Option<String>,
    /// The versions by number.
    pub versions: BTreeMap<u32, Version>,
    /// The mappings, by the version that they read and the version that they make.
    pub mappings: BTreeMap<(u32, u32), Mapping>,
    /// The versions that the app wants to stop sending.
    pub deprecated: BTreeSet<u32>,
}

/// A version of a type.
#[derive(Debug)]
pub struct Version {
    /// The JSON Schema of the data. It stands alone: shared schemas are in its `$defs`.
    pub document: Value,
    /// The compiled schema.
    pub schema: Schema,
    /// The example as it is written.
    pub example: Option<Box<RawValue>>,
}

impl Catalogue {
    /// Returns the types in the order of their names.
    pub fn types(&self) -> impl ExactSizeIterator<Item = (&EventType, &TypeEntry)> {
        self.types.iter()
    }

    /// Returns a type.
    pub fn get(&self, event_type: &EventType) -> Option<&TypeEntry> {
        self.types.get(event_type)
    }
}

impl TypeEntry {
    /// Returns the first line of `about.md`, without the signs of a heading.
    pub fn summary(&self) -> Option<&str> {
        self.about
            .as_deref()?
            .lines()
            .map(|line| line.trim_start_matches('#').trim())
            .find(|line| !line.is_empty())
    }

    /// Returns the newest version: the one that an endpoint is pinned to when it is made.
    pub fn newest(&self) -> Option<u32> {
        self.versions.keys().next_back().copied()
    }

    /// Returns the lowest version: the one for an endpoint that has no pin.
    pub fn lowest(&self) -> Option<u32> {
        self.versions.keys().next().copied()
    }

    /// Returns the mappings that lead from a version to a lower one, in their order: the fewest that do.
    pub fn mappings_between(&self, from: u32, to: u32) -> Option<Vec<&Mapping>> {
        let mut paths = BTreeMap::from([(from, Vec::new())]);
        let mut newest = vec![from];
        while !newest.is_empty() && !paths.contains_key(&to) {
            let mut next = Vec::new();
            for at in newest {
                for ((_, lower), mapping) in self.mappings.range((at, 0)..=(at, u32::MAX)) {
                    if !paths.contains_key(lower) {
                        let mut path: Vec<&Mapping> = paths.get(&at).cloned().unwrap_or_default();
                        path.push(mapping);
                        paths.insert(*lower, path);
                        next.push(*lower);
                    }
                }
            }
            newest = next;
        }
        paths.remove(&to)
    }
}

#[cfg(test)]
mod tests;
