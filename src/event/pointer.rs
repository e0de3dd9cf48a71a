//! JSON pointers, and the position of what they point at in the text of a document.
use std::borrow::Cow;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

/// The largest length of a pointer that is shown, in characters.
const MAX_SHOWN: usize = 200;

/// Returns one step of a pointer, `/` in front and escaped.
pub(crate) fn step(key: &str) -> String {
    format!("/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// Returns the steps of a pointer, their escapes resolved; `None` if the text is not a pointer.
pub(crate) fn steps(pointer: &str) -> Option<Vec<String>> {
    if pointer.is_empty() {
        return Some(Vec::new());
    }
    let stray = |step: &str| {
        step.split('~')
            .skip(1)
            .any(|rest| !rest.starts_with(['0', '1']))
    };
    pointer
        .strip_prefix('/')?
        .split('/')
        .map(|step| (!stray(step)).then(|| step.replace("~1", "/").replace("~0", "~")))
        .collect()
}

/// Returns a pointer as it may be shown: the root as `/`, and cut if it is long.
pub(crate) fn shown(pointer: &str) -> Cow<'_, str> {
    if pointer.is_empty() {
        return Cow::Borrowed("/");
    }
    match pointer.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => Cow::Owned(format!("{}…", pointer.get(..end).unwrap_or_default())),
        None => Cow::Borrowed(pointer),
    }
}

/// Returns an index of a list, if the step is one as JSON pointers write it.
pub(crate) fn index(step: &str) -> Option<usize> {
    let is_canonical = step == "0" || !step.starts_with(['0', '+']);
    step.parse().ok().filter(|_| is_canonical)
}

/// Returns the line and the column of the value at `pointer`, or of its key in an object; of the nearest one around it if there is none.
///
/// Both count from 1, columns in characters. The document must be JSON.
pub(crate) fn position(document: &str, pointer: &str) -> (usize, usize) {
    let mut offset = document
        .find(|char: char| !char.is_whitespace())
        .unwrap_or_default();
    let mut inside = document.trim();
    for step in steps(pointer).unwrap_or_default() {
        let next = match inside.as_bytes().first() {
            Some(b'{') => members(inside)
                .and_then(|members| members.into_iter().find(|(key, _)| key_is(key, &step))),
            Some(b'[') => serde_json::from_str::<Vec<&RawValue>>(inside)
                .ok()
                .and_then(|items| index(&step).and_then(|index| items.get(index).copied()))
                .map(|item| (item, item)),
            _ => None,
        };
        let Some((key, value)) = next else { break };
        // both are parts of the document
        offset = key
            .get()
            .as_ptr()
            .addr()
            .saturating_sub(document.as_ptr().addr());
        inside = value.get();
    }
    let before = document.get(..offset).unwrap_or(document);
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let column = before.get(start..).map_or(0, |text| text.chars().count()) + 1;
    (line, column)
}

/// Returns whether a key, as it is written, is this text.
fn key_is(key: &RawValue, text: &str) -> bool {
    serde_json::from_str::<String>(key.get()).is_ok_and(|key| key == text)
}

/// Returns the keys and values of an object in their order, as they are written.
pub(crate) fn members(object: &str) -> Option<Vec<(&RawValue, &RawValue)>> {
    let mut reader = serde_json::Deserializer::from_str(object);
    let members = reader.deserialize_map(Members).ok()?;
    reader.end().ok()?;
    Some(members)
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(&'de RawValue, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry::<&RawValue, &RawValue>()? {
            members.push(member);
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests;
