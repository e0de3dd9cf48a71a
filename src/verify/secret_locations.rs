//! The parts of a request that hold a secret, as its route declares them, and how the rest of the request is shown.
use std::borrow::Cow;
use std::fmt::Write as _;

use http::header::HeaderName;

use super::{json, locator::Locator};
use crate::request::{self, Folded};

/// The text that stands in place of a secret.
const REDACTED: &str = "[redacted]";

/// The parts of a request that hold a secret or a signature, as its route declares them.
///
/// All code that forwards, stores, logs or shows a request uses this type: a secret is known by its place, under any header name.
/// Usual names of secrets are redacted as well, for requests whose route declares nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretLocations {
    /// The headers that hold a secret.
    pub headers: Vec<HeaderName>,
    /// The query parameters that hold a secret.
    pub query: Vec<Box<str>>,
    /// The JSON pointers of the body's fields that hold a secret.
    pub json: Vec<Box<str>>,
    /// The headers that hold a signature.
    pub signatures: Vec<HeaderName>,
}

impl SecretLocations {
    const HEADER: &str = "header";
    const QUERY: &str = "query";
    const JSON: &str = "json";
    const SIGNATURE: &str = "signature";

    /// Adds the place of another secret.
    #[must_use]
    pub fn and(mut self, secret: &Locator) -> Self {
        match secret {
            Locator::Header(names) => self.headers.extend(names.names().iter().cloned()),
            Locator::Query(name) => self.query.push(name.as_str().into()),
            Locator::Json(pointer) => self.json.push(pointer.as_str().into()),
        }
        self
    }

    /// Returns whether a header holds a secret. Another spelling of a declared name counts: the upstream may not tell the two apart.
    pub fn has_header(&self, name: &str) -> bool {
        is_among(&self.headers, name)
    }

    /// Returns whether a query parameter, decoded, holds a secret.
    pub fn has_parameter(&self, name: &str) -> bool {
        self.query.iter().any(|secret| **secret == *name)
    }

    /// Returns the target without the query parameters that hold a secret; `None` if it is the same.
    pub fn without_parameters(&self, target: &[u8]) -> Option<bytes::BytesMut> {
        if self.query.is_empty() {
            return None;
        }
        let at = target.iter().position(|byte| *byte == b'?')?;
        let (path, query) = target.split_at_checked(at)?;
        let mut left = bytes::BytesMut::from(path);
        let parameters = query
            .get(1..)
            .unwrap_or_default()
            .split(|byte| *byte == b'&');
        request::put_query(
            &mut left,
            parameters.filter(|one| !self.is_secret_parameter(one)),
        );
        Some(left)
    }

    /// Returns the declarations as pairs of a kind and a name, for a record.
    pub fn entries(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let headers = self
            .headers
            .iter()
            .map(|name| (Self::HEADER, name.as_str()));
        let query = self.query.iter().map(|name| (Self::QUERY, &**name));
        let json = self.json.iter().map(|pointer| (Self::JSON, &**pointer));
        headers.chain(query).chain(json).chain(
            self.signatures
                .iter()
                .map(|name| (Self::SIGNATURE, name.as_str())),
        )
    }

    /// Reads what [`Self::entries`] returned. Skips kinds that it does not know.
    pub fn from_entries<'k, 'n>(entries: impl Iterator<Item = (&'k str, &'n str)>) -> Self {
        let mut read = Self::default();
        for (kind, name) in entries {
            match kind {
                Self::HEADER => read.headers.extend(HeaderName::try_from(name)),
                Self::QUERY => read.query.push(name.into()),
                Self::JSON => read.json.push(name.into()),
                Self::SIGNATURE => read.signatures.extend(HeaderName::try_from(name)),
                _ => {}
            }
        }
        read
    }

    /// Returns whether a header's value is redacted wherever the request is shown: it is declared, or has a usual name of a secret.
    pub fn hides(&self, name: &HeaderName) -> bool {
        self.has_header(name.as_str()) || is_usual_secret(name)
    }

    /// Returns a header's value for people: nothing of a secret, the ends of a signature, everything else with unprintable bytes escaped.
    pub fn show_header(&self, name: &HeaderName, value: &[u8]) -> String {
        if self.hides(name) {
            return REDACTED.to_owned();
        }
        if !is_among(&self.signatures, name.as_str())
            && !contains_any(name, &[b"signature", b"hmac", b"xhubsig"])
        {
            return escaped(value);
        }
        match (value.len() >= 32, value.get(..12), value.last_chunk::<4>()) {
            (true, Some(start), Some(end)) => format!("{}…{}", escaped(start), escaped(end)),
            _ => format!("[{} bytes]", value.len()),
        }
    }

