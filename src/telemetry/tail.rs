//! The last requests and tries, for people who watch. Nobody waits for a watcher: what one is too slow for is counted, and nothing is kept while
//! nobody watches.
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::attempts::{After, AttemptSeen};
use super::line::rfc3339;
use super::record::{Ended, Facts};
use crate::clock::{Now, unix_ms};
use crate::delivery::Outcome;
use crate::request::RequestId;

/// Lines kept while somebody watches.
const KEPT: usize = 8192;
/// For how long a look counts as watching: a watcher whose connection ended comes back within it.
const WATCHING: Duration = Duration::from_secs(90);

/// A request or a try, as a watcher sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TailLine {
    /// Counted from 1, without gaps over all routes since the gate began.
    pub seq: u64,
    /// When it ended, RFC 3339 in UTC.
    pub at: String,
    /// `request` or `attempt`.
    pub kind: String,
    /// The route, if one was found.
    pub route: Option<String>,
    /// The kind of event; of a request alone.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// Of a request `forwarded` (the upstream answered 2xx), `upstream_3xx`, `upstream_4xx`, `upstream_5xx`, `queued`, `spilled`, `revived`,
    /// `duplicate`, `handshake`, `passed`, `cut`, `refused` or `abandoned`; of an attempt `delivered`, `retrying`, `dead`, `late` or `unsaved`.
    pub outcome: String,
    /// The status that the sender, or of a try the gate, was answered with.
    pub status: Option<u16>,
    /// Seconds it took.
    pub took: f64,
    /// The provider's ID, fit for showing.
    pub delivery_id: Option<String>,
    /// The ID here; of a try alone.
    pub delivery: Option<String>,
    /// The gate's ID of the request.
    pub request_id: Option<String>,
    /// The code of a refusal, the word for a try without an answer.
    pub code: Option<String>,
    /// The number of a try, counted from 1.
    #[serde(rename = "attempt")]
    pub number: Option<u32>,
    /// Seconds until the next try.
    pub retry_in: Option<f64>,
}

/// What a watcher gets at one look.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tailed {
    /// Lines after the place that was asked for, oldest first.
    pub lines: Vec<TailLine>,
    /// Lines between them that are gone, over all routes.
    pub missed: u64,
    /// Where to go on.
    pub last: u64,
}

#[derive(Debug)]
pub(super) struct Tail {
    /// Which gate it is: numbers begin anew with each.
    run: u64,
    began: Instant,
    count: AtomicU64,
    /// Milliseconds after `began` until which lines are kept.
    watched_until: AtomicU64,
    kept: Mutex<VecDeque<Arc<Entry>>>,
}

#[derive(Debug)]
struct Entry {
    seq: u64,
    at: SystemTime,
    took: Duration,
    route: Option<Arc<str>>,
    delivery_id: Option<Box<str>>,
    what: What,
}

#[derive(Debug)]
enum What {
    Request {
        ended: Ended,
        event_type: Option<Box<str>>,
        request_id: RequestId,
    },
    Attempt {
        delivery: Uuid,
        number: u32,
        outcome: Outcome,
        error: Option<&'static str>,
        after: After,
    },
}

impl Tail {
    pub(super) fn new(now: Now) -> Self {
        let run = unix_ms(now.wall);
        Self {
            run,
            began: now.mono,
            count: AtomicU64::new(0),
            watched_until: AtomicU64::new(0),
            kept: Mutex::default(),
        }
    }

    /// Which gate it is.
    pub(super) fn run(&self) -> u64 {
        self.run
    }

    pub(super) fn request(&self, facts: &Facts, ended: Ended, took: Duration, now: Now) {
        self.keep(now, |seq| Entry {
            seq,
            at: now.wall,
            took,
            route: facts.route.clone(),
            delivery_id: facts.delivery_id.clone(),
            what: What::Request {
                ended,
                event_type: facts.event_type.clone(),
                request_id: facts.request_id,
            },
        });
    }

