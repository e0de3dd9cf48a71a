//! From pingora's request header to ours, or a refusal of what two readers could read differently.
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Version};
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;

use crate::refusal::Refusal;

/// What framing and target say, checked.
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
/// `Malformed`: a target that is not origin form, no or several or odd hosts, a length or coding that can be read in two ways.
pub(super) fn framing(session: &ServerSession) -> Result<Framing, Refusal> {
    let header = session.req_header();
    let target = header.raw_path();
    if target.first() != Some(&b'/') || hides_a_length(session) {
        return Err(Refusal::Malformed);
    }
    Ok(Framing { target: Bytes::copy_from_slice(target), authority: authority(header)?, declared_size: declared_size(header)? })
}

/// Whether a length stands beside a coding: pingora takes it out of the headers, in the head as it came it is still there.
fn hides_a_length(session: &ServerSession) -> bool {
    let ServerSession::H1(session) = session else { return false };
    let is_length = |line: &[u8]| line.get(..15).is_some_and(|name| name.eq_ignore_ascii_case(b"content-length:"));
    session.req_header().headers.contains_key(TRANSFER_ENCODING)
        && session.get_headers_raw_bytes().split(|byte| *byte == b'\n').any(is_length)
}

fn authority(header: &RequestHeader) -> Result<String, Refusal> {
    let mut hosts = header.headers.get_all(HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(Refusal::Malformed);
    }
    let authority = header.uri.authority().filter(|_| header.version == Version::HTTP_2).map(|authority| Ok(authority.as_str()));
    match authority.or(host.map(HeaderValue::to_str)) {
        Some(Ok(host)) if is_host(host) => Ok(host.to_owned()),
        Some(_) => Err(Refusal::Malformed),
        None if header.version == Version::HTTP_10 => Ok(String::new()),
        None => Err(Refusal::Malformed),
    }
}

/// A host name or address with an optional port, and nothing that another reader could take for more.
fn is_host(host: &str) -> bool {
    !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte))
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
        (Some(length), None) => {
            let digits = std::str::from_utf8(length).ok().filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
            digits.and_then(|digits| digits.parse().ok()).map(Some).ok_or(Refusal::Malformed)
        }
        (None, None) => Ok((header.version != Version::HTTP_2).then_some(0)),
    }
}

fn at_most_one<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Result<Option<&'a [u8]>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() { Err(Refusal::Malformed) } else { Ok(first.map(HeaderValue::as_bytes)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(version: Version, headers: &[(&'static str, &str)], expect: Option<(&str, Option<u64>)>) {
        let mut header = RequestHeader::build("POST", b"/x", None).unwrap();
        header.set_version(version);
        for (name, value) in headers {
            header.append_header(*name, *value).unwrap();
        }
        let found = authority(&header).and_then(|authority| Ok((authority, declared_size(&header)?)));
        assert_eq!(found.ok(), expect.map(|(host, size)| (host.to_owned(), size)));
    }

    #[test]
    fn framing_is_read_in_one_way_or_not_at_all() {
        let v11 = Version::HTTP_11;
        check(v11, &[("host", "a.example:80")], Some(("a.example:80", Some(0))));
        check(v11, &[("host", "[::1]:80"), ("content-length", "5")], Some(("[::1]:80", Some(5))));
        check(v11, &[("host", "a"), ("transfer-encoding", "Chunked")], Some(("a", None)));
        check(v11, &[("host", "a"), ("transfer-encoding", "gzip, chunked")], None);
        check(v11, &[("host", "a"), ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], None);
        check(v11, &[("host", "a"), ("content-length", "5"), ("content-length", "5")], None);
        check(v11, &[("host", "a"), ("content-length", "5, 5")], None);
        check(v11, &[("host", "a"), ("content-length", "+5")], None);
        check(v11, &[("host", "a"), ("content-length", "99999999999999999999")], None);
        check(v11, &[("host", "a"), ("content-length", "5"), ("transfer-encoding", "chunked")], None);
        check(v11, &[], None);
        check(v11, &[("host", "")], None);
        check(v11, &[("host", "a b")], None);
        check(v11, &[("host", "a/b")], None);
        check(v11, &[("host", "a"), ("host", "a")], None);
        check(Version::HTTP_10, &[], Some(("", Some(0))));
        check(Version::HTTP_10, &[("transfer-encoding", "chunked")], None);
    }
}
