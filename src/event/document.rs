//! The check that a JSON document means the same to every parser: no key twice in an object, no text that only some parsers read.
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::event::pointer;

/// The number of keys of an object that are compared one by one. Above it they are hashed.
const FEW_KEYS: usize = 16;
/// The first part of the keys that the JSON parser gives a meaning of its own.
const PARSER_KEY: &str = "$serde_json::private::";

/// The fault of a document. It never holds a value of the document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentFault {
    /// It is not JSON, or nested too deeply.
    #[error("this is not JSON, or is nested more than 100 levels deep")]
    NotJson {
        /// The line of the fault, counted from 1.
        line: usize,
        /// The column of the fault, counted in bytes from 1.
        column: usize,
    },
    /// An object has a key twice.
    #[error("the object at `{}` has a key twice", pointer::shown(.at))]
    RepeatedKey {
        /// The JSON pointer of the object.
        at: String,
        /// The line of the repeated key.
        line: usize,
        /// The column of the repeated key.
        column: usize,
    },
    /// An object has a key that is reserved.
    #[error("the object at `{}` has a key that begins with `{}`, which is reserved", pointer::shown(.at), PARSER_KEY)]
    ReservedKey {
        /// The JSON pointer of the object.
        at: String,
        /// The line of the key.
        line: usize,
        /// The column of the key.
        column: usize,
    },
}

impl DocumentFault {
    /// Returns the line and the column of the fault.
    pub fn position(&self) -> (usize, usize) {
        match self {
            Self::NotJson { line, column }
            | Self::RepeatedKey { line, column, .. }
            | Self::ReservedKey { line, column, .. } => (*line, *column),
        }
    }
}

/// Checks a JSON document without building it.
///
/// # Errors
/// The first fault.
pub fn check(json: &[u8]) -> Result<(), DocumentFault> {
    let mut found = None;
    let mut reader = serde_json::Deserializer::from_slice(json);
    let checked = Walk(&mut found)
        .deserialize(&mut reader)
        .and_then(|()| reader.end());
    let Err(error) = checked else {
        return Ok(());
    };
    let (line, column) = (error.line(), error.column());
    Err(match found {
        Some((Kind::Repeated, at)) => DocumentFault::RepeatedKey { at, line, column },
        Some((Kind::Reserved, at)) => DocumentFault::ReservedKey { at, line, column },
        None => DocumentFault::NotJson { line, column },
    })
}

/// Checks a JSON document and builds it.
///
/// # Errors
/// The first fault.
pub fn parse(json: &[u8]) -> Result<Value, DocumentFault> {
    check(json)?;
    serde_json::from_slice(json).map_err(|error| DocumentFault::NotJson {
        line: error.line(),
        column: error.column(),
    })
}

/// The kind of a key that must not be.
enum Kind {
    Repeated,
    Reserved,
}

/// Walks a value. The place of a fault is built from the inside out, so that a good document costs nothing.
struct Walk<'f>(&'f mut Option<(Kind, String)>);

impl Walk<'_> {
    /// Puts a step in front of the place of a fault.
    fn inside(self, step: &str) {
        if let Some((_, at)) = self.0 {
            at.insert_str(0, &pointer::step(step));
        }
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut index = 0_usize;
        loop {
            match list.next_element_seed(Walk(self.0)) {
                Ok(Some(())) => index += 1,
                Ok(None) => return Ok(()),
                Err(error) => {
                    self.inside(&index.to_string());
                    return Err(error);
                }
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut keys = Keys::default();
        while let Some(key) = map.next_key_seed(Key)? {
            if key.starts_with(PARSER_KEY) {
                *self.0 = Some((Kind::Reserved, String::new()));
                return Err(A::Error::custom("reserved key"));
            }
            if keys.contains(&key) {
                *self.0 = Some((Kind::Repeated, String::new()));
                return Err(A::Error::custom("repeated key"));
            }
            if let Err(error) = map.next_value_seed(Walk(self.0)) {
                self.inside(&key);
                return Err(error);
            }
            keys.add(key);
        }
        Ok(())
    }
}

/// The keys of one object.
#[derive(Default)]
struct Keys<'de> {
    few: Vec<Cow<'de, str>>,
    many: HashSet<Cow<'de, str>>,
}

impl<'de> Keys<'de> {
    fn contains(&self, key: &str) -> bool {
        self.few.iter().any(|known| known == key) || self.many.contains(key)
    }

    fn add(&mut self, key: Cow<'de, str>) {
        if self.few.len() < FEW_KEYS {
            self.few.push(key);
        } else {
            self.many.insert(key);
        }
    }
}

/// Reads a key, its escapes resolved.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}

#[cfg(test)]
mod tests;
