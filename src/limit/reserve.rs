//! The tokens of one key that this gateway has reserved, and the ones that it spent without asking. Pure: callers pass `now`.
use std::time::{Duration, Instant};

/// The time after which a key that nobody uses is forgotten.
const IDLE: Duration = Duration::from_secs(2);
/// The shortest time for which reserved tokens are held.
const MIN_HOLD: Duration = Duration::from_secs(2);
/// The longest and the shortest time from an answer to the next call for the same key.
const MAX_INTERVAL: Duration = Duration::from_millis(100);
const MIN_INTERVAL: Duration = Duration::from_millis(5);
/// The time from a call until its answer is expected.
pub(super) const ANSWER: Duration = Duration::from_millis(10);
/// The time after a call without an answer until the next one.
const RETRY: Duration = Duration::from_secs(1);
/// Half of the time over which the use of a key is counted.
const WINDOW: Duration = Duration::from_millis(250);

/// The part of a limit that decides when tokens are reserved, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    /// The time in which a token comes back.
    pub(super) each: Duration,
    /// The tokens that the whole fleet may spend at once.
    pub(super) burst: u32,
    /// The part of them that this gateway may spend before it is told more.
    pub(super) share: u32,
}

impl Pace {
    /// Returns the time in which all tokens come back.
    fn refill(self) -> Duration {
        self.each.saturating_mul(self.burst)
    }

    /// Returns the time from an answer to the next call: half of the time in which the share comes back at the whole rate, so that one gateway
    /// can use all of it.
    fn interval(self) -> Duration {
        (self.each.saturating_mul(self.share) / 2).clamp(MIN_INTERVAL, MAX_INTERVAL)
    }

    /// Returns how long unused tokens are held. After it the bucket would be full again, had they not been reserved.
    fn hold(self) -> Duration {
        self.refill().max(MIN_HOLD)
    }
}

/// The use of a key in the last quarter to half of a second, refused requests included.
#[derive(Clone, Copy, Debug)]
struct Use {
    since: Instant,
    current: u32,
    previous: u32,
}

impl Use {
    fn roll(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.since);
        if passed >= WINDOW * 2 {
            (self.since, self.current, self.previous) = (now, 0, 0);
        } else if passed >= WINDOW {
            self.since += WINDOW;
            (self.previous, self.current) = (self.current, 0);
        }
    }

    fn count(&mut self, now: Instant) -> u32 {
        self.roll(now);
        self.current.saturating_add(self.previous)
    }
}

/// The tokens to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Tokens to reserve.
    pub(super) tokens: u32,
    /// Tokens that are spent already.
    pub(super) spent: u32,
}

/// The reserved tokens of one key.
#[derive(Debug)]
pub(super) struct Reserve {
    tokens: u32,
    /// The time at which the tokens are given up.
    expires: Instant,
    /// Tokens that were spent without a reservation, and are not charged yet.
    owed: u32,
    /// The ones of them that the call under way charges.
    charging: u32,
    /// The time before which the store has no token for this gateway.
    empty_until: Instant,
    /// The earliest time of the next call.
    earliest: Instant,
    /// The same if nothing is left here: sooner, unless the store had too few at the last call.
    urgent: Instant,
    used: Use,
    last_used: Instant,
    /// The time at which it is looked at next; none while a call is under way.
    pub(super) due: Option<Instant>,
}

