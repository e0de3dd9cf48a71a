//! Loads the texts of secrets: from the environment, from files, from the config itself. None of them is ever shown.
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::clock::{Dates, Now};
use crate::config::diagnostic::{Diagnostics, Place, did_you_mean, unknown};
use crate::config::file;
use crate::config::report::is_variable;
use crate::config::snapshot::Identity;
use crate::config::source::{Inputs, Unread};
use crate::verify::{Encoding, SecretText};

pub mod table;
mod text;

pub use text::wholesome;
use text::{is_quoted, without_line_feed};

/// How large a secret file may be, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;
/// How many candidates a route may have.
const MAX_CANDIDATES: usize = 8;
/// A secret with fewer bytes is weak.
pub const WEAK_BELOW: usize = 16;

/// Reads one environment variable.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// What was read, kept for the next load: last good texts of files, and the entries of tables.
#[derive(Default)]
pub struct Cache {
    texts: HashMap<PathBuf, Zeroizing<Vec<u8>>>,
    rows: HashMap<PathBuf, table::Row>,
    /// Files whose last line feed was dropped and told of.
    told: HashSet<PathBuf>,
    /// Good pairs, by the files of certificate and key.
    pairs: HashMap<(PathBuf, PathBuf), Arc<Identity>>,
    /// The config and its included files.
    written: HashMap<PathBuf, Zeroizing<Vec<u8>>>,
    /// The keys of the config itself.
    keys: BTreeSet<String>,
}

impl Cache {
    /// Keeps a good pair for the next load.
    pub fn keep_pair(&mut self, files: (PathBuf, PathBuf), pair: Arc<Identity>) {
        self.pairs.insert(files, pair);
    }

    /// Keeps the text of a file of the config for the next load.
    pub fn keep_written(&mut self, path: &Path, bytes: Zeroizing<Vec<u8>>) {
        self.written.insert(path.to_owned(), bytes);
    }

    /// Returns whether `bytes` are what was in the file before, broken off in the middle of a line: somebody stopped writing there.
    pub fn breaks_off(&self, path: &Path, bytes: &[u8]) -> bool {
        let Some(before) = self.written.get(path) else {
            return false;
        };
        let Some(rest) = before
            .strip_prefix(bytes)
            .filter(|rest| !rest.trim_ascii().is_empty())
        else {
            return false;
        };
        let whole_lines =
            bytes.ends_with(b"\n") || rest.starts_with(b"\n") && !before.ends_with(b"\n");
        !whole_lines
    }

    /// Keeps the keys of the config itself, and returns those that `previous` had and that are gone.
    pub fn keep_keys(&mut self, keys: BTreeSet<String>, previous: Option<&Self>) -> Vec<String> {
        let gone = previous.map(|previous| previous.keys.difference(&keys).cloned().collect());
        self.keys = keys;
        gone.unwrap_or_default()
    }
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache")
            .field("files", &self.texts.len())
            .field("rows", &self.rows.len())
            .finish_non_exhaustive()
    }
}

/// Where secrets come from, for whoever judges that.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    /// Files, those of tables included.
    pub files: Vec<PathBuf>,
    /// How many are in the environment.
    pub variables: usize,
    /// Names (`route/secret`) of those that stand in the config.
    pub inline: Vec<String>,
}

/// What loading secrets needs, and what it finds out beside the diagnostics.
pub struct Loader<'a> {
    /// The directory of the config: relative paths begin there.
    pub base: &'a Path,
    /// Reads the environment.
    pub env: Env<'a>,
    /// What the load before this one kept.
    pub previous: Option<&'a Cache>,
    /// What this one keeps.
    pub cache: Cache,
    /// All files that are read.
    pub inputs: Inputs,
    /// What is worth a line in the log, and no more.
    pub notes: Vec<String>,
    /// Names of secrets whose file holds no usable text now, so that the last good one stays in use.
    pub stale: Vec<String>,
    /// Certificates whose files hold no good pair now, and why, so that the last good one stays in use.
    pub stale_certificates: Vec<String>,
    /// How many secrets were loaded.
    pub count: usize,
    /// Where they come from.
    pub origins: Origins,
    /// The time of the load.
    pub now: Now,
    /// The same for certificates.
    pub dates: Dates,
    /// Which route has a text, by its hash.
    seen: HashMap<[u8; 32], String>,
}

impl std::fmt::Debug for Loader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loader")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

/// Where a text comes from, for the words of an error.
enum Origin<'a> {
    Variable(&'a str),
    File,
    Inline,
}

impl Origin<'_> {
    fn in_words(&self) -> String {
        match self {
            Self::Variable(name) if is_variable(name) => {
                format!("the environment variable `{name}`")
            }
            Self::Variable(_) => "the environment variable".to_owned(),
            Self::File => "the secret file".to_owned(),
            Self::Inline => "the secret".to_owned(),
        }
    }
}

