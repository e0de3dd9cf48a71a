//! The addresses of a name, and the time of the next look-up. Pure: callers pass the time and report the results of look-ups.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::delivery::Shortage;

/// The longest time of a look-up.
pub(super) const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// The age from which on addresses are refreshed beside the request.
pub(super) const SOFT_TTL: Duration = Duration::from_secs(10);
/// The age from which on a request waits for a look-up: another service may have the old address by then.
pub(super) const HARD_TTL: Duration = Duration::from_secs(30);
/// The time for which the last good addresses serve without a wait after a look-up that failed or took too long.
pub(super) const GRACE: Duration = Duration::from_secs(5);
/// The shortest time between two look-ups that connect faults ask for.
pub(super) const FAULT_INTERVAL: Duration = Duration::from_secs(1);
/// The time for which look-ups fail before an alarm is raised.
pub(super) const ALARM_AFTER: Duration = Duration::from_secs(300);

/// The addresses of one upstream, at least one.
pub type Addresses = Arc<[SocketAddr]>;

/// The state of a name.
#[derive(Debug, Default)]
pub(super) struct Name {
    known: Option<Known>,
    /// The begin of the last look-up, and whether its end is still to come.
    began: Option<Instant>,
    running: bool,
    /// Until then the last good addresses serve without a wait.
    grace_until: Option<Instant>,
    /// The end of the first look-up that failed since the last that did not.
    failing_since: Option<Instant>,
    /// The resource that the last look-up lacked.
    shortage: Option<Shortage>,
}

#[derive(Debug)]
struct Known {
    addresses: Addresses,
    found: Instant,
}

/// The next step of a request that needs the addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It uses these.
    Serve(Addresses),
    /// It uses these, and begins a look-up that it does not wait for.
    Refresh(Addresses),
    /// It waits for a look-up, and begins it unless one is running.
    Wait {
        /// The addresses that it uses if the look-up fails or takes too long.
        last_good: Option<Addresses>,
        /// Whether it begins the look-up.
        begin: bool,
    },
}

impl Step {
    /// Returns whether the caller must begin a look-up.
    pub(super) fn begins(&self) -> bool {
        matches!(self, Self::Refresh(_) | Self::Wait { begin: true, .. })
    }
}

impl Name {
    /// Returns what a request does.
    pub(super) fn ask(&mut self, now: Instant) -> Step {
        let Some(known) = &self.known else {
            return self.wait(now);
        };
        let age = now.saturating_duration_since(known.found);
        if age < SOFT_TTL || self.has_grace(now) {
            Step::Serve(known.addresses.clone())
        } else if age < HARD_TTL {
            self.refresh(now)
        } else {
            self.wait(now)
        }
    }

    /// Returns what a request does that none of the addresses took a connection of.
    pub(super) fn ask_after_fault(&mut self, now: Instant) -> Step {
        let recent = !self.is_running(now)
            && self
                .began
                .is_some_and(|began| now.saturating_duration_since(began) < FAULT_INTERVAL);
        match self.last_good() {
            Some(addresses) if recent => Step::Serve(addresses),
            Some(_) if self.has_grace(now) => self.refresh(now),
            Some(_) | None => self.wait(now),
        }
    }

    /// Returns whether a look-up must begin because the last one failed.
    pub(super) fn retry(&mut self, now: Instant) -> bool {
        self.failing_since.is_some() && !self.has_grace(now) && self.begin(now)
    }

    /// Records that a look-up found addresses, at least one.
    pub(super) fn found(&mut self, addresses: Vec<SocketAddr>, now: Instant) {
        let unchanged = self.last_good().filter(|known| **known == *addresses);
        let known = Known {
            addresses: unchanged.unwrap_or_else(|| addresses.into()),
            found: now,
        };
        *self = Self {
            known: Some(known),
            began: self.began,
            ..Self::default()
        };
    }

    /// Records that a look-up failed, perhaps for want of a resource.
    pub(super) fn failed(&mut self, shortage: Option<Shortage>, now: Instant) {
        self.running = false;
        self.grace_until = Some(now + GRACE);
        self.failing_since.get_or_insert(now);
        self.shortage = shortage;
    }

    /// Records that a request has waited as long as it may.
    pub(super) fn gave_up(&mut self, now: Instant) {
        self.grace_until = Some(now + GRACE);
    }

    /// Returns the addresses of the last look-up that found some.
    pub(super) fn last_good(&self) -> Option<Addresses> {
        self.known.as_ref().map(|known| known.addresses.clone())
    }

    /// Returns the resource that the last look-up lacked.
    pub(super) fn shortage(&self) -> Option<Shortage> {
        self.shortage
    }

    /// Returns for how long look-ups have failed, if that is long enough for an alarm.
    pub(super) fn failing_for(&self, now: Instant) -> Option<Duration> {
        self.failing_since
            .map(|since| now.saturating_duration_since(since))
            .filter(|lasted| *lasted >= ALARM_AFTER)
    }

    fn has_grace(&self, now: Instant) -> bool {
        self.grace_until.is_some_and(|until| now < until)
    }

    /// Returns whether a look-up is running. One that never reported its end counts as over.
    fn is_running(&self, now: Instant) -> bool {
        self.running
            && self
                .began
                .is_some_and(|began| now.saturating_duration_since(began) < 2 * LOOKUP_TIMEOUT)
    }

    /// Begins a look-up unless one is running.
    fn begin(&mut self, now: Instant) -> bool {
        let begins = !self.is_running(now);
        if begins {
            (self.began, self.running) = (Some(now), true);
        }
        begins
    }

    fn refresh(&mut self, now: Instant) -> Step {
        let begins = self.begin(now);
        match self.last_good() {
            Some(addresses) if begins => Step::Refresh(addresses),
            Some(addresses) => Step::Serve(addresses),
            None => Step::Wait {
                last_good: None,
                begin: begins,
            },
        }
    }

    fn wait(&mut self, now: Instant) -> Step {
        Step::Wait {
            last_good: self.last_good(),
            begin: self.begin(now),
        }
    }
}
