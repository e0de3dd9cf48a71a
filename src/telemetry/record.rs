//! One record a request: log line, metrics, recent refusals are views of it.
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::header::USER_AGENT;
use http::{Method, StatusCode};

use super::observed::Verdict;
use super::shown::shown;
use crate::clock::{Now, unix_ms};
use crate::delivery::Fault;
use crate::headers::shown_id;
use crate::refusal::Refusal;
use crate::request::{Client, ClientCertificate, HeaderLines, REQUEST_ID, RequestHead, RequestId};
use crate::verify::{Cleared, Refused, SecretLocations};

/// Characters of a path that are shown.
const PATH_SHOWN: usize = 1024;
/// Characters of a sender's own request ID that are logged.
const SENDER_ID_SHOWN: usize = 128;
/// Characters of an event type that are shown.
const EVENT_SHOWN: usize = 128;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The upstream's answer was passed on.
    Forwarded(StatusCode),
    /// A duplicate of a delivery that was handed on, answered without the upstream.
    Duplicate(StatusCode),
    /// It is on the disk and is delivered later.
    Accepted(StatusCode, Acceptance),
    /// A provider's test of the endpoint, answered by the gate.
    Handshake,
    /// Streamed through to its end.
    Passed(StatusCode),
    /// Streamed through, and ended before its end, after the head of the answer.
    Cut(StatusCode, Cut),
    /// Not let through.
    Refused {
        /// The refusal.
        refusal: Refusal,
        /// The status of the response.
        status: StatusCode,
    },
    /// The request was dropped before it came to an end (the gate left, or failed).
    Abandoned,
}

/// The reason for which a delivery was put into the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// Its route queues.
    Queued,
    /// The upstream could not take it within the request.
    Spilled,
    /// It is a duplicate of one that was dead or cancelled, which goes again.
    Revived,
}

impl Acceptance {
    /// Returns the code for log and metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Spilled => "spilled",
            Self::Revived => "revived",
        }
    }
}

/// The cause that ended a stream before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The sender went away: how server-sent events end.
    SenderLeft,
    /// The upstream broke off.
    BrokenOff,
    /// Nothing came from either side for too long.
    Idle,
}

impl Cut {
    /// Returns the code for the log.
    pub fn code(self) -> &'static str {
        match self {
            Self::SenderLeft => "sender_left",
            Self::BrokenOff => "broken_off",
            Self::Idle => "idle",
        }
    }
}

/// The facts known of one request, filled as it proceeds; closed by [`super::Record::close`].
#[derive(Clone, Debug)]
pub struct Facts {
    /// The gateway's own ID of it.
    pub request_id: RequestId,
    /// The sender's own `X-Request-Id`, if it is printable and short.
    pub sender_request_id: Option<Box<str>>,
    /// The route's name.
    pub route: Option<Arc<str>>,
    /// The preset's name.
    pub provider: Option<Arc<str>>,
    /// The method.
    pub method: Method,
    /// The path, never the query; unprintable bytes escaped.
    pub path: Box<str>,
    /// The sender.
    pub client: Client,
    /// The verified certificate of its connection.
    pub certificate: Option<Arc<ClientCertificate>>,
    /// The time at which its head was complete.
    pub received_at: SystemTime,
    /// The same on the monotonic clock.
    pub received_mono: Instant,
    /// Bytes of the body that arrived.
    pub body_bytes: u64,
    /// Bytes of the body of an answer that was streamed through.
    pub answer_bytes: Option<u64>,
    /// The name of the secret that matched.
    pub secret: Option<Arc<str>>,
    /// The provider's delivery ID, cleaned for showing.
    pub delivery_id: Option<Box<str>>,
    /// The event type, cleaned for showing.
    pub event_type: Option<Box<str>>,
    /// The distance of the signed time from the gateway's clock, in milliseconds; negative: ahead.
    pub skew_ms: Option<i64>,
    /// CPU-bound time spent on the verdict after the body was there.
    pub verify_time: Option<Duration>,
    /// From the claim to the head of the upstream's answer.
    pub upstream_time: Option<Duration>,
    /// The name of the upstream it was handed to.
    pub upstream: Option<Arc<str>>,
    /// The number of attempts at the upstream.
    pub attempts: u32,
    /// The commit came too late: another took the claim over.
    pub lost_claim: bool,
    /// The store could not be asked for its delivery ID.
    pub id_unchecked: bool,
    /// It is older than the tolerance, and was accepted as a retry of a request that was not delivered.
    pub late_retry: bool,
    /// The exact reason behind a code that covers several, in the gateway's own words.
    pub why: Option<Arc<str>>,
    /// The reason why the upstream gave no answer.
    pub fault: Option<Fault>,
    /// The verdict, on a route that observes.
    pub verdict: Option<Verdict>,
    /// It was refused when it was received, and is released from quarantine.
    pub from_quarantine: bool,
    /// Whether the route declares the `User-Agent` to be a secret.
    hides_agent: bool,
}

