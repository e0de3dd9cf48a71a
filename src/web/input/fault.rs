//! The reasons for which serde refuses a value, without the value.
use axum::http::StatusCode;

use crate::web::problem::{Problem, quoted};

/// The hint of errors that have no better one.
pub(super) const HELP: &str = "the API's OpenAPI document describes all requests";

/// A reason for which a value is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// There is no such field; and the fields that there are, in words.
    Unknown {
        /// The name.
        name: String,
        /// The names of the fields, in words.
        fields: String,
    },
    /// A field is missing.
    Missing(String),
    /// A field is there twice.
    Repeated(String),
    /// The value is of another type or out of bounds; and what it must be.
    Other(Option<String>),
}

impl Fault {
    /// Reads a message of serde. It is the only place where serde says what it expected; the value in front of that is left out.
    ///
    /// A message of a type of ours is shown if it begins with `must be `: such a message contains no value.
    pub(super) fn read(message: &str) -> Self {
        let unknown = |name: &str, fields: &str| Self::Unknown {
            name: name.to_owned(),
            fields: fields.to_owned(),
        };
        let closed = |text: &str| text.strip_suffix('`').unwrap_or(text).to_owned();
        if let Some(text) = message.strip_prefix("unknown field `") {
            if let Some(name) = text.strip_suffix("`, there are no fields") {
                return unknown(name, "");
            }
            let (name, fields) = text.rsplit_once("`, expected ").unwrap_or((text, ""));
            return unknown(name, fields);
        }
        if let Some(text) = message.strip_prefix("missing field `") {
            return Self::Missing(closed(text));
        }
        if let Some(text) = message.strip_prefix("duplicate field `") {
            return Self::Repeated(closed(text));
        }
        let serdes_own = [
            "invalid type: ",
            "invalid value: ",
            "invalid length ",
            "unknown variant `",
        ];
        if serdes_own.iter().any(|start| message.starts_with(start)) {
            // the program's text stands behind the value
            let expected = message.rsplit_once(", expected ");
            return Self::Other(expected.map(|(_, expected)| words(expected)));
        }
        Self::Other(message.strip_prefix("must be ").map(str::to_owned))
    }

    /// Makes the error response for a value that `place` names.
    pub(super) fn problem(self, place: &str) -> Problem {
        match self {
            Self::Unknown { name, fields } => {
                let error = format!("there is no field {}", quoted(&name));
                match fields.is_empty() {
                    true => Problem::bad_request(error, "leave it out; there are no fields"),
                    false => Problem::bad_request(error, format!("write {fields}")),
                }
            }
            Self::Missing(name) => {
                Problem::bad_request(format!("{} is missing", quoted(&name)), HELP)
            }
            Self::Repeated(name) => Problem::new(
                StatusCode::BAD_REQUEST,
                "repeated_key",
                format!("{} is there twice", quoted(&name)),
                "send each field once",
            ),
            Self::Other(Some(words)) => {
                Problem::bad_request(format!("{place} must be {words}"), HELP)
            }
            Self::Other(None) => Problem::bad_request(format!("{place} is not valid"), HELP),
        }
    }
}

/// Returns what serde expected, in the words of JSON.
fn words(expected: &str) -> String {
    let plain = match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number from 0 on",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "`true` or `false`",
        "a sequence" => "a list",
        "a map" => "an object",
        "unit" => "`null`",
        text if text.starts_with("struct ") => "an object",
        text => text,
    };
    plain.to_owned()
}