impl<'a> Loader<'a> {
    /// A loader that has read nothing.
    pub fn new(
        base: &'a Path,
        env: Env<'a>,
        previous: Option<&'a Cache>,
        now: Now,
        dates: Dates,
    ) -> Self {
        Self {
            base,
            env,
            previous,
            cache: Cache::default(),
            inputs: Inputs::default(),
            notes: Vec::new(),
            stale: Vec::new(),
            stale_certificates: Vec::new(),
            count: 0,
            origins: Origins::default(),
            now,
            dates,
            seen: HashMap::new(),
        }
    }

    /// The last good pair of these files.
    pub fn last_good_pair(&self, files: &(PathBuf, PathBuf)) -> Option<Arc<Identity>> {
        self.previous?.pairs.get(files).map(Arc::clone)
    }

    /// The candidates of a list, each with its index in it; those with an error are told and left out.
    pub fn list(
        &mut self,
        list: &[file::Secret],
        route: &str,
        place: &Place,
        problems: &mut Diagnostics,
    ) -> Vec<(usize, SecretText)> {
        if list.is_empty() {
            problems.error_at_key(
                place,
                "there is no secret",
                "write `secrets: [{ file: /run/secrets/NAME }]`".to_owned(),
            );
        }
        if list.len() > MAX_CANDIDATES {
            problems.error_at_key(
                place,
                format!("there are more than {MAX_CANDIDATES} secrets"),
                "drop those that have gone quiet".to_owned(),
            );
        }
        let mut names = HashSet::new();
        let mut loaded = Vec::with_capacity(list.len());
        for (index, secret) in list.iter().enumerate() {
            let here = place.index(index);
            let name = secret
                .name
                .clone()
                .unwrap_or_else(|| format!("secret-{}", index + 1));
            if !names.insert(name.clone()) {
                problems.error(
                    &here.key("name"),
                    "another secret of this route has the same name",
                    None,
                );
            }
            if let Some(text) = self.one(secret, &name, &format!("{route}/{name}"), &here, problems)
            {
                self.note_weakness(&text, route, &here, problems);
                loaded.push((index, text));
            }
        }
        loaded
    }

    /// One secret. `label` is how log lines call it.
    pub fn one(
        &mut self,
        secret: &file::Secret,
        name: &str,
        label: &str,
        place: &Place,
        problems: &mut Diagnostics,
    ) -> Option<SecretText> {
        let file::Secret {
            name: _,
            env,
            file,
            insecure_inline,
            encoding,
            allow_whitespace,
            not_before,
            expires,
        } = secret;
        let is_name = (1..=64).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if !is_name {
            let help = "use letters, digits, `.`, `_` and `-`, at most 64".to_owned();
            problems.error(&place.key("name"), "this is not a name for a secret", help);
        }
        let encodings = encoding
            .as_deref()
            .map(|name| encoding_named(name, &place.key("encoding"), problems));
        let not_before = not_before
            .as_deref()
            .map(|text| moment(text, &place.key("not_before"), problems));
        let expires = expires
            .as_deref()
            .map(|text| moment(text, &place.key("expires"), problems));
        if let (Some(Some(from)), Some(Some(until))) = (not_before, expires)
            && from >= until
        {
            problems.error(
                &place.key("expires"),
                "the secret expires before it begins",
                None,
            );
        }
        if let Some(Some(until)) = expires
            && until <= self.now.wall
        {
            problems.warning(
                &place.key("expires"),
                "the secret has expired",
                "take it out".to_owned(),
            );
        }
        let may_have_blanks = allow_whitespace.unwrap_or(false);
        let (origin, at, text) = match (env, file, insecure_inline) {
            (Some(name), None, None) => {
                let at = place.key("env");
                let origin = Origin::Variable(name);
                let Some(text) = (self.env)(name) else {
                    problems.error(
                        &at,
                        format!("{} is not set", origin.in_words()),
                        "set it where the gate runs, or use `file`".to_owned(),
                    );
                    return None;
                };
                self.origins.variables += 1;
                (origin, at, Zeroizing::new(text.into_vec()))
            }
            (None, Some(path), None) => {
                let at = place.key("file");
                let text = self.file(path, label, may_have_blanks, &at, problems)?;
                (Origin::File, at, text)
            }
            (None, None, Some(text)) => {
                self.origins.inline.push(label.to_owned());
                (
                    Origin::Inline,
                    place.key("insecure_inline"),
                    Zeroizing::new(text.0.clone().into_bytes()),
                )
            }
            _ => {
                let spoiled = ["env", "file", "insecure_inline"]
                    .iter()
                    .any(|key| problems.is_spoiled(&place.key(key)));
                if !spoiled {
                    problems.error(
                        place,
                        "say in one way where the secret is",
                        "write exactly one of `env`, `file`, `insecure_inline`".to_owned(),
                    );
                }
                return None;
            }
        };
        if !is_good(&text, may_have_blanks, &origin, &at, problems) {
            return None;
        }
        if !is_name || encodings.as_ref().is_some_and(Option::is_none) {
            return None;
        }
        self.count += 1;
        let encodings = encodings.flatten().map(|encoding| vec![encoding]);
        Some(SecretText {
            name: Arc::from(name),
            text,
            encodings,
            not_before: not_before.flatten(),
            expires: expires.flatten(),
        })
    }

