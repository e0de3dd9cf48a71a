//! Log lines of requests: which are written. [`Sink`] writes them; a request never waits for it.
use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::attempts::{self, AttemptEvent};
use super::counters::NO_ROUTE;
use super::line;
use super::log_policy::{LogPolicy, LogRequests};
use super::record::{Cut, Ended, Facts};
use super::sink::Sink;
use crate::clock::{Clock, Now};

/// Lines of one refusal on one route in a second.
const LINES_A_SECOND: u32 = 10;
const SECOND: Duration = Duration::from_secs(1);
/// The longest wait for a reader of the log at the end.
const FLUSH_LIMIT: Duration = Duration::from_secs(3);

pub(super) struct Lines {
    shared: Arc<Shared>,
    /// Without a thread there is none, and every line counts as dropped.
    sink: Option<Sink>,
    dropped: AtomicU64,
}

struct Shared {
    policy: ArcSwap<LogPolicy>,
    caps: Mutex<HashMap<(Arc<str>, &'static str), Cap>>,
    unrouted: Arc<str>,
    clock: Arc<dyn Clock>,
}

/// The lines of one refusal on one route in the second that `began`.
struct Cap {
    began: Instant,
    lines: u32,
    held: u64,
}

impl Lines {
    pub(super) fn new(
        policy: LogPolicy,
        clock: Arc<dyn Clock>,
        out: impl Write + Send + 'static,
    ) -> Self {
        let shared = Shared {
            policy: ArcSwap::from_pointee(policy),
            caps: Mutex::default(),
            unrouted: NO_ROUTE.into(),
            clock,
        };
        let shared = Arc::new(shared);
        let held = Arc::clone(&shared);
        let sink = Sink::spawn(out, move |buffer, all| held.tell(buffer, all));
        let sink = sink
            .inspect_err(|error| tracing::error!(error = %error, "request lines cannot be written"))
            .ok();
        Self {
            shared,
            sink,
            dropped: AtomicU64::new(0),
        }
    }

    pub(super) fn set_policy(&self, policy: LogPolicy) {
        self.shared.policy.store(Arc::new(policy));
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed) + self.sink.as_ref().map_or(0, Sink::dropped)
    }

    /// Writes the line of a request, unless the policy or the cap says no.
    pub(super) fn request(&self, facts: &Facts, ended: Ended, now: Now) {
        let policy = **self.shared.policy.load();
        let let_through = match ended {
            Ended::Forwarded(_)
            | Ended::Duplicate(_)
            | Ended::Accepted(..)
            | Ended::Handshake
            | Ended::Passed(_) => facts.would_be().is_none(),
            Ended::Cut(_, cut) => cut != Cut::BrokenOff,
            Ended::Refused { .. } | Ended::Abandoned => false,
        };
        match policy.requests {
            LogRequests::None => return,
            LogRequests::Refused if let_through => return,
            LogRequests::All | LogRequests::Refused => {}
        }
        let code = match ended {
            Ended::Refused { refusal, .. } => Some(refusal.code()),
            Ended::Forwarded(_)
            | Ended::Duplicate(_)
            | Ended::Accepted(..)
            | Ended::Handshake
            | Ended::Passed(_)
            | Ended::Cut(..)
            | Ended::Abandoned => facts.would_be(),
        };
        if let Some(code) = code
            && !self.shared.admits(facts.route.as_ref(), code, now.mono)
        {
            return;
        }
        self.write(&line::of_request(policy.format, facts, ended, now.wall));
    }

    /// Writes the line of an attempt, unless the policy or the cap forbids it.
    pub(super) fn attempt(&self, event: &AttemptEvent<'_>, now: Now) {
        let policy = **self.shared.policy.load();
        match policy.requests {
            LogRequests::None => return,
            LogRequests::Refused if !attempts::is_bad(event) => return,
            LogRequests::All | LogRequests::Refused => {}
        }
        // an upstream that is down must not fill the log
        if attempts::is_bad(event)
            && !self
                .shared
                .admits(Some(event.route), event.after.word(), now.mono)
        {
            return;
        }
        self.write(&attempts::line(policy.format, event, now.wall));
    }

    fn write(&self, line: &[u8]) {
        match &self.sink {
            Some(sink) => sink.take(line),
            None => drop(self.dropped.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// Waits, for a few seconds at most, until all lines so far are written. Lines that are not read in time are lost, as they would be
    /// later.
    pub(super) fn flush(&self) {
        if let Some(sink) = &self.sink {
            sink.flush(FLUSH_LIMIT);
        }
    }
}

impl Shared {
    /// Returns whether one more refusal with `code` on `route` gets a line. Counts it if it does not.
    fn admits(&self, route: Option<&Arc<str>>, code: &'static str, now: Instant) -> bool {
        let route = Arc::clone(route.unwrap_or(&self.unrouted));
        let mut caps = self.caps.lock();
        let cap = caps.entry((route, code)).or_insert(Cap {
            began: now,
            lines: 0,
            held: 0,
        });
        // a second with held refusals ends when the thread has written their count
        if cap.held == 0 && now.saturating_duration_since(cap.began) >= SECOND {
            *cap = Cap {
                began: now,
                lines: 0,
                held: 0,
            };
        }
        let admitted = cap.lines < LINES_A_SECOND;
        if admitted {
            cap.lines += 1;
        } else {
            cap.held += 1;
        }
        admitted
    }

    /// Appends the lines for what was held back in seconds that are over; in `all`, if nothing shall be left. Returns whether something is
    /// held back, or may be in a second that is not over.
    fn tell(&self, buffer: &mut Vec<u8>, all: bool) -> bool {
        let now = self.clock.now();
        let format = self.policy.load().format;
        let mut caps = self.caps.lock();
        let mut has_more = false;
        for ((route, code), cap) in caps.iter_mut() {
            let is_over = now.mono.saturating_duration_since(cap.began) >= SECOND;
            // a second that is over ends here too: a refusal whose clock was read before must not be held back in it
            if is_over || all && cap.held > 0 {
                if cap.held > 0 {
                    buffer.extend(line::of_held(format, route, code, cap.held, now.wall));
                }
                *cap = Cap {
                    began: now.mono,
                    lines: 0,
                    held: 0,
                };
            } else {
                has_more |= cap.lines > 0;
            }
        }
        has_more
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::telemetry::LogFormat;

    #[test]
    fn equal_refusals_are_limited_to_ten_lines_a_second() {
        let policy = ArcSwap::from_pointee(LogPolicy {
            format: LogFormat::Pretty,
            requests: LogRequests::All,
        });
        let shared = Shared {
            policy,
            caps: Mutex::default(),
            unrouted: NO_ROUTE.into(),
            clock: Arc::new(SystemClock),
        };
        let now = SystemClock.mono();
        for _ in 0..LINES_A_SECOND {
            assert!(shared.admits(None, "no_route", now));
        }
        assert!(!shared.admits(None, "no_route", now));
        assert!(!shared.admits(None, "no_route", now));
        assert!(
            shared.admits(Some(&"a".into()), "no_route", now),
            "another route"
        );
        assert!(shared.admits(None, "overloaded", now), "another code");
        let mut told = Vec::new();
        assert!(shared.tell(&mut told, false), "two are held back");
        assert!(told.is_empty());
        shared.tell(&mut told, true);
        let line = String::from_utf8(told).unwrap();
        assert!(
            line.ends_with("more requests like this route=- code=no_route count=2\n"),
            "{line}"
        );
        assert!(shared.admits(None, "no_route", now));
    }
}
