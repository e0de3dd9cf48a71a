//! The data of an event, held against a catalogue.
use serde_json::Value;

use crate::event::EventType;
use crate::event::catalogue::{Catalogue, TypeEntry};

/// The verdict on the data of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DataVerdict {
    /// It is valid in this version: the newest one in which it is.
    Valid(u32),
    /// It is valid in no version.
    Invalid {
        /// The newest version.
        version: Option<u32>,
        /// The JSON pointer of the first breach of that version.
        at: Option<String>,
        /// The breach in words.
        message: String,
    },
}

/// Holds the body of an event against a catalogue: an envelope with `type` and `data`, or the data of the type that a header names.
pub(super) fn check(catalogue: &Catalogue, body: &[u8], named: Option<&str>) -> DataVerdict {
    let invalid = |message: String| DataVerdict::Invalid {
        version: None,
        at: None,
        message,
    };
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        return invalid("the body is not JSON".to_owned());
    };
    let inside = body.get("type").and_then(Value::as_str);
    let (name, data) = match (inside, body.get("data")) {
        (Some(name), Some(data)) => (name, data),
        _ => match named {
            Some(name) => (name, &body),
            None => return invalid("the event has no type".to_owned()),
        },
    };
    let entry = EventType::new(name)
        .ok()
        .and_then(|event_type| catalogue.get(&event_type));
    match entry {
        Some(entry) => of_type(entry, data),
        None => invalid("the catalogue does not have this type".to_owned()),
    }
}

fn of_type(entry: &TypeEntry, data: &Value) -> DataVerdict {
    let newest_first = || entry.versions.iter().rev();
    let valid = newest_first().find(|(_, version)| version.schema.is_valid(data));
    if let Some((number, _)) = valid {
        return DataVerdict::Valid(*number);
    }
    let breach = newest_first().find_map(|(number, version)| {
        let breach = version.schema.breaches(data).into_iter().next()?;
        Some((*number, breach))
    });
    match breach {
        Some((number, breach)) => DataVerdict::Invalid {
            version: Some(number),
            message: breach.to_string(),
            at: Some(breach.at),
        },
        None => DataVerdict::Invalid {
            version: None,
            at: None,
            message: "the type has no version".to_owned(),
        },
    }
}

impl DataVerdict {
    /// Returns whether it is valid in a version.
    pub(super) fn is_valid(&self) -> bool {
        matches!(self, Self::Valid(_))
    }

    /// Describes the verdict: `valid 2`, or `invalid in version 2: /amount is not an integer`.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Valid(version) => format!("data valid in version {version}"),
            Self::Invalid {
                version: Some(version),
                message,
                ..
            } => format!("data not valid in version {version}: {message}"),
            Self::Invalid {
                version: None,
                message,
                ..
            } => message.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::catalogue::Files;

    fn catalogue() -> Catalogue {
        let file = |name: &str, text: &str| (format!("invoice.paid/{name}"), text.into());
        let schema = |kind: &str| {
            format!(
                r#"{{"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "properties": {{"amount": {{"type": "{kind}"}}}}, "required": ["amount"]}}"#
            )
        };
        let files: Files = [
            file("1.schema.json", &schema("string")),
            file("2.schema.json", &schema("integer")),
        ]
        .into();
        Catalogue::compile(&files).0
    }

    #[test]
    fn data_is_held_against_each_version() {
        let catalogue = catalogue();
        for (body, named, expected) in [
            (
                r#"{"type":"invoice.paid","data":{"amount":1}}"#,
                None,
                "data valid in version 2",
            ),
            (
                r#"{"type":"invoice.paid","data":{"amount":"1"}}"#,
                None,
                "data valid in version 1",
            ),
            (
                r#"{"amount":1}"#,
                Some("invoice.paid"),
                "data valid in version 2",
            ),
            (
                r#"{"type":"order.paid","data":{}}"#,
                None,
                "the catalogue does not have this type",
            ),
            (r#"{"amount":1}"#, None, "the event has no type"),
            ("{", None, "the body is not JSON"),
        ] {
            let found = check(&catalogue, body.as_bytes(), named);
            assert_eq!(found.describe(), expected, "{body}");
        }
        let body = br#"{"type":"invoice.paid","data":{"amount":"secret","b":true}}"#;
        assert_eq!(check(&catalogue, body, None), DataVerdict::Valid(1));
        let body = br#"{"type":"invoice.paid","data":{"amount":true}}"#;
        let DataVerdict::Invalid {
            version,
            at,
            message,
        } = check(&catalogue, body, None)
        else {
            panic!("it is valid");
        };
        assert_eq!((version, at.as_deref()), (Some(2), Some("/amount")));
        assert!(message.contains("/amount"), "{message}");
    }
}
