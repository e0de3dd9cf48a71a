//! Validates the data of an event, and makes the versions that endpoints are pinned to.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::value::RawValue;

use crate::event::catalogue::{Catalogue, TypeEntry};
use crate::event::document;
use crate::event::event_type::EventType;
use crate::event::mapping::CannotMap;
use crate::event::schema::{Breach, Schema};

/// The treatment of an event that has a fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFault {
    /// It is refused.
    #[default]
    Refuse,
    /// It is sent, and the fault is reported.
    Warn,
}

/// The treatment of events that do not fit the catalogue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Data that is not valid.
    pub invalid: OnFault,
    /// A type or a version that the catalogue does not have.
    pub unknown: OnFault,
}

/// The data that an app published.
#[derive(Clone, Debug)]
pub enum Given<'d> {
    /// The data of one version; `None` stands for the newest.
    One(Option<u32>, &'d RawValue),
    /// The data of several versions. At least one must be given.
    Many(BTreeMap<u32, &'d RawValue>),
}

/// The data of a version of an event.
#[derive(Clone, Debug)]
pub struct PublishedData {
    /// The data: as it was given, or as a mapping made it.
    pub data: Box<RawValue>,
    /// The version that it was made from; `None` if the app gave it.
    pub mapped_from: Option<u32>,
}

/// An event that may be sent.
#[derive(Clone, Debug)]
pub struct Published {
    /// The newest version that the app gave.
    pub version: u32,
    /// The data by version: all that the app gave, and those made for pins.
    pub versions: BTreeMap<u32, PublishedData>,
    /// The faults that the policy lets pass.
    pub faults: Vec<PublishFault>,
}

/// The reason why an event does not fit the catalogue. It holds no value of the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishFault {
    /// The catalogue has no such type.
    UnknownType(EventType),
    /// The type has no such version.
    UnknownVersion {
        /// The version.
        version: u32,
        /// The versions that there are.
        known: Vec<u32>,
    },
    /// The data is not valid.
    Invalid {
        /// The version whose schema is breached.
        version: u32,
        /// The version that the data was made from by a mapping, if it was.
        mapped_from: Option<u32>,
        /// The first breach.
        breach: Breach,
    },
    /// The data cannot be mapped to a version that an endpoint is pinned to.
    CannotMap {
        /// The version of the data.
        from: u32,
        /// The version of the pin.
        to: u32,
        /// The step that failed.
        why: CannotMap,
    },
    /// No version was given.
    NothingGiven,
}

impl PublishFault {
    /// Returns the code of the fault in the API.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownType(_) => "unknown_type",
            Self::UnknownVersion { .. } => "unknown_version",
            Self::Invalid { .. } | Self::CannotMap { .. } => "invalid_data",
            Self::NothingGiven => "bad_request",
        }
    }

    /// Returns the JSON pointer of the fault in the data.
    pub fn at(&self) -> Option<&str> {
        match self {
            Self::Invalid { breach, .. } => Some(&breach.at),
            Self::UnknownType(_)
            | Self::UnknownVersion { .. }
            | Self::CannotMap { .. }
            | Self::NothingGiven => None,
        }
    }

    /// Returns the remedy.
    pub fn help(&self) -> String {
        match self {
            Self::UnknownType(_) => "add the type to the catalogue, or correct its name".to_owned(),
            Self::UnknownVersion { known, .. } => {
                let known: Vec<String> = known.iter().map(u32::to_string).collect();
                format!("there are versions {}", known.join(", "))
            }
            Self::Invalid {
                mapped_from: None,
                version,
                ..
            } => {
                format!("send data that the schema of version {version} allows")
            }
            Self::Invalid {
                mapped_from: Some(from),
                version,
                ..
            }
            | Self::CannotMap {
                from, to: version, ..
            } => {
                format!("correct {from}-to-{version}.yaml, or publish version {version} yourself")
            }
            Self::NothingGiven => "give the data of one version or more".to_owned(),
        }
    }
}