    /// Returns the bytes of a header's value unless it is a secret.
    pub fn show_raw_header<'v>(&self, name: &[u8], value: &'v [u8]) -> &'v [u8] {
        let hidden = HeaderName::from_bytes(name).map_or(true, |name| self.hides(&name));
        if hidden { REDACTED.as_bytes() } else { value }
    }

    /// Returns the target, its secret query parameters without their values.
    pub fn show_target<'t>(&self, target: &'t [u8]) -> Cow<'t, [u8]> {
        let at = target
            .iter()
            .position(|byte| *byte == b'?')
            .filter(|_| !self.query.is_empty());
        let Some((path, query)) = at.and_then(|at| target.split_at_checked(at + 1)) else {
            return Cow::Borrowed(target);
        };
        let show = |parameter: &[u8]| {
            let name = parameter
                .split(|byte| *byte == b'=')
                .next()
                .unwrap_or_default();
            if self.is_secret_parameter(parameter) {
                [name, b"=", REDACTED.as_bytes()].concat()
            } else {
                parameter.to_vec()
            }
        };
        let parameters: Vec<Vec<u8>> = query.split(|byte| *byte == b'&').map(show).collect();
        Cow::Owned([path, &parameters.join(&b'&')].concat())
    }

    /// Returns the body, its secret fields replaced. Returns no part of a body in which a secret field cannot be told from the rest.
    pub fn show_body<'b>(&self, body: &'b [u8]) -> Cow<'b, [u8]> {
        if self.json.is_empty() || body.is_empty() {
            return Cow::Borrowed(body);
        }
        let mut spans = Vec::new();
        for pointer in &self.json {
            match json::span(body, pointer) {
                Ok(span) => spans.extend(span),
                Err(json::Unreadable) => return Cow::Borrowed(REDACTED.as_bytes()),
            }
        }
        spans.sort_by_key(|span| (span.start, std::cmp::Reverse(span.end)));
        let mut shown = Vec::with_capacity(body.len());
        let mut from = 0;
        for span in spans.into_iter().filter(|span| !span.is_empty()) {
            // a field within one that is replaced already
            if span.start < from {
                continue;
            }
            shown.extend_from_slice(body.get(from..span.start).unwrap_or_default());
            shown.extend_from_slice(b"\"[redacted]\"");
            from = span.end;
        }
        shown.extend_from_slice(body.get(from..).unwrap_or_default());
        Cow::Owned(shown)
    }

    fn is_secret_parameter(&self, parameter: &[u8]) -> bool {
        form_urlencoded::parse(parameter)
            .next()
            .is_some_and(|(name, _)| self.has_parameter(&name))
    }
}

fn is_among(names: &[HeaderName], name: &str) -> bool {
    if names.is_empty() {
        return false;
    }
    let folded = Folded::new(name);
    names
        .iter()
        .any(|known| known == name || Folded::new(known.as_str()) == folded)
}

/// Returns whether secrets usually have such a name.
fn is_usual_secret(name: &HeaderName) -> bool {
    const PARTS: &[&[u8]] = &[
        b"authorization",
        b"cookie",
        b"token",
        b"secret",
        b"apikey",
        b"password",
        b"passwd",
        b"credential",
        b"xauth",
        b"session",
    ];
    // the gateway's own header holds the name of a secret
    contains_any(name, PARTS) && name.as_str() != "hookgate-secret"
}

fn contains_any(name: &HeaderName, parts: &[&[u8]]) -> bool {
    let letters: Vec<u8> = name
        .as_str()
        .bytes()
        .filter(u8::is_ascii_alphanumeric)
        .collect();
    parts
        .iter()
        .any(|part| letters.windows(part.len()).any(|window| window == *part))
}

fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter.is_control() {
                true => text.extend(letter.escape_default()),
                false => text.push(letter),
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string can't fail.
            write!(text, "\\x{byte:02x}").unwrap_or_default();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::verify::HeaderNames;

    fn name(text: &str) -> HeaderName {
        HeaderName::from_bytes(text.as_bytes()).unwrap()
    }

    fn declared() -> SecretLocations {
        SecretLocations {
            signatures: vec![name("x-sig")],
            ..SecretLocations::default()
        }
        .and(&Locator::Header(HeaderNames::from(name("x-hook-auth"))))
        .and(&Locator::Query("api key".to_owned()))
        .and(&Locator::Json("/auth/key".to_owned()))
    }

    #[test]
    fn usual_names_are_redacted_where_nothing_is_declared() {
        let long = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let table = [
            ("Authorization", "Bearer abc", "[redacted]"),
            ("Proxy-Authorization", "Basic abc", "[redacted]"),
            ("Cookie", "a=b", "[redacted]"),
            ("Set-Cookie", "a=b", "[redacted]"),
            ("X-Gitlab-Token", "abc", "[redacted]"),
            ("X-Github-Encoded-Secret", "abc", "[redacted]"),
            ("X-Hook-Secret", "abc", "[redacted]"),
            ("X-Api-Key", "abc", "[redacted]"),
            ("X-ApiKey", "abc", "[redacted]"),
            ("X-Signature-Token", long, "[redacted]"),
            ("X-Hub-Signature-256", long, "sha256=75710…3e17"),
            ("X-Shopify-Hmac-Sha256", "short", "[5 bytes]"),
            ("Content-Type", "text/plain", "text/plain"),
            ("X-Hook-Auth", "abc", "abc"),
            ("X-Note", "tab\tand more", "tab\\tand more"),
        ];
        for (header, value, expected) in table {
            assert_eq!(
                SecretLocations::default().show_header(&name(header), value.as_bytes()),
                expected,
                "{header}"
            );
        }
        assert_eq!(
            SecretLocations::default().show_header(&name("x-note"), b"a\xff\xc3\xbc"),
            "a\\xffü"
        );
    }

    #[test]
    fn declared_headers_are_redacted_in_any_spelling() {
        for spelling in ["x-hook-auth", "X_Hook_Auth", "http-x-hook-auth"] {
            assert_eq!(
                declared().show_header(&name(spelling), b"s3cret"),
                "[redacted]",
                "{spelling}"
            );
            assert_eq!(
                declared().show_raw_header(spelling.as_bytes(), b"s3cret"),
                b"[redacted]",
                "{spelling}"
            );
        }
        assert_eq!(
            declared().show_header(&name("x-sig"), &[b'a'; 40]),
            "aaaaaaaaaaaa…aaaa"
        );
        assert_eq!(declared().show_raw_header(b"x-sig", b"abc"), b"abc");
        assert_eq!(
            declared().show_raw_header(b"no name", b"abc"),
            b"[redacted]"
        );
    }

    #[test]
    fn secret_parameters_lose_their_value_or_go() {
        for (target, shown, without) in [
            (
                "/a?x=1&api+key=s3cret&y",
                "/a?x=1&api+key=[redacted]&y",
                "/a?x=1&y",
            ),
            ("/a?api%20key=s3cret", "/a?api%20key=[redacted]", "/a"),
            ("/a?API+key=1", "/a?API+key=1", "/a?API+key=1"),
            ("/a?b?api key=1", "/a?b?api key=1", "/a?b?api key=1"),
        ] {
            assert_eq!(declared().show_target(target.as_bytes()), shown.as_bytes());
            assert_eq!(
                declared().without_parameters(target.as_bytes()).unwrap(),
                without.as_bytes()
            );
        }
        assert_eq!(declared().show_target(b"/a"), b"/a".as_slice());
    }

    #[test]
    fn secret_fields_are_replaced_or_the_body_is_redacted() {
        for (body, shown) in [
            (
                r#"{"a": 1, "auth": {"key": "s3\"cret" , "b":2}}"#,
                r#"{"a": 1, "auth": {"key": "[redacted]" , "b":2}}"#,
            ),
            (
                r#"{"auth":{"key":["s3cret"]}}"#,
                r#"{"auth":{"key":"[redacted]"}}"#,
            ),
            (
                r#"{"auth":{"key":12345}}"#,
                r#"{"auth":{"key":"[redacted]"}}"#,
            ),
            (r#"{"a":1}"#, r#"{"a":1}"#),
            (r#"{"auth":{"key":"a","key":"s3cret"}}"#, "[redacted]"),
            ("key=s3cret", "[redacted]"),
            ("", ""),
        ] {
            assert_eq!(
                String::from_utf8_lossy(&declared().show_body(body.as_bytes())),
                shown,
                "{body}"
            );
        }
        let nested = declared().and(&Locator::Json("/auth".to_owned()));
        assert_eq!(
            nested.show_body(br#"{"auth":{"key":"s3cret"},"b":1}"#),
            br#"{"auth":"[redacted]","b":1}"#.as_slice()
        );
    }

    proptest! {
        #[test]
        fn entries_are_read_back(headers in prop::collection::vec("[a-z-]{1,9}", 0..3), texts in prop::collection::vec(".{0,9}", 0..3)) {
            let names: Vec<HeaderName> = headers.iter().map(|text| name(text)).collect();
            let texts: Vec<Box<str>> = texts.into_iter().map(Into::into).collect();
            let written = SecretLocations { headers: names.clone(), query: texts.clone(), json: texts, signatures: names };
            prop_assert_eq!(SecretLocations::from_entries(written.entries()), written);
        }

        #[test]
        fn no_spelling_of_a_body_shows_the_field(key in "[a-z]{0,6}", secret in "[A-Z]{12}", blanks in "[ \t\n]{0,3}") {
            let locations = SecretLocations::default().and(&Locator::Json(format!("/{key}")));
            let body = format!("{blanks}{{{blanks}\"{key}\"{blanks}:{blanks}\"{secret}\"{blanks},\"z9\":1}}{blanks}");
            let shown = locations.show_body(body.as_bytes()).into_owned();
            prop_assert!(!String::from_utf8_lossy(&shown).contains(&secret));
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&shown).is_ok());
        }
    }
}
