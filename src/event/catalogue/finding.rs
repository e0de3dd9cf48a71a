//! The errors and warnings about a catalogue, each with its place.
use std::fmt;

/// The largest number of errors, and of warnings, that are listed.
const MAX_LISTED: usize = 100;

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The catalogue cannot be used.
    Error,
    /// The catalogue can be used, but needs attention.
    Warning,
}

/// An error or a warning about a catalogue.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// The severity.
    pub level: Level,
    /// The path of the file or folder, below the directory of the catalogue.
    pub file: String,
    /// The line, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The column, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// The finding in the user's terms.
    pub message: String,
    /// The text to write instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl fmt::Display for Finding {
    /// Writes ``invoice.paid/2.schema.json:14:5: `additionalProperties: false` … (leave it out)``.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        for number in [self.line, self.column].into_iter().flatten() {
            write!(f, ":{number}")?;
        }
        write!(f, ": {}", self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

/// A list of findings with a bound.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    list: Vec<Finding>,
    unlisted: [usize; 2],
}

impl Findings {
    /// Reports an error about a file.
    pub(crate) fn error(&mut self, file: &str, message: impl Into<String>, help: &str) {
        self.note(Level::Error, file, None, message.into(), help);
    }

    /// Reports an error at a line and a column.
    pub(crate) fn error_at(
        &mut self,
        file: &str,
        position: (usize, usize),
        message: impl Into<String>,
        help: &str,
    ) {
        self.note(Level::Error, file, Some(position), message.into(), help);
    }

    /// Reports a warning about a file.
    pub(crate) fn warning(&mut self, file: &str, message: impl Into<String>, help: &str) {
        self.note(Level::Warning, file, None, message.into(), help);
    }

    /// Reports a warning at a line and a column.
    pub(crate) fn warning_at(
        &mut self,
        file: &str,
        position: (usize, usize),
        message: impl Into<String>,
        help: &str,
    ) {
        self.note(Level::Warning, file, Some(position), message.into(), help);
    }

    fn note(
        &mut self,
        level: Level,
        file: &str,
        position: Option<(usize, usize)>,
        message: String,
        help: &str,
    ) {
        let same = self.list.iter().filter(|listed| listed.level == level);
        if same.count() >= MAX_LISTED {
            let [errors, warnings] = &mut self.unlisted;
            *match level {
                Level::Error => errors,
                Level::Warning => warnings,
            } += 1;
            return;
        }
        self.list.push(Finding {
            level,
            file: file.to_owned(),
            line: position.map(|(line, _)| line),
            column: position.map(|(_, column)| column),
            message,
            help: (!help.is_empty()).then(|| help.to_owned()),
        });
    }

    /// Returns the findings, sorted by file and line, errors first. Findings that did not fit are counted in a last one.
    pub(crate) fn into_list(mut self) -> Vec<Finding> {
        self.list.sort_by(|a, b| {
            let key = |finding: &Finding| (finding.line, finding.column, finding.level);
            a.file.cmp(&b.file).then_with(|| key(a).cmp(&key(b)))
        });
        let [errors, warnings] = self.unlisted;
        for (level, count, word) in [
            (Level::Error, errors, "error"),
            (Level::Warning, warnings, "warning"),
        ] {
            if count > 0 {
                let plural = if count == 1 { "" } else { "s" };
                self.list.push(Finding {
                    level,
                    file: ".".to_owned(),
                    line: None,
                    column: None,
                    message: format!("{count} more {word}{plural}"),
                    help: None,
                });
            }
        }
        self.list
    }
}
