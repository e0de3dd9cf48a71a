//! What is known of one connection: whose turn it is, since when, and what arrived out of place. Told the time; watched by the accept loop.
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::listener::framing::Violation;

/// In [`Conn::phase`]: a request is being served.
pub(crate) const BUSY: u64 = 0;

/// What the accept loop and the request filters know of a connection.
#[derive(Debug)]
pub(crate) struct Conn {
    /// [`BUSY`], or since when a head arrives, or since when nothing does: see [`mark`].
    pub(crate) phase: AtomicU64,
    /// Requests of HTTP/1 whose heads have arrived and are, or were, served.
    requests: AtomicU64,
    /// Messages of HTTP/1 of which bytes have arrived.
    pub(crate) messages: AtomicU64,
    /// The message in which something stood in the wrong place, and what. Nothing is read behind it.
    pub(crate) violation: OnceLock<(u64, Violation)>,
    /// The upstream has agreed to another protocol: what follows is no HTTP.
    pub(crate) switched: AtomicBool,
    accepted: Instant,
}

/// How long a connection may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// From accept, or the first byte of a next head, to the end of the head.
    pub(crate) head: Duration,
    /// From the end of an answer to the first byte of a next head.
    pub(crate) idle: Duration,
}

impl Conn {
    /// A connection accepted at `now`, whose head is awaited.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            phase: AtomicU64::new(mark(Duration::ZERO, true)),
            requests: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            violation: OnceLock::new(),
            switched: AtomicBool::new(false),
            accepted: now,
        }
    }

    /// A head is complete: the watch ends, and the next bytes are a body's or the next head's.
    pub(crate) fn begin_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.phase.store(BUSY, Ordering::Relaxed);
    }

    /// What two readers could read differently in the request being served, as far as it has arrived.
    pub(crate) fn violation(&self) -> Option<Violation> {
        let (message, violation) = self.violation.get()?;
        (*message == self.requests.load(Ordering::Relaxed)).then_some(*violation)
    }

    /// Whether a request is served, and what stood in the wrong place is behind it.
    pub(crate) fn is_cut_later(&self) -> bool {
        let later = self
            .violation
            .get()
            .is_some_and(|(message, _)| *message > self.requests.load(Ordering::Relaxed));
        later && self.phase.load(Ordering::Relaxed) == BUSY
    }

    /// Whether bytes behind the request being served came together with it. They are never a request.
    pub(crate) fn is_overrun(&self) -> bool {
        self.messages.load(Ordering::Relaxed) > self.requests.load(Ordering::Relaxed)
    }

    /// The upstream has agreed to another protocol, and its sender is about to be told: what comes after that is no HTTP.
    pub(crate) fn switch(&self) {
        self.switched.store(true, Ordering::Relaxed);
    }

    /// The answer is written: a next head may come.
    pub(crate) fn end_request(&self, now: Instant) {
        self.phase.store(
            mark(now.saturating_duration_since(self.accepted), false),
            Ordering::Relaxed,
        );
    }

    /// When to look at the connection again; `None` if its time is up. Never later than the shorter of both times: a head may begin right
    /// after the look.
    pub(crate) fn look_again(&self, patience: Patience, now: Instant) -> Option<Duration> {
        let phase = self.phase.load(Ordering::Relaxed);
        let most = patience.head.min(patience.idle);
        if phase == BUSY {
            return Some(most);
        }
        let allowed = if is_in_head(phase) {
            patience.head
        } else {
            patience.idle
        };
        let since = Duration::from_millis((phase >> 1).saturating_sub(1));
        let waited = now
            .saturating_duration_since(self.accepted)
            .saturating_sub(since);
        allowed
            .checked_sub(waited)
            .filter(|left| !left.is_zero())
            .map(|left| left.min(most))
    }

    /// Bytes have arrived: those of a head, unless a request is being served.
    pub(crate) fn arrive(&self, now: impl FnOnce() -> Instant) {
        let phase = self.phase.load(Ordering::Relaxed);
        if phase != BUSY && !is_in_head(phase) {
            self.phase.store(
                mark(now().saturating_duration_since(self.accepted), true),
                Ordering::Relaxed,
            );
        }
    }
}

/// A phase that began at `age`: its milliseconds, plus one so that it is not [`BUSY`]; and in the lowest bit whether a head arrives.
fn mark(age: Duration, in_head: bool) -> u64 {
    u64::try_from(age.as_millis())
        .unwrap_or(u64::MAX >> 2)
        .saturating_add(1)
        << 1
        | u64::from(in_head)
}

fn is_in_head(phase: u64) -> bool {
    phase & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, SystemClock};

    const PATIENCE: Patience = Patience {
        head: Duration::from_secs(5),
        idle: Duration::from_secs(60),
    };

    #[test]
    fn a_head_has_its_time_from_accept_or_from_its_first_byte() {
        let accepted = SystemClock.mono();
        let at = |second: u64| accepted + Duration::from_secs(second);
        let conn = Conn::new(accepted);
        let look = |second: u64| {
            conn.look_again(PATIENCE, at(second))
                .map(|left| left.as_secs())
        };
        assert_eq!((look(0), look(4)), (Some(5), Some(1)));
        conn.arrive(|| at(4));
        assert_eq!(
            look(5),
            None,
            "its first byte gives the first head no new time"
        );
        conn.begin_request();
        assert_eq!(look(1000), Some(5), "a request takes what it takes");
        conn.end_request(at(1000));
        assert_eq!(
            (look(1050), look(1057), look(1059)),
            (Some(5), Some(3), Some(1))
        );
        conn.arrive(|| at(1059));
        assert_eq!((look(1059), look(1063)), (Some(5), Some(1)));
        conn.arrive(|| at(1063));
        assert_eq!(look(1064), None);
        conn.begin_request();
        conn.end_request(at(2000));
        assert_eq!(look(2060), None, "nothing came");
    }
}
