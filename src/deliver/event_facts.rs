//! The facts of a stored event, and the version that an endpoint gets.
use crate::event::catalogue::version_for;
use crate::store::queue::Stored;
use crate::store::record::Record;

/// The fact of an event's record that says which version of its type the stored body has.
pub(crate) const VERSION: &str = "version";
/// The fact that lists the other versions that are stored, separated by commas.
pub(crate) const VERSIONS: &str = "versions";
/// The fact that says at which byte of the body its data begins.
pub(crate) const DATA_AT: &str = "data_at";

/// The fact that marks an event that a person made to test an endpoint.
pub(crate) const TEST: &str = "test";

/// Returns whether an event was made to test an endpoint. It is for no other one, and is never sent again.
pub(super) fn is_test(record: &Record) -> bool {
    record.fact(TEST.as_bytes()).is_some()
}

/// The facts of an event that its requests are made of.
pub(crate) struct EventFacts {
    /// The version of the stored body.
    pub(crate) version: u16,
    /// The other versions, sorted.
    others: Vec<u16>,
    /// The offset of the data in the body.
    pub(crate) data_at: usize,
}

impl EventFacts {
    /// Reads the facts of a stored event.
    pub(crate) fn of(stored: &Stored) -> Self {
        let fact = |name: &str| {
            let facts = &stored.record.facts;
            let found = facts.iter().find(|(known, _)| known == name.as_bytes());
            found.and_then(|(_, value)| std::str::from_utf8(value).ok())
        };
        let mut others: Vec<u16> = fact(VERSIONS)
            .unwrap_or_default()
            .split(',')
            .filter_map(|version| version.parse().ok())
            .collect();
        others.sort_unstable();
        Self {
            version: fact(VERSION)
                .and_then(|text| text.parse().ok())
                .unwrap_or(1),
            others,
            data_at: fact(DATA_AT)
                .and_then(|text| text.parse().ok())
                .unwrap_or(0),
        }
    }
}

/// Returns the version that an endpoint gets, by the rule of the catalogue.
pub(super) fn chosen(pin: Option<u16>, facts: &EventFacts) -> u16 {
    let all = facts.others.iter().copied().chain([facts.version]);
    version_for(pin.map(u32::from), all.map(u32::from))
        .and_then(|version| u16::try_from(version).ok())
        .unwrap_or(facts.version)
}