    /// Returns the text of a secret file without the line feed at its end. If it cannot be a secret now, that is the last good one.
    fn file(
        &mut self,
        path: &str,
        label: &str,
        may_have_blanks: bool,
        at: &Place,
        problems: &mut Diagnostics,
    ) -> Option<Zeroizing<Vec<u8>>> {
        let path = self.base.join(path);
        self.origins.files.push(path.clone());
        let last_good = self
            .previous
            .and_then(|previous| previous.texts.get(&path))
            .cloned();
        let text = match (self.inputs.read(&path, MAX_BYTES), last_good) {
            (Ok(bytes), last_good) => {
                let (text, dropped) = without_line_feed(bytes);
                match last_good {
                    Some(last_good) if wholesome(&text, may_have_blanks).is_err() => {
                        self.keep(last_good, label)
                    }
                    _ => {
                        if dropped {
                            self.tell_once(&path, label);
                        }
                        text
                    }
                }
            }
            (Err(_), Some(last_good)) => self.keep(last_good, label),
            (Err(why), None) => {
                let help = match why {
                    Unread::Absent => "write the secret into it, mode 0600",
                    Unread::Forbidden => "let the user of the gate read it, and nobody else",
                    Unread::NotRegular | Unread::TooLarge(_) | Unread::Other(_) => {
                        "write the secret into a file of its own"
                    }
                };
                problems.error(at, format!("the secret file {why}"), help.to_owned());
                return None;
            }
        };
        if wholesome(&text, may_have_blanks).is_ok() {
            self.cache.texts.insert(path, text.clone());
        }
        Some(text)
    }

    fn keep(&mut self, last_good: Zeroizing<Vec<u8>>, label: &str) -> Zeroizing<Vec<u8>> {
        self.stale.push(label.to_owned());
        last_good
    }

    fn tell_once(&mut self, path: &Path, label: &str) {
        let told = self
            .previous
            .is_some_and(|previous| previous.told.contains(path));
        if self.cache.told.insert(path.to_owned()) && !told {
            self.notes.push(format!(
                "the line feed at the end of the secret file of {label} was dropped"
            ));
        }
    }

    fn note_weakness(
        &mut self,
        text: &SecretText,
        route: &str,
        place: &Place,
        problems: &mut Diagnostics,
    ) {
        let name = &text.name;
        if text.text.len() < WEAK_BELOW {
            let help =
                "let the provider make a longer one, or take `openssl rand -hex 32`".to_owned();
            problems.warning(
                place,
                format!("secret {name} of route {route} is shorter than {WEAK_BELOW} bytes"),
                help,
            );
        }
        match self.seen.entry(Sha256::digest(text.text.as_slice()).into()) {
            std::collections::hash_map::Entry::Vacant(slot) => {
                slot.insert(route.to_owned());
            }
            std::collections::hash_map::Entry::Occupied(other) if other.get() != route => {
                let message = format!(
                    "secret {name} of route {route} is also a secret of route {}",
                    other.get()
                );
                problems.warning(
                    place,
                    message,
                    "give each route its own: what one sender can sign, the other accepts"
                        .to_owned(),
                );
            }
            std::collections::hash_map::Entry::Occupied(_) => {
                problems.warning(
                    place,
                    format!("secret {name} of route {route} is there twice"),
                    "take one out".to_owned(),
                );
            }
        }
    }
}

/// Returns whether the text can be a secret, and tells what is wrong or doubtful.
fn is_good(
    text: &[u8],
    may_have_blanks: bool,
    origin: &Origin<'_>,
    at: &Place,
    problems: &mut Diagnostics,
) -> bool {
    if let Err((what, help)) = wholesome(text, may_have_blanks) {
        let help = if text.is_empty() && !matches!(origin, Origin::File) {
            "give it a value"
        } else {
            help
        };
        problems.error(at, format!("{} {what}", origin.in_words()), help.to_owned());
        return false;
    }
    if is_quoted(text) {
        let help =
            "take the quotes off, unless the provider shows them as part of the secret".to_owned();
        problems.warning(
            at,
            format!(
                "{} is wrapped in quotes, and they count as part of it",
                origin.in_words()
            ),
            help,
        );
    }
    true
}

/// The encoding of that name; an unknown one is told.
pub fn encoding_named(name: &str, place: &Place, problems: &mut Diagnostics) -> Option<Encoding> {
    let encoding = Encoding::parse(name);
    if encoding.is_none() {
        let help = did_you_mean(name, Encoding::NAMES.into_iter())
            .unwrap_or_else(|| format!("there are {}", Encoding::NAMES.join(", ")));
        problems.error(
            place,
            format!("no encoding is called `{}`", unknown(name)),
            help,
        );
    }
    encoding
}

fn moment(text: &str, place: &Place, problems: &mut Diagnostics) -> Option<SystemTime> {
    let moment = text
        .parse::<jiff::Timestamp>()
        .ok()
        .and_then(|moment| SystemTime::try_from(moment).ok());
    if moment.is_none() {
        problems.error(
            place,
            "this is not a time",
            "write it as RFC 3339 with a zone: `2026-12-01T00:00:00Z`".to_owned(),
        );
    }
    moment
}

#[cfg(test)]
mod tests;
