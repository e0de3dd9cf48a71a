//! The state of one connection: which side must act, since when, and the first framing violation. Pure: callers pass `now`. The accept
//! loop polls it for timeouts.
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::listener::framing::Violation;

/// The phase in which a request is being served; see [`ConnectionState::phase`].
pub(crate) const BUSY: u64 = 0;

/// The state of a connection, shared by the accept loop, its stream and its requests.
#[derive(Debug)]
pub(crate) struct ConnectionState {
    /// [`BUSY`], or the time at which a head began to arrive, or at which the connection became idle; see [`phase_since`].
    pub(crate) phase: AtomicU64,
    /// The number of HTTP/1 requests whose heads have arrived.
    requests: AtomicU64,
    /// The number of HTTP/1 messages of which bytes have arrived.
    pub(crate) messages: AtomicU64,
    /// The first framing violation, and the number of its message. Nothing is read after it.
    pub(crate) violation: OnceLock<(u64, Violation)>,
    /// Whether the upstream has agreed to another protocol, so that what follows is not HTTP.
    pub(crate) switched: AtomicBool,
    /// The number of HTTP/2 streams that are being served.
    streams: AtomicU64,
    accepted: Instant,
}

/// The longest times that a connection may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadTimeouts {
    /// The time from accept, or from the first byte of a later head, to the end of the head.
    pub(crate) head: Duration,
    /// The time from the end of a response to the first byte of the next head.
    pub(crate) idle: Duration,
}

impl ConnectionState {
    /// Returns the state of a connection that was accepted at `now` and waits for a head.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            phase: AtomicU64::new(phase_since(Duration::ZERO, true)),
            requests: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            violation: OnceLock::new(),
            switched: AtomicBool::new(false),
            streams: AtomicU64::new(0),
            accepted: now,
        }
    }

    /// Notes that a head is complete. The next bytes are those of its body or of the next head.
    pub(crate) fn begin_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.phase.store(BUSY, Ordering::Relaxed);
    }

    /// Notes that an HTTP/2 stream is being served.
    pub(crate) fn begin_stream(&self) {
        self.streams.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that an HTTP/2 stream has ended. With the last one, the connection is idle.
    pub(crate) fn end_stream(&self, now: Instant) {
        self.end_request(now);
        self.streams.fetch_sub(1, Ordering::Release);
    }

    /// Returns the framing violation in the request being served, as far as it has arrived.
    pub(crate) fn violation(&self) -> Option<Violation> {
        let (message, violation) = self.violation.get()?;
        (*message == self.requests.load(Ordering::Relaxed)).then_some(*violation)
    }

    /// Returns whether a request is being served and the framing violation comes after it.
    pub(crate) fn is_cut_later(&self) -> bool {
        let later = self
            .violation
            .get()
            .is_some_and(|(message, _)| *message > self.requests.load(Ordering::Relaxed));
        later && self.phase.load(Ordering::Relaxed) == BUSY
    }

    /// Returns whether bytes after the request being served arrived together with it. They are never read as a request.
    pub(crate) fn is_overrun(&self) -> bool {
        self.messages.load(Ordering::Relaxed) > self.requests.load(Ordering::Relaxed)
    }

    /// Notes that the upstream has agreed to another protocol. The bytes after the response are not HTTP.
    pub(crate) fn switch(&self) {
        self.switched.store(true, Ordering::Relaxed);
    }

    /// Notes that the response is written, and waits for the next head.
    pub(crate) fn end_request(&self, now: Instant) {
        self.phase.store(
            phase_since(now.saturating_duration_since(self.accepted), false),
            Ordering::Relaxed,
        );
    }

    /// Returns the time until the next check; `None` if the connection has waited too long. It is never longer than the shorter of both
    /// timeouts, since a head may begin right after the check.
    pub(crate) fn next_check(&self, timeouts: HeadTimeouts, now: Instant) -> Option<Duration> {
        // read before the phase, which a stream that ends sets first
        let streams = self.streams.load(Ordering::Acquire);
        let phase = self.phase.load(Ordering::Relaxed);
        let longest = timeouts.head.min(timeouts.idle);
        if phase == BUSY || streams > 0 {
            return Some(longest);
        }
        let allowed = if is_in_head(phase) {
            timeouts.head
        } else {
            timeouts.idle
        };
        let since = Duration::from_millis((phase >> 1).saturating_sub(1));
        let waited = now
            .saturating_duration_since(self.accepted)
            .saturating_sub(since);
        allowed
            .checked_sub(waited)
            .filter(|left| !left.is_zero())
            .map(|left| left.min(longest))
    }

    /// Notes that bytes have arrived: those of a head, unless a request is being served.
    pub(crate) fn arrive(&self, now: impl FnOnce() -> Instant) {
        let phase = self.phase.load(Ordering::Relaxed);
        if phase != BUSY && !is_in_head(phase) {
            self.phase.store(
                phase_since(now().saturating_duration_since(self.accepted), true),
                Ordering::Relaxed,
            );
        }
    }
}

/// Returns the phase that began at `age`: its milliseconds, plus one so that it is not [`BUSY`]; and in the lowest bit whether a head is
/// arriving.
fn phase_since(age: Duration, in_head: bool) -> u64 {
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

    const TIMEOUTS: HeadTimeouts = HeadTimeouts {
        head: Duration::from_secs(5),
        idle: Duration::from_secs(60),
    };

    #[test]
    fn connection_is_idle_once_its_last_stream_has_ended() {
        let accepted = SystemClock.mono();
        let at = |second: u64| accepted + Duration::from_secs(second);
        let state = ConnectionState::new(accepted);
        let look = |second: u64| state.next_check(TIMEOUTS, at(second)).is_some();
        state.end_request(at(1));
        assert!(look(60) && !look(62), "it had no stream");
        state.begin_stream();
        state.begin_stream();
        state.end_stream(at(70));
        assert!(look(1000), "another stream is served");
        state.end_stream(at(1000));
        assert!(look(1059) && !look(1061));
    }

    #[test]
    fn timeout_of_a_head_starts_at_accept_or_its_first_byte() {
        let accepted = SystemClock.mono();
        let at = |second: u64| accepted + Duration::from_secs(second);
        let state = ConnectionState::new(accepted);
        let look = |second: u64| {
            state
                .next_check(TIMEOUTS, at(second))
                .map(|left| left.as_secs())
        };
        assert_eq!((look(0), look(4)), (Some(5), Some(1)));
        state.arrive(|| at(4));
        assert_eq!(
            look(5),
            None,
            "its first byte gives the first head no new time"
        );
        state.begin_request();
        assert_eq!(look(1000), Some(5), "a request takes what it takes");
        state.end_request(at(1000));
        assert_eq!(
            (look(1050), look(1057), look(1059)),
            (Some(5), Some(3), Some(1))
        );
        state.arrive(|| at(1059));
        assert_eq!((look(1059), look(1063)), (Some(5), Some(1)));
        state.arrive(|| at(1063));
        assert_eq!(look(1064), None);
        state.begin_request();
        state.end_request(at(2000));
        assert_eq!(look(2060), None, "nothing came");
    }
}