    pub(super) fn attempt(&self, seen: &AttemptSeen<'_>, now: Now) {
        self.keep(now, |seq| Entry {
            seq,
            at: now.wall,
            took: seen.took,
            route: Some(Arc::clone(seen.route)),
            delivery_id: seen.delivery_id.map(Box::from),
            what: What::Attempt {
                delivery: seen.delivery,
                number: seen.number,
                outcome: seen.outcome,
                error: seen.error,
                after: seen.after,
            },
        });
    }

    fn keep(&self, now: Now, entry: impl FnOnce(u64) -> Entry) {
        if self.since_began(now.mono) >= self.watched_until.load(Ordering::Relaxed) {
            self.count.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let mut kept = self.kept.lock();
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        let seq = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        kept.push_back(Arc::new(entry(seq)));
    }

    /// At most `most` lines after `after`; without it, those from now on.
    pub(super) fn look(&self, after: Option<u64>, most: usize, now: Now) -> Tailed {
        let mono = self.since_began(now.mono);
        let until = mono.saturating_add(u64::try_from(WATCHING.as_millis()).unwrap_or(u64::MAX));
        let mut kept = self.kept.lock();
        if self.watched_until.swap(until, Ordering::Relaxed) <= mono {
            // nobody watched: what lies here is from long ago
            kept.clear();
        }
        let count = self.count.load(Ordering::Relaxed);
        let Some(after) = after else {
            return Tailed {
                last: count,
                ..Tailed::default()
            };
        };
        let mut found: Vec<Arc<Entry>> = kept
            .iter()
            .filter(|entry| entry.seq > after)
            .take(most.saturating_add(1))
            .cloned()
            .collect();
        drop(kept);
        let more = found.len() > most;
        found.truncate(most);
        let last = if more {
            found.last().map_or(after, |entry| entry.seq)
        } else {
            count.max(after)
        };
        let missed = (last - after).saturating_sub(u64::try_from(found.len()).unwrap_or(u64::MAX));
        Tailed {
            lines: found.iter().map(|entry| entry.line()).collect(),
            missed,
            last,
        }
    }

    fn since_began(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.began).as_millis()).unwrap_or(u64::MAX)
    }
}

impl Entry {
    fn line(&self) -> TailLine {
        let line = TailLine {
            seq: self.seq,
            at: rfc3339(self.at),
            route: self.route.as_deref().map(str::to_owned),
            took: Duration::from_micros(u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX))
                .as_secs_f64(),
            delivery_id: self.delivery_id.as_deref().map(str::to_owned),
            ..TailLine::default()
        };
        match &self.what {
            What::Request {
                ended,
                event_type,
                request_id,
            } => {
                let (word, status, code) = request_outcome(*ended);
                TailLine {
                    kind: "request".to_owned(),
                    event_type: event_type.as_deref().map(str::to_owned),
                    outcome: word.to_owned(),
                    status,
                    code: code.map(str::to_owned),
                    request_id: Some(request_id.to_string()),
                    ..line
                }
            }
            What::Attempt {
                delivery,
                number,
                outcome,
                error,
                after,
            } => TailLine {
                kind: "attempt".to_owned(),
                outcome: after.word().to_owned(),
                status: if let Outcome::Answered(status) = outcome {
                    Some(status.as_u16())
                } else {
                    None
                },
                delivery: Some(delivery.to_string()),
                code: error.map(str::to_owned),
                number: Some(*number),
                retry_in: if let After::Again(delay) = after {
                    Some(delay.as_secs_f64())
                } else {
                    None
                },
                ..line
            },
        }
    }
}

