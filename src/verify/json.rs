//! Finds one scalar in a JSON body by pointer, without building the document.
//!
//! Two parsers that disagree about a repeated key would read different requests from the same bytes,
//! so a repeated key on the path of the pointer is an error.
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{
    Deserialize as _, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;

/// The largest body that is searched, in bytes.
const MAX_BYTES: usize = 32 << 20;
/// The blanks of JSON.
const BLANKS: [char; 4] = [' ', '\t', '\n', '\r'];
/// The deepest pointer.
const MAX_STEPS: usize = 16;

/// The error for a body that is not JSON, is too large to search, or repeats a key on the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// The fault of a JSON pointer, with the text to write instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPointer {
    /// It does not begin with `/`.
    #[error("a JSON pointer begins with `/`, such as `/data/id`")]
    NoSlash,
    /// It has more steps than a body is searched for.
    #[error("a JSON pointer has at most {} steps", MAX_STEPS)]
    TooDeep,
    /// It has a `~` that begins no escape.
    #[error("in a JSON pointer `~` is written `~0` and `/` inside a key `~1`")]
    StrayTilde,
}

/// Checks that a pointer can be searched for.
///
/// # Errors
/// The fault of the pointer.
pub fn check_pointer(pointer: &str) -> Result<(), BadPointer> {
    let Some(steps) = pointer.strip_prefix('/') else {
        return Err(BadPointer::NoSlash);
    };
    if steps.split('/').count() > MAX_STEPS {
        return Err(BadPointer::TooDeep);
    }
    let stray = steps
        .split('~')
        .skip(1)
        .any(|rest| !rest.starts_with(['0', '1']));
    if stray {
        Err(BadPointer::StrayTilde)
    } else {
        Ok(())
    }
}

/// Returns the scalar under `pointer`: a string decoded, a number or boolean as it is written; `None` if there is no scalar.
pub(crate) fn find<'b>(body: &'b [u8], pointer: &str) -> Result<Option<Cow<'b, str>>, Unreadable> {
    locate(body, pointer)?.map_or(Ok(None), |raw| scalar(raw.get()))
}

/// Returns the range of the value under `pointer` in `body`, of any type.
pub(crate) fn span(body: &[u8], pointer: &str) -> Result<Option<Range<usize>>, Unreadable> {
    let Some(raw) = locate(body, pointer)? else {
        return Ok(None);
    };
    // the value is a part of the body
    let start = raw
        .get()
        .as_ptr()
        .addr()
        .checked_sub(body.as_ptr().addr())
        .ok_or(Unreadable)?;
    let end = start
        .checked_add(raw.get().len())
        .filter(|end| *end <= body.len())
        .ok_or(Unreadable)?;
    Ok(Some(start..end))
}

fn locate<'b>(body: &'b [u8], pointer: &str) -> Result<Option<&'b RawValue>, Unreadable> {
    if body.len() > MAX_BYTES {
        return Err(Unreadable);
    }
    let text = std::str::from_utf8(body).map_err(|_| Unreadable)?;
    let mut steps = pointer
        .strip_prefix('/')
        .ok_or(Unreadable)?
        .split('/')
        .take(MAX_STEPS);
    // the first step reads all of the body, so it also says whether it is JSON
    let first = unescape(steps.next().ok_or(Unreadable)?);
    let mut found = inside(text.trim_matches(BLANKS), &first)?;
    for step in steps {
        let Some(raw) = found else { break };
        found = inside(raw.get(), &unescape(step))?;
    }
    Ok(found)
}

fn unescape(step: &str) -> Cow<'_, str> {
    if step.contains('~') {
        Cow::Owned(step.replace("~1", "/").replace("~0", "~"))
    } else {
        Cow::Borrowed(step)
    }
}

fn scalar(raw: &str) -> Result<Option<Cow<'_, str>>, Unreadable> {
    if let Some(quoted) = raw.strip_prefix('"') {
        return match quoted.strip_suffix('"') {
            Some(plain) if !plain.contains('\\') => Ok(Some(Cow::Borrowed(plain))),
            _ => serde_json::from_str(raw)
                .map(|text: String| Some(Cow::Owned(text)))
                .map_err(|_| Unreadable),
        };
    }
    let composite = raw.starts_with(['{', '[']) || raw == "null";
    Ok(if composite {
        None
    } else {
        Some(Cow::Borrowed(raw))
    })
}

