//! The end of a command: an exit code that means the same everywhere, or an error with its place, reason and remedy.
use std::fmt::Write as _;

use crate::cli::clean::clean;
use crate::cli::style::{BOLD, DIM, RED};

/// The exit code of a command. The same number means the same in every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit(pub u8);

impl Exit {
    /// The answer is yes, or the work is done.
    pub const DONE: Self = Self(0);
    /// The answer is no: the config is wrong, the request is refused, something needs attention.
    pub const NO: Self = Self(1);
    /// The command was called wrongly.
    pub const USAGE: Self = Self(2);
    /// The work was started but not finished.
    pub const UNFINISHED: Self = Self(3);
    /// The admin listener is not reachable.
    pub const UNREACHED: Self = Self(69);
    /// The store is held by another process.
    pub const STORE_HELD: Self = Self(75);
    /// The command was interrupted.
    pub const INTERRUPTED: Self = Self(130);

    /// Every exit code, as docs/operate.md lists them.
    pub const ALL: &'static [Self] = &[
        Self::DONE,
        Self::NO,
        Self::USAGE,
        Self::UNFINISHED,
        Self::UNREACHED,
        Self::STORE_HELD,
        Self::INTERRUPTED,
    ];
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.0)
    }
}

/// An error of a command. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The exit code.
    pub exit: Exit,
    /// The message; empty if the reader of the output went away.
    pub message: String,
    /// The place of the error: a file, an address.
    pub location: Option<Box<str>>,
    /// The reason, or why it matters.
    pub why: Option<Box<str>>,
    /// The remedy: a command to paste, or the exact text to write.
    pub hint: Option<Box<str>>,
    /// The message of the system; shown with `-v`.
    pub cause: Option<Box<str>>,
}

impl Error {
    /// Returns an error with this exit code.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            location: None,
            why: None,
            hint: None,
            cause: None,
        }
    }

    /// Returns the error of a command that was called wrongly.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::USAGE, message)
    }

    /// Returns the error of a command whose answer is no.
    pub fn no(message: impl Into<String>) -> Self {
        Self::new(Exit::NO, message)
    }

    /// Adds the place.
    #[must_use]
    pub fn at(mut self, location: impl Into<Box<str>>) -> Self {
        self.location = Some(location.into());
        self
    }

    /// Adds the reason, or why it matters.
    #[must_use]
    pub fn why(mut self, why: impl Into<Box<str>>) -> Self {
        self.why = Some(why.into());
        self
    }

    /// Adds the remedy: a command, or the exact text to write.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Box<str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the message of the system.
    #[must_use]
    pub fn cause(mut self, cause: impl std::fmt::Display) -> Self {
        self.cause = Some(cause.to_string().into());
        self
    }

    /// Renders the text for stderr.
    pub fn render(&self, verbose: bool) -> String {
        let mut text = String::new();
        if self.message.is_empty() {
            return text;
        }
        let mut line = |begin: &str, part: &str| {
            // Writing to a String cannot fail.
            writeln!(text, "{begin}{}", clean(part)).ok();
        };
        line(&format!("{RED}{BOLD}error{BOLD:#}{RED:#}: "), &self.message);
        if let Some(location) = &self.location {
            line(&format!("  {DIM}-->{DIM:#} "), location);
        }
        if let Some(why) = &self.why {
            line("  ", why);
        }
        if let Some(cause) = self.cause.as_ref().filter(|_| verbose) {
            line("  cause: ", cause);
        }
        if let Some(hint) = &self.hint {
            line("  try: ", hint);
        }
        text
    }
}

impl From<std::io::Error> for Error {
    /// Converts an error of stdout. A closed pipe ends the command quietly.
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::new(Exit::DONE, "");
        }
        Self::no("the output cannot be written").cause(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_has_location_reason_and_remedy() {
        let error = Error::usage("the secret file is empty")
            .at("/run/x")
            .why("An empty secret signs nothing.")
            .hint("write it")
            .cause("E1");
        let plain = anstream::adapter::strip_str(&error.render(false)).to_string();
        assert_eq!(
            plain,
            "error: the secret file is empty\n  --> /run/x\n  An empty secret signs nothing.\n  try: write it\n"
        );
        assert!(error.render(true).contains("cause: E1"));
        let pipe = Error::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert_eq!((pipe.exit, pipe.render(true).as_str()), (Exit::DONE, ""));
    }
}
