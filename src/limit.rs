//! Rate limits by key: GCRA, in bounded memory.
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use crate::units::Rate;

/// How often, and how many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// The steady rate.
    pub rate: Rate,
    /// How many may come at once.
    pub burst: NonZeroU32,
}

/// Buckets of one limit, by key. Lives in `Gate` by route name and place, so that a reload keeps them.
#[derive(Debug)]
pub struct Buckets {}

impl Buckets {
    /// No bucket used yet.
    pub fn new(_quota: Quota) -> Self {
        todo!()
    }
    /// The quota they follow now; a reload may change it, the buckets' levels stay.
    pub fn set_quota(&self, _quota: Quota) {
        todo!()
    }
    /// Takes one from the bucket of `key` (a hash that the caller made).
    ///
    /// # Errors
    /// When the next try can succeed.
    pub fn take(&self, _key: u64, _now: Instant) -> Result<(), Duration> {
        todo!()
    }
    /// Gives one back.
    pub fn refund(&self, _key: u64, _now: Instant) {
        todo!()
    }
    /// Whether `take` would succeed, without taking.
    pub fn peek(&self, _key: u64, _now: Instant) -> Result<(), Duration> {
        todo!()
    }
    /// Keys held now.
    pub fn len(&self) -> usize {
        todo!()
    }
}
