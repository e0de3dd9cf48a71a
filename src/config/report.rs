//! Findings as people and machines read them: place, the offending line, a caret, what to write. Never a secret.
use std::collections::HashSet;
use std::fmt::Write as _;

use annotate_snippets::{AnnotationKind, Level as Shade, Origin, Renderer, Snippet};
use serde::Serialize;

use crate::config::diagnostic::{Diagnostic, Diagnostics, Level, Place, Step, looks_random};
use crate::config::source::Source;
use crate::config::yaml_tree::{Area, Node, Spanned};

/// All that is to be said about a config, without the text it is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// By file and line.
    pub findings: Vec<Finding>,
}

/// One thing that is to be said: a line of `check --format json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// The file as it was named.
    pub file: String,
    /// The line, counted from 1; absent if the file itself is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The column of the first character, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// The column after the last character, if it is on the same line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_column: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What to write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The line itself, unless it may hold a secret.
    #[serde(skip)]
    source: Option<String>,
}

impl Report {
    /// A report that says one thing about a file that cannot be read.
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

    /// Finds the places of what was found.
    pub fn new(sources: &[Source], problems: &Diagnostics) -> Self {
        let mut found: Vec<(usize, Finding)> = Vec::new();
        for (index, source) in sources.iter().enumerate() {
            let page = Page::new(source, index);
            found.extend(source.faults.iter().map(|fault| {
                let shows = source.tree.is_some()
                    && !fault.fatal
                    && !page.suspect.contains(&fault.area.line);
                let shows = shows || (fault.fatal && !page.may_hide_a_secret(fault.area.line));
                (
                    index,
                    page.finding(
                        Level::Error,
                        fault.area,
                        &fault.message,
                        fault.help.as_deref(),
                        shows,
                    ),
                )
            }));
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
            (Level::Error, problems.untold.errors, "error"),
            (Level::Warning, problems.untold.warnings, "warning"),
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

    /// How many errors there are.
    pub fn errors(&self) -> usize {
        self.findings
            .iter()
            .filter(|finding| finding.level == Level::Error)
            .count()
    }

    /// How many warnings there are.
    pub fn warnings(&self) -> usize {
        self.findings
            .iter()
            .filter(|finding| finding.level == Level::Warning)
            .count()
    }

    /// Every finding with its line and a caret, a blank line between two; coloured with ANSI sequences if `colour`.
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

    /// One JSON object a line for every finding.
    pub fn json_lines(&self) -> String {
        let mut text = String::new();
        for finding in &self.findings {
            text.push_str(&serde_json::to_string(finding).unwrap_or_default());
            text.push('\n');
        }
        text
    }

    /// A log line for each warning.
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

    /// ``3 errors, 1 warning. With errors a gate keeps its last good config.``
    pub fn summary(&self) -> String {
        let text = self.counts();
        if self.errors() > 0 {
            format!("{text} With errors a gate keeps its last good config.")
        } else {
            text
        }
    }

    /// ``3 errors, 1 warning.``, or nothing.
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

    /// The first error on one line, for a log, a status or a metric: ``config.yaml:31:33: `verify` has no key `tolerence` ``.
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

impl Finding {
    fn render(&self, renderer: &Renderer) -> String {
        let shade = match self.level {
            Level::Error => Shade::ERROR,
            Level::Warning => Shade::WARNING,
        };
        let title = shade.primary_title(self.message.as_str());
        let Some((line, column)) = self.line.zip(self.column) else {
            let group = title.element(Origin::path(self.file.as_str()));
            let group = self.help.iter().fold(group, |group, help| {
                group.element(Shade::HELP.message(help.as_str()))
            });
            return renderer.render(&[group]);
        };
        let group = match &self.source {
            Some(source) => {
                let span =
                    byte_of(source, column)..byte_of(source, self.end_column.unwrap_or(column + 1));
                let caret = AnnotationKind::Primary
                    .span(span)
                    .label(self.help.as_deref());
                title.element(
                    Snippet::source(source.as_str())
                        .path(self.file.as_str())
                        .line_start(line)
                        .annotation(caret),
                )
            }
            None => {
                let group = title.element(
                    Origin::path(self.file.as_str())
                        .line(line)
                        .char_column(column),
                );
                self.help.iter().fold(group, |group, help| {
                    group.element(Shade::HELP.message(help.as_str()))
                })
            }
        };
        renderer.render(&[group])
    }
}

/// ` (conf.d/b.yaml:3:5)`: where the other of two stands.
fn where_else(sources: &[Source], other: &Place) -> Option<String> {
    let source = sources.get(other.file)?;
    let Area { line, column, .. } = area_of(source.tree.as_ref()?, &other.path, false);
    Some(format!(" ({}:{line}:{column})", source.shown))
}

fn byte_of(line: &str, column: usize) -> usize {
    line.char_indices()
        .nth(column.saturating_sub(1))
        .map_or(line.len(), |(byte, _)| byte)
}

/// One source, and which of its lines may hold a secret.
struct Page<'a> {
    source: &'a Source,
    lines: Vec<&'a str>,
    suspect: HashSet<usize>,
}

impl<'a> Page<'a> {
    fn new(source: &'a Source, index: usize) -> Self {
        let mut suspect = HashSet::new();
        if let Some(tree) = &source.tree {
            tree.scalars(&Place::root(index), &mut |place, spanned, text| {
                if may_be_secret(&place.path, text) {
                    suspect.extend(spanned.area.line..=spanned.area.end_line);
                }
            });
            keys_that_may_be_secret(tree, false, &mut suspect);
        }
        Self {
            source,
            lines: source.text.lines().collect(),
            suspect,
        }
    }

    fn of(&self, diagnostic: &Diagnostic) -> Finding {
        let Diagnostic {
            level,
            place,
            at_key,
            message,
            help,
            other: _,
        } = diagnostic;
        let area = self
            .source
            .tree
            .as_ref()
            .map_or(Area::at(1, 1), |tree| area_of(tree, &place.path, *at_key));
        self.finding(
            *level,
            area,
            message,
            help.as_deref(),
            !self.suspect.contains(&area.line),
        )
    }

    fn finding(
        &self,
        level: Level,
        area: Area,
        message: &str,
        help: Option<&str>,
        shows: bool,
    ) -> Finding {
        let line = self
            .lines
            .get(area.line.saturating_sub(1))
            .copied()
            .unwrap_or("");
        let width = line.chars().count();
        let end = if area.end_line == area.line && area.end_column > area.column {
            area.end_column
        } else {
            width + 1
        };
        Finding {
            level,
            file: self.source.shown.clone(),
            line: Some(area.line),
            column: Some(area.column),
            end_column: Some(end.clamp(area.column + 1, (width + 1).max(area.column + 1))),
            message: message.to_owned(),
            help: help.map(ToOwned::to_owned),
            source: (shows && !line.trim().is_empty()).then(|| line.to_owned()),
        }
    }

    /// For a file that cannot be read as YAML: whether the line, or one that it is part of, speaks of secrets.
    fn may_hide_a_secret(&self, line: usize) -> bool {
        let speaks = |text: &str| {
            let text = text.to_ascii_lowercase();
            ["secret", "token", "inline", "insecure", "password", "key"]
                .iter()
                .any(|word| text.contains(word))
        };
        if self.source.text.to_ascii_lowercase().contains("inline") {
            return true;
        }
        let depth = |text: &str| text.len() - text.trim_start_matches([' ', '-', '\t']).len();
        let Some(mut least) = self
            .lines
            .get(line.saturating_sub(1))
            .map(|text| depth(text) + 1)
        else {
            return false;
        };
        for text in self
            .lines
            .iter()
            .take(line)
            .rev()
            .filter(|text| !text.trim().is_empty())
        {
            if depth(text) < least {
                if speaks(text) {
                    return true;
                }
                least = depth(text);
            }
        }
        false
    }
}

/// Where to point: at a scalar itself, else at the key that leads there, else at the beginning of what is there.
fn area_of(tree: &Spanned, path: &[Step], at_key: bool) -> Area {
    let (value, key, there) = tree.find(path);
    match (&value.node, key) {
        (Node::Scalar { .. }, Some(key)) if at_key && there => key,
        (Node::Scalar { .. }, Some(key))
            if value.area.end_line == value.area.line
                && value.area.end_column <= value.area.column =>
        {
            key
        }
        (Node::Scalar { .. }, _) => value.area,
        (Node::List(_) | Node::Map(_), Some(key)) => key,
        (Node::Map(entries), None) => entries.first().map_or(value.area, |first| {
            let end = first.value.area;
            let one_line = matches!(first.value.node, Node::Scalar { .. })
                && end.end_line == first.key_area.line;
            if one_line {
                Area {
                    end_line: end.end_line,
                    end_column: end.end_column,
                    ..first.key_area
                }
            } else {
                first.key_area
            }
        }),
        (Node::List(_), None) => value.area,
    }
}

/// Whether a scalar may be a secret that was written into the config, meant so or not.
fn may_be_secret(path: &[Step], text: &str) -> bool {
    if looks_random(text)
        || text
            .split_once("://")
            .is_some_and(|(_, rest)| rest.contains('@'))
    {
        return true;
    }
    let near_secrets = path
        .iter()
        .any(|step| matches!(step, Step::Key(key) if is_secretive(key)));
    let key = match path.last() {
        Some(Step::Key(key)) => key.as_str(),
        Some(Step::Index(_)) | None => "",
    };
    if !near_secrets || key == "secret_encoding" || key == "secret_suffix" || key == "keep_token" {
        return false;
    }
    match key {
        "name" | "encoding" | "allow_whitespace" | "not_before" | "expires" => false,
        "by" => !text.starts_with('{') && !text.starts_with("header:"),
        "env" => !is_variable(text),
        "file" | "dir" => !text.contains(['/', '.']) || text.contains(['=', '+']),
        _ => !matches!(text, "" | "true" | "false" | "null" | "~"),
    }
}

fn keys_that_may_be_secret(value: &Spanned, near_secrets: bool, suspect: &mut HashSet<usize>) {
    match &value.node {
        Node::Scalar { .. } => {}
        Node::List(items) => items
            .iter()
            .for_each(|item| keys_that_may_be_secret(item, near_secrets, suspect)),
        Node::Map(entries) => {
            for entry in entries {
                let is_word = entry
                    .key
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
                if near_secrets && !is_word {
                    suspect.insert(entry.key_area.line);
                }
                keys_that_may_be_secret(
                    &entry.value,
                    near_secrets || is_secretive(&entry.key),
                    suspect,
                );
            }
        }
    }
}

/// Whether what stands under this key may be a secret.
pub(super) fn is_secretive(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    // A longer key is a typo of none, and to measure how far it is from one would cost memory by its length.
    if key.len() > 64 {
        return true;
    }
    key == "sign"
        || ["secret", "token", "inline", "insecure", "password"]
            .iter()
            .any(|word| key.contains(word))
        || strsim::damerau_levenshtein(&key, "insecure_inline") <= 4
        || strsim::damerau_levenshtein(&key, "secrets") <= 2
}

/// Whether the text is written as names of environment variables are, and secrets are not.
pub fn is_variable(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_uppercase() || first == '_')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}
