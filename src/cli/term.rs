//! Output on a terminal: signs, ages, times and numbers.
//!
//! Texts are made with colours; `anstream` removes them where they cannot be shown.
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, SystemTime};

use anstyle::Style;
use jiff::tz::TimeZone;

use crate::cli::error::Error;

pub use crate::cli::clean::{clean, clean_body};
pub use crate::cli::style::{BOLD, DIM, GREEN, PLAIN, RED, YELLOW};

/// The sign of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// The state is good.
    Good,
    /// The state is bad.
    Bad,
    /// The state needs attention.
    Warning,
}

impl Sign {
    /// Returns the colour of the sign.
    pub const fn style(self) -> Style {
        match self {
            Self::Good => GREEN,
            Self::Bad => RED,
            Self::Warning => YELLOW,
        }
    }
}

/// The abilities of stdout.
#[derive(Clone, Debug)]
pub struct Look {
    /// The width of the terminal in columns. `None` if it is not a terminal: nothing is cut.
    pub width: Option<usize>,
    /// Whether signs beyond ASCII can be shown.
    pub utf8: bool,
    /// The time zone; UTC if stdout is not a terminal.
    pub zone: TimeZone,
}

impl Look {
    /// Returns the abilities of stdout, with times in UTC if `utc`.
    pub fn of_stdout_in(utc: bool) -> Self {
        let look = Self::of_stdout();
        if utc {
            Self {
                zone: TimeZone::UTC,
                ..look
            }
        } else {
            look
        }
    }

    /// Returns the abilities of stdout.
    pub fn of_stdout() -> Self {
        let stdout = std::io::stdout();
        let zone = if stdout.is_terminal() {
            TimeZone::system()
        } else {
            TimeZone::UTC
        };
        let size = if stdout.is_terminal() {
            terminal_size::terminal_size_of(&stdout)
        } else {
            None
        };
        let width = if stdout.is_terminal() {
            Some(size.map_or(80, |(width, _)| usize::from(width.0)).max(40))
        } else {
            None
        };
        Self {
            width,
            utf8: utf8(&|name| std::env::var(name).ok()),
            zone,
        }
    }

    /// Returns a sign in its colour.
    pub fn sign(&self, sign: Sign) -> String {
        let style = sign.style();
        format!("{style}{}{style:#}", self.bare_sign(sign))
    }

    /// Returns a sign without colour.
    pub fn bare_sign(&self, sign: Sign) -> &'static str {
        match (sign, self.utf8) {
            (Sign::Good, true) => "✓",
            (Sign::Good, false) => "ok",
            (Sign::Bad, true) => "✕",
            (Sign::Bad, false) => "x",
            (Sign::Warning, _) => "!",
        }
    }

    /// Returns the sign for "not applicable".
    pub fn none(&self) -> &'static str {
        if self.utf8 { "–" } else { "-" }
    }

    /// Renders a time: of today as `13:04:33`, older as `21 Nov 13:04`.
    pub fn time(&self, at: SystemTime, now: SystemTime) -> String {
        let zoned = |time| {
            jiff::Timestamp::try_from(time)
                .ok()
                .map(|time| time.to_zoned_datetime(self.zone.clone()))
        };
        let (Some(at), Some(now)) = (zoned(at), zoned(now)) else {
            return self.none().to_owned();
        };
        let form = if at.date() == now.date() {
            "%H:%M:%S"
        } else {
            "%-d %b %H:%M"
        };
        at.strftime(form).to_string()
    }
}

/// Returns whether the locale uses UTF-8, by the first of the three variables that is set.
fn utf8(env: &dyn Fn(&str) -> Option<String>) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| env(name).filter(|value| !value.is_empty()));
    locale.is_some_and(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

/// Writes the answer of a command.
///
/// # Errors
/// A closed pipe, which ends the command quietly, or a full disk.
pub fn print(text: &str) -> Result<(), Error> {
    let mut stdout = anstream::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()?;
    Ok(())
}

/// Writes the answer of a command as one line.
///
/// # Errors
/// As [`print()`].
pub fn print_line(line: &str) -> Result<(), Error> {
    print(&format!("{line}\n"))
}

/// Prints a message about the run to stderr. An error of stderr is ignored.
pub fn say(line: &str) {
    writeln!(anstream::stderr().lock(), "{line}").ok();
}

/// Prints a warning about the run to stderr.
pub fn warn(text: &str) {
    say(&format!(
        "{YELLOW}{BOLD}warning{BOLD:#}{YELLOW:#}: {}",
        clean(text)
    ));
}

/// Renders a number: `1,204`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Renders a number of things: `1 warning`, `3 errors`.
pub fn counted(number: u64, word: &str) -> String {
    format!(
        "{} {word}{}",
        count(number),
        if number == 1 { "" } else { "s" }
    )
}

/// Renders an age: `12 s`, `3 m`, `2 h 10 m`, `4 d`.
pub fn age(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} m"),
        (0, _, _) if minutes % 60 == 0 => format!("{hours} h"),
        (0, _, _) => format!("{hours} h {} m", minutes % 60),
        _ => format!("{days} d"),
    }
}

