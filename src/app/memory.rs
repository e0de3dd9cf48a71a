//! Settings of the process: page size, open files, and the memory that the allocator gives back to the system.
use std::hint::black_box;
use std::time::Duration;

/// The pause between two calls that make the allocator give memory back.
const GIVE_BACK_INTERVAL: Duration = Duration::from_secs(2);
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

/// Makes the allocator give memory back after a flood, for as long as it is polled. mimalloc does so a second after memory became free, but only
/// a busy thread looks at the pages that others freed, and only freeing a large allocation looks at the clock: an idle gateway does neither.
pub async fn give_back() {
    loop {
        tokio::time::sleep(GIVE_BACK_INTERVAL).await;
        // one task for each worker; idle workers take one
        for _ in 0..tokio::runtime::Handle::current().metrics().num_workers() {
            tokio::spawn(async { touch_heap() });
        }
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