impl Facts {
    /// Creates the facts of a request's head, before a route is known. Of `raw_target`, the target as received, only the path is stored.
    pub fn new(
        request_id: RequestId,
        method: &Method,
        raw_target: &[u8],
        headers: &HeaderLines,
        client: Client,
        now: Now,
    ) -> Self {
        let path = raw_target
            .split(|byte| *byte == b'?')
            .next()
            .unwrap_or_default();
        Self {
            request_id,
            sender_request_id: headers
                .get(&REQUEST_ID)
                .and_then(|value| visible(value, SENDER_ID_SHOWN)),
            route: None,
            provider: None,
            method: method.clone(),
            path: shown(path, PATH_SHOWN),
            client,
            certificate: None,
            received_at: now.wall,
            received_mono: now.mono,
            body_bytes: 0,
            answer_bytes: None,
            secret: None,
            delivery_id: None,
            event_type: None,
            skew_ms: None,
            verify_time: None,
            upstream_time: None,
            upstream: None,
            attempts: 0,
            lost_claim: false,
            id_unchecked: false,
            late_retry: false,
            why: None,
            fault: None,
            verdict: None,
            from_quarantine: false,
            hides_agent: false,
        }
    }

    /// Records the route.
    pub fn of_route(&mut self, name: &Arc<str>, provider: Option<&Arc<str>>) {
        self.route = Some(Arc::clone(name));
        self.provider = provider.map(Arc::clone);
    }

    /// Forgets what the route declares to be a secret, so that no line shows it.
    pub fn hide(&mut self, secrets: &SecretLocations) {
        if secrets.has_header(REQUEST_ID.as_str()) {
            self.sender_request_id = None;
        }
        self.hides_agent = secrets.has_header(USER_AGENT.as_str());
    }

    /// Records the reason for which the route refused the head.
    pub fn of_refused_head(&mut self, refusal: Refusal, head: &RequestHead) {
        let why = if head.target.contains(&b'`') {
            "the target"
        } else {
            "a header with different values"
        };
        self.why = (refusal == Refusal::Malformed).then(|| why.into());
    }

    /// Records the reason for which a pass route refused the head.
    pub fn of_refused_path(&mut self, refusal: Refusal) {
        self.why =
            (refusal == Refusal::Malformed).then(|| "the path can be read in several ways".into());
    }

    /// Records that the route observes and lets the request through although it is not authentic, and why it is not.
    pub fn would_refuse(&mut self, refused: &Refused, reason: Option<Arc<str>>) {
        let headers = (!self.hides_agent).then_some(&refused.received.head.headers);
        self.verdict = Some(Verdict::refuse(refused.why, reason, headers));
    }

