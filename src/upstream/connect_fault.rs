//! Says why pingora could not make a connection.
use std::io;
use std::time::{Duration, UNIX_EPOCH};

use nix::errno::Errno;
use pingora::{Error, ErrorType};

use crate::delivery::{Fault, Shortage, TlsFault};

/// The text before the words of rustls about a certificate. The bytes of the other side come after them.
const CERTIFICATE: &str = "invalid peer certificate: ";
/// The text before the end of a certificate's validity, in seconds since the Unix epoch.
const NOT_AFTER: &str = "but certificate is not valid after ";

/// Returns the fault that an error of connecting stands for.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "pingora defines the kinds of errors, and the system's error tells more about all others"
)]
pub fn connect_fault(error: &Error) -> Fault {
    let system = system_error(error);
    if let Some(shortage) = system.and_then(Shortage::of) {
        return Fault::Local(shortage);
    }
    match error.etype() {
        ErrorType::TLSHandshakeFailure | ErrorType::InvalidCert | ErrorType::HandshakeError => {
            Fault::Tls(tls_fault(&error.to_string()))
        }
        ErrorType::ConnectRefused => Fault::Refused,
        ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout => Fault::ConnectTimeout,
        _ => match system
            .and_then(io::Error::raw_os_error)
            .map(Errno::from_raw)
        {
            // a unix socket that is not there
            Some(Errno::ECONNREFUSED | Errno::ENOENT) => Fault::Refused,
            Some(Errno::ETIMEDOUT) => Fault::ConnectTimeout,
            _ => Fault::Unreachable,
        },
    }
}

/// Returns the fault that tells more about an upstream at several addresses, of that of the addresses `before` and that of the next one. A
/// failed handshake tells most; a machine without IPv6, which has no way to `::1`, tells least.
pub(super) fn more_telling(before: Option<Fault>, next: Fault) -> Option<Fault> {
    let rank = |fault| match fault {
        Fault::Local(_) => 0,
        Fault::Unreachable => 1,
        Fault::Tls(_) => 3,
        Fault::BreakerOpen(_)
        | Fault::Resolve
        | Fault::Blocked
        | Fault::Refused
        | Fault::ConnectTimeout
        | Fault::Reset
        | Fault::Stale
        | Fault::Timeout
        | Fault::Malformed
        | Fault::TooLarge => 2,
    };
    before
        .filter(|before| rank(*before) > rank(next))
        .or(Some(next))
}

/// Returns the system's error behind an error of pingora, if there is one.
fn system_error(error: &Error) -> Option<&io::Error> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error.root_cause());
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref() {
            return Some(error);
        }
        cause = error.source();
    }
    None
}

/// Returns the fault of a handshake from its text: pingora drops the error of rustls. The tests make each handshake, so they fail where
/// another version of rustls words it differently.
fn tls_fault(text: &str) -> TlsFault {
    if let Some((_, certificate)) = text.split_once(CERTIFICATE) {
        return certificate_fault(certificate);
    }
    if text.contains("received corrupt message of type InvalidContentType") {
        return TlsFault::Plain;
    }
    TlsFault::Other
}

fn certificate_fault(text: &str) -> TlsFault {
    let kinds = [
        ("certificate expired", TlsFault::Expired(expiry(text))),
        ("Expired", TlsFault::Expired(None)),
        ("certificate not valid yet", TlsFault::Early),
        ("NotValidYet", TlsFault::Early),
        ("certificate not valid for name", TlsFault::Name),
        ("NotValidForName", TlsFault::Name),
        ("UnknownIssuer", TlsFault::Issuer),
        // an authority of the same name and another key
        ("BadSignature", TlsFault::Issuer),
    ];
    kinds
        .into_iter()
        .find(|(start, _)| text.starts_with(start))
        .map_or(TlsFault::Other, |(_, fault)| fault)
}

/// Returns the end of the validity that the text names.
fn expiry(text: &str) -> Option<std::time::SystemTime> {
    let (_, rest) = text.split_once(NOT_AFTER)?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    UNIX_EPOCH.checked_add(Duration::from_secs(digits.parse().ok()?))
}

#[cfg(test)]
mod tests;
