//! An attempt to send a delivery: how long its lease lasts, and what is recorded of it. Used within a request and by the worker.
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::HeaderMap;
use http::header::RETRY_AFTER;

use crate::clock::Now;
use crate::delivery::{Delivery, Fault, Outcome, SendFacts};
use crate::headers::shown_id;
use crate::queue::outcome::error_code;
use crate::retry::parse_retry_after;
use crate::store::queue::{Attempt, Cause};
use crate::store::record;
use crate::verify::Cleared;

/// The time that a lease adds to the longest attempt, in which its result is written to the disk.
const LEASE_MARGIN: Duration = Duration::from_secs(15);
/// The most bytes of a response's headers that are recorded.
const MAX_HEADER_BYTES: usize = 8 << 10;

/// Returns how long a delivery is leased: longer than any attempt within these timeouts takes.
pub fn lease_of(connect_timeout: Duration, timeout: Duration) -> Duration {
    connect_timeout + timeout + LEASE_MARGIN
}

/// Returns the provider's ID of a delivery, fit for showing; `None` if it has none or is not authentic.
pub fn delivery_id(delivery: &Delivery) -> Option<String> {
    let Cleared::Authentic(authentic) = delivery.cleared() else {
        return None;
    };
    authentic.delivery_id().map(|id| shown_id(id).into_owned())
}

/// Returns the delay that a response asks for.
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    headers
        .get(RETRY_AFTER)
        .and_then(|value| parse_retry_after(value.as_bytes(), now))
}

/// Returns the headers of a response that are recorded, as many as fit, in the encoding of the store.
pub fn recorded_headers(headers: &HeaderMap) -> Bytes {
    let mut room = MAX_HEADER_BYTES;
    let lines = headers.iter().map_while(|(name, value)| {
        room = room.checked_sub(name.as_str().len() + value.len())?;
        Some((
            Bytes::copy_from_slice(name.as_str().as_bytes()),
            Bytes::copy_from_slice(value.as_bytes()),
        ))
    });
    record::headers(&lines.collect())
}

/// Returns the record of an attempt, without the response's headers and body.
pub fn attempt_row(
    cause: Cause,
    begun: Now,
    took: Duration,
    outcome: Outcome,
    facts: SendFacts,
) -> Attempt {
    Attempt {
        cause,
        started: begun.wall,
        took,
        connect: facts.connect,
        first_byte: facts.first_byte,
        status: outcome.status().map(|status| status.as_u16()),
        error: stored_error(outcome),
        peer: facts.peer.map(|peer| peer.to_string().into()),
        head: Bytes::new(),
        body: Bytes::new(),
        facts: Bytes::new(),
    }
}

/// Returns the error of an attempt as it is stored: its code, and behind a blank the date that belongs to it, if there is one.
pub fn stored_error(outcome: Outcome) -> Option<Arc<str>> {
    let code = error_code(outcome)?;
    outcome.fault().map(|fault| fault.stored(code).into())
}

/// Splits a stored error into its code and the message of its fault. There is none for an error that is no fault of the upstream, or for a
/// code of an earlier version.
pub fn read_error(stored: &str) -> (&str, Option<String>) {
    let (code, _) = stored.split_once(' ').unwrap_or((stored, ""));
    let fault = Fault::of_stored(stored);
    (code, fault.map(|(fault, _)| fault.message("the upstream")))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use http::header::{HeaderName, HeaderValue};

    use super::*;
    use crate::delivery::TlsFault;
    use crate::store::queue::CUT_OFF;

    #[test]
    fn recorded_headers_are_bounded() {
        let mut headers = HeaderMap::new();
        for name in ["a", "b", "c"] {
            headers.insert(
                HeaderName::from_static(name),
                HeaderValue::from_str(&"x".repeat(MAX_HEADER_BYTES / 2 - 1)).unwrap(),
            );
        }
        let recorded = recorded_headers(&headers);
        assert!(recorded.len() > MAX_HEADER_BYTES / 2);
        assert!(recorded.len() < MAX_HEADER_BYTES * 3 / 2);
    }
    #[test]
    fn stored_error_is_read_back() {
        let date = UNIX_EPOCH + Duration::from_secs(1_793_664_000);
        for fault in Fault::ALL {
            let stored = stored_error(Outcome::Unreached(*fault)).unwrap();
            let due = (fault.codes().0, Some(fault.message("the upstream")));
            assert_eq!(read_error(&stored), due);
        }
        let expired = Fault::Tls(TlsFault::Expired(Some(date)));
        let stored = stored_error(Outcome::Unreached(expired)).unwrap();
        assert_eq!(&*stored, "unreached_tls_expired 2026-11-03T00:00:00.000Z");
        let due = Some(expired.message("the upstream"));
        assert_eq!(read_error(&stored), ("unreached_tls_expired", due));
        for old in [CUT_OFF, "unreached_connect", ""] {
            assert_eq!(read_error(old), (old, None));
        }
    }
}
