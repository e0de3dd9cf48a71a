//! A finding about a config, and how it is rendered: position, source line, caret, fix.
use annotate_snippets::{AnnotationKind, Level as Shade, Origin, Renderer, Snippet};
use serde::Serialize;

use crate::config::diagnostic::Level;

/// An error or a warning: a line of `check --format json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The severity.
    pub level: Level,
    /// The path of the file as it was given.
    pub file: String,
    /// The line, counted from 1; absent if the finding is about the file as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The column of the first character, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// The column after the last character, if it is on the same line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_column: Option<usize>,
    /// The error in the user's terms.
    pub message: String,
    /// The fix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The line itself, unless it may contain a secret.
    #[serde(skip)]
    pub(super) source: Option<String>,
}

impl Finding {
    /// Returns a finding about a file beside the config. `line` is the text of the line at its position.
    pub fn beside(
        level: Level,
        file: String,
        position: Option<(usize, usize)>,
        line: Option<&str>,
        message: String,
        help: Option<String>,
    ) -> Self {
        Self {
            level,
            file,
            line: position.map(|(line, _)| line),
            column: position.map(|(_, column)| column),
            end_column: None,
            message,
            help,
            source: line
                .filter(|line| !line.trim().is_empty())
                .map(ToOwned::to_owned),
        }
    }

    /// Renders the finding with its line and a caret.
    pub(super) fn render(&self, renderer: &Renderer) -> String {
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

fn byte_of(line: &str, column: usize) -> usize {
    line.char_indices()
        .nth(column.saturating_sub(1))
        .map_or(line.len(), |(byte, _)| byte)
}
