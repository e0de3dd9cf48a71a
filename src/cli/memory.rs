//! How the process takes memory from the system, and gives it back.
use std::hint::black_box;
use std::time::Duration;

/// How often the allocator is reminded.
const REMIND: Duration = Duration::from_secs(1);
/// Large enough to go past what threads keep for themselves. Nothing is written to it, so it takes address space and no memory.
const LARGE: usize = 8 * 1024 * 1024;

/// Asks for memory in small pages: bodies are charged by what arrived, and a huge page would take 2 MiB for the first byte of it.
/// Where that is forbidden the gate runs all the same, and takes more.
pub(super) fn small_pages() {
    #[cfg(target_os = "linux")]
    rustix::thread::disable_transparent_huge_pages(true).unwrap_or_default();
}

/// Sees to it that what a flood took is given back. mimalloc does so a second after memory became free, but looks at it only when
/// something large is freed later on; in a gate that has gone quiet nothing is.
pub(super) async fn give_back() {
    loop {
        tokio::time::sleep(REMIND).await;
        drop(black_box(Vec::<u8>::with_capacity(LARGE)));
    }
}
