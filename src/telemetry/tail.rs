//! The last requests and attempts, for people who watch. Nothing waits for a watcher: lines that one is too slow for are counted, and no
//! line is stored while no one watches.
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use http::StatusCode;
use parking_lot::Mutex;
use uuid::Uuid;

use super::attempts::{After, AttemptEvent};
use super::record::{Ended, Facts};
use crate::clock::{Now, unix_ms};
use crate::delivery::Outcome;
use crate::request::RequestId;
use crate::units::saturating;

/// Lines stored while someone watches.
const MAX_LINES: usize = 8192;
/// The time for which a look counts as watching: a watcher whose connection ended comes back within it.
const WATCH_TIME: Duration = Duration::from_secs(90);

/// The result of one poll of the tail.
#[derive(Clone, Debug, Default)]
pub struct Tailed {
    /// The entries after the requested number, oldest first.
    pub entries: Vec<Arc<TailEntry>>,
    /// The number of entries between them that are lost, over all routes.
    pub missed: u64,
    /// The number after which to go on.
    pub last: u64,
}

/// A request or an attempt that ended.
#[derive(Debug)]
pub struct TailEntry {
    /// The number, counted from 1 without gaps over all routes since the gateway's start.
    pub seq: u64,
    /// When it ended.
    pub at: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// The route, if one was found.
    pub route: Option<Arc<str>>,
    /// The provider's ID of the delivery, fit for showing.
    pub delivery_id: Option<Box<str>>,
    /// The request or the attempt.
    pub event: TailEvent,
}

/// The kinds of [`TailEntry`].
#[derive(Debug)]
pub enum TailEvent {
    /// A request.
    Request {
        /// How it ended.
        ended: Ended,
        /// The event type, fit for showing.
        event_type: Option<Box<str>>,
        /// The gateway's ID of the request.
        request_id: RequestId,
    },
    /// An attempt.
    Attempt {
        /// The gateway's ID of the delivery.
        delivery: Uuid,
        /// The number of the attempt, counted from 1.
        number: u32,
        /// The response.
        outcome: Outcome,
        /// The error code, if there was no response.
        error: Option<&'static str>,
        /// The next step.
        after: After,
    },
}

#[derive(Debug)]
pub(super) struct Tail {
    /// The number of this run. Numbers of lines begin again with each run.
    run: u64,
    began: Instant,
    count: AtomicU64,
    /// Milliseconds after `began` until which lines are stored.
    watched_until: AtomicU64,
    entries: Mutex<VecDeque<Arc<TailEntry>>>,
}

impl Tail {
    pub(super) fn new(now: Now) -> Self {
        let run = unix_ms(now.wall);
        Self {
            run,
            began: now.mono,
            count: AtomicU64::new(0),
            watched_until: AtomicU64::new(0),
            entries: Mutex::default(),
        }
    }

    /// Returns the number of this run.
    pub(super) fn run(&self) -> u64 {
        self.run
    }

    pub(super) fn request(&self, facts: &Facts, ended: Ended, took: Duration, now: Now) {
        self.keep(now, |seq| TailEntry {
            seq,
            at: now.wall,
            took,
            route: facts.route.clone(),
            delivery_id: facts.delivery_id.clone(),
            event: TailEvent::Request {
                ended,
                event_type: facts.event_type.clone(),
                request_id: facts.request_id,
            },
        });
    }

    pub(super) fn attempt(&self, event: &AttemptEvent<'_>, now: Now) {
        self.keep(now, |seq| TailEntry {
            seq,
            at: now.wall,
            took: event.took,
            route: Some(Arc::clone(event.route)),
            delivery_id: event.delivery_id.map(Box::from),
            event: TailEvent::Attempt {
                delivery: event.delivery,
                number: event.number,
                outcome: event.outcome,
                error: event.error,
                after: event.after,
            },
        });
    }

