//! The findings and changes of `hookgate events check`, as they are shown.
use std::collections::BTreeMap;

use serde_json::json;

use crate::cli::events::live::Live;
use crate::cli::table::{Align, Cell, Table};
use crate::cli::term::{BOLD, Look, PLAIN, Sign, clean, counted};
use crate::event::catalogue::{Catalogue, Finding, Level};
use crate::event::diff::{Change, Changes, Verdict};
use crate::units::saturating;

/// The form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Text,
    Json,
    Github,
}

/// The result of `events check`.
#[derive(Debug)]
pub(super) struct Report {
    /// The place of the catalogue that is checked, as it was written.
    pub(super) place: String,
    /// The findings about it.
    pub(super) findings: Vec<Finding>,
    /// The catalogue.
    pub(super) catalogue: Catalogue,
    /// The answers of a running gateway, if it was asked.
    pub(super) live: Option<Live>,
    /// The newest version of each of its types.
    pub(super) newest: BTreeMap<String, u32>,
    /// The changes; `None` if there was nothing to compare with, or the catalogue has errors.
    pub(super) changes: Option<Vec<Changes>>,
}

impl Report {
    /// Returns whether the answer is no.
    pub(super) fn is_bad(&self) -> bool {
        let mut findings = self.findings.iter();
        findings.any(|finding| finding.level == Level::Error)
            || self.changes().any(|(_, change)| !change.is_safe())
            || self.live.as_ref().is_some_and(Live::is_bad)
    }

    /// Renders the report.
    pub(super) fn render(&self, style: Style, look: &Look) -> String {
        match style {
            Style::Text => self.text(look),
            Style::Json => self.json(),
            Style::Github => self.github(),
        }
    }

    fn changes(&self) -> impl Iterator<Item = (&Changes, &Change)> {
        let all = self.changes.iter().flatten();
        all.flat_map(|changes| changes.changes.iter().map(move |change| (changes, change)))
    }

    fn text(&self, look: &Look) -> String {
        let mut text: String = self
            .findings
            .iter()
            .map(|finding| {
                let sign = sign_of(finding.level);
                format!("{} {}\n", look.sign(sign), clean(&finding.to_string()))
            })
            .collect();
        let count = self.changes().count();
        if count > 0 {
            text.push_str(&self.table(look));
        }
        text.extend(self.live.iter().map(|live| live.text(look)));
        text.push_str(&self.summary(look, count));
        text
    }

    fn table(&self, look: &Look) -> String {
        let columns = ["", "TYPE", "MEANS", "AT", "CHANGE"].map(|title| (title, Align::Left));
        let mut table = Table::new(&columns, 0);
        for (changes, change) in self.changes() {
            let (sign, means) = match change.verdict {
                Verdict::Safe => (Sign::Good, "safe"),
                Verdict::Warning => (Sign::Warning, "safe"),
                Verdict::Unknown => (Sign::Warning, "unknown"),
                Verdict::Breaking => (Sign::Bad, "breaking"),
            };
            let at = if change.at.is_empty() {
                look.none().to_owned()
            } else {
                clean(&change.at)
            };
            table.row([
                Cell::styled(look.bare_sign(sign), sign.style()),
                Cell::styled(name(changes), BOLD),
                Cell::styled(
                    means,
                    if change.is_safe() {
                        PLAIN
                    } else {
                        sign.style()
                    },
                ),
                at.into(),
                clean(&change.message).into(),
            ]);
        }
        table.render(look)
    }

    /// Renders the last lines: the result, and the remedy.
    fn summary(&self, look: &Look, count: usize) -> String {
        let errors = self
            .findings
            .iter()
            .filter(|finding| finding.level == Level::Error)
            .count();
        if errors > 0 {
            let errors = counted(saturating(errors), "error");
            return format!(
                "\n{} {}: {errors}\n",
                look.sign(Sign::Bad),
                clean(&self.place)
            );
        }
        let types = counted(saturating(self.newest.len()), "type");
        let good = look.sign(Sign::Good);
        if self.changes.is_none() {
            return format!("{good} {}: {types}\n", clean(&self.place));
        }
        let breaking = self
            .changes()
            .filter(|(_, change)| !change.is_safe())
            .count();
        match (count, breaking) {
            (0, _) => format!("{good} {types}, no change\n"),
            (_, 0) => format!(
                "\n{good} {}, none breaks\n",
                counted(saturating(count), "change")
            ),
            _ => {
                let sign = look.sign(Sign::Bad);
                format!(
                    "\n{sign} {breaking} of {} may break those who receive the events\n{}",
                    counted(saturating(count), "change"),
                    self.remedy()
                )
            }
        }
    }

