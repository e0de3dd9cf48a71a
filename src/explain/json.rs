//! Other spellings of a JSON document: the bytes that another program would have written for the same values.
use std::borrow::Cow;
use std::fmt::Write as _;

use serde::de::IgnoredAny;

/// The spaces between the tokens of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spacing {
    /// None, as JavaScript, Go and Ruby write.
    Compact,
    /// One after each comma and colon, as Python writes.
    Spaced,
    /// Lines indented by two spaces.
    Indented2,
    /// Lines indented by four spaces.
    Indented4,
    /// Lines indented by a tab.
    Tabs,
}

/// The way in which strings and numbers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextForm {
    /// As they were received.
    Same,
    /// As few escapes as possible, whole numbers without a fraction: JavaScript.
    Plain,
    /// Only ASCII: Python.
    Ascii,
    /// A backslash before each slash.
    Slashes,
    /// Only ASCII, and a backslash before each slash: PHP.
    AsciiAndSlashes,
    /// `<`, `>` and `&` escaped: Go.
    Html,
}

impl Spacing {
    /// All, the most frequent first.
    pub const ALL: [Self; 5] = [
        Self::Compact,
        Self::Spaced,
        Self::Indented2,
        Self::Indented4,
        Self::Tabs,
    ];

    /// Returns the indentation of one level.
    const fn indent(self) -> Option<&'static str> {
        match self {
            Self::Compact | Self::Spaced => None,
            Self::Indented2 => Some("  "),
            Self::Indented4 => Some("    "),
            Self::Tabs => Some("\t"),
        }
    }
}

impl TextForm {
    /// All, the most frequent first.
    pub const ALL: [Self; 6] = [
        Self::Same,
        Self::Plain,
        Self::Ascii,
        Self::AsciiAndSlashes,
        Self::Slashes,
        Self::Html,
    ];
}

/// The most lists and maps around a value. All that walks a document calls itself.
const MOST_LEVELS: usize = 128;
/// The factor by which another spelling may be longer than the document. Without it, the indentation of deep lists would fill the memory.
const MOST_GROWTH: usize = 4;

/// A document as it was received: its scalars are the bytes between the spaces.
#[derive(Debug)]
pub(super) enum Document<'d> {
    Scalar(&'d str),
    List(Vec<Self>),
    Map(Vec<(&'d str, Self)>),
}

impl<'d> Document<'d> {
    /// Reads a list or a map. Returns `None` if it is not JSON, or nested deeper than [`MOST_LEVELS`].
    pub(super) fn parse(bytes: &'d [u8]) -> Option<Self> {
        // what follows may trust the document but for its depth
        serde_json::from_slice::<IgnoredAny>(bytes).ok()?;
        let mut rest = std::str::from_utf8(bytes).ok()?;
        let document = value(&mut rest, MOST_LEVELS)?;
        (!matches!(document, Self::Scalar(_))).then_some(document)
    }

    /// Returns the document with the keys of all maps in alphabetical order.
    pub(super) fn sorted(&self) -> Self {
        match self {
            Self::Scalar(text) => Self::Scalar(text),
            Self::List(items) => Self::List(items.iter().map(Self::sorted).collect()),
            Self::Map(entries) => {
                let mut entries: Vec<_> = entries
                    .iter()
                    .map(|(key, value)| (*key, value.sorted()))
                    .collect();
                entries.sort_by_key(|(key, _)| *key);
                Self::Map(entries)
            }
        }
    }

    /// Returns whether the keys of all maps are in alphabetical order, and there are enough of them that this is no chance.
    pub(super) fn is_sorted(&self) -> bool {
        const TELLING: usize = 5;
        let mut keys = 0;
        self.keys_are_sorted(&mut keys) && keys >= TELLING
    }

    fn keys_are_sorted(&self, keys: &mut usize) -> bool {
        match self {
            Self::Scalar(_) => true,
            Self::List(items) => items.iter().all(|item| item.keys_are_sorted(keys)),
            Self::Map(entries) => {
                *keys = keys.saturating_add(entries.len());
                entries.is_sorted_by_key(|(key, _)| *key)
                    && entries.iter().all(|(_, value)| value.keys_are_sorted(keys))
            }
        }
    }

    /// Writes the document. Returns `None` if it becomes much longer than `length`, its length as received.
    pub(super) fn write(&self, spacing: Spacing, form: TextForm, length: usize) -> Option<String> {
        let mut text = String::new();
        let most = length.saturating_mul(MOST_GROWTH).saturating_add(1 << 10);
        self.write_to((spacing, form, 0), most, &mut text);
        (text.len() <= most).then_some(text)
    }

    fn write_to(&self, style: (Spacing, TextForm, usize), most: usize, text: &mut String) {
        if text.len() > most {
            return;
        }
        match self {
            Self::Scalar(scalar) => text.push_str(&spelled(scalar, style.1)),
            Self::List(items) => {
                let items = items.iter().map(|item| (None, item));
                write_items(('[', ']'), items, style, (most, text));
            }
            Self::Map(entries) => {
                let items = entries.iter().map(|(key, value)| (Some(*key), value));
                write_items(('{', '}'), items, style, (most, text));
            }
        }
    }
}

/// Writes the items of a list or the entries of a map.
fn write_items<'a, 'd: 'a>(
    (open, close): (char, char),
    items: impl ExactSizeIterator<Item = (Option<&'a str>, &'a Document<'d>)>,
    (spacing, form, level): (Spacing, TextForm, usize),
    (most, text): (usize, &mut String),
) {
    let is_empty = items.len() == 0;
    let new_line = |level: usize, text: &mut String| {
        if let Some(indent) = spacing.indent() {
            text.push('\n');
            text.extend(std::iter::repeat_n(indent, level));
        }
    };
    text.push(open);
    for (index, (key, item)) in items.enumerate() {
        if index > 0 {
            text.push_str(if spacing == Spacing::Spaced {
                ", "
            } else {
                ","
            });
        }
        new_line(level + 1, text);
        if let Some(key) = key {
            text.push_str(&spelled(key, form));
            text.push_str(if spacing == Spacing::Compact {
                ":"
            } else {
                ": "
            });
        }
        item.write_to((spacing, form, level + 1), most, text);
    }
    if !is_empty {
        new_line(level, text);
    }
    text.push(close);
}

/// Reads one value of a valid document, and moves `rest` behind it. Returns `None` if more than `levels` lists and maps are around each other in it.
fn value<'d>(rest: &mut &'d str, levels: usize) -> Option<Document<'d>> {
    let levels = levels.checked_sub(1)?;
    *rest = rest.trim_start();
    match rest.chars().next()? {
        '[' => {
            let mut items = Vec::new();
            step(rest, 1);
            loop {
                match separator(rest)? {
                    ']' => return Some(Document::List(items)),
                    ',' => {}
                    _ => items.push(value(rest, levels)?),
                }
            }
        }
        '{' => {
            let mut entries = Vec::new();
            step(rest, 1);
            loop {
                match separator(rest)? {
                    '}' => return Some(Document::Map(entries)),
                    ',' => {}
                    _ => {
                        let key = scalar(rest)?;
                        *rest = rest.trim_start().strip_prefix(':')?;
                        entries.push((key, value(rest, levels)?));
                    }
                }
            }
        }
        _ => scalar(rest).map(Document::Scalar),
    }
}

