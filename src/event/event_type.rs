//! The name of a kind of event, such as `invoice.paid`.
use std::borrow::{Borrow, Cow};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The largest length of a type, in bytes.
pub(super) const MAX_LENGTH: usize = 128;
/// The first word of the gateway's own events.
const RESERVED: &str = "hookgate";

/// The type of an event: words of letters, digits and `_`, joined by dots.
///
/// Types that begin with `hookgate` as their first word are the gateway's own, and cannot be made here.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Cow<'_, str>", into = "String")]
pub struct EventType(Arc<str>);

/// The reason why a text is not an event type, with the text to write instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAType {
    /// It is empty.
    #[error("an event type is missing: write one such as `invoice.paid`")]
    Empty,
    /// It is too long.
    #[error("an event type has at most {} characters", MAX_LENGTH)]
    TooLong,
    /// It has another character, or two dots without a word between them.
    #[error(
        "an event type is words of letters, digits and `_`, joined by dots: write one such as `invoice.paid`"
    )]
    Malformed,
    /// Its first word is reserved.
    #[error(
        "event types that begin with `hookgate` are reserved for the gateway: choose another first word"
    )]
    Reserved,
}

impl EventType {
    /// Parses a type.
    ///
    /// # Errors
    /// The text is not a type, or the type is reserved.
    pub fn new(text: &str) -> Result<Self, NotAType> {
        if text.is_empty() {
            return Err(NotAType::Empty);
        }
        if text.len() > MAX_LENGTH {
            return Err(NotAType::TooLong);
        }
        if !text.split('.').all(is_word) {
            return Err(NotAType::Malformed);
        }
        if text.split('.').next() == Some(RESERVED) {
            return Err(NotAType::Reserved);
        }
        Ok(Self(text.into()))
    }

    /// Returns the type of the gateway's own test event, which cannot be published.
    pub fn test() -> Self {
        Self("hookgate.test".into())
    }

    /// Returns the type as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns whether the text is a word of a type.
fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl FromStr for EventType {
    type Err = NotAType;

    fn from_str(text: &str) -> Result<Self, NotAType> {
        Self::new(text)
    }
}

impl TryFrom<Cow<'_, str>> for EventType {
    type Error = NotAType;

    fn try_from(text: Cow<'_, str>) -> Result<Self, NotAType> {
        Self::new(&text)
    }
}

impl From<EventType> for String {
    fn from(event_type: EventType) -> Self {
        event_type.as_str().to_owned()
    }
}

impl AsRef<str> for EventType {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for EventType {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl JsonSchema for EventType {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "EventType".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": MAX_LENGTH, "pattern": r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$" })
    }
}

#[cfg(test)]
mod tests;
