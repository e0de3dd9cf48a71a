//! The settings of tenants and endpoints, as the API takes them and the store keeps them.
mod tenant;

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::event::{EventType, Pattern};
use crate::tenant::fields::{
    self, Invalid, choice, flag, line, list, number, object, or_default, pointer, small, text,
    unknown_field,
};
use crate::tenant::texts::optional_rate;
use crate::units::Rate;

pub use tenant::{MAX_ENDPOINTS, TenantLimits, TenantSettings};

/// The most patterns of an endpoint.
const MAX_PATTERNS: usize = 100;
/// The most pinned versions of an endpoint.
pub const MAX_VERSIONS: usize = 2_000;
/// The most attempts at once that an endpoint may ask for. The config may bound it further.
const MAX_CONCURRENCY: u32 = 64;
/// The longest time of an attempt, in seconds.
const MAX_TIMEOUT: u64 = 30;
/// The longest description, in characters.
const MAX_DESCRIPTION: usize = 1_000;
/// The longest name of a scheme.
const MAX_SCHEME: usize = 64;

/// The form in which an endpoint gets an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Payload {
    /// An object with type, timestamp and data.
    #[default]
    Envelope,
    /// The data alone.
    Raw,
}

/// The behaviour of an endpoint after an event whose attempts are exhausted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnDead {
    /// The next events are sent.
    #[default]
    Continue,
    /// The endpoint is paused.
    Pause,
}

/// The scheme that signs the events of an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Sign {
    /// Standard Webhooks.
    #[default]
    Standard,
    /// A scheme of the config, by its name.
    Scheme(Box<str>),
}

impl Sign {
    /// The name of Standard Webhooks.
    pub const STANDARD: &'static str = "standard";

    /// Returns the name.
    pub fn name(&self) -> &str {
        match self {
            Self::Standard => Self::STANDARD,
            Self::Scheme(name) => name,
        }
    }
}

impl From<String> for Sign {
    fn from(name: String) -> Self {
        if name == Self::STANDARD {
            Self::Standard
        } else {
            Self::Scheme(name.into())
        }
    }
}

impl From<Sign> for String {
    fn from(sign: Sign) -> Self {
        sign.name().to_owned()
    }
}

impl JsonSchema for Sign {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Sign".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": MAX_SCHEME, "default": Self::STANDARD })
    }
}

/// The settings of an endpoint. The URL, the secrets and the values of headers are kept apart from them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EndpointSettings {
    /// The types that it gets.
    #[schemars(length(min = 1, max = 100))]
    pub types: Vec<Pattern>,
    /// The version of each type that it gets.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, u16>", extend("maxProperties" = MAX_VERSIONS))]
    pub versions: BTreeMap<EventType, u16>,
    /// The form in which it gets them.
    pub payload: Payload,
    /// The scheme that signs them: `standard`, or the name of a scheme of the config.
    pub sign: Sign,
    /// The most attempts in a time, such as `20/s`.
    #[serde(with = "optional_rate", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub rate: Option<Rate>,
    /// The most attempts at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 64))]
    pub concurrency: Option<u32>,
    /// Whether events are sent one after the other, in the order in which they were accepted.
    pub ordered: bool,
    /// The behaviour after an event whose attempts are exhausted.
    pub on_dead: OnDead,
    /// The longest time of an attempt, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 30))]
    pub timeout: Option<u64>,
    /// A description for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000))]
    pub description: Option<String>,
}

impl Default for EndpointSettings {
    fn default() -> Self {
        Self {
            types: Pattern::new("*").into_iter().collect(),
            versions: BTreeMap::new(),
            payload: Payload::default(),
            sign: Sign::default(),
            rate: None,
            concurrency: None,
            ordered: false,
            on_dead: OnDead::default(),
            timeout: None,
            description: None,
        }
    }
}

impl EndpointSettings {
    /// The names of the fields.
    pub const FIELDS: [&'static str; 10] = [
        "types",
        "versions",
        "payload",
        "sign",
        "rate",
        "concurrency",
        "ordered",
        "on_dead",
        "timeout",
        "description",
    ];

    /// Reads all fields. A field that is missing or `null` has its default.
    ///
    /// # Errors
    /// The first field that cannot be used.
    pub fn read(fields: &Map<String, Value>) -> Result<Self, Invalid> {
        Self::default().changed(fields)
    }

    /// Returns the settings with these fields changed. A field that is `null` gets its default.
    ///
    /// # Errors
    /// The first field that cannot be used.
    pub fn changed(&self, fields: &Map<String, Value>) -> Result<Self, Invalid> {
        let mut changed = self.clone();
        for (name, value) in fields {
            changed.set(name, value)?;
        }
        if changed.on_dead == OnDead::Pause && !changed.ordered {
            return Err(Invalid::new(
                "/on_dead",
                "`pause` is for endpoints that get their events in order",
                "write `\"ordered\": true` as well, or `\"on_dead\": \"continue\"`",
            ));
        }
        Ok(changed)
    }