impl fmt::Display for PublishFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownType(event_type) => write!(f, "the catalogue has no type `{event_type}`"),
            Self::UnknownVersion { version, .. } => write!(f, "the type has no version {version}"),
            Self::Invalid {
                version,
                mapped_from: None,
                breach,
            } => {
                write!(f, "the data is not valid in version {version}: {breach}")
            }
            Self::Invalid {
                version,
                mapped_from: Some(from),
                breach,
            } => write!(
                f,
                "the data of version {from}, mapped to version {version} for an endpoint, is not valid: {breach}"
            ),
            Self::CannotMap { from, to, why } => {
                write!(
                    f,
                    "the data of version {from} cannot be mapped to version {to}: {why}"
                )
            }
            Self::NothingGiven => f.write_str("the event has no data"),
        }
    }
}

impl std::error::Error for PublishFault {}

/// Returns the version that an endpoint gets, of those that there are: its pin, the nearest lower one, or else the lowest. Without a pin it
/// is the lowest.
pub fn version_for(pin: Option<u32>, there_are: impl IntoIterator<Item = u32>) -> Option<u32> {
    let there_are: BTreeSet<u32> = there_are.into_iter().collect();
    let lower = pin.and_then(|pin| there_are.range(..=pin).next_back());
    lower.or_else(|| there_are.first()).copied()
}

impl Published {
    /// Returns an event that no catalogue judges. Data without a version has version 1.
    ///
    /// # Errors
    /// Nothing was given.
    pub fn unchecked(given: &Given<'_>) -> Result<Self, PublishFault> {
        let own = |data: &RawValue| PublishedData {
            data: data.to_owned(),
            mapped_from: None,
        };
        let versions: BTreeMap<u32, PublishedData> = match given {
            Given::One(version, data) => BTreeMap::from([(version.unwrap_or(1), own(data))]),
            Given::Many(many) => many
                .iter()
                .map(|(version, data)| (*version, own(data)))
                .collect(),
        };
        let version = *versions
            .keys()
            .next_back()
            .ok_or(PublishFault::NothingGiven)?;
        Ok(Self {
            version,
            versions,
            faults: Vec::new(),
        })
    }

    /// Returns the version that an endpoint with this pin gets.
    pub fn version_for(&self, pin: Option<u32>) -> u32 {
        version_for(pin, self.versions.keys().copied()).unwrap_or(self.version)
    }
}

impl Given<'_> {
    /// Returns the length of the data of each version, in bytes.
    pub fn lengths(&self) -> Vec<usize> {
        match self {
            Self::One(_, data) => vec![data.get().len()],
            Self::Many(many) => many.values().map(|data| data.get().len()).collect(),
        }
    }
}

impl Catalogue {
    /// Returns the number of versions that [`Self::publish`] makes at most for these pins.
    pub fn made_for(
        &self,
        event_type: &EventType,
        given: &Given<'_>,
        pins: &BTreeSet<Option<u32>>,
    ) -> usize {
        let Some(entry) = self.get(event_type) else {
            return 0;
        };
        let is_given = |version: &u32| match given {
            Given::One(own, _) => own.or_else(|| entry.newest()) == Some(*version),
            Given::Many(many) => many.contains_key(version),
        };
        let wanted = pins.iter().filter_map(|pin| pin.or_else(|| entry.lowest()));
        let wanted: BTreeSet<u32> = wanted
            .filter(|version| entry.versions.contains_key(version) && !is_given(version))
            .collect();
        wanted.len()
    }

