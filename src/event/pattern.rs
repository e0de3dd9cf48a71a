//! Patterns that select event types, such as `invoice.*`.
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::event::event_type::{EventType, MAX_LENGTH, NotAType};

/// A pattern of event types: a type, a type followed by `.*`, or `*` alone.
///
/// `invoice.*` selects every type with one or more words after `invoice.`, but not `invoice` itself. `*` selects all types.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Cow<'_, str>", into = "String")]
pub struct Pattern(Selection);

/// The types that a pattern selects.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Selection {
    /// Every type.
    All,
    /// One type.
    One(EventType),
    /// The types that begin with this text, which ends with a dot.
    Below(Arc<str>),
}

/// The reason why a text is not a pattern, with the text to write instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAPattern {
    /// It has a `*` that is not the whole last word.
    #[error("`*` stands alone or for the last words: write `*`, `invoice.*` or `invoice.paid`")]
    Star,
    /// It is not a type.
    #[error(transparent)]
    Type(#[from] NotAType),
}

impl Pattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// The text is not a pattern.
    pub fn new(text: &str) -> Result<Self, NotAPattern> {
        if text == "*" {
            return Ok(Self(Selection::All));
        }
        let above = text.strip_suffix(".*");
        let words = above.unwrap_or(text);
        if words.contains('*') {
            return Err(NotAPattern::Star);
        }
        let event_type = EventType::new(words)?;
        Ok(Self(if above.is_some() {
            Selection::Below(format!("{event_type}.").into())
        } else {
            Selection::One(event_type)
        }))
    }

    /// Returns whether the pattern selects this type.
    pub fn matches(&self, event_type: &EventType) -> bool {
        match &self.0 {
            Selection::All => true,
            Selection::One(own) => own == event_type,
            Selection::Below(prefix) => event_type.as_str().starts_with(&**prefix),
        }
    }
}

impl FromStr for Pattern {
    type Err = NotAPattern;

    fn from_str(text: &str) -> Result<Self, NotAPattern> {
        Self::new(text)
    }
}

impl TryFrom<Cow<'_, str>> for Pattern {
    type Error = NotAPattern;

    fn try_from(text: Cow<'_, str>) -> Result<Self, NotAPattern> {
        Self::new(&text)
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.to_string()
    }
}

impl From<EventType> for Pattern {
    fn from(event_type: EventType) -> Self {
        Self(Selection::One(event_type))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Selection::All => f.write_str("*"),
            Selection::One(event_type) => event_type.fmt(f),
            Selection::Below(prefix) => write!(f, "{prefix}*"),
        }
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl JsonSchema for Pattern {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Pattern".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": MAX_LENGTH + 2, "pattern": r"^(\*|[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*(\.\*)?)$" })
    }
}

#[cfg(test)]
mod tests;
