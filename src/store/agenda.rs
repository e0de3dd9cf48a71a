//! The targets with waiting units, by the time at which the earliest of them is due. Pure.
//!
//! A target's time may be earlier than its earliest unit: whoever takes a target reads from the disk whether a unit is due, and gives it back with
//! the true time. It is never later, except while the target is put off. So what is noted costs one insertion, and nothing has to be taken
//! back when a unit is leased, settled or deleted.
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use crate::store::queue::{FIRST_ENDPOINT, TargetId};

/// The most targets that become due in one call. The others follow with the next.
const MAX_DUE_AT_ONCE: usize = 4096;
/// The time in milliseconds from one look at a part of the disk to the next: see [`Agenda::next_scan`].
const SCAN_INTERVAL: i64 = 1000;

/// The state of one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    /// It is due at this time.
    At(i64),
    /// It is put off until the first time, whatever becomes due. It was due since the second.
    PutOff(i64, i64),
    /// It is due since this time.
    Due(i64),
    /// It is skipped: see [`Agenda::take`].
    Skipped,
}

/// The targets with waiting units. Times are milliseconds of the store's time.
#[derive(Debug, Default)]
pub struct Agenda {
    entries: HashMap<TargetId, Entry>,
    /// The targets that are due later, by time.
    later: BTreeSet<(i64, TargetId)>,
    due: BTreeSet<TargetId>,
    skipped: BTreeSet<TargetId>,
    skip: Arc<HashSet<TargetId>>,
    /// The endpoint after which the next call begins.
    last: Option<TargetId>,
    /// The time of the last look at a part of the disk.
    scanned_at: Option<i64>,
}

/// Targets that were taken from the agenda.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// The targets, in the order of the ring.
    pub targets: Vec<TargetId>,
    /// Whether more endpoints are due.
    pub more: bool,
}

impl Agenda {
    /// Notes that a unit of `target` is due at `at`.
    pub fn note(&mut self, target: TargetId, at: i64) {
        match self.entries.get(&target) {
            None => {}
            Some(Entry::At(known)) if *known > at => {
                self.later.remove(&(*known, target));
            }
            Some(Entry::At(_) | Entry::PutOff(..) | Entry::Due(_) | Entry::Skipped) => return,
        }
        self.entries.insert(target, Entry::At(at));
        self.later.insert((at, target));
    }

    /// Puts a target off that cannot begin anything before `until`. Units that become due meanwhile do not change that; [`Self::wake`] ends it.
    pub fn put_off(&mut self, target: TargetId, until: i64) {
        if let Some(entry) = self.remove(target) {
            let since = match entry {
                Entry::At(since) | Entry::PutOff(_, since) | Entry::Due(since) => since,
                Entry::Skipped => until,
            };
            self.entries.insert(target, Entry::PutOff(until, since));
            self.later.insert((until, target));
        }
    }

    /// Lets a target be looked at now that was put off.
    pub fn wake(&mut self, target: TargetId) {
        if let Some(Entry::PutOff(until, since)) = self.entries.get(&target).copied() {
            self.later.remove(&(until, target));
            self.entries.insert(target, Entry::Due(since));
            self.due.insert(target);
        }
    }

    /// Takes all names of the config that are due at `now`, and at most `most` endpoints: in the order of numbers, from the one after `after` on.
    /// The endpoints begin after the last one that was taken. Endpoints in `skip` are left out while they are in
    /// it; a set that has changed must be another one.
    ///
    /// The caller gives back each target that still has units, with [`Self::note`].
    pub fn take(
        &mut self,
        now: i64,
        after: Option<TargetId>,
        most: usize,
        skip: &Arc<HashSet<TargetId>>,
    ) -> Taken {
        self.change_skip(skip, now);
        let all = self.move_due(now);
        let endpoint = TargetId(FIRST_ENDPOINT);
        let names: Vec<_> = self.due.range(..endpoint).copied().collect();
        let begin = self
            .last
            .unwrap_or(TargetId(0))
            .max(TargetId(FIRST_ENDPOINT - 1));
        let behind = self.due.range((Bound::Excluded(begin), Bound::Unbounded));
        let before = self.due.range(endpoint..=begin.max(endpoint));
        let before = before.filter(|target| **target <= begin);
        let (mut endpoints, mut skipped) = (Vec::new(), Vec::new());
        for target in behind.chain(before).copied() {
            if endpoints.len() >= most {
                break;
            }
            if skip.contains(&target) {
                skipped.push(target);
            } else {
                endpoints.push(target);
            }
        }
        for target in skipped {
            self.due.remove(&target);
            self.entries.insert(target, Entry::Skipped);
            self.skipped.insert(target);
        }
        for target in names.iter().chain(&endpoints) {
            self.due.remove(target);
            self.entries.remove(target);
        }
        self.last = endpoints.last().copied().or(self.last);
        let is_before = |target: &TargetId| after.is_some_and(|after| *target <= after);
        let (before, behind): (Vec<_>, Vec<_>) = names.into_iter().partition(is_before);
        // the endpoints are one block of the ring, behind all names
        let targets = if after.is_some_and(TargetId::is_endpoint) {
            [before, behind, endpoints].concat()
        } else {
            [behind, endpoints, before].concat()
        };
        Taken {
            targets,
            more: !all || self.due.iter().any(|target| !skip.contains(target)),
        }
    }

