//! How the process takes memory and files from the system, and gives memory back.
use std::hint::black_box;
use std::time::Duration;

/// How often the allocator is reminded.
const REMIND: Duration = Duration::from_secs(1);
/// So many pieces of this size make a thread's part of mimalloc look at all of its pages: it does so every 10,000th time that it is asked for
/// more than 1 KiB. It takes a third of a millisecond.
const PIECES: usize = 10_000;
const PIECE: usize = 4 * 1024;
/// Large enough to go past what threads keep for themselves. Nothing is written to it, so it takes address space and no memory.
const LARGE: usize = 8 * 1024 * 1024;

/// Asks for memory in small pages: bodies are charged by what arrived, and a huge page would take 2 MiB for the first byte of it.
/// Where that is forbidden the gate runs all the same, and takes more.
pub(super) fn small_pages() {
    #[cfg(target_os = "linux")]
    rustix::thread::disable_transparent_huge_pages(true).unwrap_or_default();
}

/// Raises the limit of open files as far as the system allows without a privilege: the soft limit is often 1024, and a connection takes one or two.
/// Where that fails, the gateway runs with what it has, and `doctor` says so.
pub(super) fn more_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap_or_default();
    }
}

/// Sees to it that what a flood took is given back. mimalloc does so a second after memory became free, but only a thread that is busy looks
/// at what others have freed of its pages, and only freeing something large looks at the clock: in a gate that has gone quiet neither happens.
pub(super) async fn give_back() {
    loop {
        tokio::time::sleep(REMIND).await;
        // a task for each worker; those that are idle take one
        for _ in 0..tokio::runtime::Handle::current().metrics().num_workers() {
            tokio::spawn(async { remind() });
        }
    }
}

fn remind() {
    for _ in 0..PIECES {
        drop(black_box(Vec::<u8>::with_capacity(PIECE)));
    }
    drop(black_box(Vec::<u8>::with_capacity(LARGE)));
}
