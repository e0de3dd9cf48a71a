//! Failures in words that a customer understands.
//!
//! The words say what a customer can see and change. They are the same for a name that does not resolve and for each class of address that is refused,
//! so that a URL is no way to look into the network of the gateway.
use std::time::{Duration, SystemTime};

use url::Url;

use crate::delivery::{Fault, TlsFault};
use crate::tenant::cause::Cause;
use crate::tenant::health::Streak;
use crate::tenant::secret::{FIRST, SecretEntry};
use crate::tenant::texts::format_time;
use crate::tenant::url::EndpointUrl;

/// The time after a rotation in which the first failure counts as its effect.
const AFTER_ROTATION: Duration = Duration::from_secs(3600);
/// The longest URL of a redirect that is shown.
const MAX_SHOWN_URL: usize = 200;
/// A date with the time, in UTC.
const MOMENT: &str = "%-d %b %H:%M UTC";
/// A date with the year.
const DAY: &str = "%-d %b %Y";

/// The endpoint of a failure, as far as the words need it.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// Its URL.
    pub url: &'a EndpointUrl,
    /// The time that an attempt may take.
    pub timeout: Duration,
}

impl About<'_> {
    /// Describes a failed attempt in a clause without a full stop. `location` is the header of a redirect.
    pub fn failure(&self, cause: Cause, location: Option<&str>) -> String {
        match cause {
            Cause::Status(status) => self.status(status, location),
            Cause::Unreached(fault) | Cause::Ambiguous(fault) => self.fault(fault),
            Cause::Unknown => format!("the attempt to send to {} failed", self.url.host()),
        }
    }

    /// Describes a streak of failures in clauses without a full stop. `waiting` is the number of events that wait for the endpoint.
    pub fn streak(&self, streak: &Streak, secrets: &[SecretEntry], waiting: u64) -> String {
        let mut words = self.failure(streak.cause, None);
        let rotation = rotated_before(secrets, streak.since);
        if let (Cause::Status(401 | 403), Some(at)) = (streak.cause, rotation) {
            let at = format_time(at, MOMENT);
            words.push_str(&format!(" since a secret was rotated on {at}"));
        }
        match waiting {
            0 => {}
            1 => words.push_str("; 1 event waits"),
            more => words.push_str(&format!("; {} events wait", grouped(more))),
        }
        let since = format_time(streak.since, MOMENT);
        let first = streak.first.simple();
        words.push_str(&format!(
            "; the first that failed was msg_{first} on {since}"
        ));
        words
    }

    /// Describes the end of a streak of failures.
    pub fn recovered(&self, streak: &Streak) -> String {
        let host = self.url.host();
        let since = format_time(streak.since, MOMENT);
        match streak.failures {
            1 => format!("{host} accepts events again, after 1 failed attempt on {since}"),
            more => {
                let count = grouped(u64::from(more));
                format!("{host} accepts events again, after {count} failed attempts since {since}")
            }
        }
    }

    /// Describes an answer.
    fn status(&self, status: u16, location: Option<&str>) -> String {
        let host = self.url.host();
        match status {
            300..=399 => {
                let mut words = format!("{host} answered {status}: redirects are not followed");
                let target = location.and_then(|location| redirect(self.url, location));
                if let Some(target) = target {
                    words.push_str(&format!("; set the URL to {target}"));
                }
                words
            }
            401 | 403 => format!("{host} refused the signature or the sender ({status})"),
            404 => format!("{host} has no such path ({status}): is the URL right?"),
            405 => format!("{host} takes no POST there ({status}): is the URL right?"),
            410 => format!("{host} answered that the endpoint is gone ({status}), so it is paused"),
            413 => format!("{host} takes no event of this size ({status})"),
            415 => format!("{host} takes no JSON there ({status}): is the URL right?"),
            429 => format!("{host} answered that it gets too many requests ({status})"),
            500..=599 => format!("{host} failed ({status})"),
            400..=499 => format!("{host} refused the event ({status})"),
            _ => format!("{host} answered {status}, which is neither success nor failure"),
        }
    }

    /// Describes an attempt without an answer.
    fn fault(&self, fault: Fault) -> String {
        let (host, port) = (self.url.host(), self.url.port());
        let seconds = self.timeout.as_secs();
        match fault {
            Fault::Resolve | Fault::Blocked => format!("{host} cannot be reached from here"),
            Fault::Refused => format!("nothing listens at port {port} of {host}"),
            Fault::Unreachable => format!("no network leads to {host}"),
            Fault::ConnectTimeout => format!("{host} took no connection within {seconds} s"),
            Fault::Tls(fault) => self.tls_fault(fault),
            Fault::Reset | Fault::Stale => {
                format!("{host} closed the connection without an answer")
            }
            Fault::Timeout => format!("{host} did not answer within {seconds} s"),
            Fault::Malformed => format!("{host} answered something that is not HTTP"),
            Fault::TooLarge => format!("{host} answered with a head that is too large"),
            Fault::BreakerOpen(_) => {
                format!("{host} failed several times in a row, so the next attempt waits")
            }
            Fault::Local(_) => {
                "the sender was short of resources; the endpoint is not the cause".to_owned()
            }
        }
    }

    /// Describes a TLS handshake that failed.
    fn tls_fault(&self, fault: TlsFault) -> String {
        let (host, port) = (self.url.host(), self.url.port());
        match fault {
            TlsFault::Expired(Some(date)) => {
                format!("{host}'s certificate expired on {}", format_time(date, DAY))
            }
            TlsFault::Expired(None) => format!("{host}'s certificate has expired"),
            TlsFault::Early => format!("{host}'s certificate is not valid yet"),
            TlsFault::Name => format!("{host}'s certificate is for other names"),
            TlsFault::Issuer => format!(
                "{host}'s certificate is not signed by a known authority: is its chain complete?"
            ),
            TlsFault::Plain => format!("{host} speaks no TLS on port {port}"),
            TlsFault::Other => format!("no TLS connection to {host} could be made"),
        }
    }
}