/// Renders a wait, to the second within the hour: `12 s`, `1 m 48 s`; then as [`age`].
pub fn wait(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        60..3_600 if !seconds.is_multiple_of(60) => {
            format!("{} m {} s", seconds / 60, seconds % 60)
        }
        _ => age(duration),
    }
}

/// Renders the duration of an attempt: `84 ms`, `1.2 s`, `12 s`.
pub fn took(seconds: f64) -> String {
    let milliseconds = (seconds * 1000.0).round();
    if milliseconds < 1000.0 {
        format!("{milliseconds:.0} ms")
    } else if seconds < 10.0 {
        format!("{seconds:.1} s")
    } else {
        Duration::try_from_secs_f64(seconds)
            .map(wait)
            .unwrap_or_default()
    }
}

/// Renders an age as [`age`] does, with the hours of the last day: `3 d 4 h`.
pub fn long_age(duration: Duration) -> String {
    let hours = duration.as_secs() / 3_600 % 24;
    if duration.as_secs() >= 86_400 && hours > 0 {
        format!("{} {hours} h", age(duration))
    } else {
        age(duration)
    }
}

/// Renders a size: `423 bytes`, `412 MiB`.
pub fn size(bytes: u64) -> String {
    if bytes < 1024 {
        return counted(bytes, "byte");
    }
    let units = [
        ("KiB", 1_u64 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
    ];
    let (unit, one) = units
        .into_iter()
        .rev()
        .find(|(_, one)| bytes >= *one)
        .unwrap_or(("KiB", 1 << 10));
    let tenths = bytes.saturating_mul(10) / one;
    if tenths < 100 && !tenths.is_multiple_of(10) {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    } else {
        format!("{} {unit}", count(tenths / 10))
    }
}

/// Parses an RFC 3339 time.
pub fn moment(text: &str) -> Option<SystemTime> {
    text.parse::<jiff::Timestamp>()
        .ok()
        .and_then(|at| SystemTime::try_from(at).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_ages_are_readable() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(count),
            ["0", "999", "1,000", "1,234,567"]
        );
        let ages = [0, 59, 60, 3_599, 3_600, 7_800, 86_399, 4 * 86_400 + 5]
            .map(|seconds| age(Duration::from_secs(seconds)));
        assert_eq!(
            ages,
            [
                "0 s",
                "59 s",
                "1 m",
                "59 m",
                "1 h",
                "2 h 10 m",
                "23 h 59 m",
                "4 d"
            ]
        );
        assert_eq!(
            long_age(Duration::from_secs(3 * 86_400 + 4 * 3_600)),
            "3 d 4 h"
        );
        assert_eq!(
            [12, 60, 108, 3_599, 7_800].map(|seconds| wait(Duration::from_secs(seconds))),
            ["12 s", "1 m", "1 m 48 s", "59 m 59 s", "2 h 10 m"]
        );
        assert_eq!(
            [0.0004, 0.0836, 1.24, 108.0].map(took),
            ["0 ms", "84 ms", "1.2 s", "1 m 48 s"]
        );
        assert_eq!(
            [1, 423, 1024, 412 << 20, 8 << 30, 6_396_314].map(size),
            [
                "1 byte",
                "423 bytes",
                "1 KiB",
                "412 MiB",
                "8 GiB",
                "6.1 MiB"
            ]
        );
    }

    #[test]
    fn first_locale_variable_that_is_set_counts() {
        let with = |pairs: &'static [(&str, &str)]| {
            utf8(&move |name| {
                pairs
                    .iter()
                    .find(|(known, _)| *known == name)
                    .map(|(_, value)| (*value).to_owned())
            })
        };
        assert!(
            with(&[("LANG", "en_US.UTF-8")]) && with(&[("LC_ALL", ""), ("LC_CTYPE", "C.utf8")])
        );
        assert!(!with(&[]) && !with(&[("LC_ALL", "C"), ("LANG", "en_US.UTF-8")]));
    }
}