impl Reserve {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            tokens: 0,
            expires: now,
            owed: 0,
            charging: 0,
            empty_until: now,
            earliest: now,
            urgent: now,
            used: Use {
                since: now,
                current: 0,
                previous: 0,
            },
            last_used: now,
            due: Some(now + IDLE),
        }
    }

    /// Counts a request, which may be refused.
    pub(super) fn note_use(&mut self, now: Instant) {
        self.used.roll(now);
        self.used.current = self.used.current.saturating_add(1);
        self.last_used = self.last_used.max(now);
    }

    /// Spends a reserved token, if there is one.
    pub(super) fn spend(&mut self, now: Instant) -> bool {
        let held = self.held(now);
        self.tokens = held.saturating_sub(1);
        held > 0
    }

    /// Notes that a token was spent without a reservation. The next call charges it.
    pub(super) fn owe(&mut self) {
        self.owed = self.owed.saturating_add(1);
    }

    /// Gives a token back, which was spent just now.
    pub(super) fn refund(&mut self, pace: Pace) {
        self.used.current = self.used.current.saturating_sub(1);
        if self.owed > 0 {
            self.owed -= 1;
        } else if self.tokens < pace.share {
            self.tokens += 1;
        }
    }

    /// Returns the reserved tokens.
    pub(super) fn held(&self, now: Instant) -> u32 {
        if now < self.expires { self.tokens } else { 0 }
    }

    /// Returns the time until the store has a token again, if it said that it has none.
    pub(super) fn empty_for(&self, now: Instant) -> Option<Duration> {
        let left = self.empty_until.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    /// Returns what to ask for now, if anything. `may_spend` says whether this gateway's share has a token.
    pub(super) fn wanted(&mut self, pace: Pace, may_spend: bool, now: Instant) -> Option<Wanted> {
        let (used, held) = (self.used.count(now), self.held(now));
        // the share serves what comes now and then; past it, tokens for the next quarter of a second at least
        let target = if may_spend { used / 2 } else { used.max(1) };
        let target = target.min(pace.share);
        (self.owed > 0 || held < target.div_ceil(2)).then(|| Wanted {
            tokens: target.saturating_sub(held),
            spent: self.owed,
        })
    }

    /// Returns the time at which it has to be looked at next.
    pub(super) fn next_due(&mut self, pace: Pace, may_spend: bool, now: Instant) -> Instant {
        if self.wanted(pace, may_spend, now).is_none() {
            return (self.last_used + IDLE).max(now + IDLE / 2);
        }
        let has_none = !may_spend && self.held(now) == 0;
        let earliest = if has_none { self.urgent } else { self.earliest };
        earliest.max(now)
    }

    /// Notes that a call is under way, which charges what is owed.
    pub(super) fn begin_call(&mut self) {
        self.charging = std::mem::take(&mut self.owed);
        self.due = None;
    }

    /// Takes the answer of the call: the tokens that it reserved, and the time until there is one more.
    pub(super) fn answer(
        &mut self,
        wanted: u32,
        granted: u32,
        wait: Duration,
        pace: Pace,
        now: Instant,
    ) {
        self.tokens = self.held(now).saturating_add(granted).min(pace.share);
        self.expires = now + pace.hold();
        self.charging = 0;
        self.empty_until = now + wait;
        self.earliest = now + pace.interval().max(wait);
        self.urgent = now + MIN_INTERVAL.max(wait);
        if granted < wanted {
            // the limit is used up: nothing passes before the next answer
            self.empty_until = self.earliest + ANSWER;
            self.urgent = self.earliest;
        }
    }

    /// Takes the failure of the call. The next one charges its tokens, unless they may have been charged.
    pub(super) fn fail(&mut self, is_charged: bool, pace: Pace, now: Instant) {
        let charging = std::mem::take(&mut self.charging);
        if !is_charged {
            self.owed = self.owed.saturating_add(charging).min(pace.share);
        }
        self.earliest = now + RETRY;
        self.urgent = self.earliest;
    }

    /// Returns whether it can be forgotten: it is worth as much as a new one, or the store does not answer and nobody uses it.
    pub(super) fn is_over(&self, is_away: bool, now: Instant) -> bool {
        let is_settled = self.owed == 0 && self.held(now) == 0 && self.empty_for(now).is_none();
        self.due.is_some() && now >= self.last_used + IDLE && (is_settled || is_away)
    }
}
