//! The header lines of a request, as they arrived.
use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::span::Span;

/// The longest name, in bytes: that of [`HeaderName`].
const MAX_NAME: usize = 65_535;

/// The header lines of a request, in the order in which they arrived.
///
/// A request has some ten lines, and each is looked up a few times: comparing names in turn costs less than a hash table that is made for
/// one request. Values of an HTTP/1 head stay in its bytes; names are written once, in lower case, one after the other.
#[derive(Clone, Default)]
pub struct HeaderLines {
    names: String,
    bytes: Bytes,
    /// For each line, its name in `names` and its value in `bytes`.
    lines: Vec<(Span, Span)>,
}

impl HeaderLines {
    /// Takes the lines of a head, of which `lines` says where names and values are. `None` if a name is too long, or a name or value has bytes
    /// that could end it: the scanner lets none through, and here each line is checked once more before it is written anywhere.
    pub(crate) fn of_head(bytes: Bytes, mut lines: Vec<(Span, Span)>) -> Option<Self> {
        let room = lines.iter().map(|(name, _)| name.len()).sum();
        let mut names = Vec::with_capacity(room);
        for (name, value) in &mut lines {
            let text = name.of(&bytes);
            *value = value.trimmed(&bytes);
            if text.len() > MAX_NAME || !is_name(text) || !is_value(value.of(&bytes)) {
                return None;
            }
            *name = Span {
                start: names.len(),
                end: names.len() + text.len(),
            };
            names.extend_from_slice(text);
        }
        names.make_ascii_lowercase();
        Some(Self {
            names: String::from_utf8(names).ok()?,
            bytes,
            lines,
        })
    }

    /// Returns the number of lines.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Returns names, in lower case, and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.lines.iter().map(|(name, value)| {
            let name = self.names.get(name.range()).unwrap_or_default();
            (name, value.of(&self.bytes))
        })
    }

    /// Returns the values of a header.
    pub fn get_all(&self, name: &HeaderName) -> impl Iterator<Item = &[u8]> {
        // the lengths alone tell most names apart, and both sides are in lower case
        let (wanted, names) = (name.as_str().as_bytes(), self.names.as_bytes());
        let is_wanted = move |of: &Span| of.len() == wanted.len() && of.of(names) == wanted;
        self.lines
            .iter()
            .filter(move |(of, _)| is_wanted(of))
            .map(|(_, value)| value.of(&self.bytes))
    }

    /// Returns the first value of a header.
    pub fn get(&self, name: &HeaderName) -> Option<&[u8]> {
        self.get_all(name).next()
    }

    /// Returns whether a header is there.
    pub fn contains(&self, name: &HeaderName) -> bool {
        self.get(name).is_some()
    }

    /// Returns the value of a header that must have one value. Equal values count once.
    ///
    /// # Errors
    /// [`Repeated`] if it occurs with different values: two readers could take different ones.
    pub fn single(&self, name: &HeaderName) -> Result<Option<&[u8]>, Repeated> {
        let mut values = self.get_all(name);
        let first = values.next();
        if values.all(|value| Some(value) == first) {
            Ok(first)
        } else {
            Err(Repeated)
        }
    }

    /// Returns the value of a header that may occur at most once.
    ///
    /// # Errors
    /// [`Repeated`] if it occurs several times, even with equal values.
    pub fn only(&self, name: &HeaderName) -> Result<Option<&[u8]>, Repeated> {
        let mut values = self.get_all(name);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Repeated),
            (first, None) => Ok(first),
        }
    }

    /// Adds a line. All lines are copied.
    pub fn append(&mut self, name: &HeaderName, value: &HeaderValue) {
        *self = self
            .iter()
            .chain([(name.as_str(), value.as_bytes())])
            .collect();
    }

    /// Sets a header, in place of all its lines. All lines are copied.
    pub fn insert(&mut self, name: &HeaderName, value: &HeaderValue) {
        *self = self
            .iter()
            .filter(|(other, _)| name != other)
            .chain([(name.as_str(), value.as_bytes())])
            .collect();
    }

    /// Returns the lines as a map.
    pub fn to_map(&self) -> HeaderMap {
        let lines = self.iter().filter_map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            Some((name, HeaderValue::from_bytes(value).ok()?))
        });
        lines.collect()
    }
}

/// Returns whether a name has visible ASCII without a colon alone. Not stopping at the first other byte lets the compiler look at many at once.
fn is_name(name: &[u8]) -> bool {
    let plain = |all, byte: &u8| all & (b'!'..=b'~').contains(byte) & (*byte != b':');
    !name.is_empty() && name.iter().fold(true, plain)
}

/// Returns whether a value has no control character but tabs.
fn is_value(value: &[u8]) -> bool {
    let plain = |all, byte: &u8| all & ((*byte >= b' ') & (*byte != 0x7f) | (*byte == b'\t'));
    value.iter().fold(true, plain)
}

impl<'l> FromIterator<(&'l str, &'l [u8])> for HeaderLines {
    /// Copies lines, with their names in lower case.
    fn from_iter<I: IntoIterator<Item = (&'l str, &'l [u8])>>(all: I) -> Self {
        let (mut names, mut bytes, mut lines) = (String::new(), Vec::new(), Vec::new());
        for (name, value) in all {
            let (name_at, value_at) = (names.len(), bytes.len());
            names.push_str(name);
            bytes.extend_from_slice(value);
            lines.push((
                Span {
                    start: name_at,
                    end: names.len(),
                },
                Span {
                    start: value_at,
                    end: bytes.len(),
                },
            ));
        }
        // look-ups compare with names in lower case
        names.make_ascii_lowercase();
        // the budget charges the bytes of the lines, and no room beside them
        names.shrink_to_fit();
        bytes.shrink_to_fit();
        lines.shrink_to_fit();
        Self {
            names,
            bytes: bytes.into(),
            lines,
        }
    }
}

