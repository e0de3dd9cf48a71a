//! The rate limit of a target.
use std::time::{Duration, Instant};

use crate::limit::{Meter, Quota};

/// The rate limit of a target. Spent tokens stay spent while there is no limit.
#[derive(Debug, Default)]
pub(super) struct RateLimit {
    pub(super) quota: Option<Quota>,
    meter: Meter,
}

impl RateLimit {
    /// Takes the attempts that the rate lets begin, at most `most`.
    pub(super) fn take(&mut self, most: u32, now: Instant) -> u32 {
        let Some(quota) = self.quota else {
            return most;
        };
        let taken = (0..most)
            .take_while(|_| self.meter.take(quota, now).is_ok())
            .count();
        u32::try_from(taken).unwrap_or(most)
    }

    /// Gives back attempts that were taken and not used.
    pub(super) fn give_back(&mut self, tokens: u32, now: Instant) {
        if let Some(quota) = self.quota {
            (0..tokens).for_each(|_| self.meter.refund(quota, now));
        }
    }

    /// Returns the time until the rate lets the next attempt begin; zero if it does now.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        self.quota
            .map_or(Duration::ZERO, |quota| self.meter.wait(quota, now))
    }
}
