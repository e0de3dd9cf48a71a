//! Log lines of requests: which are written, and the thread that writes them. A request never waits for it.
use std::collections::HashMap;
use std::io::{BufWriter, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::record::{Ended, Facts};
use super::{LogPolicy, LogRequests, NO_ROUTE, line};
use crate::clock::{Clock, Now};

/// Lines that wait for the thread.
const WAITING: usize = 4096;
/// Lines of one refusal on one route in a second.
const LINES_A_SECOND: u32 = 10;
const SECOND: Duration = Duration::from_secs(1);
/// How long the end waits for a reader of the log.
const FLUSH_LIMIT: Duration = Duration::from_secs(3);
const FLUSH_STEP: Duration = Duration::from_millis(10);

pub(super) struct Lines {
    shared: Arc<Shared>,
    channel: SyncSender<Message>,
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

enum Message {
    Line(Vec<u8>),
    /// Refusals are held back: look again when the second is over.
    Held,
    Flush(SyncSender<()>),
}

/// Whether a refusal gets a line.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Write,
    /// The first one held back in its second.
    HoldFirst,
    Hold,
}

impl Lines {
    pub(super) fn new(policy: LogPolicy, clock: Arc<dyn Clock>, out: impl Write + Send + 'static) -> Self {
        let shared = Shared { policy: ArcSwap::from_pointee(policy), caps: Mutex::default(), unrouted: NO_ROUTE.into(), clock };
        let shared = Arc::new(shared);
        let (channel, messages) = sync_channel(WAITING);
        let writing = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("request-log".to_owned());
        // without the thread every line counts as dropped
        if let Err(error) = thread.spawn(move || write_all(&messages, &writing, BufWriter::new(out))) {
            tracing::error!(error = %error, "request lines cannot be written");
        }
        Self { shared, channel, dropped: AtomicU64::new(0) }
    }

    pub(super) fn set_policy(&self, policy: LogPolicy) {
        self.shared.policy.store(Arc::new(policy));
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Writes the line of a request, unless the policy or the cap says no.
    pub(super) fn request(&self, facts: &Facts, ended: Ended, now: Now) {
        let policy = **self.shared.policy.load();
        let let_through = matches!(ended, Ended::Forwarded(_) | Ended::Duplicate(_));
        match policy.requests {
            LogRequests::None => return,
            LogRequests::Refused if let_through => return,
            LogRequests::All | LogRequests::Refused => {}
        }
        if let Ended::Refused { code, .. } = ended {
            match self.shared.judge(facts.route.as_ref(), code, now.mono) {
                Verdict::Write => {}
                Verdict::HoldFirst => return self.send(Message::Held),
                Verdict::Hold => return,
            }
        }
        self.send(Message::Line(line::of_request(policy.format, facts, ended, now.wall)));
    }

    pub(super) fn flush(&self) {
        let (done, flushed) = sync_channel(1);
        let mut message = Message::Flush(done);
        let mut left = FLUSH_LIMIT;
        loop {
            match self.channel.try_send(message) {
                Ok(()) => break,
                Err(TrySendError::Full(again)) if !left.is_zero() => {
                    message = again;
                    std::thread::sleep(FLUSH_STEP);
                    left = left.saturating_sub(FLUSH_STEP);
                }
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => return,
            }
        }
        // what nobody reads in time is lost, as it would be later
        flushed.recv_timeout(left).unwrap_or_default();
    }

    fn send(&self, message: Message) {
        if self.channel.try_send(message).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Shared {
    fn judge(&self, route: Option<&Arc<str>>, code: &'static str, now: Instant) -> Verdict {
        let route = Arc::clone(route.unwrap_or(&self.unrouted));
        let mut caps = self.caps.lock().unwrap_or_else(PoisonError::into_inner);
        let cap = caps.entry((route, code)).or_insert(Cap { began: now, lines: 0, held: 0 });
        // a second with held refusals ends when the thread has told of them
        if cap.held == 0 && now.saturating_duration_since(cap.began) >= SECOND {
            *cap = Cap { began: now, lines: 0, held: 0 };
        }
        if cap.lines < LINES_A_SECOND {
            cap.lines += 1;
            return Verdict::Write;
        }
        cap.held += 1;
        if cap.held == 1 { Verdict::HoldFirst } else { Verdict::Hold }
    }

    /// The lines for what was held back in seconds that are over, and how long until the next such second is; `None` without one.
    fn tell(&self, all: bool) -> (Vec<Vec<u8>>, Option<Duration>) {
        let now = self.clock.now();
        let format = self.policy.load().format;
        let (mut lines, mut next) = (Vec::new(), None::<Duration>);
        let mut caps = self.caps.lock().unwrap_or_else(PoisonError::into_inner);
        for ((route, code), cap) in caps.iter_mut().filter(|(_, cap)| cap.held > 0) {
            let left = SECOND.saturating_sub(now.mono.saturating_duration_since(cap.began));
            if all || left.is_zero() {
                lines.push(line::of_held(format, route, code, cap.held, now.wall));
                *cap = Cap { began: now.mono, lines: 0, held: 0 };
            } else {
                next = Some(next.map_or(left, |next| next.min(left)));
            }
        }
        (lines, next)
    }
}

/// Writes until the last sender is gone. A line that cannot be written is lost: there is nowhere to say so.
fn write_all(messages: &Receiver<Message>, shared: &Shared, mut out: BufWriter<impl Write>) {
    let mut next = None;
    loop {
        let first = match next {
            None => messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(left) => messages.recv_timeout(left),
        };
        let ends = matches!(first, Err(RecvTimeoutError::Disconnected));
        // what is there in one go, then one flush
        for message in first.into_iter().chain(messages.try_iter()).take(WAITING) {
            match message {
                Message::Line(line) => out.write_all(&line).unwrap_or_default(),
                Message::Held => {}
                Message::Flush(done) => {
                    put(&mut out, shared.tell(true).0);
                    out.flush().unwrap_or_default();
                    done.try_send(()).unwrap_or_default();
                }
            }
        }
        let (told, left) = shared.tell(ends);
        put(&mut out, told);
        out.flush().unwrap_or_default();
        if ends {
            return;
        }
        next = left;
    }
}

fn put(out: &mut impl Write, lines: Vec<Vec<u8>>) {
    for line in lines {
        out.write_all(&line).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::telemetry::LogFormat;

    #[test]
    fn ten_lines_a_second_of_one_refusal_on_one_route_then_a_count() {
        let policy = ArcSwap::from_pointee(LogPolicy { format: LogFormat::Pretty, requests: LogRequests::All });
        let shared = Shared { policy, caps: Mutex::default(), unrouted: NO_ROUTE.into(), clock: Arc::new(SystemClock) };
        let now = SystemClock.now().mono;
        for _ in 0..LINES_A_SECOND {
            assert_eq!(shared.judge(None, "no_route", now), Verdict::Write);
        }
        assert_eq!(shared.judge(None, "no_route", now), Verdict::HoldFirst);
        assert_eq!(shared.judge(None, "no_route", now), Verdict::Hold);
        assert_eq!(shared.judge(Some(&"a".into()), "no_route", now), Verdict::Write, "another route");
        assert_eq!(shared.judge(None, "overloaded", now), Verdict::Write, "another code");
        let (lines, next) = shared.tell(false);
        assert!(lines.is_empty() && next.is_some());
        let (lines, next) = shared.tell(true);
        let line = String::from_utf8(lines.concat()).unwrap();
        assert!(line.ends_with("more requests like this route=- code=no_route count=2\n"), "{line}");
        assert_eq!(next, None);
        assert_eq!(shared.judge(None, "no_route", now), Verdict::Write);
    }
}
