//! The headers that a customer adds to the requests of an endpoint.
use std::fmt;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use http::{HeaderName, HeaderValue};

use crate::request::Folded;
use crate::tenant::fields::{Invalid, object, pointer, text};

/// The most headers of an endpoint.
const MAX_HEADERS: usize = 20;
/// The longest name, in bytes.
const MAX_NAME: usize = 64;
/// The longest value, in bytes.
const MAX_VALUE: usize = 2_048;
/// The most bytes of all names and values together.
const MAX_BYTES: usize = 8_192;

/// The beginnings of names that the gateway keeps for itself, folded.
const RESERVED_BEGINNINGS: [&str; 5] = ["webhook", "hookgate", "content", "xforwarded", "proxy"];
/// The names that the gateway keeps for itself. The connection is its own, and so are the frame of a request and the path that it took.
const RESERVED: [&str; 14] = [
    "Host",
    "User-Agent",
    "Expect",
    "Connection",
    "Keep-Alive",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "HTTP2-Settings",
    "Forwarded",
    "Via",
    "CDN-Loop",
    "Date",
];

/// The headers that a customer adds. `Debug` shows the names alone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct OwnHeaders(Vec<(HeaderName, HeaderValue)>);

impl OwnHeaders {
    /// Reads an object of names and values at the pointer `at`. `signed` are the headers that the endpoint's scheme writes.
    ///
    /// # Errors
    /// The first header that cannot be used.
    pub fn read(value: &Value, at: &str, signed: &[HeaderName]) -> Result<Self, Invalid> {
        let fields = object(value, at)?;
        if fields.len() > MAX_HEADERS {
            let help = format!("write at most {MAX_HEADERS}");
            return Err(Invalid::new(at, "there are too many headers", help));
        }
        let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::with_capacity(fields.len());
        for (name, value) in fields {
            let at = &pointer(at, name);
            let name = header_name(name, at)?;
            let folded = Folded::new(name.as_str());
            if headers
                .iter()
                .any(|(other, _)| Folded::new(other.as_str()) == folded)
            {
                let error = "another header has this name, or one that an app cannot tell from it";
                return Err(Invalid::new(at, error, "write it once"));
            }
            if signed
                .iter()
                .any(|signed| Folded::new(signed.as_str()) == folded)
            {
                let error = "the scheme that signs the events writes this header";
                return Err(Invalid::new(at, error, "choose another name"));
            }
            headers.push((name, header_value(value, at)?));
        }
        let bytes: usize = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        if bytes > MAX_BYTES {
            let help = format!("write at most {MAX_BYTES} bytes of names and values");
            return Err(Invalid::new(at, "the headers are too large", help));
        }
        Ok(Self(headers))
    }

    /// Returns whether one of them is among the headers that a scheme writes.
    pub fn conflicts(&self, signed: &[HeaderName]) -> bool {
        let is_signed = |name: &HeaderName| {
            let folded = Folded::new(name.as_str());
            signed
                .iter()
                .any(|signed| Folded::new(signed.as_str()) == folded)
        };
        self.0.iter().any(|(name, _)| is_signed(name))
    }

    /// Returns the headers.
    pub fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// Returns the names, which may be shown.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the bytes that are sealed and stored: JSON of names and values.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let fields: Map<String, Value> = self
            .0
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), text(value).into()))
            .collect();
        Zeroizing::new(Value::Object(fields).to_string().into_bytes())
    }

    /// Restores the headers from the bytes that [`Self::to_bytes`] returned.
    ///
    /// # Errors
    /// The bytes are not such ones.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Invalid> {
        let value = serde_json::from_slice(bytes)
            .map_err(|_| Invalid::new("", "the stored headers are not JSON", "write them again"))?;
        Self::read(&value, "", &[])
    }
}

impl fmt::Debug for OwnHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

/// Reads a name.
fn header_name(name: &str, at: &str) -> Result<HeaderName, Invalid> {
    let parsed = HeaderName::from_bytes(name.as_bytes()).ok();
    let Some(parsed) = parsed.filter(|_| name.len() <= MAX_NAME) else {
        let help = format!("write letters, digits and `-`, at most {MAX_NAME}");
        return Err(Invalid::new(at, "this is no name of a header", help));
    };
    let folded = Folded::new(name);
    let is_beginning = |beginning: &str| folded.as_bytes().starts_with(beginning.as_bytes());
    let is_reserved = folded.as_bytes().is_empty()
        || RESERVED_BEGINNINGS
            .iter()
            .any(|beginning| is_beginning(beginning))
        || RESERVED
            .iter()
            .any(|reserved| Folded::new(reserved) == folded);
    if is_reserved {
        let error =
            "the gateway writes this header itself, or an app could not tell it from such a header";
        return Err(Invalid::new(at, error, "choose another name"));
    }
    Ok(parsed)
}

/// Reads a value. It is marked as sensitive.
fn header_value(value: &Value, at: &str) -> Result<HeaderValue, Invalid> {
    let text = text(value, at)?;
    let is_plain = text
        .bytes()
        .all(|byte| byte.is_ascii_graphic() || byte == b' ');
    let parsed = HeaderValue::from_str(text).ok();
    let parsed = parsed.filter(|_| is_plain && text.trim() == text && text.len() <= MAX_VALUE);
    let Some(mut parsed) = parsed else {
        let help = format!(
            "write at most {MAX_VALUE} printable ASCII characters, without a space at either end"
        );
        return Err(Invalid::new(at, "this is no value of a header", help));
    };
    parsed.set_sensitive(true);
    Ok(parsed)
}

#[cfg(test)]
mod tests;