    /// Returns the code of the refusal that an observing route did not make.
    pub fn would_be(&self) -> Option<&'static str> {
        self.verdict.as_ref().and_then(Verdict::would_refuse)
    }

    /// Records the verdict on a request that goes on. Verification took from `began` to `ended`; `observes`: the route only observes.
    pub fn of_verdict(
        &mut self,
        event_type: Option<String>,
        cleared: &Cleared,
        began: Now,
        ended: Now,
        observes: bool,
    ) {
        self.verify_time = Some(ended.mono.saturating_duration_since(began.mono));
        self.event_type = event_type.map(|event| shown(event.as_bytes(), EVENT_SHOWN));
        if let Cleared::Authentic(authentic) = cleared {
            // its secret counts as matched on a route that observes, too: so an operator sees that it is the right one
            self.verdict = observes.then_some(Verdict::Authentic);
            self.secret = Some(Arc::clone(authentic.secret()));
            self.delivery_id = authentic.delivery_id().map(|id| shown_id(id).into());
            let received_at = cleared.received().head.received.wall;
            self.skew_ms = authentic
                .signed_at()
                .map(|signed_at| milliseconds_between(signed_at, received_at));
        }
    }

    /// Returns the exact reason behind the code of its refusal, where it is known.
    pub fn reason(&self) -> Option<Arc<str>> {
        let fault = || Some(self.fault?.message("the upstream").into());
        self.why.clone().or_else(fault)
    }

    /// Returns the exact reason behind the end of the request, else that of the refusal that an observing route did not make.
    pub fn logged_reason(&self) -> Option<Arc<str>> {
        let observed = || self.verdict.as_ref().and_then(Verdict::reason).cloned();
        self.reason().or_else(observed)
    }

    /// Records the attempts at the upstream and the time that they took.
    pub fn of_attempt(&mut self, upstream: &Arc<str>, attempts: u32, took: Duration) {
        self.upstream = Some(Arc::clone(upstream));
        self.upstream_time = Some(took);
        self.attempts = self.attempts.saturating_add(attempts);
    }
}

/// Returns the milliseconds from `earlier` to `later`; negative if `later` is the earlier one.
fn milliseconds_between(earlier: SystemTime, later: SystemTime) -> i64 {
    let (earlier, later) = (unix_ms(earlier), unix_ms(later));
    let apart = i64::try_from(earlier.abs_diff(later)).unwrap_or(i64::MAX);
    if later < earlier { -apart } else { apart }
}

/// Returns the text if it is visible ASCII, not empty and not too long.
fn visible(text: &[u8], longest: usize) -> Option<Box<str>> {
    let is_visible =
        !text.is_empty() && text.len() <= longest && text.iter().all(u8::is_ascii_graphic);
    is_visible
        .then(|| std::str::from_utf8(text).ok().map(Box::from))
        .flatten()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::clock::{Clock, FrozenClock};

    fn facts(target: &[u8], sender_id: &'static [u8]) -> Facts {
        let mut headers = HeaderLines::default();
        headers.insert(&REQUEST_ID, &HeaderValue::from_bytes(sender_id).unwrap());
        let client = Client {
            ip: [127, 0, 0, 1].into(),
            own: false,
            behind_trusted_proxy: false,
        };
        Facts::new(
            RequestId::from_u128(1),
            &Method::POST,
            target,
            &headers,
            client,
            FrozenClock::at_unix(1).now(),
        )
    }

    #[test]
    fn query_is_dropped_and_path_fits_a_line() {
        assert_eq!(&*facts(b"/a?token=1", b"x").path, "/a");
        assert_eq!(
            &*facts(b"/a\n\x1b[31m\xff\\b", b"x").path,
            "/a\\x0a\\x1b[31m\\xff\\x5cb"
        );
        let long = facts(&vec![b'a'; 5000], b"x").path;
        assert_eq!((long.chars().count(), long.ends_with('…')), (1025, true));
        assert_eq!(facts(&[b'a'; 1024], b"x").path.len(), 1024);
    }

    #[test]
    fn sender_id_must_be_short_and_printable() {
        assert_eq!(
            facts(b"/", b"abc-1").sender_request_id.as_deref(),
            Some("abc-1")
        );
        assert_eq!(facts(b"/", b"").sender_request_id, None);
        assert_eq!(facts(b"/", b"a b").sender_request_id, None);
        assert_eq!(facts(b"/", b"a\xffb").sender_request_id, None);
        assert_eq!(facts(b"/", &[b'a'; 129]).sender_request_id, None);
    }

    #[test]
    fn skew_has_a_sign() {
        let (early, late) = (FrozenClock::at_unix(10).0, FrozenClock::at_unix(12).0);
        assert_eq!(
            (
                milliseconds_between(early, late),
                milliseconds_between(late, early)
            ),
            (2000, -2000)
        );
    }
}
