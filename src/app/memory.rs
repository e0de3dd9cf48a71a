//! Settings of the process: page size, open files, and the memory that the allocator gives back to the system.
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::clock::tick;
use crate::gateway::Gate;

/// The time between two looks whether memory can be given back.
const GIVE_BACK_INTERVAL: Duration = Duration::from_secs(2);
/// The working time of each worker thread, on average, after which the allocator has memory to give back. A few dozen requests
/// take so long; an idle gateway needs minutes for it.
const USED: Duration = Duration::from_millis(5);
/// The most worker threads that count for it.
const MAX_COUNTED: u32 = 8;
/// The number of rounds that follow: memory that became free shortly before the first is given back in the second.
const ROUNDS: u8 = 2;
/// The number of small allocations that make a thread's heap of mimalloc look at all of its pages: it does so at every 10,000th request for
/// more than 1 KiB. They take a third of a millisecond.
const SMALL_ALLOCATIONS: usize = 10_000;
/// The size of each of them, in bytes.
const SMALL_BYTES: usize = 4 * 1024;
/// The size of an allocation that threads do not cache, in bytes. Nothing is written to it, so it takes address space and no memory.
const LARGE_BYTES: usize = 8 * 1024 * 1024;

/// Turns transparent huge pages off: bodies are charged by the bytes that arrived, and a huge page would take 2 MiB for the first of them.
/// Where the system forbids it the gateway runs all the same, and takes more memory.
pub fn use_small_pages() {
    #[cfg(target_os = "linux")]
    rustix::thread::disable_transparent_huge_pages(true).unwrap_or_default();
}

/// Raises the limit of open files as far as the system allows without a privilege: the soft limit is often 1024, and a connection takes one or two.
/// Where that fails, the gateway runs with the limit it has, and `doctor` reports it.
pub fn raise_open_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap_or_default();
    }
}

/// Gives memory back after a flood, for as long as it is polled: spare mappings, and the pages of the allocator. mimalloc gives a page back a
/// second after it became free, but only a busy thread looks at the pages that others freed, and only freeing a large allocation looks at the
/// clock: an idle gateway does neither.
pub async fn give_back(gate: Arc<Gate>) {
    let metrics = Handle::current().metrics();
    let workers = metrics.num_workers();
    let used = USED.saturating_mul(u32::try_from(workers).unwrap_or(u32::MAX).min(MAX_COUNTED));
    let mut rounds = Rounds::default();
    loop {
        tick(GIVE_BACK_INTERVAL).await;
        gate.give_back_spares();
        let worked = (0..workers)
            .map(|worker| metrics.worker_total_busy_duration(worker))
            .sum();
        if rounds.is_due(worked, used) {
            // one task for each worker; idle workers take one
            for _ in 0..workers {
                tokio::spawn(async { touch_heap() });
            }
        }
    }
}

/// The rounds in which the allocator gives memory back. An idle gateway has none, so its threads sleep.
#[derive(Debug, Default)]
struct Rounds {
    /// The working time up to the last round.
    worked: Duration,
    /// The rounds that are left.
    left: u8,
}

impl Rounds {
    /// Returns whether a round is due after `worked`, the working time since the start. Work of `used` since the last round makes it due.
    fn is_due(&mut self, worked: Duration, used: Duration) -> bool {
        if worked.saturating_sub(self.worked) >= used {
            self.left = ROUNDS;
        }
        let is_due = self.left > 0;
        if is_due {
            self.left -= 1;
            self.worked = worked;
        }
        is_due
    }
}

// `benches/spine` leaves this function out of its counts, by its name
#[inline(never)]
fn touch_heap() {
    for _ in 0..SMALL_ALLOCATIONS {
        drop(black_box(Vec::<u8>::with_capacity(SMALL_BYTES)));
    }
    drop(black_box(Vec::<u8>::with_capacity(LARGE_BYTES)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_only_after_work() {
        let mut rounds = Rounds::default();
        let mut is_due = |worked| rounds.is_due(Duration::from_millis(worked), USED);
        assert!(!is_due(1) && !is_due(4), "almost no work");
        assert!(is_due(40) && is_due(41), "two rounds follow");
        assert!(!is_due(42) && !is_due(45), "it is idle");
        assert!(is_due(46), "small work adds up");
        assert!(is_due(100) && is_due(101) && !is_due(102));
    }
}