    /// Sets a field.
    fn set(&mut self, name: &str, value: &Value) -> Result<(), Invalid> {
        let at = &pointer("", name);
        let default = Self::default();
        match name {
            "types" => self.types = or_default(value, at, default.types, patterns)?,
            "versions" => self.versions = or_default(value, at, default.versions, versions)?,
            "payload" => {
                let choices = [("envelope", Payload::Envelope), ("raw", Payload::Raw)];
                let read = |value, at: &str| choice(value, at, &choices);
                self.payload = or_default(value, at, default.payload, read)?;
            }
            "sign" => self.sign = or_default(value, at, default.sign, sign)?,
            "rate" => {
                self.rate = or_default(value, at, None, |v, at| fields::rate(v, at).map(Some))?;
            }
            "concurrency" => {
                let read = |value, at: &str| small(value, at, MAX_CONCURRENCY).map(Some);
                self.concurrency = or_default(value, at, None, read)?;
            }
            "ordered" => self.ordered = or_default(value, at, default.ordered, flag)?,
            "on_dead" => {
                let choices = [("continue", OnDead::Continue), ("pause", OnDead::Pause)];
                let read = |value, at: &str| choice(value, at, &choices);
                self.on_dead = or_default(value, at, default.on_dead, read)?;
            }
            "timeout" => {
                let read = |value, at: &str| number(value, at, 1..=MAX_TIMEOUT).map(Some);
                self.timeout = or_default(value, at, None, read)?;
            }
            "description" => {
                let read = |value, at: &str| line(value, at, MAX_DESCRIPTION).map(owned);
                self.description = or_default(value, at, None, read)?;
            }
            _ => return Err(unknown_field("", name, &Self::FIELDS)),
        }
        Ok(())
    }

    /// Returns whether the endpoint gets events of this type.
    pub fn wants(&self, event_type: &EventType) -> bool {
        self.types.iter().any(|pattern| pattern.matches(event_type))
    }

    /// Returns the text that the store keeps.
    pub fn to_json(&self) -> String {
        stored(self)
    }

    /// Reads the text that the store keeps.
    ///
    /// # Errors
    /// The text is not that of this version.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

/// Returns settings as JSON. Their maps have texts as keys, so it cannot fail.
fn stored(settings: &impl Serialize) -> String {
    serde_json::to_string(settings).unwrap_or_default()
}

/// Returns a text of its own; none for an empty one.
fn owned(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// Reads patterns. A repeated one counts once.
pub(super) fn patterns(value: &Value, at: &str) -> Result<Vec<Pattern>, Invalid> {
    let mut patterns = Vec::new();
    for (index, value) in list(value, at, MAX_PATTERNS)?.iter().enumerate() {
        let at = &pointer(at, &index.to_string());
        let pattern = Pattern::new(text(value, at)?)
            .map_err(|why| Invalid::new(at, "this selects no event types", why.to_string()))?;
        if !patterns.contains(&pattern) {
            patterns.push(pattern);
        }
    }
    if patterns.is_empty() {
        return Err(Invalid::new(
            at,
            "the endpoint would get no event",
            "write the types that it gets, such as `[\"invoice.*\"]`, or `[\"*\"]` for all",
        ));
    }
    Ok(patterns)
}

/// Reads versions by type.
fn versions(value: &Value, at: &str) -> Result<BTreeMap<EventType, u16>, Invalid> {
    let object = object(value, at)?;
    if object.len() > MAX_VERSIONS {
        return Err(Invalid::new(
            at,
            "there are too many versions",
            format!("write at most {MAX_VERSIONS}"),
        ));
    }
    let read = |(name, version): (&String, &Value)| {
        let at = &pointer(at, name);
        let event_type = EventType::new(name)
            .map_err(|why| Invalid::new(at, "this is no event type", why.to_string()))?;
        let version = number(version, at, 1..=u64::from(u16::MAX))?;
        Ok((event_type, u16::try_from(version).unwrap_or(u16::MAX)))
    };
    object.iter().map(read).collect()
}

/// Reads the name of a scheme. The caller checks that the config has it.
fn sign(value: &Value, at: &str) -> Result<Sign, Invalid> {
    let name = line(value, at, MAX_SCHEME)?;
    if name.is_empty() {
        let help = "write `standard`, or the name of a scheme of `outbound.schemes`";
        return Err(Invalid::new(at, "the name of the scheme is missing", help));
    }
    Ok(Sign::from(name.to_owned()))
}

#[cfg(test)]
mod tests;