/// The word for how a request ended, what its sender was answered, and the code of a refusal.
fn request_outcome(ended: Ended) -> (&'static str, Option<u16>, Option<&'static str>) {
    match ended {
        Ended::Forwarded(status) => (
            super::Outcome::of(ended).label(),
            Some(status.as_u16()),
            None,
        ),
        Ended::Duplicate(status) => ("duplicate", Some(status.as_u16()), None),
        Ended::Taken(status, taken) => (taken.code(), Some(status.as_u16()), None),
        Ended::Handshake => ("handshake", Some(200), None),
        Ended::Passed(status) => ("passed", Some(status.as_u16()), None),
        Ended::Cut(status, cut) => ("cut", Some(status.as_u16()), Some(cut.code())),
        Ended::Refused { code, status } => ("refused", Some(status.as_u16()), Some(code)),
        Ended::Abandoned => ("abandoned", None, None),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method, StatusCode};

    use super::*;
    use crate::clock::{Clock as _, SystemClock};
    use crate::request::Client;

    fn facts(now: Now) -> Facts {
        let client = Client {
            ip: [127, 0, 0, 1].into(),
            own: false,
            behind_trusted_proxy: false,
        };
        let mut facts = Facts::new(
            RequestId::from_u128(1),
            &Method::POST,
            b"/a?secret",
            &HeaderMap::new(),
            client,
            now,
        );
        facts.of_route(&"stripe".into(), None);
        facts
    }

    fn seen(tail: &Tail, now: Now) {
        tail.request(
            &facts(now),
            Ended::Forwarded(StatusCode::OK),
            Duration::from_millis(3),
            now,
        );
    }

    #[test]
    fn who_watches_gets_each_line_once_and_the_rest_is_counted() {
        let now = SystemClock.now();
        let tail = Tail::new(now);
        seen(&tail, now);
        let first = tail.look(None, 10, now);
        assert_eq!(
            (first.lines.len(), first.missed, first.last),
            (0, 0, 1),
            "what was before is not told"
        );
        for _ in 0..3 {
            seen(&tail, now);
        }
        let some = tail.look(Some(first.last), 2, now);
        assert_eq!(
            (
                some.lines.iter().map(|line| line.seq).collect::<Vec<_>>(),
                some.missed,
                some.last
            ),
            (vec![2, 3], 0, 3)
        );
        let rest = tail.look(Some(some.last), 2, now);
        assert_eq!((rest.lines.len(), rest.missed, rest.last), (1, 0, 4));
        for _ in 0..KEPT + 5 {
            seen(&tail, now);
        }
        let many = tail.look(Some(4), KEPT, now);
        assert_eq!((many.lines.len(), many.missed), (KEPT, 5));
    }

    #[test]
    fn nothing_is_kept_while_nobody_watches() {
        let now = SystemClock.now();
        let tail = Tail::new(now);
        tail.look(None, 10, now);
        seen(&tail, now);
        let late = Now {
            mono: now.mono + WATCHING,
            ..now
        };
        seen(&tail, late);
        let back = tail.look(Some(0), 10, late);
        assert_eq!((back.lines.len(), back.missed, back.last), (0, 2, 2));
    }

    #[test]
    fn a_try_and_a_refusal_say_what_they_came_to() {
        let now = SystemClock.now();
        let tail = Tail::new(now);
        tail.look(None, 10, now);
        let after = After::Again(Duration::from_secs(5));
        let (route, upstream) = ("stripe".into(), "app".into());
        tail.attempt(
            &AttemptSeen {
                route: &route,
                delivery: Uuid::from_u128(7),
                delivery_id: Some("evt_1"),
                upstream: &upstream,
                number: 2,
                outcome: Outcome::Answered(StatusCode::SERVICE_UNAVAILABLE),
                error: None,
                took: Duration::from_millis(84),
                after,
            },
            now,
        );
        tail.request(
            &facts(now),
            Ended::Refused {
                code: "signature_mismatch",
                status: StatusCode::UNAUTHORIZED,
            },
            Duration::ZERO,
            now,
        );
        let lines = tail.look(Some(0), 10, now).lines;
        let told = |line: &TailLine| {
            (
                line.outcome.clone(),
                line.status,
                line.code.clone(),
                line.number,
                line.retry_in,
            )
        };
        assert_eq!(
            told(&lines[0]),
            ("retrying".to_owned(), Some(503), None, Some(2), Some(5.0))
        );
        assert_eq!(
            told(&lines[1]),
            (
                "refused".to_owned(),
                Some(401),
                Some("signature_mismatch".to_owned()),
                None,
                None
            )
        );
        assert!(!format!("{lines:?}").contains("secret"), "{lines:?}");
    }
}
