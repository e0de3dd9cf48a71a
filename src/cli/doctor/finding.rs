//! The findings of the doctor: one line each, the bad ones first.
use serde::Serialize;

use crate::cli::table::cut;
use crate::cli::term::{self, DIM, Look, Sign};

/// The level of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// The gateway does not protect the app, or will fail.
    Bad,
    /// Something needs attention.
    Warning,
    /// It could not be checked.
    Skipped,
    /// There is no problem.
    Good,
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) level: Level,
    pub(super) check: &'static str,
    pub(super) message: String,
    /// The remedy: a command, or the exact text to write; empty if none is needed.
    pub(super) help: String,
    /// The name of a good finding in the line that summarizes them.
    #[serde(skip)]
    short: String,
}

impl Finding {
    pub(super) fn bad(
        check: &'static str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self {
            level: Level::Bad,
            check,
            message: message.into(),
            help: help.into(),
            short: String::new(),
        }
    }

    pub(super) fn warning(
        check: &'static str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self {
            level: Level::Warning,
            ..Self::bad(check, message, help)
        }
    }

    pub(super) fn skipped(check: &'static str, message: impl Into<String>) -> Self {
        Self {
            level: Level::Skipped,
            ..Self::bad(check, message, "")
        }
    }

    pub(super) fn good(
        check: &'static str,
        message: impl Into<String>,
        short: impl Into<String>,
    ) -> Self {
        Self {
            level: Level::Good,
            short: short.into(),
            ..Self::bad(check, message, "")
        }
    }

    /// Returns whether there is something to do.
    pub(super) fn needs_attention(&self) -> bool {
        matches!(self.level, Level::Bad | Level::Warning)
    }

    fn sign(&self, look: &Look) -> String {
        match self.level {
            Level::Bad => look.sign(Sign::Bad),
            Level::Warning => look.sign(Sign::Warning),
            Level::Good => look.sign(Sign::Good),
            Level::Skipped => format!("{DIM}{}{DIM:#}", look.none()),
        }
    }
}

/// Renders the whole page. The good findings are one line, unless `all` are shown.
pub(super) fn render(findings: &[Finding], all: bool, look: &Look) -> String {
    let mut shown: Vec<&Finding> = findings
        .iter()
        .filter(|finding| all || finding.level != Level::Good)
        .collect();
    shown.sort_by_key(|finding| finding.level);
    let good: Vec<&Finding> = findings
        .iter()
        .filter(|finding| finding.level == Level::Good)
        .collect();
    let summary = if shown.is_empty() {
        format!("all {}", good.len())
    } else {
        format!("{} more", good.len())
    };
    let names = shown
        .iter()
        .map(|finding| finding.check.len())
        .max()
        .unwrap_or_default()
        .max(if all { 0 } else { summary.len() });
    let mut page = lines(&shown, names, look);
    if !all && !good.is_empty() {
        let shorts: Vec<&str> = good
            .iter()
            .map(|finding| finding.short.as_str())
            .filter(|short| !short.is_empty())
            .collect();
        let (hint, sign) = ("-v lists them", look.sign(Sign::Good));
        let shorts = cut(
            &term::clean(&shorts.join(", ")),
            room(names, hint, look),
            look,
        );
        page.push_str(&format!(
            "  {sign} {summary:<names$}   {shorts}   {DIM}{hint}{DIM:#}\n"
        ));
    }
    page
}

/// Renders a line for each finding: sign, name, message, and the remedy at the right.
fn lines(findings: &[&Finding], names: usize, look: &Look) -> String {
    let clean: Vec<(String, String)> = findings
        .iter()
        .map(|finding| (term::clean(&finding.message), term::clean(&finding.help)))
        .collect();
    let widest = clean
        .iter()
        .filter(|(_, help)| !help.is_empty())
        .map(|(message, help)| message.chars().count().min(room(names, help, look)))
        .max()
        .unwrap_or_default();
    let mut page = String::new();
    for (finding, (message, help)) in findings.iter().zip(&clean) {
        let room = room(names, help, look);
        let message = cut(message, room, look);
        let sign = finding.sign(look);
        if help.is_empty() {
            page.push_str(&format!("  {sign} {:<names$}   {message}\n", finding.check));
        } else {
            let width = widest.min(room);
            page.push_str(&format!(
                "  {sign} {:<names$}   {message:<width$}   {DIM}{help}{DIM:#}\n",
                finding.check
            ));
        }
    }
    page
}

