//! The presets: one YAML file per provider, embedded when hookgate is built. A config may add a directory of its own.
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, OnceLock};

use include_dir::{Dir, include_dir};

use crate::config::diagnostic::{Diagnostics, Place};
use crate::config::file;
use crate::config::source::Source;
use crate::units;

static FILES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/providers");
static BUILT_IN: LazyLock<Catalogue> = LazyLock::new(Catalogue::embedded);

/// A provider's preset and its name.
#[derive(Debug)]
pub struct Preset {
    /// The name in a config: the name of its file.
    pub name: Arc<str>,
    /// The content of the file.
    pub provider: file::Provider,
}

impl Preset {
    /// Returns the provider's name as it is shown to people.
    pub fn title(&self) -> &str {
        if self.provider.title.is_empty() {
            &self.name
        } else {
            &self.provider.title
        }
    }
}

/// A preset of a catalogue.
///
/// An embedded one is parsed when it is first used: a config uses few of them, and parsing all would take most of the time of a start.
#[derive(Debug)]
struct Entry {
    name: Arc<str>,
    /// The file of an embedded preset; empty for one that was added.
    bytes: &'static [u8],
    preset: OnceLock<Arc<Preset>>,
}

impl Entry {
    /// Returns the preset, parsed. Errors of an embedded one are for the tests, which parse them all.
    fn preset(&self) -> &Arc<Preset> {
        self.preset.get_or_init(|| {
            let mut source = Source::new(format!("providers/{}.yaml", self.name), self.bytes);
            let provider = source.parse(0, &mut Diagnostics::default());
            let name = Arc::clone(&self.name);
            Arc::new(Preset { name, provider })
        })
    }
}

/// Presets by name.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    presets: BTreeMap<Arc<str>, Arc<Entry>>,
}

impl Catalogue {
    /// Returns the embedded presets.
    pub fn built_in() -> &'static Self {
        &BUILT_IN
    }

    /// Lists the embedded presets.
    fn embedded() -> Self {
        let presets = files().map(|(name, bytes)| {
            let name: Arc<str> = name.into();
            let entry = Entry {
                name: Arc::clone(&name),
                bytes,
                preset: OnceLock::new(),
            };
            (name, Arc::new(entry))
        });
        Self {
            presets: presets.collect(),
        }
    }

    /// Adds a preset. Returns `false` if the name is already in use.
    pub fn add(&mut self, name: &str, provider: file::Provider) -> bool {
        if self.presets.contains_key(name) {
            return false;
        }
        let name: Arc<str> = name.into();
        let preset = Preset {
            name: Arc::clone(&name),
            provider,
        };
        let entry = Entry {
            name: Arc::clone(&name),
            bytes: &[],
            preset: OnceLock::from(Arc::new(preset)),
        };
        self.presets.insert(name, Arc::new(entry));
        true
    }

    /// Returns the preset of that name.
    pub fn get(&self, name: &str) -> Option<Arc<Preset>> {
        self.presets
            .get(name)
            .map(|entry| Arc::clone(entry.preset()))
    }

    /// Returns all names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.presets.keys().map(|name| &**name)
    }

    /// Returns all presets, sorted by name.
    pub fn presets(&self) -> impl Iterator<Item = &Arc<Preset>> {
        self.presets.values().map(|entry| entry.preset())
    }
}

/// Returns the name and bytes of every embedded preset.
fn files() -> impl Iterator<Item = (&'static str, &'static [u8])> {
    FILES.files().filter_map(|file| {
        let path = file.path();
        let is_preset = path
            .extension()
            .is_some_and(|extension| extension == "yaml");
        path.file_stem()
            .and_then(|stem| stem.to_str())
            .filter(|_| is_preset)
            .map(|name| (name, file.contents()))
    })
}

