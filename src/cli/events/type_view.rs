//! A type of events as it is shown.
use crate::event::EventType;
use crate::event::catalogue::TypeEntry;
use crate::event::fields::{self, Field};

/// The part of a type that is listed or shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TypeView {
    /// The type.
    pub(super) name: String,
    /// The first line of its description.
    pub(super) summary: Option<String>,
    /// Its versions.
    pub(super) versions: Vec<u32>,
    /// The versions that the app wants to stop sending.
    pub(super) deprecated: Vec<u32>,
    /// The versions between which there are mappings: from and to.
    pub(super) mappings: Vec<(u32, u32)>,
    /// The fields of the newest version.
    pub(super) fields: Vec<Field>,
}

impl TypeView {
    /// Returns the view of a type of a catalogue.
    pub(super) fn of(event_type: &EventType, entry: &TypeEntry) -> Self {
        let newest = entry.versions.values().next_back();
        Self {
            name: event_type.to_string(),
            summary: entry.summary().map(str::to_owned),
            versions: entry.versions.keys().copied().collect(),
            deprecated: entry.deprecated.iter().copied().collect(),
            mappings: entry.mappings.keys().copied().collect(),
            fields: newest
                .map(|version| fields::list(&version.document))
                .unwrap_or_default(),
        }
    }
}
