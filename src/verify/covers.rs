//! The facts that a signature covers.
use std::fmt;

/// The set of facts that a signature covers. `Display` is for people: `timestamp, body, ID`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "it is a set whose members are read by name"
)]
pub struct Covers {
    /// The whole body.
    pub body: bool,
    /// The time.
    pub timestamp: bool,
    /// The delivery ID.
    pub id: bool,
    /// The method.
    pub method: bool,
    /// The URL with its query.
    pub url: bool,
    /// The path.
    pub path: bool,
    /// The query.
    pub query: bool,
    /// Some headers.
    pub headers: bool,
    /// Some fields of the body.
    pub fields: bool,
}

impl Covers {
    /// Returns whether the signature covers nothing.
    pub fn nothing(self) -> bool {
        self == Self::default()
    }

    /// Writes the value of the `Hookgate-Covers` header: `body,timestamp,id`; `none` if it covers nothing.
    pub fn header_value(self) -> String {
        let names = [
            (self.body, "body"),
            (self.timestamp, "timestamp"),
            (self.id, "id"),
            (self.method, "method"),
            (self.url, "url"),
            (self.path, "path"),
            (self.query, "query"),
            (self.headers, "headers"),
            (self.fields, "fields"),
        ];
        listed(&names, ",", "none")
    }

    /// Parses a value that [`Self::header_value`] wrote. Unknown words are ignored.
    pub fn parse(text: &str) -> Self {
        let has = |word: &str| text.split(',').any(|known| known == word);
        Self {
            body: has("body"),
            timestamp: has("timestamp"),
            id: has("id"),
            method: has("method"),
            url: has("url"),
            path: has("path"),
            query: has("query"),
            headers: has("headers"),
            fields: has("fields"),
        }
    }
}

impl fmt::Display for Covers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (self.timestamp, "timestamp"),
            (self.body, "body"),
            (self.fields, "fields of the body"),
            (self.id, "ID"),
            (self.method, "method"),
            (self.url, "URL"),
            (self.path, "path"),
            (self.query, "query"),
            (self.headers, "headers"),
        ];
        f.pad(&listed(&names, ", ", "nothing"))
    }
}

fn listed(names: &[(bool, &str)], separator: &str, none: &str) -> String {
    let mut list = String::with_capacity(32);
    for (_, name) in names.iter().filter(|(covered, _)| *covered) {
        if !list.is_empty() {
            list.push_str(separator);
        }
        list.push_str(name);
    }
    if list.is_empty() {
        list.push_str(none);
    }
    list
}