/// Returns the value under `step` in `text`, a value without blanks around it.
///
/// # Errors
/// The text is not JSON, or repeats the key.
fn inside<'b>(text: &'b str, step: &str) -> Result<Option<&'b RawValue>, Unreadable> {
    let is_canonical = step == "0" || !step.starts_with('0');
    let is_index = is_canonical && step.bytes().all(|byte| byte.is_ascii_digit());
    let index = step.parse().ok().filter(|_| is_index);
    let mut reader = serde_json::Deserializer::from_str(text);
    let found = if text.starts_with('{') {
        reader.deserialize_map(InMap(step))
    } else if let Some(index) = index.filter(|_| text.starts_with('[')) {
        reader.deserialize_seq(InList(index))
    } else {
        IgnoredAny::deserialize(&mut reader).map(|_| None)
    };
    let found = found.map_err(|_| Unreadable)?;
    reader.end().map_err(|_| Unreadable)?;
    Ok(found)
}

struct InMap<'s>(&'s str);

impl<'de> Visitor<'de> for InMap<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(same) = map.next_key_seed(KeyIs(self.0))? {
            if !same {
                map.next_value::<IgnoredAny>()?;
            } else if found.replace(map.next_value::<&RawValue>()?).is_some() {
                return Err(serde::de::Error::custom("repeated key"));
            }
        }
        Ok(found)
    }
}

struct KeyIs<'s>(&'s str);

impl<'de> DeserializeSeed<'de> for KeyIs<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyIs<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

struct InList(usize);

impl<'de> Visitor<'de> for InList {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        let mut at = 0_usize;
        loop {
            if at == self.0 {
                let Some(value) = list.next_element::<&RawValue>()? else {
                    return Ok(None);
                };
                found = Some(value);
            } else if list.next_element::<IgnoredAny>()?.is_none() {
                return Ok(found);
            }
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(body: &str, pointer: &str) -> Result<Option<String>, Unreadable> {
        find(body.as_bytes(), pointer).map(|found| found.map(Cow::into_owned))
    }

    #[test]
    fn scalars_come_as_written_and_strings_decoded() {
        let body = r#" {"a": {"b": [1.0, 1e3, "x\/\u00e9", true, null, {"c/d~e": 12345678901234567890}]}, "s": "plain"}
"#;
        for (pointer, want) in [
            ("/a/b/0", Some("1.0")),
            ("/a/b/1", Some("1e3")),
            ("/a/b/2", Some("x/é")),
            ("/a/b/3", Some("true")),
            ("/a/b/4", None),
            ("/a/b/5", None),
            ("/a/b/5/c~1d~0e", Some("12345678901234567890")),
            ("/a/b/6", None),
            ("/a/b/00", None),
            ("/a/b/+1", None),
            ("/s", Some("plain")),
            ("/s/t", None),
            ("/none", None),
        ] {
            assert_eq!(
                text(body, pointer),
                Ok(want.map(str::to_owned)),
                "{pointer}"
            );
        }
    }

    #[test]
    fn repeated_key_on_the_path_is_an_error_in_any_spelling() {
        assert_eq!(text(r#"{"id":"a","id":"b"}"#, "/id"), Err(Unreadable));
        assert_eq!(text(r#"{"id":"a","\u0069d":"b"}"#, "/id"), Err(Unreadable));
        assert_eq!(
            text(r#"{"id":"a","x":1,"x":2}"#, "/id"),
            Ok(Some("a".to_owned()))
        );
        assert_eq!(
            text(r#"{"o":{"id":"a"},"o":{"id":"a"}}"#, "/o/id"),
            Err(Unreadable)
        );
    }

    #[test]
    fn invalid_json_is_unreadable_and_depth_needs_no_stack() {
        for body in ["", "{", "{\"id\":1} x", "id=1"] {
            assert_eq!(text(body, "/id"), Err(Unreadable), "{body}");
        }
        let deep = "[".repeat(1 << 20);
        assert_eq!(text(&deep, "/0/0"), Err(Unreadable));
        let closed = format!(
            "{{\"x\":{}{},\"id\":7}}",
            "[".repeat(1 << 18),
            "]".repeat(1 << 18)
        );
        assert_eq!(text(&closed, "/id"), Ok(Some("7".to_owned())));
    }

    #[test]
    fn pointers_are_checked() {
        assert!(check_pointer("/a/0/b~1c").is_ok());
        assert!(check_pointer("a").is_err());
        assert!(check_pointer("/a~2").is_err());
        assert!(check_pointer(&"/a".repeat(17)).is_err());
    }
}
