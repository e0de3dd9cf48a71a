//! Header lines in the form in which they are sent.
use std::fmt;
use std::net::IpAddr;

use http::header::{HeaderName, HeaderValue};

use crate::request::{put_ip, put_number};

/// Header lines in the order and the form in which they are sent.
///
/// They are written once, one after the other: a request has some twenty lines, and a list of names and values would need an allocation for
/// each line of the gateway's own.
#[derive(Clone, Default)]
pub struct Lines {
    /// The lines, each with `\r\n` at its end.
    bytes: Vec<u8>,
}

impl Lines {
    /// Returns no lines, with room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
        }
    }

    /// Adds a line.
    pub fn push(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.copy(name.as_str(), value.as_bytes());
    }

    /// Adds a line as it arrived.
    pub(super) fn copy(&mut self, name: &str, value: &[u8]) {
        self.begin(name);
        self.bytes.extend_from_slice(value);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// Adds a line of visible ASCII and spaces. A text that has other characters is left out, with its line.
    pub fn push_text(&mut self, name: &HeaderName, value: &str) {
        // not stopping at the first other byte lets the compiler look at many at once
        let plain = |all, byte: u8| all & ((b' '..=b'~').contains(&byte) | (byte == b'\t'));
        if value.bytes().fold(true, plain) {
            self.copy(name.as_str(), value.as_bytes());
        }
    }

    /// Adds a line with a number.
    pub(super) fn push_number(&mut self, name: &HeaderName, value: u64) {
        self.begin(name.as_str());
        put_number(&mut self.bytes, value);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// Adds a line with an address.
    pub(super) fn push_ip(&mut self, name: &HeaderName, value: IpAddr) {
        self.begin(name.as_str());
        put_ip(&mut self.bytes, value);
        self.bytes.extend_from_slice(b"\r\n");
    }

    fn begin(&mut self, name: &str) {
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(b": ");
    }

    /// Returns the lines, each with `\r\n` at its end.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the names and values.
    pub fn iter(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        // no value has an end of line in it
        let lines = self.bytes.split(|byte| *byte == b'\n');
        lines.filter_map(|line| {
            let line = line.strip_suffix(b"\r")?;
            let at = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = line.split_at_checked(at)?;
            let value = value.get(2..).unwrap_or_default();
            Some((
                HeaderName::from_bytes(name).ok()?,
                HeaderValue::from_bytes(value).ok()?,
            ))
        })
    }
}

impl Extend<(HeaderName, HeaderValue)> for Lines {
    fn extend<I: IntoIterator<Item = (HeaderName, HeaderValue)>>(&mut self, lines: I) {
        for (name, value) in lines {
            self.push(&name, &value);
        }
    }
}

impl FromIterator<(HeaderName, HeaderValue)> for Lines {
    fn from_iter<I: IntoIterator<Item = (HeaderName, HeaderValue)>>(lines: I) -> Self {
        let mut all = Self::default();
        all.extend(lines);
        all
    }
}

impl fmt::Debug for Lines {
    /// Shows no value: one may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.iter().map(|(name, _)| name);
        f.debug_list().entries(names).finish()
    }
}

#[cfg(test)]
mod tests {
    use http::header::{ACCEPT, HOST};

    use super::*;

    #[test]
    fn lines_are_read_as_they_were_written() {
        let mut lines = Lines::default();
        let odd = HeaderValue::from_bytes(b"a: b\xff\tc").unwrap();
        lines.push(&HOST, &HeaderValue::from_static(""));
        lines.push(&ACCEPT, &odd);
        lines.push_number(&ACCEPT, 7);
        assert_eq!(
            lines.as_bytes(),
            b"host: \r\naccept: a: b\xff\tc\r\naccept: 7\r\n"
        );
        let read: Vec<_> = lines.iter().collect();
        let seven = HeaderValue::from_static("7");
        assert_eq!(
            read,
            [
                (HOST, HeaderValue::from_static("")),
                (ACCEPT, odd),
                (ACCEPT, seven)
            ]
        );
    }

    #[test]
    fn text_that_no_header_can_hold_is_left_out() {
        let mut lines = Lines::default();
        for text in ["a\r\nb: c", "\n", "\0", "é", "\u{7f}"] {
            lines.push_text(&HOST, text);
        }
        assert!(lines.as_bytes().is_empty());
        lines.push_text(&HOST, "a b\t~");
        assert_eq!(lines.as_bytes(), b"host: a b\t~\r\n");
    }
}
