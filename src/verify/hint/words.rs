//! The words of a hint. They come from the config or from the lists below, never from the request.
use std::fmt;

use http::HeaderName;

use crate::verify::source::{Source, SourcePlace};

/// Labels that schemes put before a signature.
const LABELS: [&str; 9] = [
    "sha1", "sha256", "sha512", "v0", "v1", "v1a", "v2", "Bearer", "Basic",
];
/// The bytes at which a value is split into items.
const SEPARATORS: &[u8] = b",; &";
/// The bytes that end a label.
const LABEL_ENDS: &[u8] = b"=:";
/// The most items of a value that are looked at.
const MAX_ITEMS: usize = 16;
/// The encodings of a body.
const ENCODINGS: [&str; 5] = ["gzip", "br", "deflate", "zstd", "compress"];
/// The type of a form.
const FORM: &[u8] = b"application/x-www-form-urlencoded";

/// A header's name as people write it: `X-Hub-Signature-256`.
struct Title<'a>(&'a HeaderName);

impl fmt::Display for Title<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut starts = true;
        for letter in self.0.as_str().chars() {
            let shown = if starts {
                letter.to_ascii_uppercase()
            } else {
                letter
            };
            write!(f, "{shown}")?;
            starts = letter == '-';
        }
        Ok(())
    }
}

/// Returns the name of a header as people write it.
pub(super) fn title(name: &HeaderName) -> String {
    Title(name).to_string()
}

/// Describes a header: `the header X-Signature`.
pub(super) fn header(name: &HeaderName) -> String {
    format!("the header {}", Title(name))
}

/// Says that all of these headers are missing.
pub(super) fn missing(names: &[HeaderName]) -> Option<String> {
    match names {
        [] => None,
        [name] => Some(format!("the header {} is missing", Title(name))),
        [first, rest @ ..] => {
            let rest: String = rest
                .iter()
                .map(|name| format!(" or {}", Title(name)))
                .collect();
            Some(format!("there is no header {}{rest}", Title(first)))
        }
    }
}

/// Says that a header has several values.
pub(super) fn repeated(name: &HeaderName) -> String {
    format!("the header {} occurs with different values", Title(name))
}

/// Describes the place of a signature or token.
pub(super) fn place(source: &Source) -> String {
    match &source.place {
        SourcePlace::Headers(names) => names.first().map_or_else(String::new, header),
        SourcePlace::Query(name) => format!("the query parameter `{name}`"),
        SourcePlace::Json(pointer) => field(pointer),
    }
}

/// Describes a field of the body.
pub(super) fn field(pointer: &str) -> String {
    format!("the field `{pointer}` of the body")
}

/// Returns the first known label in a value, other than the expected one.
pub(super) fn label(value: &[u8], expected: &str) -> Option<&'static str> {
    let items = value.split(|byte| SEPARATORS.contains(byte));
    let starts = items
        .take(MAX_ITEMS)
        .filter_map(|item| item.split(|byte| LABEL_ENDS.contains(byte)).next());
    let known = starts.filter_map(|start| {
        LABELS
            .into_iter()
            .find(|label| label.as_bytes().eq_ignore_ascii_case(start))
    });
    let expected = expected.trim_end_matches(|letter: char| !letter.is_ascii_alphanumeric());
    known
        .into_iter()
        .find(|label| !label.eq_ignore_ascii_case(expected))
}

/// Returns the known encoding of a body that a header names.
pub(super) fn encoding(value: &[u8]) -> Option<&'static str> {
    ENCODINGS
        .into_iter()
        .find(|known| known.as_bytes().eq_ignore_ascii_case(value))
}

/// Returns whether a header names the type of a form.
pub(super) fn is_form(value: &[u8]) -> bool {
    value
        .get(..FORM.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(FORM))
}