/// Reports the facts of a preset that are not valid.
pub fn check_facts(facts: &file::Facts, place: &Place, problems: &mut Diagnostics) {
    check_units(facts, place, problems);
    check_words(facts, place, problems);
    if facts
        .success_status
        .is_some_and(|status| !(200..300).contains(&status))
    {
        problems.error(
            &place.key("success_status"),
            "this is not a success status",
            "write a status from 200 to 299".to_owned(),
        );
    }
    for (key, patterns) in [
        ("stops_on", &facts.stops_on),
        ("disables_on", &facts.disables_on),
    ] {
        for (index, text) in patterns.iter().enumerate() {
            if StatusPattern::parse(text).is_none() {
                let help = "write a status from 300 to 599, or a class such as `4xx`".to_owned();
                problems.error(
                    &place.key(key).index(index),
                    "this is not a failure status",
                    help,
                );
            }
        }
    }
    let Some(status) = facts.refused_status else {
        return;
    };
    if !(400..600).contains(&status) {
        problems.error(
            &place.key("refused_status"),
            "this is not a valid refusal status",
            "write a status from 400 to 599".to_owned(),
        );
    } else if facts
        .stops_on
        .iter()
        .chain(&facts.disables_on)
        .any(|text| StatusPattern::parse(text).is_some_and(|one| one.matches(status)))
    {
        let help = "write a status after which the provider retries; a wrong secret gets the same response".to_owned();
        problems.error(
            &place.key("refused_status"),
            format!("the provider does not retry after {status}"),
            help,
        );
    }
}

/// Reports durations and sizes that are not valid.
fn check_units(facts: &file::Facts, place: &Place, problems: &mut Diagnostics) {
    let rule = facts.disables_after.clone().unwrap_or_default();
    let lasting = place.key("disables_after").key("lasting");
    let durations = [
        (place.key("answer_within"), &facts.answer_within),
        (place.key("retries_for"), &facts.retries_for),
    ];
    for (place, text) in durations.into_iter().chain([(lasting, &rule.lasting)]) {
        if let Some(Err(why)) = text.as_deref().map(units::duration) {
            problems.error(&place, "this is not a duration", why.to_string());
        }
    }
    if facts.disables_after.is_some()
        && rule.failures.is_none_or(|count| count == 0)
        && rule.lasting.is_none()
    {
        let help = "write `failures: COUNT` or `lasting: TIME`".to_owned();
        problems.error(
            &place.key("disables_after"),
            "`disables_after` is empty",
            help,
        );
    }
    if let Some(Err(why)) = facts.max_body.as_deref().map(units::size) {
        problems.error(
            &place.key("max_body"),
            "this is not a size",
            why.to_string(),
        );
    }
}

/// Reports words that are not known.
fn check_words(facts: &file::Facts, place: &Place, problems: &mut Diagnostics) {
    let mut check = |key: &str, is_valid: bool, help: &str| {
        if !is_valid {
            let help = help.to_owned();
            problems.error(&place.key(key), "this value is not allowed", help);
        }
    };
    let is_known = |word: &Option<String>| {
        word.as_deref()
            .is_none_or(|word| Known::parse(word).is_some())
    };
    let known = "write `yes`, `no` or `unknown`";
    check("retry_keeps_time", is_known(&facts.retry_keeps_time), known);
    check("bodies_repeat", is_known(&facts.bodies_repeat), known);
    let body = facts.refused_body.as_deref();
    let is_body = body.is_none_or(|word| RefusedBody::parse(word).is_some());
    check("refused_body", is_body, "write `json` or `empty`");
}

/// Whether a fact holds for a provider, as far as a source says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Known {
    /// A source confirms it.
    Yes,
    /// A source denies it.
    No,
    /// No source mentions it.
    #[default]
    Unknown,
}

impl Known {
    /// Parses the word of a preset.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "yes" => Self::Yes,
            "no" => Self::No,
            "unknown" => Self::Unknown,
            _ => return None,
        })
    }

    /// Returns the fact of a preset, or `Unknown` if it is absent or not valid.
    pub fn of(word: Option<&str>) -> Self {
        word.and_then(Self::parse).unwrap_or_default()
    }
}

/// The body of the response to a request that is not authentic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RefusedBody {
    /// The status text and the request ID.
    #[default]
    Json,
    /// No body.
    Empty,
}

impl RefusedBody {
    /// Parses the word of a preset or a route.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "json" => Self::Json,
            "empty" => Self::Empty,
            _ => return None,
        })
    }
}

/// A status, or all statuses of a class: `410`, `4xx`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusPattern {
    /// This status.
    One(u16),
    /// All statuses that begin with this digit.
    Class(u16),
}

impl StatusPattern {
    /// Parses the text of a preset.
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_suffix("xx") {
            Some(class) => class
                .parse()
                .ok()
                .filter(|class| (3..=5).contains(class))
                .map(Self::Class),
            None => text
                .parse()
                .ok()
                .filter(|status| (300..600).contains(status))
                .map(Self::One),
        }
    }

    /// Returns whether it includes `status`.
    pub fn matches(self, status: u16) -> bool {
        match self {
            Self::One(one) => one == status,
            Self::Class(class) => status / 100 == class,
        }
    }
}

#[cfg(test)]
mod tests;
