//! The memory of another process, as the system counts it.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Bytes of a process that are in memory.
pub fn resident(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("VmRSS");
    line.trim()
        .trim_end_matches(" kB")
        .parse::<usize>()
        .expect("a number")
        * 1024
}

/// Waits until at most `goal` bytes are in memory; what there is when they are, or when `limit` is over.
pub fn settled(pid: u32, goal: usize, limit: Duration) -> usize {
    let begun = Instant::now();
    loop {
        let now = resident(pid);
        if now <= goal || begun.elapsed() > limit {
            return now;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Looks at a process every few milliseconds.
pub struct Memory {
    before: usize,
    peak: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Memory {
    pub fn watch(pid: u32) -> Self {
        let before = resident(pid);
        let (peak, stop) = (
            Arc::new(AtomicUsize::new(before)),
            Arc::new(AtomicBool::new(false)),
        );
        let (seen, over) = (Arc::clone(&peak), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                seen.fetch_max(resident(pid), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        Self {
            before,
            peak,
            stop,
            thread,
        }
    }

    /// Stops, and returns the memory at first and at most.
    pub fn stop(self) -> (usize, usize) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the watcher");
        (self.before, self.peak.load(Ordering::Relaxed))
    }
}
