//! Receives the head of a request from its server, and refuses what two parsers could read in different ways.
//!
//! On HTTP/1 [`framing`] has checked most of it already. The checks here are of single headers, and apply to HTTP/2 too.
//!
//! [`framing`]: crate::listener::framing
use std::net::Ipv6Addr;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::{HeaderName, Method, Version};

use crate::gateway::Gate;
use crate::gateway::active_config::ActiveConfig;
use crate::gateway::reply::{RefusalResponse, Reply};
use crate::listener::client_address::{self, Peer};
use crate::listener::framing::{Violation, is_target};
use crate::listener::peer::ConnectionInfo;
use crate::refusal::Refusal;
use crate::request::{HeaderLines, RequestHead, RequestId};
use crate::telemetry::Facts;

/// The most characters of a host name, as in DNS.
const MAX_HOST: usize = 255;
/// The most characters of a port.
const MAX_PORT: usize = 5;
/// The overhead of a field in the size of an HTTP/2 head, besides its name and its value.
const FIELD_OVERHEAD: usize = 32;

/// The authority and the size of the body, checked.
#[derive(Debug)]
struct Framing {
    /// `Host` or `:authority`.
    authority: String,
    /// The declared size of the body.
    declared_size: Option<u64>,
}

/// The head of a request, as its server read it.
#[derive(Debug)]
pub(super) struct HeadParts {
    /// The method.
    pub(super) method: Method,
    /// The version.
    pub(super) version: Version,
    /// The target, byte for byte.
    pub(super) target: Bytes,
    /// `:authority`, over HTTP/2.
    pub(super) authority: Option<String>,
    /// The header lines.
    pub(super) headers: HeaderLines,
}

/// The origin of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'a> {
    /// The facts about its connection.
    pub(super) connection: Option<&'a ConnectionInfo>,
    /// Whether its connection is TLS.
    pub(super) tls: bool,
    /// The violation for which its head was cut.
    pub(super) violation: Option<Violation>,
}

/// Receives the head of a request: returns the facts for its record, and the head or its refusal.
pub(super) fn receive(
    gate: &Gate,
    active: &ActiveConfig,
    parts: HeadParts,
    origin: Origin<'_>,
) -> (Facts, Result<RequestHead, Refusal>) {
    let now = gate.clock.now();
    let request_id = RequestId::from_u128(uuid::Uuid::now_v7().as_u128());
    let peer = origin
        .connection
        .map_or(Peer::UNKNOWN, |connection| connection.peer);
    let certificate = origin
        .connection
        .and_then(|connection| connection.certificate.clone());
    let client = client_address::client(peer, &parts.headers, &active.snapshot.trusted_proxies);
    let mut facts = Facts::new(
        request_id,
        &parts.method,
        &parts.target,
        &parts.headers,
        client,
        now,
    );
    facts.certificate.clone_from(&certificate);
    let framing = match origin.violation {
        Some(violation) => Err(violation.refusal()),
        None => framing(&parts, active.snapshot.limits.header_bytes),
    };
    let head = framing.map(|framing| RequestHead {
        request_id,
        method: parts.method,
        target: parts.target,
        authority: framing.authority,
        tls: origin.tls,
        headers: parts.headers,
        declared_size: framing.declared_size,
        client,
        certificate,
        received: now,
    });
    (facts, head)
}

/// Returns the part of a request that was refused for its framing.
pub(super) fn violated_part(
    decided: &Result<Reply, RefusalResponse>,
    violated: Option<&'static str>,
) -> Option<&'static str> {
    let is_of_framing = decided.as_ref().is_err_and(|response| {
        matches!(
            response.refusal,
            Refusal::Malformed | Refusal::HeadTooLarge | Refusal::TargetTooLong
        )
    });
    violated.filter(|_| is_of_framing)
}

/// Reads authority and framing, and checks the target.
///
/// # Errors
/// `Malformed`: a target that is not in origin form, no host, several or a malformed one, an ambiguous length or coding, or an expectation other
/// than `100-continue`. `TargetTooLong`, `HeadTooLarge`: more than `max_head` bytes over HTTP/2. `MethodNotAllowed`: `TRACE`, which shows the
/// headers of a request to anybody who can make a browser send it.
fn framing(head: &HeadParts, max_head: usize) -> Result<Framing, Refusal> {
    if head.version == Version::HTTP_2 {
        check_size(&head.target, &head.headers, max_head)?;
    }
    if !is_target(&head.target) || !is_expectation_known(&head.headers)? {
        return Err(Refusal::Malformed);
    }
    let framing = Framing {
        authority: authority(head)?,
        declared_size: declared_size(head)?,
    };
    if head.method == Method::TRACE {
        Err(Refusal::MethodNotAllowed)
    } else {
        Ok(framing)
    }
}

/// Checks the size of an HTTP/2 head, counted as RFC 9113 counts a field section.
fn check_size(target: &[u8], headers: &HeaderLines, max_head: usize) -> Result<(), Refusal> {
    if target.len() > max_head {
        return Err(Refusal::TargetTooLong);
    }
    let fields = headers
        .iter()
        .map(|(name, value)| name.len() + value.len() + FIELD_OVERHEAD);
    if fields.sum::<usize>().saturating_add(target.len()) > max_head {
        Err(Refusal::HeadTooLarge)
    } else {
        Ok(())
    }
}

fn is_expectation_known(headers: &HeaderLines) -> Result<bool, Refusal> {
    Ok(at_most_one(headers, &EXPECT)?
        .is_none_or(|expected| expected.eq_ignore_ascii_case(b"100-continue")))
}

fn authority(head: &HeadParts) -> Result<String, Refusal> {
    let host = at_most_one(&head.headers, &HOST)?;
    let authority = head.authority.as_deref().map(str::as_bytes);
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

fn declared_size(header: &HeadParts) -> Result<Option<u64>, Refusal> {
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

fn at_most_one<'a>(
    headers: &'a HeaderLines,
    name: &HeaderName,
) -> Result<Option<&'a [u8]>, Refusal> {
    headers.only(name).map_err(|_| Refusal::Malformed)
}

#[cfg(test)]
mod tests;
