//! The reasons for which an attempt gets no answer, each with its code and its message.
use std::borrow::Cow;
use std::io;
use std::time::{Duration, SystemTime};

use nix::errno::Errno;

use crate::clock::{day, parse_rfc3339, rfc3339};

/// The reason why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The breaker is open; it lets a probe through after this time.
    BreakerOpen(Duration),
    /// The name does not resolve.
    Resolve,
    /// The gateway may not connect to the address (`egress`).
    Blocked,
    /// The connection was refused: nothing listens at the address.
    Refused,
    /// The address cannot be reached: there is no route to it, or the system does not let the gateway connect.
    Unreachable,
    /// The TLS handshake failed.
    Tls(TlsFault),
    /// No connection in time.
    ConnectTimeout,
    /// The connection broke before the head of an answer.
    Reset,
    /// An idle connection was closed before any byte of an answer. The request may have arrived all the same.
    Stale,
    /// No answer in time.
    Timeout,
    /// The answer is not valid HTTP.
    Malformed,
    /// The head of the answer is larger than the limit.
    TooLarge,
    /// No connection, because the gateway ran out of a resource of its own machine. The upstream may be healthy.
    Local(Shortage),
}

/// The reason why a TLS handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFault {
    /// The certificate, or one of its chain, expired: at this time, if that is known.
    Expired(Option<SystemTime>),
    /// The certificate, or one of its chain, is not valid yet.
    Early,
    /// The certificate is for other names.
    Name,
    /// No trusted authority has signed the certificate.
    Issuer,
    /// The other side does not speak TLS.
    Plain,
    /// Any other reason.
    Other,
}

/// A resource of the gateway's own machine that is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// File descriptors: `EMFILE`, `ENFILE`.
    Descriptors,
    /// Local ports: `EADDRNOTAVAIL`.
    Ports,
    /// Memory for sockets: `ENOBUFS`, `ENOMEM`.
    Memory,
}

/// The error codes of a fault: the first for a request that was not sent, the second for one that may have arrived.
macro_rules! codes {
    ($code:literal) => {
        (concat!("unreached_", $code), concat!("ambiguous_", $code))
    };
}

impl Fault {
    /// All faults, in the order of `docs/queue.md`. Durations and dates are placeholders.
    pub const ALL: &'static [Self] = &[
        Self::Resolve,
        Self::Blocked,
        Self::Refused,
        Self::Unreachable,
        Self::ConnectTimeout,
        Self::Tls(TlsFault::Expired(None)),
        Self::Tls(TlsFault::Early),
        Self::Tls(TlsFault::Name),
        Self::Tls(TlsFault::Issuer),
        Self::Tls(TlsFault::Plain),
        Self::Tls(TlsFault::Other),
        Self::Reset,
        Self::Stale,
        Self::Timeout,
        Self::Malformed,
        Self::TooLarge,
        Self::BreakerOpen(Duration::ZERO),
        Self::Local(Shortage::Descriptors),
        Self::Local(Shortage::Ports),
        Self::Local(Shortage::Memory),
    ];

    /// Returns the error codes of an attempt that ends with this fault: that of a request that was not sent, and that of one that may have
    /// arrived.
    pub const fn codes(self) -> (&'static str, &'static str) {
        match self {
            Self::BreakerOpen(_) => codes!("breaker_open"),
            Self::Resolve => codes!("resolve"),
            Self::Blocked => codes!("blocked"),
            Self::Refused => codes!("refused"),
            Self::Unreachable => codes!("network"),
            Self::Tls(TlsFault::Expired(_)) => codes!("tls_expired"),
            Self::Tls(TlsFault::Early) => codes!("tls_not_yet_valid"),
            Self::Tls(TlsFault::Name) => codes!("tls_name"),
            Self::Tls(TlsFault::Issuer) => codes!("tls_issuer"),
            Self::Tls(TlsFault::Plain) => codes!("tls_not_spoken"),
            Self::Tls(TlsFault::Other) => codes!("tls_failed"),
            Self::ConnectTimeout => codes!("connect_timeout"),
            Self::Reset => codes!("reset"),
            Self::Stale => codes!("stale"),
            Self::Timeout => codes!("timeout"),
            Self::Malformed => codes!("malformed"),
            Self::TooLarge => codes!("too_large"),
            Self::Local(Shortage::Descriptors) => codes!("out_of_descriptors"),
            Self::Local(Shortage::Ports) => codes!("out_of_ports"),
            Self::Local(Shortage::Memory) => codes!("out_of_memory"),
        }
    }

    /// Returns the fault with this error code, of either kind. `date` is that of an expired certificate.
    pub fn of_code(code: &str, date: Option<SystemTime>) -> Option<Self> {
        let is_it = |fault: &Self| <[&str; 2]>::from(fault.codes()).contains(&code);
        let fault = Self::ALL.iter().copied().find(is_it)?;
        if let Self::Tls(TlsFault::Expired(_)) = fault {
            return Some(Self::Tls(TlsFault::Expired(date)));
        }
        Some(fault)
    }

    /// Returns the date that belongs to it.
    pub const fn date(self) -> Option<SystemTime> {
        if let Self::Tls(TlsFault::Expired(date)) = self {
            date
        } else {
            None
        }
    }

    /// Returns an error code of this fault as it is stored: with a blank and the date that belongs to the fault behind it, if there is one.
    pub(crate) fn stored(self, code: &'static str) -> Cow<'static, str> {
        match self.date() {
            Some(date) => format!("{code} {}", rfc3339(date)).into(),
            None => code.into(),
        }
    }

    /// Returns the fault of a stored error, and whether the request may have arrived. `None` for an error that is no fault of the other side,
    /// or of another version.
    pub(crate) fn of_stored(stored: &str) -> Option<(Self, bool)> {
        let (code, date) = stored.split_once(' ').unwrap_or((stored, ""));
        let fault = Self::of_code(code, parse_rfc3339(date))?;
        Some((fault, fault.codes().1 == code))
    }

    /// Describes it in a clause without a full stop. `peer` is the other side, with its article: "the upstream".
    pub fn message(self, peer: &str) -> String {
        match self {
            Self::BreakerOpen(_) => format!("{peer}'s circuit breaker is open"),
            Self::Resolve => format!("{peer}'s name does not resolve"),
            Self::Blocked => format!("the gateway may not connect to {peer}'s address (`egress`)"),
            Self::Refused => format!("{peer} refused the connection"),
            Self::Unreachable => format!("{peer}'s address cannot be reached from here"),
            Self::Tls(fault) => fault.message(peer),
            Self::ConnectTimeout => format!("connecting to {peer} took too long"),
            Self::Reset => format!("{peer} closed the connection before its response was complete"),
            Self::Stale => format!("{peer} had closed an idle connection"),
            Self::Timeout => format!("{peer} did not answer in time"),
            Self::Malformed => format!("{peer}'s response is not valid HTTP"),
            Self::TooLarge => format!("the head of {peer}'s response is too large"),
            Self::Local(shortage) => format!("the gateway is out of {}", shortage.words()),
        }
    }
}

