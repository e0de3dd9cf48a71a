//! Reports the findings about a config to people and machines. Never shows a secret.
use std::fmt::Write as _;

use annotate_snippets::Renderer;

use crate::config::diagnostic::{Diagnostics, Level, Place};
use crate::config::source::Source;
use crate::config::yaml_tree::Area;

mod finding;
mod page;

pub use finding::Finding;
use page::{Page, area_of};

/// The findings about a config, without its text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The findings, sorted by file and line.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Returns a report with one error about a file that cannot be read.
    pub fn of_file(file: &str, message: String) -> Self {
        let help = None;
        let finding = Finding {
            level: Level::Error,
            file: file.to_owned(),
            line: None,
            column: None,
            end_column: None,
            message,
            help,
            source: None,
        };
        Self {
            findings: vec![finding],
        }
    }

    /// Returns the report of all faults and diagnostics, with their positions.
    pub fn new(sources: &[Source], problems: &Diagnostics) -> Self {
        let mut found: Vec<(usize, Finding)> = Vec::new();
        for (index, source) in sources.iter().enumerate() {
            let mut places = problems.list.iter().map(|diagnostic| &diagnostic.place);
            // looking for lines that may contain a secret takes as long as compiling the file
            if source.faults.is_empty() && places.all(|place| place.file != index) {
                continue;
            }
            let page = Page::new(source);
            found.extend(
                source
                    .faults
                    .iter()
                    .map(|fault| (index, page.of_fault(fault))),
            );
            let here = problems
                .list
                .iter()
                .filter(|diagnostic| diagnostic.place.file == index);
            found.extend(here.map(|diagnostic| {
                let mut finding = page.of(diagnostic);
                finding.message.extend(
                    diagnostic
                        .other
                        .as_ref()
                        .and_then(|other| where_else(sources, other)),
                );
                (index, finding)
            }));
        }
        found.sort_by_key(|(index, finding)| (*index, finding.line, finding.column));
        let mut findings: Vec<Finding> = found.into_iter().map(|(_, finding)| finding).collect();
        for (level, count, word) in [
            (Level::Error, problems.unlisted.errors, "error"),
            (Level::Warning, problems.unlisted.warnings, "warning"),
        ] {
            if count > 0 {
                let message = format!("{count} more {word}{}", if count == 1 { "" } else { "s" });
                let file = sources
                    .first()
                    .map(|source| source.shown.as_str())
                    .unwrap_or_default();
                findings.extend(
                    Self::of_file(file, message)
                        .findings
                        .into_iter()
                        .map(|finding| Finding { level, ..finding }),
                );
            }
        }
        Self { findings }
    }

    /// Returns the report with findings about files beside the config.
    #[must_use]
    pub fn with(mut self, findings: Vec<Finding>) -> Self {
        self.findings.extend(findings);
        self
    }

    /// Renders every finding and their counts, errors first: the first lines say why a config is refused.
    pub fn refusal(mut self) -> String {
        self.findings
            .sort_by_key(|finding| finding.level != Level::Error);
        format!("{}{}", self.render(false), self.summary())
    }

    /// Returns the number of errors.
    pub fn errors(&self) -> usize {
        self.findings
            .iter()
            .filter(|finding| finding.level == Level::Error)
            .count()
    }

    /// Returns the number of warnings.
    pub fn warnings(&self) -> usize {
        self.findings
            .iter()
            .filter(|finding| finding.level == Level::Warning)
            .count()
    }

    /// Renders every finding with its line and a caret, separated by blank lines; with ANSI colours if `colour`.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let pages: Vec<String> = self
            .findings
            .iter()
            .map(|finding| finding.render(&renderer))
            .collect();
        let mut text = pages.join("\n\n");
        if !text.is_empty() {
            text.push('\n');
        }
        text
    }

    /// Renders every finding as a line with a JSON object.
    pub fn json_lines(&self) -> String {
        let mut text = String::new();
        for finding in &self.findings {
            text.push_str(&serde_json::to_string(finding).unwrap_or_default());
            text.push('\n');
        }
        text
    }

    /// Logs each warning.
    pub fn log_warnings(&self) {
        for Finding {
            file,
            line,
            message,
            help,
            ..
        } in self
            .findings
            .iter()
            .filter(|finding| finding.level == Level::Warning)
        {
            tracing::warn!(file, line, help, "{message}");
        }
    }

    /// Returns ``3 errors, 1 warning. With errors, a running gateway keeps its last good config.``
    pub fn summary(&self) -> String {
        let text = self.counts();
        if self.errors() > 0 {
            format!("{text} With errors, a running gateway keeps its last good config.")
        } else {
            text
        }
    }

    /// Returns ``3 errors, 1 warning.``, or an empty text.
    pub fn counts(&self) -> String {
        let counted = |count: usize, word: &str| {
            format!("{count} {word}{}", if count == 1 { "" } else { "s" })
        };
        let mut parts = Vec::new();
        if self.errors() > 0 {
            parts.push(counted(self.errors(), "error"));
        }
        if self.warnings() > 0 {
            parts.push(counted(self.warnings(), "warning"));
        }
        let mut text = parts.join(", ");
        if !text.is_empty() {
            text.push('.');
        }
        text
    }

    /// Returns the first error on one line, for a log or a status: ``config.yaml:31:33: `verify` has no key `tolerence` ``.
    pub fn headline(&self) -> String {
        let mut text = String::new();
        if let Some(finding) = self
            .findings
            .iter()
            .find(|finding| finding.level == Level::Error)
            .or_else(|| self.findings.first())
        {
            text.push_str(&finding.file);
            for number in [finding.line, finding.column].into_iter().flatten() {
                // Writing to a String cannot fail.
                write!(text, ":{number}").ok();
            }
            write!(text, ": {}", finding.message).ok();
        }
        text
    }
}

/// Returns the position of the other of two conflicting values: ` (conf.d/b.yaml:3:5)`.
fn where_else(sources: &[Source], other: &Place) -> Option<String> {
    let source = sources.get(other.file)?;
    let Area { line, column, .. } = area_of(source.tree.as_ref()?, &other.path, false);
    Some(format!(" ({}:{line}:{column})", source.shown))
}
