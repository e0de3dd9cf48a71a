//! How a command ends: an exit code that means the same everywhere, and an error that says what, where, why, what to do.
use std::fmt::Write as _;

use crate::cli::term::{self, BOLD, DIM, RED};

/// The exit code of a command. The same number means the same in every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit(pub u8);

impl Exit {
    /// Yes, or done.
    pub const DONE: Self = Self(0);
    /// No: the config is wrong, the request is refused, something needs attention.
    pub const NO: Self = Self(1);
    /// Called wrongly.
    pub const USAGE: Self = Self(2);
    /// Begun and not finished.
    pub const UNFINISHED: Self = Self(3);
    /// The admin listener is not reachable.
    pub const UNREACHED: Self = Self(69);
    /// The store is held by another process.
    pub const STORE_HELD: Self = Self(75);
    /// Interrupted.
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

/// Why a command did not do what it was asked. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The exit code.
    pub exit: Exit,
    /// What is wrong; empty if whoever read the output went away, and there is nobody to tell.
    pub message: String,
    /// Where: a file, an address.
    pub place: Option<Box<str>>,
    /// Why it matters.
    pub why: Option<Box<str>>,
    /// A command to paste, or the exact text to write.
    pub hint: Option<Box<str>>,
    /// What the system said; shown with `-v`.
    pub cause: Option<Box<str>>,
}

impl Error {
    /// An error with this exit code.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            place: None,
            why: None,
            hint: None,
            cause: None,
        }
    }

    /// The command was called wrongly.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::USAGE, message)
    }

    /// The command cannot say yes.
    pub fn no(message: impl Into<String>) -> Self {
        Self::new(Exit::NO, message)
    }

    /// Adds where.
    #[must_use]
    pub fn at(mut self, place: impl Into<Box<str>>) -> Self {
        self.place = Some(place.into());
        self
    }

    /// Adds why it matters.
    #[must_use]
    pub fn why(mut self, why: impl Into<Box<str>>) -> Self {
        self.why = Some(why.into());
        self
    }

    /// Adds what to do: a command, or the exact text to write.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Box<str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds what the system said.
    #[must_use]
    pub fn cause(mut self, cause: impl std::fmt::Display) -> Self {
        self.cause = Some(cause.to_string().into());
        self
    }

    /// The text for stderr.
    pub fn render(&self, verbose: bool) -> String {
        let mut text = String::new();
        if self.message.is_empty() {
            return text;
        }
        let mut line = |begin: &str, part: &str| {
            // Writing to a String cannot fail.
            writeln!(text, "{begin}{}", term::clean(part)).ok();
        };
        line(&format!("{RED}{BOLD}error{BOLD:#}{RED:#}: "), &self.message);
        if let Some(place) = &self.place {
            line(&format!("  {DIM}-->{DIM:#} "), place);
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
    /// For what is written to stdout: a closed pipe ends the command quietly.
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
    fn an_error_says_what_where_why_what_to_do() {
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