    /// Validates an event, and makes the versions for these pins. `None` is the pin of an endpoint that is older than the type.
    ///
    /// # Errors
    /// The event does not fit the catalogue, and the policy refuses such events.
    pub fn publish(
        &self,
        event_type: &EventType,
        given: &Given<'_>,
        pins: &BTreeSet<Option<u32>>,
        policy: Policy,
    ) -> Result<Published, PublishFault> {
        let Some(entry) = self.get(event_type) else {
            let mut published = Published::unchecked(given)?;
            pass(
                policy.unknown,
                PublishFault::UnknownType(event_type.clone()),
                &mut published.faults,
            )?;
            return Ok(published);
        };
        let mut published = match given {
            Given::One(None, data) => Published::unchecked(&Given::One(entry.newest(), data))?,
            Given::One(Some(_), _) | Given::Many(_) => Published::unchecked(given)?,
        };
        for (number, own) in &published.versions {
            let fault = match entry.versions.get(number) {
                None => Some((
                    policy.unknown,
                    PublishFault::UnknownVersion {
                        version: *number,
                        known: entry.versions.keys().copied().collect(),
                    },
                )),
                Some(version) => breach(&version.schema, &own.data).map(|breach| {
                    let fault = PublishFault::Invalid {
                        version: *number,
                        mapped_from: None,
                        breach,
                    };
                    (policy.invalid, fault)
                }),
            };
            if let Some((on_fault, fault)) = fault {
                pass(on_fault, fault, &mut published.faults)?;
            }
        }
        for pin in pins {
            if let Some(pin) = pin.or_else(|| entry.lowest()) {
                entry.make(pin, &mut published, policy.invalid)?;
            }
        }
        Ok(published)
    }
}

impl TypeEntry {
    /// Makes the data of a version by mappings, if the app did not give it and mappings lead to it.
    fn make(
        &self,
        wanted: u32,
        published: &mut Published,
        on_fault: OnFault,
    ) -> Result<(), PublishFault> {
        let Some(version) = self.versions.get(&wanted) else {
            return Ok(());
        };
        if published.versions.contains_key(&wanted) {
            return Ok(());
        }
        // the nearest version above loses the least
        let given = published
            .versions
            .range(wanted..)
            .filter(|(_, own)| own.mapped_from.is_none());
        let source = given
            .filter_map(|(from, own)| Some((*from, own, self.mappings_between(*from, wanted)?)))
            .next();
        let Some((from, own, mappings)) = source else {
            return Ok(());
        };
        let mut data = own.data.clone();
        for mapping in mappings {
            match mapping.apply(&data) {
                Ok(mapped) => data = mapped,
                Err(why) => {
                    let fault = PublishFault::CannotMap {
                        from,
                        to: wanted,
                        why,
                    };
                    return pass(on_fault, fault, &mut published.faults);
                }
            }
        }
        if let Some(breach) = breach(&version.schema, &data) {
            let fault = PublishFault::Invalid {
                version: wanted,
                mapped_from: Some(from),
                breach,
            };
            pass(on_fault, fault, &mut published.faults)?;
        }
        let mapped_from = Some(from);
        published
            .versions
            .insert(wanted, PublishedData { data, mapped_from });
        Ok(())
    }
}

/// Returns the first breach of a schema by some data.
fn breach(schema: &Schema, data: &RawValue) -> Option<Breach> {
    match document::parse(data.get().as_bytes()) {
        Ok(value) if schema.is_valid(&value) => None,
        Ok(value) => schema.breaches(&value).into_iter().next().or_else(|| {
            Some(Breach {
                at: String::new(),
                keyword: String::new(),
                message: "is not valid".to_owned(),
            })
        }),
        Err(fault) => Some(Breach {
            at: String::new(),
            keyword: String::new(),
            message: format!("is not valid: {fault}"),
        }),
    }
}

/// Lets a fault pass, or refuses the event.
fn pass(
    on_fault: OnFault,
    fault: PublishFault,
    faults: &mut Vec<PublishFault>,
) -> Result<(), PublishFault> {
    match on_fault {
        OnFault::Refuse => Err(fault),
        OnFault::Warn => {
            faults.push(fault);
            Ok(())
        }
    }
}