    /// Renders the remedy for the versions that break.
    fn remedy(&self) -> String {
        let mut versions: Vec<(String, u32)> = self
            .changes()
            .filter(|(_, change)| !change.is_safe())
            .filter_map(|(changes, _)| Some((changes.event_type.to_string(), changes.version?)))
            .collect();
        versions.dedup();
        let line = |(event_type, version): &(String, u32)| {
            let next = self
                .newest
                .get(event_type)
                .copied()
                .unwrap_or(*version)
                .saturating_add(1);
            format!(
                "  leave {event_type} {version} as it was, and write {event_type}/{next}.schema.json with {next}-to-{version}.yaml\n"
            )
        };
        versions.iter().map(line).collect()
    }

    fn json(&self) -> String {
        let findings = self.findings.iter().map(|finding| json!(finding));
        let changes = self.changes().map(|(changes, change)| {
            json!({
                "type": changes.event_type.as_str(), "version": changes.version, "verdict": change.verdict,
                "at": change.at, "keyword": change.keyword, "message": change.message,
            })
        });
        let live = self.live.iter().flat_map(Live::json);
        findings
            .chain(changes)
            .chain(live)
            .map(|line| format!("{line}\n"))
            .collect()
    }

    /// Renders the commands by which GitHub annotates the files of a pull request.
    fn github(&self) -> String {
        let dir = (!self.place.starts_with("git:")).then_some(self.place.trim_end_matches('/'));
        let mut text = String::new();
        for finding in &self.findings {
            let level = match finding.level {
                Level::Error => "error",
                Level::Warning => "warning",
            };
            let mut message = finding.message.clone();
            message.extend(finding.help.iter().map(|help| format!(" ({help})")));
            let position = finding.line.map(|line| (line, finding.column.unwrap_or(1)));
            text.push_str(&annotation(level, dir, &finding.file, position, &message));
        }
        for (changes, change) in self.changes() {
            let level = match change.verdict {
                Verdict::Safe => continue,
                Verdict::Warning => "warning",
                Verdict::Unknown | Verdict::Breaking => "error",
            };
            let file = match changes.version {
                Some(version) => format!("{}/{version}.schema.json", changes.event_type),
                None => changes.event_type.to_string(),
            };
            let at = if change.at.is_empty() {
                String::new()
            } else {
                format!("{}: ", change.at)
            };
            let message = format!("{}: {at}{}", name(changes), change.message);
            text.push_str(&annotation(level, dir, &file, None, &message));
        }
        let live = self.live.iter().flat_map(Live::annotations);
        for (level, file, message) in live {
            text.push_str(&annotation(level, dir, &file, None, &message));
        }
        text
    }
}

fn sign_of(level: Level) -> Sign {
    match level {
        Level::Error => Sign::Bad,
        Level::Warning => Sign::Warning,
    }
}

/// Returns `invoice.paid 2`.
fn name(changes: &Changes) -> String {
    match changes.version {
        Some(version) => format!("{} {version}", changes.event_type),
        None => changes.event_type.to_string(),
    }
}

/// Returns a workflow command. Text from files cannot end it.
fn annotation(
    level: &str,
    dir: Option<&str>,
    file: &str,
    position: Option<(usize, usize)>,
    message: &str,
) -> String {
    let escape = |text: &str| {
        text.replace('%', "%25")
            .replace('\r', "%0D")
            .replace('\n', "%0A")
    };
    let property = |text: &str| escape(text).replace(':', "%3A").replace(',', "%2C");
    let path = dir.map_or_else(|| file.to_owned(), |dir| format!("{dir}/{file}"));
    let position = position
        .map(|(line, column)| format!(",line={line},col={column}"))
        .unwrap_or_default();
    format!(
        "::{level} file={}{position}::{}\n",
        property(&path),
        escape(message)
    )
}
