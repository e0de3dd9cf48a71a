//! Readers of JSON fields. An error has the place as a JSON pointer and says what to write, and never shows the value.
use std::borrow::Cow;
use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::units::{self, Rate};

/// A field that cannot be used. It shows names of fields, never a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {error}; {help}")]
pub struct Invalid {
    /// The JSON pointer to the field; empty for the whole document.
    pub at: String,
    /// The fault.
    pub error: Cow<'static, str>,
    /// The text to write instead.
    pub help: Cow<'static, str>,
}

impl Invalid {
    /// Makes an error.
    pub fn new(
        at: impl Into<String>,
        error: impl Into<Cow<'static, str>>,
        help: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            at: at.into(),
            error: error.into(),
            help: help.into(),
        }
    }
}

/// Returns the pointer to `key` in the object at `at`.
pub(super) fn pointer(at: &str, key: &str) -> String {
    format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// Returns the error for a field that `known` does not list.
pub fn unknown_field(at: &str, name: &str, known: &[&str]) -> Invalid {
    let nearest = known
        .iter()
        .map(|known| (strsim::damerau_levenshtein(known, name), known))
        .filter(|(distance, known)| *distance <= known.len() / 3)
        .min();
    let help = match nearest {
        Some((_, known)) => format!("did you mean `{known}`?"),
        None => format!("the fields are `{}`", known.join("`, `")),
    };
    Invalid::new(pointer(at, name), "there is no such field", help)
}

/// Returns the object.
pub(super) fn object<'v>(value: &'v Value, at: &str) -> Result<&'v Map<String, Value>, Invalid> {
    value
        .as_object()
        .ok_or_else(|| Invalid::new(at, "this must be an object", "write `{…}`"))
}

/// Returns the values of a list that has at most `most`.
pub(super) fn list<'v>(value: &'v Value, at: &str, most: usize) -> Result<&'v [Value], Invalid> {
    let values = value
        .as_array()
        .ok_or_else(|| Invalid::new(at, "this must be a list", "write `[…]`"))?;
    if values.len() > most {
        return Err(Invalid::new(
            at,
            "the list is too long",
            format!("write at most {most}"),
        ));
    }
    Ok(values)
}

/// Returns a text of one line that has at most `most` characters.
pub(super) fn line<'v>(value: &'v Value, at: &str, most: usize) -> Result<&'v str, Invalid> {
    let text = text(value, at)?;
    if text.chars().count() > most {
        return Err(Invalid::new(
            at,
            "the text is too long",
            format!("write at most {most} characters"),
        ));
    }
    if text.chars().any(char::is_control) {
        return Err(Invalid::new(
            at,
            "the text has a control character",
            "write one line",
        ));
    }
    Ok(text)
}

/// Returns the text.
pub(super) fn text<'v>(value: &'v Value, at: &str) -> Result<&'v str, Invalid> {
    value
        .as_str()
        .ok_or_else(|| Invalid::new(at, "this must be a string", "write `\"…\"`"))
}

/// Returns the number, if it is whole and within the range.
pub(super) fn number(value: &Value, at: &str, range: RangeInclusive<u64>) -> Result<u64, Invalid> {
    value
        .as_u64()
        .filter(|number| range.contains(number))
        .ok_or_else(|| {
            Invalid::new(
                at,
                "this number cannot be used",
                format!(
                    "write a whole number from {} to {}",
                    range.start(),
                    range.end()
                ),
            )
        })
}

/// Returns the number, if it is whole, positive and fits.
pub(super) fn small(value: &Value, at: &str, most: u32) -> Result<u32, Invalid> {
    let found = number(value, at, 1..=u64::from(most))?;
    Ok(u32::try_from(found).unwrap_or(most))
}

/// Returns whether the value is `true`.
pub(super) fn flag(value: &Value, at: &str) -> Result<bool, Invalid> {
    value
        .as_bool()
        .ok_or_else(|| Invalid::new(at, "this must be true or false", "write `true` or `false`"))
}

/// Returns the rate.
pub(super) fn rate(value: &Value, at: &str) -> Result<Rate, Invalid> {
    units::rate(text(value, at)?).map_err(|wrong| Invalid::new(at, "this is no rate", wrong.0))
}

/// Returns the choice with this name.
pub(super) fn choice<T: Copy>(
    value: &Value,
    at: &str,
    choices: &[(&'static str, T)],
) -> Result<T, Invalid> {
    let found = text(value, at)?;
    let choice = choices.iter().find(|(name, _)| *name == found);
    choice.map(|(_, choice)| *choice).ok_or_else(|| {
        let names: Vec<String> = choices
            .iter()
            .map(|(name, _)| format!("`{name}`"))
            .collect();
        Invalid::new(
            at,
            "there is no such choice",
            format!("write one of {}", names.join(", ")),
        )
    })
}

/// Reads a field with `read`. A field that is `null` has its default.
pub(super) fn or_default<'v, T>(
    value: &'v Value,
    at: &str,
    default: T,
    read: impl FnOnce(&'v Value, &str) -> Result<T, Invalid>,
) -> Result<T, Invalid> {
    if value.is_null() {
        Ok(default)
    } else {
        read(value, at)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unknown_field_names_the_nearest_one() {
        let known = ["types", "versions", "payload"];
        let near = unknown_field("", "type", &known);
        assert_eq!((&*near.at, &*near.help), ("/type", "did you mean `types`?"));
        let far = unknown_field("/limits", "a/b~c", &known);
        assert_eq!(
            (&*far.at, &*far.help),
            (
                "/limits/a~1b~0c",
                "the fields are `types`, `versions`, `payload`"
            )
        );
    }

    #[test]
    fn no_error_shows_a_value() {
        let secret = json!("hunter2-hunter2\u{7}");
        for error in [
            object(&secret, "/a").map(drop),
            list(&secret, "/a", 1).map(drop),
            line(&secret, "/a", 3).map(drop),
            line(&secret, "/a", 99).map(drop),
            number(&secret, "/a", 1..=2).map(drop),
            small(&secret, "/a", 2).map(drop),
            flag(&secret, "/a").map(drop),
            rate(&secret, "/a").map(drop),
            choice(&secret, "/a", &[("b", 1)]).map(drop),
        ] {
            let shown = format!("{:?}", error.unwrap_err());
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn numbers_keep_to_their_range() {
        for (value, fits) in [
            (json!(1), true),
            (json!(30), true),
            (json!(0), false),
            (json!(31), false),
            (json!(-1), false),
            (json!(1.5), false),
            (json!("1"), false),
            (json!(null), false),
        ] {
            assert_eq!(number(&value, "/a", 1..=30).is_ok(), fits, "{value}");
        }
    }
}
