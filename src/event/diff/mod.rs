//! The changes between two catalogues, and whether they break the receivers of the events.
//!
//! For a sender a change breaks when data that is valid under NEW can be invalid under OLD. It is assumed that fields that NEW does not
//! name are not sent.
mod change;
mod compare;
mod location;
mod number;
mod objects;
mod same;
mod scalars;
mod types;

use serde_json::Value;

use crate::event::catalogue::{Catalogue, TypeEntry, Version};
use crate::event::event_type::EventType;

pub use change::{Change, Verdict};

/// The changes of a type, or of one of its versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The type.
    pub event_type: EventType,
    /// The version; `None` for the type as a whole.
    pub version: Option<u32>,
    /// The changes, the worst first.
    pub changes: Vec<Change>,
}

/// Returns all changes between two catalogues. Types and versions without a change are left out.
pub fn compare(old: &Catalogue, new: &Catalogue) -> Vec<Changes> {
    let mut all = Vec::new();
    for (event_type, old_entry) in old.types() {
        match new.get(event_type) {
            Some(new_entry) => versions(event_type, old_entry, new_entry, &mut all),
            None => all.push(whole(
                event_type,
                None,
                Change::breaking("", "", "the type was removed"),
            )),
        }
    }
    for (event_type, _) in new
        .types()
        .filter(|(event_type, _)| old.get(event_type).is_none())
    {
        all.push(whole(
            event_type,
            None,
            Change::new(Verdict::Safe, "", "", "the type was added"),
        ));
    }
    all.sort_by(|a, b| (&a.event_type, a.version).cmp(&(&b.event_type, b.version)));
    all
}

fn whole(event_type: &EventType, version: Option<u32>, change: Change) -> Changes {
    Changes {
        event_type: event_type.clone(),
        version,
        changes: vec![change],
    }
}

fn versions(event_type: &EventType, old: &TypeEntry, new: &TypeEntry, all: &mut Vec<Changes>) {
    for (number, old_version) in &old.versions {
        let Some(new_version) = new.versions.get(number) else {
            let change = Change::breaking("", "", "the version was removed");
            all.push(whole(event_type, Some(*number), change));
            continue;
        };
        let mut changes = schemas(&old_version.document, &new_version.document);
        changes.extend(example(old_version, new_version));
        changes.sort_by(|a, b| b.verdict.cmp(&a.verdict).then_with(|| a.at.cmp(&b.at)));
        changes.dedup();
        if !changes.is_empty() {
            all.push(Changes {
                event_type: event_type.clone(),
                version: Some(*number),
                changes,
            });
        }
    }
    for (number, version) in &new.versions {
        if old.versions.contains_key(number) {
            continue;
        }
        let change = match new.versions.range(..number).next_back() {
            Some((before, lower)) if needs_mapping(new, (*number, version), (*before, lower)) => {
                Change::new(
                    Verdict::Warning,
                    "",
                    "",
                    format!(
                        "version added; write {number}-to-{before}.yaml: endpoints that are pinned to {before} could not read it"
                    ),
                )
            }
            _ => Change::new(Verdict::Safe, "", "", "version added"),
        };
        all.push(whole(event_type, Some(*number), change));
    }
}

/// Returns whether a version breaks the one before it, and no mapping leads there.
fn needs_mapping(
    entry: &TypeEntry,
    (number, version): (u32, &Version),
    (before, lower): (u32, &Version),
) -> bool {
    let breaks = schemas(&lower.document, &version.document)
        .iter()
        .any(|change| !change.is_safe());
    breaks && entry.mappings_between(number, before).is_none()
}

/// Returns the changes between two schemas whose references all point into themselves.
pub fn schemas(old: &Value, new: &Value) -> Vec<Change> {
    compare::Comparison::run(old, new)
}

/// Returns the change that the example of NEW shows: it must be valid under OLD.
fn example(old: &Version, new: &Version) -> Option<Change> {
    let example: Value = serde_json::from_str(new.example.as_ref()?.get()).ok()?;
    let breach = old.schema.breaches(&example).into_iter().next()?;
    let message = format!("OLD refuses the example of NEW: it {}", breach.message);
    Some(Change::breaking(&breach.at, &breach.keyword, message))
}

#[cfg(test)]
mod tests;
