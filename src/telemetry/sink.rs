//! Writes lines to a slow output: a bounded buffer and a thread of its own.
//!
//! A caller copies its line into the buffer and continues. A line that does not fit is dropped and counted: a reader that does not read
//! its pipe must not hold up a request.
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

/// Bytes that wait to be written, at most.
const CAPACITY: usize = 1 << 20;
/// The time that a line waits for others, so that a busy gateway writes them with one call.
const GATHER_TIME: Duration = Duration::from_millis(5);
/// The time after which the thread looks for late lines again.
const IDLE: Duration = Duration::from_secs(1);

/// An output for lines that never blocks. Its thread ends with it, after it has written the buffer.
#[derive(Debug)]
pub(super) struct Sink(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Something for the thread to do.
    wake: Condvar,
    /// The buffer is written.
    written: Condvar,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    buffer: Vec<u8>,
    lines: u64,
    /// The thread sleeps and wants to be woken by the next line.
    asleep: bool,
    /// The thread is writing what it took from the buffer.
    writing: bool,
    /// A caller waits for all to be written.
    hurry: bool,
    stop: bool,
}

impl Sink {
    /// Starts a thread that writes to `out`. Whenever it wakes, `late` may add lines of its own, and returns whether it may have more in a
    /// second. Its second argument asks it to hold none back: a caller waits for all lines, or it is the last call.
    ///
    /// # Errors
    /// No thread can be started.
    pub(super) fn spawn(
        mut out: impl Write + Send + 'static,
        mut late: impl FnMut(&mut Vec<u8>, bool) -> bool + Send + 'static,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("request-log".to_owned())
            .spawn(move || of_thread.write_all(&mut out, &mut late))?;
        Ok(Self(shared))
    }

    /// Takes one line, with its line feed, or drops it.
    pub(super) fn take(&self, line: &[u8]) {
        let shared = &self.0;
        let mut state = shared.lock();
        if state.buffer.len() + line.len() > CAPACITY {
            drop(state);
            shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        state.buffer.extend_from_slice(line);
        state.lines += 1;
        if state.asleep || state.buffer.len() > CAPACITY / 2 {
            state.asleep = false;
            drop(state);
            shared.wake.notify_one();
        }
    }

    /// Returns the number of lines dropped since the start.
    pub(super) fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// Waits, at most `limit`, until all lines so far are written. Returns whether they are.
    pub(super) fn flush(&self, limit: Duration) -> bool {
        let shared = &self.0;
        let mut state = shared.lock();
        state.hurry = true;
        shared.wake.notify_one();
        let unwritten =
            |state: &mut State| state.hurry || state.writing || !state.buffer.is_empty();
        shared.written.wait_while_for(&mut state, unwritten, limit);
        !unwritten(&mut state)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.0.lock().stop = true;
        self.0.wake.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    fn write_all(&self, out: &mut dyn Write, late: &mut dyn FnMut(&mut Vec<u8>, bool) -> bool) {
        let (mut batch, mut has_more) = (Vec::new(), false);
        loop {
            let (lines, stop, all) = self.next_batch(&mut batch, has_more);
            has_more = late(&mut batch, all);
            if !batch.is_empty() && out.write_all(&batch).and_then(|()| out.flush()).is_err() {
                self.dropped.fetch_add(lines, Ordering::Relaxed);
            }
            batch.clear();
            let mut state = self.lock();
            state.writing = false;
            let empty = state.buffer.is_empty();
            // a caller that came while the batch was being written waits for the next one
            state.hurry = state.hurry && !(all && empty);
            drop(state);
            self.written.notify_all();
            if stop && empty {
                return;
            }
        }
    }

    /// Swaps the buffer into `batch`, after a rest in which it fills; with `has_more` after a second at the latest. Returns the number of its
    /// lines, whether they are the last, and whether a caller waits for all.
    fn next_batch(&self, batch: &mut Vec<u8>, has_more: bool) -> (u64, bool, bool) {
        let mut state = self.lock();
        state.asleep = true;
        let idle = |state: &mut State| state.buffer.is_empty() && !state.stop && !state.hurry;
        if has_more {
            self.wake.wait_while_for(&mut state, idle, IDLE);
        } else {
            self.wake.wait_while(&mut state, idle);
        }
        state.asleep = false;
        let gathering = |state: &mut State| {
            !state.buffer.is_empty()
                && state.buffer.len() <= CAPACITY / 2
                && !state.stop
                && !state.hurry
        };
        self.wake.wait_while_for(&mut state, gathering, GATHER_TIME);
        std::mem::swap(&mut state.buffer, batch);
        state.writing = true;
        (
            std::mem::take(&mut state.lines),
            state.stop,
            state.stop || state.hurry,
        )
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Keeps what is written, each write as soon as the test lets it.
    struct Slow(mpsc::Receiver<()>, Arc<Mutex<Vec<u8>>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.recv().ok();
            self.1.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn stuck_output_drops_lines_and_never_blocks() {
        let (go, gate) = mpsc::channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let sink = Sink::spawn(Slow(gate, Arc::clone(&written)), |_, _| false).unwrap();
        let line = [b'x'; 1024];
        for _ in 0..4096 {
            sink.take(&line);
        }
        assert!(sink.dropped() >= 2048, "{}", sink.dropped());
        assert!(!sink.flush(Duration::from_millis(20)));
        drop(go);
        assert!(sink.flush(Duration::from_secs(10)));
        let written_count = u64::try_from(written.lock().len() / 1024).unwrap();
        assert_eq!(written_count + sink.dropped(), 4096);
    }

    #[test]
    fn late_lines_are_written_with_the_next_and_at_the_end() {
        let (go, gate) = mpsc::channel();
        drop(go);
        let written = Arc::new(Mutex::new(Vec::new()));
        let late = |buffer: &mut Vec<u8>, all: bool| {
            if all {
                buffer.extend_from_slice(b"late\n");
            }
            false
        };
        let sink = Sink::spawn(Slow(gate, Arc::clone(&written)), late).unwrap();
        sink.take(b"a\n");
        assert!(sink.flush(Duration::from_secs(10)));
        assert_eq!(*written.lock(), b"a\nlate\n");
        let shared = Arc::clone(&sink.0);
        drop(sink);
        while Arc::strong_count(&shared) > 1 {
            std::thread::yield_now();
        }
        assert_eq!(*written.lock(), b"a\nlate\nlate\n");
    }

    #[test]
    fn unwritable_lines_are_counted() {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let sink = Sink::spawn(Broken, |_, _| false).unwrap();
        sink.take(b"a\n");
        sink.take(b"b\n");
        assert!(sink.flush(Duration::from_secs(10)));
        assert_eq!(sink.dropped(), 2);
    }
}
