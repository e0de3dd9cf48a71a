//! The errors and warnings about a config, and their places.
use std::collections::{HashMap, HashSet};

/// The largest number of errors, and of warnings, that are listed.
const MAX_LISTED: usize = 100;
/// The longest word that is compared with known names. Measuring the distance costs memory by its length.
const LONGEST_TYPO: usize = 64;

/// The place of a value: a file and the keys that lead to it. Its position in the text is looked up when it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The index of the file; 0 is the main one.
    pub file: usize,
    /// The keys and indices that lead to the value.
    pub path: Vec<Step>,
}

/// A step of a [`Place`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// A key of a map.
    Key(String),
    /// An index of a list, counted from 0.
    Index(usize),
}

impl Place {
    /// Returns the place of a whole file.
    pub fn root(file: usize) -> Self {
        Self {
            file,
            path: Vec::new(),
        }
    }

    /// Returns the place of the value under `key`.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.step(Step::Key(key.to_owned()))
    }

    /// Returns the place of the value at `index`.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.step(Step::Index(index))
    }

    /// Returns the place one step further.
    fn step(&self, step: Step) -> Self {
        let mut path = self.path.clone();
        path.push(step);
        Self {
            file: self.file,
            path,
        }
    }
}

/// The severity of a diagnostic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The config cannot run.
    Error,
    /// The config can run, but needs attention.
    Warning,
}

/// An error or a warning about a config.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// The severity.
    pub level: Level,
    /// The place. If there is no such value, the nearest one around it is shown.
    pub place: Place,
    /// Whether to point at the key instead of its value.
    pub at_key: bool,
    /// The error in the user's terms.
    pub message: String,
    /// The fix, which is shown beside the caret.
    pub help: Option<String>,
    /// The place of the other of two conflicting values. Its position is part of the message.
    pub other: Option<Place>,
}

/// All errors and warnings about a config. `compile` goes on after an error, so that all are reported at once.
#[derive(Debug, Default)]
pub struct Diagnostics {
    /// The diagnostics in the order in which they were found.
    pub list: Vec<Diagnostic>,
    /// The number of errors and warnings that did not fit into the list.
    pub unlisted: Unlisted,
    /// The places of values that were reported and left out, by file. Nothing is reported there again.
    spoiled: HashMap<usize, HashSet<Vec<Step>>>,
}

/// The number of errors and warnings that are not listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unlisted {
    /// The number of errors.
    pub errors: usize,
    /// The number of warnings.
    pub warnings: usize,
}

impl Diagnostics {
    /// Reports an error about the value at `place`.
    pub fn error(
        &mut self,
        place: &Place,
        message: impl Into<String>,
        help: impl Into<Option<String>>,
    ) {
        self.note(Level::Error, place, false, message.into(), help.into());
    }

    /// Reports an error about the value at `place` that conflicts with the one at `other`.
    pub fn clash(
        &mut self,
        place: &Place,
        other: &Place,
        message: impl Into<String>,
        help: impl Into<Option<String>>,
    ) {
        let count = self.list.len();
        self.note(Level::Error, place, false, message.into(), help.into());
        if let Some(noted) = self.list.get_mut(count) {
            noted.other = Some(other.clone());
        }
    }

    /// Reports an error about the key at `place`.
    pub fn error_at_key(
        &mut self,
        place: &Place,
        message: impl Into<String>,
        help: impl Into<Option<String>>,
    ) {
        self.note(Level::Error, place, true, message.into(), help.into());
    }

    /// Reports a warning about the value at `place`.
    pub fn warning(
        &mut self,
        place: &Place,
        message: impl Into<String>,
        help: impl Into<Option<String>>,
    ) {
        self.note(Level::Warning, place, false, message.into(), help.into());
    }

    /// Reports a warning about the key at `place`.
    pub fn warning_at_key(
        &mut self,
        place: &Place,
        message: impl Into<String>,
        help: impl Into<Option<String>>,
    ) {
        self.note(Level::Warning, place, true, message.into(), help.into());
    }

    /// Reports that the map at `place` lacks `key`, unless the key was reported and left out.
    pub fn missing(
        &mut self,
        place: &Place,
        key: &str,
        message: impl Into<String>,
        help: impl Into<Option<String>>,
    ) {
        if !self.is_spoiled(&place.key(key)) {
            self.error_at_key(place, message, help);
        }
    }

    /// Notes that the value at `place` was reported and left out. Later errors about it, or about its absence, are not reported.
    pub fn spoil(&mut self, place: Place) {
        self.spoiled
            .entry(place.file)
            .or_default()
            .insert(place.path);
    }

