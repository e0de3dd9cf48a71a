//! Spare mappings: the memory of large bodies that have ended, for the next ones. A fresh mapping costs a page fault for each of its pages.
use std::sync::atomic::{AtomicUsize, Ordering};

use memmap2::MmapMut;
use parking_lot::Mutex;

/// The most bytes of spare mappings.
const MAX_SPARE: usize = 8 * 1024 * 1024;
/// The number of ticks without use after which a spare mapping is given back.
const SPARE_TICKS: u8 = 2;

/// The spare mappings of a budget.
#[derive(Debug, Default)]
pub(super) struct SpareMappings {
    maps: Mutex<Vec<Spare>>,
    /// The bytes of all of them.
    bytes: AtomicUsize,
}

/// A mapping of a body that has ended.
#[derive(Debug)]
struct Spare {
    map: MmapMut,
    /// The number of ticks for which it was not used.
    ticks: u8,
}

impl SpareMappings {
    /// Returns the bytes of all spare mappings.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Takes the smallest mapping of at least `bytes`, and at most a quarter more. The caller charges all of its bytes, since all of its pages
    /// may have been written to.
    pub(super) fn take(&self, bytes: usize) -> Option<MmapMut> {
        let mut maps = self.maps.lock();
        let most = bytes.saturating_add(bytes / 4);
        let fits = |spare: &Spare| (bytes..=most).contains(&spare.map.len());
        let index = maps
            .iter()
            .enumerate()
            .filter(|(_, spare)| fits(spare))
            .min_by_key(|(_, spare)| spare.map.len())
            .map(|(index, _)| index)?;
        let Spare { map, .. } = maps.swap_remove(index);
        self.bytes.fetch_sub(map.len(), Ordering::Relaxed);
        Some(map)
    }

    /// Adds a mapping, unless all of them together would have more than `free` bytes, or than the most.
    pub(super) fn put(&self, map: MmapMut, free: usize) {
        let mut maps = self.maps.lock();
        let bytes = self.bytes() + map.len();
        if bytes <= free.min(MAX_SPARE) {
            self.bytes.store(bytes, Ordering::Relaxed);
            maps.push(Spare { map, ticks: 0 });
        }
    }

    /// Gives back the mappings that were not used for some ticks.
    pub(super) fn tick(&self) {
        self.give_back(|spare| {
            spare.ticks = spare.ticks.saturating_add(1);
            spare.ticks >= SPARE_TICKS
        });
    }

    /// Gives back all mappings.
    pub(super) fn clear(&self) {
        self.give_back(|_| true);
    }

    fn give_back(&self, which: impl FnMut(&mut Spare) -> bool) {
        let mut maps = self.maps.lock();
        let given_back: Vec<Spare> = maps.extract_if(.., which).collect();
        let bytes: usize = given_back.iter().map(|spare| spare.map.len()).sum();
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        // unmapping takes a while: not under the lock
        drop(maps);
        drop(given_back);
    }
}