    fn keep(&self, now: Now, entry: impl FnOnce(u64) -> TailEntry) {
        if self.since_began(now.mono) >= self.watched_until.load(Ordering::Relaxed) {
            self.count.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let mut entries = self.entries.lock();
        if entries.len() >= MAX_LINES {
            entries.pop_front();
        }
        let seq = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        entries.push_back(Arc::new(entry(seq)));
    }

    /// Returns at most `most` lines after `after`. Without `after`, starts watching from now on.
    pub(super) fn look(&self, after: Option<u64>, most: usize, now: Now) -> Tailed {
        let mono = self.since_began(now.mono);
        let until = mono.saturating_add(saturating(WATCH_TIME.as_millis()));
        let mut entries = self.entries.lock();
        if self.watched_until.swap(until, Ordering::Relaxed) <= mono {
            // no one watched: the stored lines are from long ago
            entries.clear();
        }
        let count = self.count.load(Ordering::Relaxed);
        let Some(after) = after else {
            return Tailed {
                last: count,
                ..Tailed::default()
            };
        };
        let mut found: Vec<Arc<TailEntry>> = entries
            .iter()
            .filter(|entry| entry.seq > after)
            .take(most.saturating_add(1))
            .cloned()
            .collect();
        drop(entries);
        let more = found.len() > most;
        found.truncate(most);
        let last = if more {
            found.last().map_or(after, |entry| entry.seq)
        } else {
            count.max(after)
        };
        let missed = (last - after).saturating_sub(saturating(found.len()));
        Tailed {
            entries: found,
            missed,
            last,
        }
    }

    fn since_began(&self, now: Instant) -> u64 {
        saturating(now.saturating_duration_since(self.began).as_millis())
    }
}

impl TailEvent {
    /// Returns the outcome in one word.
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Attempt { after, .. } => after.word(),
            Self::Request { ended, .. } => match ended {
                Ended::Forwarded(_) | Ended::Duplicate(_) | Ended::Accepted(..) => {
                    super::Outcome::of(*ended).label()
                }
                Ended::Handshake => "handshake",
                Ended::Passed(_) => "passed",
                Ended::Cut(..) => "cut",
                Ended::Refused { .. } => "refused",
                Ended::Abandoned => "abandoned",
            },
        }
    }

    /// Returns the status of the response: to the sender of a request, or to the gateway's attempt.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Attempt { outcome, .. } => match outcome {
                Outcome::Answered(status) => Some(*status),
                Outcome::Unreached(_) | Outcome::Ambiguous(_) => None,
            },
            Self::Request { ended, .. } => match ended {
                Ended::Forwarded(status)
                | Ended::Duplicate(status)
                | Ended::Accepted(status, _)
                | Ended::Passed(status)
                | Ended::Cut(status, _)
                | Ended::Refused { status, .. } => Some(*status),
                Ended::Handshake => Some(StatusCode::OK),
                Ended::Abandoned => None,
            },
        }
    }

    /// Returns the code of a refusal, or of a stream or an attempt that failed.
    pub fn code(&self) -> Option<&'static str> {
        match self {
            Self::Attempt { error, .. } => *error,
            Self::Request { ended, .. } => match ended {
                Ended::Refused { refusal, .. } => Some(refusal.code()),
                Ended::Cut(_, cut) => Some(cut.code()),
                Ended::Forwarded(_)
                | Ended::Duplicate(_)
                | Ended::Accepted(..)
                | Ended::Handshake
                | Ended::Passed(_)
                | Ended::Abandoned => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::clock::{Clock as _, SystemClock};
    use crate::request::{Client, HeaderLines};

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
            &HeaderLines::default(),
            client,
            now,
        );
        facts.of_route(&"stripe".into(), None);
        facts
    }

    fn request(tail: &Tail, now: Now) {
        tail.request(
            &facts(now),
            Ended::Forwarded(StatusCode::OK),
            Duration::from_millis(3),
            now,
        );
    }

    #[test]
    fn watcher_gets_each_line_once_and_a_count_of_the_missed() {
        let now = SystemClock.now();
        let tail = Tail::new(now);
        request(&tail, now);
        let first = tail.look(None, 10, now);
        assert_eq!(
            (first.entries.len(), first.missed, first.last),
            (0, 0, 1),
            "what was before is not told"
        );
        for _ in 0..3 {
            request(&tail, now);
        }
        let some = tail.look(Some(first.last), 2, now);
        assert_eq!(
            (
                some.entries
                    .iter()
                    .map(|entry| entry.seq)
                    .collect::<Vec<_>>(),
                some.missed,
                some.last
            ),
            (vec![2, 3], 0, 3)
        );
        let rest = tail.look(Some(some.last), 2, now);
        assert_eq!((rest.entries.len(), rest.missed, rest.last), (1, 0, 4));
        for _ in 0..MAX_LINES + 5 {
            request(&tail, now);
        }
        let many = tail.look(Some(4), MAX_LINES, now);
        assert_eq!((many.entries.len(), many.missed), (MAX_LINES, 5));
    }

    #[test]
    fn nothing_is_buffered_without_a_watcher() {
        let now = SystemClock.now();
        let tail = Tail::new(now);
        tail.look(None, 10, now);
        request(&tail, now);
        let late = Now {
            mono: now.mono + WATCH_TIME,
            ..now
        };
        request(&tail, late);
        let back = tail.look(Some(0), 10, late);
        assert_eq!((back.entries.len(), back.missed, back.last), (0, 2, 2));
    }

    #[test]
    fn entries_of_attempts_and_refusals_have_their_outcome() {
        let now = SystemClock.now();
        let tail = Tail::new(now);
        tail.look(None, 10, now);
        let after = After::RetryIn(Duration::from_secs(5));
        let (route, upstream) = ("stripe".into(), "app".into());
        tail.attempt(
            &AttemptEvent {
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
                refusal: crate::verify::NotAuthentic::SignatureMismatch.into(),
                status: StatusCode::UNAUTHORIZED,
            },
            Duration::ZERO,
            now,
        );
        let entries = tail.look(Some(0), 10, now).entries;
        let words = |entry: &TailEntry| {
            let event = &entry.event;
            (event.outcome(), event.status(), event.code())
        };
        assert_eq!(
            words(&entries[0]),
            ("retrying", Some(StatusCode::SERVICE_UNAVAILABLE), None)
        );
        assert_eq!(
            words(&entries[1]),
            (
                "refused",
                Some(StatusCode::UNAUTHORIZED),
                Some("signature_mismatch")
            )
        );
        assert!(!format!("{entries:?}").contains("secret"), "{entries:?}");
    }
}