impl FromIterator<(HeaderName, HeaderValue)> for HeaderLines {
    fn from_iter<I: IntoIterator<Item = (HeaderName, HeaderValue)>>(all: I) -> Self {
        let all: Vec<_> = all.into_iter().collect();
        all.iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect()
    }
}

impl From<&HeaderMap> for HeaderLines {
    fn from(map: &HeaderMap) -> Self {
        map.iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect()
    }
}

impl PartialEq for HeaderLines {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for HeaderLines {}

impl fmt::Debug for HeaderLines {
    /// Shows no value: one may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.iter().map(|(name, _)| name))
            .finish()
    }
}

/// The error for a header that must have one value, and occurs several times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeated;

#[cfg(test)]
mod tests {
    use http::header::{ACCEPT, HOST};
    use proptest::prelude::*;

    use super::*;

    fn value(text: &'static str) -> HeaderValue {
        HeaderValue::from_static(text)
    }

    #[test]
    fn lines_of_a_head_are_read_in_place() {
        let head = Bytes::from_static(b"GET / HTTP/1.1\r\nHost: a\r\nX-A: \t b \r\nx-a:\r\n\r\n");
        let span = |start, end| Span { start, end };
        let places = vec![
            (span(16, 20), span(21, 23)),
            (span(25, 28), span(29, 34)),
            (span(36, 39), span(40, 40)),
        ];
        let lines = HeaderLines::of_head(head, places).unwrap();
        let read: Vec<_> = lines.iter().collect();
        assert_eq!(
            read,
            [("host", &b"a"[..]), ("x-a", &b"b"[..]), ("x-a", &b""[..])]
        );
        assert_eq!(format!("{lines:?}"), r#"["host", "x-a", "x-a"]"#);
    }

    #[test]
    fn bytes_that_are_no_name_are_no_lines() {
        for (head, is_line) in [
            (&b"n: a"[..], true),
            (b"n: \t\xff", true),
            (b"\xff: a", false),
            (b"\n: a", false),
            (b" : a", false),
            (b":: a", false),
            (b"n: \n", false),
            (b"n: \r", false),
            (b"n: \0", false),
            (b"n: \x7f", false),
        ] {
            let place = (
                Span { start: 0, end: 1 },
                Span {
                    start: 3,
                    end: head.len(),
                },
            );
            let read = HeaderLines::of_head(Bytes::from_static(head), vec![place]);
            assert_eq!(read.is_some(), is_line, "{}", head.escape_ascii());
        }
        let long = Bytes::from("a".repeat(MAX_NAME + 1));
        let place = Span {
            start: 0,
            end: long.len(),
        };
        assert_eq!(HeaderLines::of_head(long, vec![(place, place)]), None);
    }

    #[test]
    fn setting_a_header_replaces_all_its_lines() {
        let mut lines = HeaderLines::default();
        assert!(lines.is_empty() && lines.get(&HOST).is_none());
        lines.append(&ACCEPT, &value("1"));
        lines.append(&HOST, &value("a"));
        lines.append(&ACCEPT, &value("2"));
        lines.insert(&ACCEPT, &value("3"));
        let read: Vec<_> = lines.iter().collect();
        assert_eq!(read, [("host", &b"a"[..]), ("accept", &b"3"[..])]);
        assert!(lines.contains(&HOST) && lines.len() == 2);
    }

    #[test]
    fn one_value_is_not_several() {
        let of = |values: &[&'static str]| {
            let mut lines = HeaderLines::default();
            for one in values {
                lines.append(&HOST, &value(one));
            }
            lines
        };
        assert_eq!(of(&[]).single(&HOST), Ok(None));
        assert_eq!(of(&["a", "a"]).single(&HOST), Ok(Some(&b"a"[..])));
        assert_eq!(of(&["a", "a", "b"]).single(&HOST), Err(Repeated));
        assert_eq!(of(&["a"]).only(&HOST), Ok(Some(&b"a"[..])));
        assert_eq!(of(&["a", "a"]).only(&HOST), Err(Repeated));
    }

    proptest! {
        /// Every look-up finds what a map of the same lines finds.
        #[test]
        fn lookups_equal_those_of_a_map(all in prop::collection::vec(("[a-c]{1,2}", "[ -~]{0,4}"), 0..12)) {
            let map: HeaderMap = all
                .iter()
                .map(|(name, text)| (HeaderName::try_from(name).unwrap(), HeaderValue::from_str(text).unwrap()))
                .collect();
            let lines = HeaderLines::from(&map);
            for name in map.keys() {
                let values: Vec<_> = map.get_all(name).iter().map(HeaderValue::as_bytes).collect();
                prop_assert_eq!(lines.get_all(name).collect::<Vec<_>>(), values);
                prop_assert_eq!(lines.get(name), map.get(name).map(HeaderValue::as_bytes));
            }
            prop_assert_eq!(lines.len(), map.len());
            prop_assert_eq!(lines.to_map(), map);
        }
    }
}