    /// Returns the time, after `now`, at which the next target is due.
    pub fn next_after(&self, now: i64) -> Option<i64> {
        let from = (Bound::Excluded((now, TargetId(u32::MAX))), Bound::Unbounded);
        self.later.range(from).next().map(|(at, _)| *at)
    }

    /// Returns whether a part of the disk should be looked at for targets that are not noted. There should be none: if a note was missed, this
    /// finds it.
    pub fn next_scan(&mut self, now: i64) -> bool {
        let is_time = self
            .scanned_at
            .is_none_or(|at| !(at..at + SCAN_INTERVAL).contains(&now));
        if is_time {
            self.scanned_at = Some(now);
        }
        is_time
    }

    /// Returns the time since which an endpoint is due, of the one that is due for longest; without endpoints in `except`, and without skipped ones.
    pub fn oldest_due(&self, now: i64, except: &HashSet<TargetId>) -> Option<i64> {
        let due = self
            .entries
            .iter()
            .filter_map(|(target, entry)| match entry {
                Entry::At(since) | Entry::PutOff(_, since) | Entry::Due(since) => {
                    Some((*target, *since))
                }
                Entry::Skipped => None,
            });
        due.filter(|(target, since)| {
            *since <= now
                && target.is_endpoint()
                && !self.skip.contains(target)
                && !except.contains(target)
        })
        .map(|(_, since)| since)
        .min()
    }

    /// Follows another set of skipped endpoints. Those that are skipped no more are due since now.
    fn change_skip(&mut self, skip: &Arc<HashSet<TargetId>>, now: i64) {
        if Arc::ptr_eq(&self.skip, skip) {
            return;
        }
        self.skip = Arc::clone(skip);
        let (skipped, again): (BTreeSet<_>, Vec<_>) = {
            let (mut skipped, mut again) = (BTreeSet::new(), Vec::new());
            for target in std::mem::take(&mut self.skipped) {
                if skip.contains(&target) {
                    skipped.insert(target);
                } else {
                    again.push(target);
                }
            }
            (skipped, again)
        };
        self.skipped = skipped;
        for target in again {
            self.entries.insert(target, Entry::Due(now));
            self.due.insert(target);
        }
    }

    /// Moves the targets whose time has come. Returns whether these are all.
    fn move_due(&mut self, now: i64) -> bool {
        for _ in 0..MAX_DUE_AT_ONCE {
            let Some((at, target)) = self.later.first().copied().filter(|(at, _)| *at <= now)
            else {
                return true;
            };
            self.later.remove(&(at, target));
            if self.skip.contains(&target) {
                self.entries.insert(target, Entry::Skipped);
                self.skipped.insert(target);
            } else {
                let since = match self.entries.get(&target) {
                    Some(Entry::PutOff(_, since)) => *since,
                    Some(Entry::At(_) | Entry::Due(_) | Entry::Skipped) | None => at,
                };
                self.entries.insert(target, Entry::Due(since));
                self.due.insert(target);
            }
        }
        false
    }

    /// Removes a target. Returns what it was.
    fn remove(&mut self, target: TargetId) -> Option<Entry> {
        let entry = self.entries.remove(&target)?;
        match entry {
            Entry::At(at) | Entry::PutOff(at, _) => self.later.remove(&(at, target)),
            Entry::Due(_) => self.due.remove(&target),
            Entry::Skipped => self.skipped.remove(&target),
        };
        Some(entry)
    }
}

/// The earliest times of targets that one transaction makes due.
pub type Noted = BTreeMap<TargetId, i64>;

#[cfg(test)]
mod tests;
