//! What the doctor says: one line a finding, the bad ones first.
use serde::Serialize;

use crate::cli::table::cut;
use crate::cli::term::{self, DIM, Look, Sign};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// The gate does not protect, or will not go on.
    Bad,
    /// Somebody should look.
    Look,
    /// It could not be judged.
    Skipped,
    /// As it should be.
    Good,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) level: Level,
    pub(super) check: &'static str,
    pub(super) said: String,
    /// What to do: a command, or the exact text to write; empty if nothing is.
    pub(super) help: String,
    /// How a good one is called in the line that stands for all of them.
    #[serde(skip)]
    short: String,
}

impl Finding {
    pub(super) fn bad(
        check: &'static str,
        said: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self {
            level: Level::Bad,
            check,
            said: said.into(),
            help: help.into(),
            short: String::new(),
        }
    }

    pub(super) fn look(
        check: &'static str,
        said: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self {
            level: Level::Look,
            ..Self::bad(check, said, help)
        }
    }

    pub(super) fn skipped(check: &'static str, said: impl Into<String>) -> Self {
        Self {
            level: Level::Skipped,
            ..Self::bad(check, said, "")
        }
    }

    pub(super) fn good(
        check: &'static str,
        said: impl Into<String>,
        short: impl Into<String>,
    ) -> Self {
        Self {
            level: Level::Good,
            short: short.into(),
            ..Self::bad(check, said, "")
        }
    }

    /// Whether somebody has something to do.
    pub(super) fn needs_somebody(&self) -> bool {
        matches!(self.level, Level::Bad | Level::Look)
    }

    fn sign(&self, look: &Look) -> String {
        match self.level {
            Level::Bad => look.sign(Sign::Bad),
            Level::Look => look.sign(Sign::Look),
            Level::Good => look.sign(Sign::Good),
            Level::Skipped => format!("{DIM}{}{DIM:#}", look.none()),
        }
    }
}

/// The whole page. The good ones are one line, unless `all` shall be told.
pub(super) fn render(findings: &[Finding], all: bool, look: &Look) -> String {
    let mut told: Vec<&Finding> = findings
        .iter()
        .filter(|finding| all || finding.level != Level::Good)
        .collect();
    told.sort_by_key(|finding| finding.level);
    let good: Vec<&Finding> = findings
        .iter()
        .filter(|finding| finding.level == Level::Good)
        .collect();
    let summary = if told.is_empty() {
        format!("all {}", good.len())
    } else {
        format!("{} more", good.len())
    };
    let names = told
        .iter()
        .map(|finding| finding.check.len())
        .max()
        .unwrap_or_default()
        .max(if all { 0 } else { summary.len() });
    let clean: Vec<(String, String)> = told
        .iter()
        .map(|finding| (term::clean(&finding.said), term::clean(&finding.help)))
        .collect();
    let room = |help: &str| {
        // sign, name and help keep their text; the words between give way
        let taken = 2
            + 2
            + names
            + 3
            + if help.is_empty() {
                0
            } else {
                help.chars().count() + 3
            };
        look.width
            .map_or(usize::MAX, |width| width.saturating_sub(taken).max(20))
    };
    let widest = clean
        .iter()
        .filter(|(_, help)| !help.is_empty())
        .map(|(said, help)| said.chars().count().min(room(help)))
        .max()
        .unwrap_or_default();
    let mut page = String::new();
    for (finding, (said, help)) in told.iter().zip(&clean) {
        let said = cut(said, room(help), look);
        let sign = finding.sign(look);
        if help.is_empty() {
            page.push_str(&format!("  {sign} {:<names$}   {said}\n", finding.check));
        } else {
            let width = widest.min(room(help));
            page.push_str(&format!(
                "  {sign} {:<names$}   {said:<width$}   {DIM}{help}{DIM:#}\n",
                finding.check
            ));
        }
    }
    if !all && !good.is_empty() {
        let shorts: Vec<&str> = good
            .iter()
            .map(|finding| finding.short.as_str())
            .filter(|short| !short.is_empty())
            .collect();
        let (hint, sign) = ("-v lists them", look.sign(Sign::Good));
        let shorts = cut(&term::clean(&shorts.join(", ")), room(hint), look);
        page.push_str(&format!(
            "  {sign} {summary:<names$}   {shorts}   {DIM}{hint}{DIM:#}\n"
        ));
    }
    page
}

/// One JSON object a line.
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
            Finding::look(
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
                "app answers on 10.0.4.17:3000, past the gate",
                "bind it to 127.0.0.1",
            ),
            Finding::good(
                "store",
                "/var/lib/hookgate is on ext4, 412 GiB free",
                "store on disk",
            ),
            Finding::look(
                "mount",
                "config.yaml is a subPath mount: never updates",
                "mount the directory",
            ),
            Finding::skipped(
                "clock",
                "not judged: the gate does not answer at 127.0.0.1:9090",
            ),
            Finding::good(
                "open files",
                "65,536, and 20,064 are needed",
                "open files 65,536",
            ),
        ]
    }

    #[test]
    fn a_page_at_100_columns() {
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
    fn a_pipe_gets_every_word_and_nobody_drives_the_terminal() {
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
    fn json_is_one_object_a_line() {
        let text = json(&sample());
        let first: serde_json::Value = serde_json::from_str(text.lines().nth(3).unwrap()).unwrap();
        assert_eq!(first["level"], "bad");
        assert_eq!(
            (text.lines().count(), &first["check"], &first["help"]),
            (8, &"bypass".into(), &"bind it to 127.0.0.1".into())
        );
    }
}