/// Returns the next byte that is not a space, and moves behind it if it is a comma or the end of a list or map.
fn separator(rest: &mut &str) -> Option<char> {
    *rest = rest.trim_start();
    let next = rest.chars().next()?;
    if matches!(next, ',' | ']' | '}') {
        step(rest, 1);
    }
    Some(next)
}

/// Reads a string with its quotes, a number or a word.
fn scalar<'d>(rest: &mut &'d str) -> Option<&'d str> {
    *rest = rest.trim_start();
    let length = if let Some(text) = rest.strip_prefix('"') {
        let mut escaped = false;
        let end = text.bytes().position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        })?;
        end + 2
    } else {
        let ends =
            |byte: u8| matches!(byte, b',' | b']' | b'}' | b':') || byte.is_ascii_whitespace();
        rest.bytes().position(ends).unwrap_or(rest.len())
    };
    let (found, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(found)
}

fn step(rest: &mut &str, bytes: usize) {
    *rest = rest.get(bytes..).unwrap_or_default();
}

/// Returns a scalar in another form.
fn spelled(scalar: &str, form: TextForm) -> Cow<'_, str> {
    if form == TextForm::Same {
        return scalar.into();
    }
    if !scalar.starts_with('"') {
        return whole_number(scalar).into();
    }
    let plain =
        serde_json::from_str::<String>(scalar).and_then(|decoded| serde_json::to_string(&decoded));
    let Ok(plain) = plain else {
        return scalar.into();
    };
    match form {
        TextForm::Same | TextForm::Plain => plain.into(),
        TextForm::Ascii => ascii(&plain).into(),
        TextForm::Slashes => plain.replace('/', "\\/").into(),
        TextForm::AsciiAndSlashes => ascii(&plain).replace('/', "\\/").into(),
        TextForm::Html => plain
            .replace('<', "\\u003c")
            .replace('>', "\\u003e")
            .replace('&', "\\u0026")
            .into(),
    }
}

/// Returns a number without a fraction of zeros.
fn whole_number(number: &str) -> &str {
    match number.split_once('.') {
        Some((whole, fraction)) if fraction.bytes().all(|digit| digit == b'0') => whole,
        _ => number,
    }
}

/// Escapes everything that is not ASCII, as UTF-16.
fn ascii(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii() {
            escaped.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            // writing to a string cannot fail
            write!(escaped, "\\u{unit:04x}").unwrap_or_default();
        }
    }
    escaped
}
