//! An attempt to send a delivery: how long its lease lasts, and what is recorded of it. Used within a request and by the worker.
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::HeaderMap;
use http::header::RETRY_AFTER;

use crate::clock::Now;
use crate::delivery::{Delivery, Outcome, SendFacts};
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
        error: error_code(outcome).map(Arc::from),
        peer: facts.peer.map(|peer| peer.to_string().into()),
        head: Bytes::new(),
        body: Bytes::new(),
    }
}

#[cfg(test)]
mod tests {
    use http::header::{HeaderName, HeaderValue};

    use super::*;

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
}