    /// Returns whether the value at `place`, or one around it, was reported and left out.
    pub fn is_spoiled(&self, place: &Place) -> bool {
        self.spoiled
            .get(&place.file)
            .is_some_and(|spoiled| is_within(&place.path, spoiled))
    }

    /// Returns whether a value at this path of any file, or one around it, was reported and left out.
    pub fn is_spoiled_in_any_file(&self, path: &[Step]) -> bool {
        self.spoiled
            .values()
            .any(|spoiled| is_within(path, spoiled))
    }

    /// Returns whether the value at `place` has an error, so that what it would mean is unknown.
    pub fn is_faulty(&self, place: &Place) -> bool {
        self.is_spoiled(place) || self.has_error_at(place)
    }

    /// Adds a diagnostic, unless the place was reported already or the list is full.
    fn note(
        &mut self,
        level: Level,
        place: &Place,
        at_key: bool,
        message: String,
        help: Option<String>,
    ) {
        if self.is_spoiled(place) {
            return;
        }
        let unlisted = match level {
            Level::Error => &mut self.unlisted.errors,
            Level::Warning => &mut self.unlisted.warnings,
        };
        if self.list.len() >= MAX_LISTED
            && self
                .list
                .iter()
                .filter(|listed| listed.level == level)
                .count()
                >= MAX_LISTED
        {
            *unlisted += 1;
        } else {
            self.list.push(Diagnostic {
                level,
                place: place.clone(),
                at_key,
                message,
                help,
                other: None,
            });
        }
    }

    /// Returns whether there is an error at `place` or inside it.
    pub fn has_error_at(&self, place: &Place) -> bool {
        let is_inside =
            |other: &Place| other.file == place.file && other.path.starts_with(&place.path);
        self.list
            .iter()
            .any(|listed| listed.level == Level::Error && is_inside(&listed.place))
    }

    /// Returns whether there is an error.
    pub fn has_errors(&self) -> bool {
        self.list
            .iter()
            .any(|diagnostic| diagnostic.level == Level::Error)
    }
}

/// Returns whether a value at `path`, or one around it, is among these.
fn is_within(path: &[Step], values: &HashSet<Vec<Step>>) -> bool {
    (0..=path.len()).any(|depth| {
        path.get(..depth)
            .is_some_and(|around| values.contains(around))
    })
}

/// Returns a name from outside as it may be shown: without control characters, and shortened.
pub fn shown(name: &str) -> String {
    const MOST: usize = 64;
    let mut shown: String = name
        .chars()
        .take(MOST)
        .flat_map(char::escape_debug)
        .collect();
    if name.chars().nth(MOST).is_some() {
        shown.push('…');
    }
    shown
}

/// Returns an unknown word as it may be shown: not if it may be a secret in the wrong place.
pub fn unknown(word: &str) -> String {
    if looks_random(word) {
        "…".to_owned()
    } else {
        shown(word)
    }
}

/// Returns whether the text is one long word of letters and digits. Only secrets look like that in a config, whatever their key is.
pub fn looks_random(text: &str) -> bool {
    let count = |is: fn(&u8) -> bool| text.bytes().filter(is).count();
    text.len() >= 20
        && count(u8::is_ascii_digit) >= 2
        && count(u8::is_ascii_alphabetic) >= 2
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-+/=".contains(&byte))
        && !text.starts_with(['/', '.'])
}

/// Returns the known name that is similar to a wrong one: ``did you mean `x`?``
pub fn did_you_mean<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    if wrong.len() > LONGEST_TYPO {
        return None;
    }
    let near = known
        .map(|name| (strsim::damerau_levenshtein(wrong, name), name))
        .filter(|(distance, name)| *distance <= 2.max(name.len() / 4) && *distance < name.len());
    near.min()
        .map(|(_, name)| format!("did you mean `{name}`?"))
}

/// Returns the similar name and all known names: ``did you mean `app`? There are app, billing``.
pub fn instead_of<'a>(wrong: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<String> {
    let all: Vec<&str> = known.clone().collect();
    let near = did_you_mean(wrong, known);
    let list = match all.as_slice() {
        [] => None,
        [only] => near.is_none().then(|| format!("there is only {only}")),
        few if few.len() <= 12 => Some(format!(
            "{} {}",
            if near.is_some() {
                "There are"
            } else {
                "there are"
            },
            few.join(", ")
        )),
        _ => None,
    };
    match (near, list) {
        (Some(near), Some(list)) => Some(format!("{near} {list}")),
        (near, list) => near.or(list),
    }
}
