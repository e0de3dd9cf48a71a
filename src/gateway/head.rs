//! Reads target, authority and framing from pingora's request header, and refuses what two parsers could read in different ways.
//!
//! On HTTP/1 [`framing`] has checked most of it before pingora read the head. The checks here are of single headers, and apply to HTTP/2 too.
//!
//! [`framing`]: crate::listener::framing
use std::net::Ipv6Addr;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use pingora::http::RequestHeader;

use crate::listener::framing::is_target;
use crate::refusal::Refusal;
use crate::request::only_value;

/// The most characters of a host name, as in DNS.
const MAX_HOST: usize = 255;
/// The most characters of a port.
const MAX_PORT: usize = 5;
/// The overhead of a field in the size of an HTTP/2 head, besides its name and its value.
const FIELD_OVERHEAD: usize = 32;

/// The target, the authority and the size of the body, checked.
#[derive(Debug)]
pub(super) struct Framing {
    /// The target, byte for byte.
    pub(super) target: Bytes,
    /// `Host` or `:authority`.
    pub(super) authority: String,
    /// The declared size of the body.
    pub(super) declared_size: Option<u64>,
}

/// Reads target, authority and framing.
///
/// # Errors
/// `Malformed`: a target that is not in origin form, no host, several or a malformed one, an ambiguous length or coding, or an expectation other
/// than `100-continue`. `TargetTooLong`, `HeadTooLarge`: more than `max_head` bytes over HTTP/2. `MethodNotAllowed`: `TRACE`, which shows the
/// headers of a request to anybody who can make a browser send it.
pub(super) fn framing(header: &RequestHeader, max_head: usize) -> Result<Framing, Refusal> {
    let target = header.raw_path();
    if header.version == Version::HTTP_2 {
        check_size(target, &header.headers, max_head)?;
    }
    if !is_target(target) || !is_expectation_known(&header.headers)? {
        return Err(Refusal::Malformed);
    }
    let framing = Framing {
        target: Bytes::copy_from_slice(target),
        authority: authority(header)?,
        declared_size: declared_size(header)?,
    };
    if header.method == Method::TRACE {
        Err(Refusal::MethodNotAllowed)
    } else {
        Ok(framing)
    }
}

/// Checks the size of an HTTP/2 head, counted as RFC 9113 counts a field section.
fn check_size(target: &[u8], headers: &HeaderMap, max_head: usize) -> Result<(), Refusal> {
    if target.len() > max_head {
        return Err(Refusal::TargetTooLong);
    }
    let fields = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + FIELD_OVERHEAD);
    if fields.sum::<usize>().saturating_add(target.len()) > max_head {
        Err(Refusal::HeadTooLarge)
    } else {
        Ok(())
    }
}

fn is_expectation_known(headers: &HeaderMap) -> Result<bool, Refusal> {
    Ok(at_most_one(headers, &EXPECT)?
        .is_none_or(|expected| expected.eq_ignore_ascii_case(b"100-continue")))
}

fn authority(header: &RequestHeader) -> Result<String, Refusal> {
    let host = at_most_one(&header.headers, &HOST)?;
    let authority = header
        .uri
        .authority()
        .filter(|_| header.version == Version::HTTP_2)
        .map(|authority| authority.as_str().as_bytes());
    let both = match (authority, host) {
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => None,
        (authority, host) => authority.or(host),
    };
    both.and_then(|host| std::str::from_utf8(host).ok())
        .filter(|host| is_host(host))
        .map(str::to_owned)
        .ok_or(Refusal::Malformed)
}

/// Returns whether the text is a host name, an IPv4 address or an IPv6 address in brackets, with an optional port.
fn is_host(text: &str) -> bool {
    let (is_name, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => (address.parse::<Ipv6Addr>().is_ok(), port),
        None => {
            let (name, port) = text
                .split_at_checked(text.find(':').unwrap_or(text.len()))
                .unwrap_or_default();
            let is_name = name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
            (is_name && (1..=MAX_HOST).contains(&name.len()), port)
        }
    };
    is_name && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

fn is_port(digits: &str) -> bool {
    digits.len() <= MAX_PORT
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && digits.parse::<u16>().is_ok()
}

fn declared_size(header: &RequestHeader) -> Result<Option<u64>, Refusal> {
    let length = at_most_one(&header.headers, &CONTENT_LENGTH)?;
    let coding = at_most_one(&header.headers, &TRANSFER_ENCODING)?;
    match (length, coding) {
        (Some(_), Some(_)) => Err(Refusal::Malformed),
        (None, Some(coding)) => {
            if header.version == Version::HTTP_11 && coding.eq_ignore_ascii_case(b"chunked") {
                Ok(None)
            } else {
                Err(Refusal::Malformed)
            }
        }
        (Some(length), None) => number(length).map(Some).ok_or(Refusal::Malformed),
        (None, None) => Ok((header.version != Version::HTTP_2).then_some(0)),
    }
}

/// Parses a number of digits alone. A leading zero is refused, since some parsers read it as octal.
fn number(digits: &[u8]) -> Option<u64> {
    let is_plain = digits.iter().all(u8::is_ascii_digit)
        && (digits.first() != Some(&b'0') || digits.len() == 1);
    std::str::from_utf8(digits)
        .ok()
        .filter(|_| is_plain)?
        .parse()
        .ok()
}

fn at_most_one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a [u8]>, Refusal> {
    let value = only_value(headers, name).map_err(|_| Refusal::Malformed)?;
    Ok(value.map(HeaderValue::as_bytes))
}

#[cfg(test)]
mod tests;
