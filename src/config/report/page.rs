//! Finds the position and the source line of a diagnostic.
use std::collections::HashSet;

use crate::config::diagnostic::{Diagnostic, Level, Step};
use crate::config::report::finding::Finding;
use crate::config::secretive::{may_hide_a_secret, suspect_lines};
use crate::config::source::Source;
use crate::config::yaml_tree::{Area, Fault, Node, Spanned};

/// A file with its lines, and the numbers of those that may contain a secret.
pub(super) struct Page<'a> {
    source: &'a Source,
    lines: Vec<&'a str>,
    suspect: HashSet<usize>,
}

impl<'a> Page<'a> {
    /// Prepares a file.
    pub(super) fn new(source: &'a Source) -> Self {
        let suspect = source.tree.as_ref().map(suspect_lines).unwrap_or_default();
        Self {
            source,
            lines: source.text.lines().collect(),
            suspect,
        }
    }

    /// Returns the finding for a fault of the YAML text.
    pub(super) fn of_fault(&self, fault: &Fault) -> Finding {
        let line = fault.area.line;
        let shows = if fault.fatal {
            !may_hide_a_secret(&self.source.text, &self.lines, line)
        } else {
            self.source.tree.is_some() && !self.suspect.contains(&line)
        };
        self.finding(
            Level::Error,
            fault.area,
            &fault.message,
            fault.help.as_deref(),
            shows,
        )
    }

    /// Returns the finding for a diagnostic.
    pub(super) fn of(&self, diagnostic: &Diagnostic) -> Finding {
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

    /// Returns a finding with its line, if the line `shows`.
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
}

/// Returns the area to point at: the scalar itself, else the key that leads to it, else the beginning of the value.
pub(super) fn area_of(tree: &Spanned, path: &[Step], at_key: bool) -> Area {
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