/// Returns the room for a message. Sign, name and remedy keep their text.
fn room(names: usize, help: &str, look: &Look) -> usize {
    let help = match help.chars().count() {
        0 => 0,
        count => count + 3,
    };
    let taken = 2 + 2 + names + 3 + help;
    look.width
        .map_or(usize::MAX, |width| width.saturating_sub(taken).max(20))
}

/// Renders the findings as JSON, one object a line.
pub(super) fn json(findings: &[Finding]) -> String {
    findings
        .iter()
        .filter_map(|finding| serde_json::to_string(finding).ok())
        .map(|line| line + "\n")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(width: Option<usize>) -> Look {
        Look {
            width,
            utf8: true,
            zone: jiff::tz::TimeZone::UTC,
        }
    }

    fn sample() -> Vec<Finding> {
        vec![
            Finding::good(
                "clock",
                "0.2 s behind the senders, by 1,304 signed timestamps",
                "clock",
            ),
            Finding::warning(
                "files",
                "/run/secrets/stripe is readable by all (0644)",
                "chmod 600 /run/secrets/stripe",
            ),
            Finding::good(
                "certificates",
                "/etc/hookgate/tls.crt is valid for 61 d",
                "certificates (61 d)",
            ),
            Finding::bad(
                "bypass",
                "app can be reached at 10.0.4.17:3000, past the gateway",
                "bind it to 127.0.0.1",
            ),
            Finding::good(
                "store",
                "/var/lib/hookgate is on ext4, 412 GiB free",
                "store on disk",
            ),
            Finding::warning(
                "mount",
                "config.yaml is mounted alone, so it is never updated",
                "mount its directory",
            ),
            Finding::skipped(
                "clock",
                "not checked: the gateway does not answer at 127.0.0.1:9090",
            ),
            Finding::good(
                "open files",
                "65,536, and 20,064 are needed",
                "open files 65,536",
            ),
        ]
    }

    #[test]
    fn page_fits_100_columns() {
        let page = render(&sample(), false, &look(Some(100)));
        let plain = anstream::adapter::strip_str(&page).to_string();
        assert!(
            plain.lines().all(|line| line.chars().count() <= 100),
            "{plain}"
        );
        insta::assert_snapshot!("page_plain", plain);
        insta::assert_snapshot!("page_coloured", page.replace('\x1b', "^"));
        let all =
            anstream::adapter::strip_str(&render(&sample(), true, &look(Some(100)))).to_string();
        insta::assert_snapshot!("page_of_all", all);
    }

    #[test]
    fn pipe_gets_full_text_and_no_control_characters() {
        let long = vec![Finding::bad(
            "files",
            "x".repeat(300),
            "\u{1b}]0;owned\u{7}",
        )];
        let plain = anstream::adapter::strip_str(&render(&long, false, &look(None))).to_string();
        assert!(
            plain.contains(&"x".repeat(300)) && plain.contains("\\x1b]0;owned\\x07"),
            "{plain}"
        );
        let good = anstream::adapter::strip_str(&render(
            &[Finding::good("clock", "a", "b")],
            false,
            &look(None),
        ))
        .to_string();
        assert_eq!(good, "  ✓ all 1   b   -v lists them\n");
    }

    #[test]
    fn json_has_one_object_per_line() {
        let text = json(&sample());
        let first: serde_json::Value = serde_json::from_str(text.lines().nth(3).unwrap()).unwrap();
        assert_eq!(first["level"], "bad");
        assert_eq!(
            (text.lines().count(), &first["check"], &first["help"]),
            (8, &"bypass".into(), &"bind it to 127.0.0.1".into())
        );
    }
}
