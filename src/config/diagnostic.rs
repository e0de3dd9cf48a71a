//! What is wrong with a config, and where.

/// Where in what was written something stands: a file, and the keys that lead to it. The text position is looked up when it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Index of the file among those read; 0 is the main one.
    pub file: usize,
    /// The keys and list places that lead there.
    pub path: Vec<Step>,
}

/// One step of a [`Place`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Into a map.
    Key(String),
    /// Into a list, counted from 0.
    Index(usize),
}

impl Place {
    /// The whole of a file.
    pub fn root(file: usize) -> Self {
        Self { file, path: Vec::new() }
    }

    /// The value under `key`.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.step(Step::Key(key.to_owned()))
    }

    /// The value at `index`.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.step(Step::Index(index))
    }

    fn step(&self, step: Step) -> Self {
        let mut path = self.path.clone();
        path.push(step);
        Self { file: self.file, path }
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The config cannot run.
    Error,
    /// It can, and somebody should look.
    Warning,
}

/// One thing to say about a config.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// How bad it is.
    pub level: Level,
    /// Where. If there is no such value, the nearest one around it is shown.
    pub place: Place,
    /// Point at the key instead of its value.
    pub at_key: bool,
    /// What is wrong.
    pub message: String,
    /// What to write; stands beside the caret.
    pub help: Option<String>,
}

/// All there is to say about a config; `compile` goes on after an error, so that all are shown at once.
#[derive(Debug, Default)]
pub struct Diagnostics {
    /// In the order they were found.
    pub list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// Notes an error about the value at `place`.
    pub fn error(&mut self, place: &Place, message: impl Into<String>, help: impl Into<Option<String>>) {
        self.list.push(Diagnostic { level: Level::Error, place: place.clone(), at_key: false, message: message.into(), help: help.into() });
    }

    /// Notes an error about the key at `place`.
    pub fn error_at_key(&mut self, place: &Place, message: impl Into<String>, help: impl Into<Option<String>>) {
        self.list.push(Diagnostic { level: Level::Error, place: place.clone(), at_key: true, message: message.into(), help: help.into() });
    }

    /// Notes a warning about the value at `place`.
    pub fn warning(&mut self, place: &Place, message: impl Into<String>, help: impl Into<Option<String>>) {
        self.list.push(Diagnostic { level: Level::Warning, place: place.clone(), at_key: false, message: message.into(), help: help.into() });
    }

    /// Whether there is an error.
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|diagnostic| diagnostic.level == Level::Error)
    }
}

/// The known name nearest to a wrong one, if it is near: ``did you mean `x`?``
pub fn did_you_mean<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let near = known.map(|name| (strsim::damerau_levenshtein(wrong, name), name)).filter(|(distance, name)| *distance <= 2.max(name.len() / 4));
    near.min().map(|(_, name)| format!("did you mean `{name}`?"))
}