impl TlsFault {
    /// Describes it, as [`Fault::message`] does.
    fn message(self, peer: &str) -> String {
        match self {
            Self::Expired(Some(date)) => {
                format!("{peer}'s certificate expired on {}", day(date))
            }
            Self::Expired(None) => format!("{peer}'s certificate has expired"),
            Self::Early => format!("{peer}'s certificate is not valid yet"),
            Self::Name => format!("{peer}'s certificate is for other names"),
            Self::Issuer => format!(
                "{peer}'s certificate is not signed by a trusted authority, or its chain is incomplete"
            ),
            Self::Plain => format!("{peer} does not speak TLS at this port"),
            Self::Other => format!("the TLS handshake with {peer} failed"),
        }
    }
}

impl Shortage {
    /// All shortages.
    pub const ALL: [Self; 3] = [Self::Descriptors, Self::Ports, Self::Memory];

    /// Returns the shortage that caused a system error, if one did.
    pub fn of(error: &io::Error) -> Option<Self> {
        let shortages = [
            (Errno::EMFILE, Self::Descriptors),
            (Errno::ENFILE, Self::Descriptors),
            (Errno::EADDRNOTAVAIL, Self::Ports),
            (Errno::ENOBUFS, Self::Memory),
            (Errno::ENOMEM, Self::Memory),
        ];
        let errno = Errno::from_raw(error.raw_os_error()?);
        shortages
            .into_iter()
            .find(|(known, _)| *known == errno)
            .map(|(_, shortage)| shortage)
    }

    /// Returns the resource in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Descriptors => "file descriptors",
            Self::Ports => "local ports",
            Self::Memory => "memory for sockets",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn every_fault_has_codes_and_a_message_of_its_own() {
        let (mut codes, mut messages) = (BTreeSet::new(), BTreeSet::new());
        for fault in Fault::ALL {
            let (unreached, ambiguous) = fault.codes();
            assert_eq!(
                unreached.strip_prefix("unreached_"),
                ambiguous.strip_prefix("ambiguous_")
            );
            for code in [unreached, ambiguous] {
                assert!(codes.insert(code), "{code}");
                assert_eq!(Fault::of_code(code, None), Some(*fault));
            }
            assert!(messages.insert(fault.message("the upstream")), "{fault:?}");
        }
        assert_eq!(Fault::of_code("unreached_connect", None), None);
        assert_eq!(Fault::of_code("cut_off", None), None);
    }

    #[test]
    fn documentation_lists_every_fault() {
        let page = include_str!("../../docs/queue.md");
        let rows: Vec<&str> = page
            .lines()
            .skip_while(|line| !line.starts_with("| code, behind"))
            .skip(2)
            .take_while(|line| line.starts_with('|'))
            .collect();
        assert_eq!(rows.len(), Fault::ALL.len());
        for (row, fault) in rows.iter().zip(Fault::ALL) {
            let code = fault.codes().0.trim_start_matches("unreached_");
            let message = fault.message("the upstream");
            assert!(row.starts_with(&format!("| `{code}` | {message}")), "{row}");
        }
    }

    #[test]
    fn message_shows_the_date_of_an_expired_certificate() {
        let date = UNIX_EPOCH + Duration::from_secs(1_793_664_000);
        let fault = Fault::of_code("unreached_tls_expired", Some(date)).unwrap();
        assert_eq!(fault.date(), Some(date));
        assert_eq!(
            fault.message("the upstream"),
            "the upstream's certificate expired on 3 November 2026"
        );
        assert_eq!(
            Fault::of_code("unreached_refused", Some(date)).and_then(Fault::date),
            None
        );
    }
}
