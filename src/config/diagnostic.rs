//! What is wrong with a config, and where.
use std::collections::{HashMap, HashSet};

/// How many errors, and how many warnings, are told one by one.
const MAX_TOLD: usize = 100;
/// Longer words are near to no name, and to measure how far costs memory by their length.
const LONGEST_TYPO: usize = 64;

/// Where in what was written something stands: a file, and the keys that lead to it. The text position is looked up when it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Index of the file among those read; 0 is the main one.
    pub file: usize,
    /// The keys and list places that lead there.
    pub path: Vec<Step>,
}

/// One step of a [`Place`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Into a map.
    Key(String),
    /// Into a list, counted from 0.
    Index(usize),
}

impl Place {
    /// The whole of a file.
    pub fn root(file: usize) -> Self {
        Self {
            file,
            path: Vec::new(),
        }
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
        Self {
            file: self.file,
            path,
        }
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
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
    /// The other of two that cannot both be; its place is told with the message.
    pub other: Option<Place>,
}

/// All there is to say about a config; `compile` goes on after an error, so that all are shown at once.
#[derive(Debug, Default)]
pub struct Diagnostics {
    /// In the order they were found.
    pub list: Vec<Diagnostic>,
    /// Errors and warnings that are not in the list any more: it is long enough.
    pub untold: Untold,
    /// Where something was left out because it is not as it should be, by file. Nothing there is blamed again.
    spoiled: HashMap<usize, HashSet<Vec<Step>>>,
}

/// How many things were found that are not told one by one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Untold {
    /// Errors.
    pub errors: usize,
    /// Warnings.
    pub warnings: usize,
}

impl Diagnostics {
    /// Notes an error about the value at `place`.
    pub fn error(
        &mut self,
        place: &Place,
        message: impl Into<String>,
        help: impl Into<Option<String>>,
    ) {
        self.note(Level::Error, place, false, message.into(), help.into());
    }

    /// Notes an error about the value at `place` that clashes with the one at `other`.
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

    /// Notes an error about the key at `place`.
    pub fn error_at_key(
        &mut self,
        place: &Place,
        message: impl Into<String>,
        help: impl Into<Option<String>>,
    ) {
        self.note(Level::Error, place, true, message.into(), help.into());
    }

    /// Notes a warning about the value at `place`.
    pub fn warning(
        &mut self,
        place: &Place,
        message: impl Into<String>,
        help: impl Into<Option<String>>,
    ) {
        self.note(Level::Warning, place, false, message.into(), help.into());
    }

    /// Notes a warning about the key at `place`.
    pub fn warning_at_key(
        &mut self,
        place: &Place,
        message: impl Into<String>,
        help: impl Into<Option<String>>,
    ) {
        self.note(Level::Warning, place, true, message.into(), help.into());
    }

    /// Notes that the map at `place` lacks `key`, unless it was there and is blamed already.
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

    /// What stands at `place` is blamed and left out: later errors about it, or about its absence, are not told.
    pub fn spoil(&mut self, place: Place) {
        self.spoiled
            .entry(place.file)
            .or_default()
            .insert(place.path);
    }

    /// Whether what stands at `place`, or around it, is blamed and left out.
    pub fn is_spoiled(&self, place: &Place) -> bool {
        let Some(spoiled) = self.spoiled.get(&place.file) else {
            return false;
        };
        (0..=place.path.len()).any(|depth| {
            place
                .path
                .get(..depth)
                .is_some_and(|around| spoiled.contains(around))
        })
    }

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
        let untold = match level {
            Level::Error => &mut self.untold.errors,
            Level::Warning => &mut self.untold.warnings,
        };
        if self.list.len() >= MAX_TOLD
            && self.list.iter().filter(|told| told.level == level).count() >= MAX_TOLD
        {
            *untold += 1;
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

    /// Whether something is wrong with what stands at `place`.
    pub fn has_error_at(&self, place: &Place) -> bool {
        let is_inside =
            |other: &Place| other.file == place.file && other.path.starts_with(&place.path);
        self.list
            .iter()
            .any(|told| told.level == Level::Error && is_inside(&told.place))
    }

    /// Whether there is an error.
    pub fn has_errors(&self) -> bool {
        self.list
            .iter()
            .any(|diagnostic| diagnostic.level == Level::Error)
    }
}

/// A name from outside as it may be shown: without control characters, and not without end.
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

/// A word that is not known, as it may be shown: not if it may be a secret that slipped there.
pub fn unknown(word: &str) -> String {
    if looks_random(word) {
        "…".to_owned()
    } else {
        shown(word)
    }
}

/// Whether the text is one long word with digits among its letters, as secrets are and nothing else in a config is; it may stand under any key.
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

/// The known name nearest to a wrong one, if it is near: ``did you mean `x`?``
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

/// What to write instead of a wrong name: the nearest, and all there are: ``did you mean `app`? There are app, billing``.
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
