//! The progress of work in the gateway, on stderr: one line that is drawn again on a terminal, a line every 10 s elsewhere.
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use crate::cli::term;
use crate::clock::{Clock as _, SystemClock};

/// The pause between two lines without a terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// The line that shows the progress.
pub(super) struct Progress {
    on_terminal: bool,
    printed_at: Option<Instant>,
}

impl Progress {
    /// Returns the progress of work that begins now.
    pub(super) fn new() -> Self {
        Self {
            on_terminal: std::io::stderr().is_terminal(),
            printed_at: None,
        }
    }

    /// Shows the present state, which `text` describes in one line.
    pub(super) fn show(&mut self, text: &str) {
        if self.on_terminal {
            draw(&format!("  {text}"));
            return;
        }
        let now = SystemClock.mono();
        let is_due = |at: Instant| now.saturating_duration_since(at) >= LINE_INTERVAL;
        if self.printed_at.is_none_or(is_due) {
            self.printed_at = Some(now);
            term::say(text);
        }
    }

    /// Removes the line from the terminal.
    pub(super) fn end(&self) {
        if self.on_terminal {
            draw("");
        }
    }
}

/// Writes a text in the place of the present line.
fn draw(text: &str) {
    let mut stderr = anstream::stderr().lock();
    // an error of stderr does not stop the watching
    write!(stderr, "\r\x1b[K{text}").ok();
    stderr.flush().ok();
}
