//! A JSON object as a line of the log. It is written by hand: a general serializer takes four times as many instructions for each request.
use std::net::IpAddr;

use crate::request::{put_ip, put_number};

/// The bytes that most lines of a request need.
const LINE_CAPACITY: usize = 512;

/// A JSON object that is being written. Names need no escapes.
pub(super) struct JsonLine(Vec<u8>);

impl JsonLine {
    /// Begins a line with a first field.
    pub(super) fn new(name: &'static str, value: &str) -> Self {
        let mut line = Self(Vec::with_capacity(LINE_CAPACITY));
        line.begin(b"{\"", name);
        line.string(value);
        line
    }

    /// Adds a text.
    pub(super) fn text<'a>(&mut self, name: &'static str, value: impl Into<Option<&'a str>>) {
        if let Some(value) = value.into() {
            self.field(name);
            self.string(value);
        }
    }

    /// Adds a number.
    pub(super) fn number(&mut self, name: &'static str, value: impl Into<Option<u64>>) {
        if let Some(value) = value.into() {
            self.field(name);
            put_number(&mut self.0, value);
        }
    }

    /// Adds a number that may be negative.
    pub(super) fn signed(&mut self, name: &'static str, value: Option<i64>) {
        if let Some(value) = value {
            self.field(name);
            if value < 0 {
                self.0.push(b'-');
            }
            put_number(&mut self.0, value.unsigned_abs());
        }
    }

    /// Adds an address.
    pub(super) fn ip(&mut self, name: &'static str, value: IpAddr) {
        self.field(name);
        self.0.push(b'"');
        put_ip(&mut self.0, value);
        self.0.push(b'"');
    }

    /// Returns the line, with its newline.
    pub(super) fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(b"}\n");
        self.0
    }

    fn field(&mut self, name: &'static str) {
        self.begin(b",\"", name);
    }

    fn begin(&mut self, before: &[u8; 2], name: &'static str) {
        self.0.extend_from_slice(before);
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    fn string(&mut self, value: &str) {
        // not stopping at the first other byte lets the compiler look at many at once
        let plain = |all, byte: u8| all & (byte >= b' ') & (byte != b'"') & (byte != b'\\');
        if value.bytes().fold(true, plain) {
            self.0.push(b'"');
            self.0.extend_from_slice(value.as_bytes());
            self.0.push(b'"');
        } else {
            // writing to memory does not fail
            serde_json::to_writer(&mut self.0, value).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    proptest! {
        /// Any text stays within its field, and the line is one line.
        #[test]
        fn line_is_read_as_it_was_written(
            texts in prop::collection::vec(".{0,9}|[\"\\\\\0-\x1f\x7f]{0,5}", 3),
            number in any::<u64>(),
            signed in any::<i64>(),
            ip in any::<IpAddr>(),
        ) {
            let mut line = JsonLine::new("a", &texts[0]);
            line.text("b", &*texts[1]);
            line.number("c", number);
            line.number("d", None);
            line.text("e", None);
            line.signed("f", Some(signed));
            line.ip("g", ip);
            line.text("h", Some(&*texts[2]));
            let line = line.end();
            prop_assert_eq!(line.iter().filter(|byte| **byte < b' ').count(), 1);
            let read: Value = serde_json::from_slice(&line).unwrap();
            let expected = serde_json::json!({
                "a": texts[0], "b": texts[1], "c": number, "f": signed, "g": ip.to_string(), "h": texts[2]
            });
            prop_assert_eq!(read, expected);
        }
    }
}