/// Returns the URL of a redirect, if the customer could write it: it is of the same site, no less secure, and has no other query.
fn redirect(url: &EndpointUrl, location: &str) -> Option<String> {
    let base = Url::parse(url.text()).ok()?;
    let mut joined = base.join(location).ok()?;
    joined.set_fragment(None);
    if joined.query() != base.query() {
        return None;
    }
    let to = EndpointUrl::restore(joined.as_str()).ok()?;
    let is_secure = to.tls() || !url.tls();
    let is_port = to.port() == url.port() || to.port() == 443;
    let is_other = to != *url && to.text().len() <= MAX_SHOWN_URL;
    (is_secure && is_port && is_other && is_same_site(&to, url)).then(|| to.text().to_owned())
}

/// Returns whether both hosts are one, or one is a name below the other.
fn is_same_site(one: &EndpointUrl, other: &EndpointUrl) -> bool {
    let (one_host, other_host) = (one.host(), other.host());
    if one.address().is_some() || other.address().is_some() {
        return one_host == other_host;
    }
    let is_below = |name: &str, above: &str| {
        name.strip_suffix(above)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    is_below(one_host, other_host) || is_below(other_host, one_host)
}

/// Returns the time of the last change of secrets in the hour before `since`: one was added, or one ended.
fn rotated_before(secrets: &[SecretEntry], since: SystemTime) -> Option<SystemTime> {
    // the others may be gone already: a rotation without an overlap ends them at once
    let added = secrets
        .iter()
        .filter(|secret| secret.n != FIRST)
        .map(|secret| secret.created);
    let ended = secrets.iter().filter_map(|secret| secret.ends);
    added
        .chain(ended)
        .filter(|at| {
            let later = since.duration_since(*at);
            later.is_ok_and(|later| later <= AFTER_ROTATION)
        })
        .max()
}

/// Returns a number with a comma before each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests;
