//! Loads single secrets and lists of secrets.
use std::collections::HashSet;
use std::collections::hash_map::Entry;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::config::diagnostic::{Diagnostics, Place, did_you_mean, unknown};
use crate::config::file;
use crate::config::secret::loader::Loader;
use crate::config::secret::text::{
    MAX_BYTES, WEAK_BELOW, check_secret_text, is_quoted, without_line_feed,
};
use crate::config::secretive::is_variable;
use crate::config::source::Unread;
use crate::verify::{Encoding, SecretText};

/// The largest number of secrets that a route may have.
const MAX_CANDIDATES: usize = 8;

/// The source of a secret's text, as error messages name it.
enum Origin<'a> {
    Variable(&'a str),
    File,
    Inline,
}

impl Origin<'_> {
    /// Returns the source in words.
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

impl Loader<'_> {
    /// Loads the secrets of a list, each with its index. Secrets with an error are reported and left out.
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
                "`secrets` is empty",
                "write `secrets: [{ file: /run/secrets/NAME }]`".to_owned(),
            );
        }
        if list.len() > MAX_CANDIDATES {
            problems.error_at_key(
                place,
                format!("there are more than {MAX_CANDIDATES} secrets"),
                "remove secrets that are no longer used".to_owned(),
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

    /// Loads one secret. `label` is its name in log lines.
    pub fn one(
        &mut self,
        secret: &file::Secret,
        name: &str,
        label: &str,
        place: &Place,
        problems: &mut Diagnostics,
    ) -> Option<SecretText> {
        // No `..`: a new field must be dealt with here.
        let file::Secret {
            name: _,
            env: _,
            file: _,
            insecure_inline: _,
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
            let help = "use at most 64 letters, digits, `.`, `_` and `-`".to_owned();
            problems.error(&place.key("name"), "this is not a valid secret name", help);
        }
        let encodings = encoding
            .as_deref()
            .map(|name| encoding_named(name, &place.key("encoding"), problems));
        let dates = [("not_before", not_before), ("expires", expires)].map(|(key, text)| {
            text.as_deref()
                .and_then(|text| moment(text, &place.key(key), problems))
        });
        self.check_dates(dates, place, problems);
        let [not_before, expires] = dates;
        let may_have_blanks = allow_whitespace.unwrap_or(false);
        let (origin, at, text) = self.text(secret, label, may_have_blanks, place, problems)?;
        if !is_good(&text, may_have_blanks, &origin, &at, problems) {
            return None;
        }
        if !is_name || encodings.as_ref().is_some_and(Option::is_none) {
            return None;
        }
        self.count += 1;
        Some(SecretText {
            name: Arc::from(name),
            text,
            encodings: encodings.flatten().map(|encoding| vec![encoding]),
            not_before,
            expires,
        })
    }

    /// Reports dates that contradict each other, and a secret that has expired.
    fn check_dates(
        &self,
        [not_before, expires]: [Option<SystemTime>; 2],
        place: &Place,
        problems: &mut Diagnostics,
    ) {
        let Some(until) = expires else { return };
        if not_before.is_some_and(|from| from >= until) {
            problems.error(
                &place.key("expires"),
                "`expires` is not after `not_before`",
                None,
            );
        }
        if until <= self.now.wall {
            problems.warning(
                &place.key("expires"),
                "the secret has expired",
                "remove it".to_owned(),
            );
        }
    }

    /// Reads the text of a secret from its only source. Returns the source, its place in the config, and the text.
    fn text<'s>(
        &mut self,
        secret: &'s file::Secret,
        label: &str,
        may_have_blanks: bool,
        place: &Place,
        problems: &mut Diagnostics,
    ) -> Option<(Origin<'s>, Place, Zeroizing<Vec<u8>>)> {
        match (&secret.env, &secret.file, &secret.insecure_inline) {
            (Some(name), None, None) => {
                let at = place.key("env");
                let origin = Origin::Variable(name);
                let Some(text) = (self.env)(name) else {
                    problems.error(
                        &at,
                        format!("{} is not set", origin.in_words()),
                        "set it for the gateway's process, or use `file`".to_owned(),
                    );
                    return None;
                };
                self.origins.variables += 1;
                Some((origin, at, Zeroizing::new(text.into_vec())))
            }
            (None, Some(path), None) => {
                let at = place.key("file");
                let text = self.file(path, label, may_have_blanks, &at, problems)?;
                Some((Origin::File, at, text))
            }
            (None, None, Some(text)) => {
                self.origins.inline.push(label.to_owned());
                let text = Zeroizing::new(text.0.clone().into_bytes());
                Some((Origin::Inline, place.key("insecure_inline"), text))
            }
            _ => {
                let spoiled = ["env", "file", "insecure_inline"]
                    .iter()
                    .any(|key| problems.is_spoiled(&place.key(key)));
                if !spoiled {
                    problems.error(
                        place,
                        "the source of the secret is missing or ambiguous",
                        "use exactly one of `env`, `file`, `insecure_inline`".to_owned(),
                    );
                }
                None
            }
        }
    }

    /// Returns the text of a secret file without a trailing newline, or its last good text if it is not a valid secret now.
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
                    Some(last_good) if check_secret_text(&text, may_have_blanks).is_err() => {
                        self.stale_text(last_good, label)
                    }
                    _ => {
                        if dropped {
                            self.note_newline(&path, label);
                        }
                        text
                    }
                }
            }
            (Err(_), Some(last_good)) => self.stale_text(last_good, label),
            (Err(why), None) => {
                let help = match why {
                    Unread::Absent => "write the secret into it, mode 0600",
                    Unread::Forbidden => {
                        "make it readable by the gateway's user, and by nobody else"
                    }
                    Unread::NotRegular | Unread::TooLarge(_) | Unread::Other(_) => {
                        "write the secret into a regular file"
                    }
                };
                problems.error(at, format!("the secret file {why}"), help.to_owned());
                return None;
            }
        };
        if check_secret_text(&text, may_have_blanks).is_ok() {
            self.cache.texts.insert(path, text.clone());
        }
        Some(text)
    }

    /// Returns the last good text, and notes that it is stale.
    fn stale_text(&mut self, last_good: Zeroizing<Vec<u8>>, label: &str) -> Zeroizing<Vec<u8>> {
        self.stale.push(label.to_owned());
        last_good
    }

    /// Notes once that the trailing newline of a file was ignored.
    fn note_newline(&mut self, path: &Path, label: &str) {
        let is_known = self
            .previous
            .is_some_and(|previous| previous.trimmed.contains(path));
        if self.cache.trimmed.insert(path.to_owned()) && !is_known {
            self.notes.push(format!(
                "ignored the trailing newline in the secret file of {label}"
            ));
        }
    }

    /// Warns about a short secret, and about one that is used twice.
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
                "let the provider create a longer one, or use `openssl rand -hex 32`".to_owned();
            problems.warning(
                place,
                format!("secret {name} of route {route} is shorter than {WEAK_BELOW} bytes"),
                help,
            );
        }
        match self
            .routes
            .entry(Sha256::digest(text.text.as_slice()).into())
        {
            Entry::Vacant(slot) => {
                slot.insert(route.to_owned());
            }
            Entry::Occupied(other) if other.get() != route => {
                let message = format!(
                    "secret {name} of route {route} is also a secret of route {}",
                    other.get()
                );
                problems.warning(
                    place,
                    message,
                    "use a separate secret for each route: the sender of one could sign requests for the other"
                        .to_owned(),
                );
            }
            Entry::Occupied(_) => {
                problems.warning(
                    place,
                    format!("secret {name} of route {route} is listed twice"),
                    "remove one".to_owned(),
                );
            }
        }
    }
}

/// Returns whether the text is a valid secret, and reports errors and doubts.
fn is_good(
    text: &[u8],
    may_have_blanks: bool,
    origin: &Origin<'_>,
    at: &Place,
    problems: &mut Diagnostics,
) -> bool {
    if let Err((what, help)) = check_secret_text(text, may_have_blanks) {
        let help = if text.is_empty() && !matches!(origin, Origin::File) {
            "set a value"
        } else {
            help
        };
        problems.error(at, format!("{} {what}", origin.in_words()), help.to_owned());
        return false;
    }
    if is_quoted(text) {
        let help =
            "remove the quotes, unless the provider shows them as part of the secret".to_owned();
        problems.warning(
            at,
            format!(
                "{} is in quotes, which count as part of it",
                origin.in_words()
            ),
            help,
        );
    }
    true
}

/// Returns the encoding of that name, and reports an unknown one.
pub fn encoding_named(name: &str, place: &Place, problems: &mut Diagnostics) -> Option<Encoding> {
    let encoding = Encoding::parse(name);
    if encoding.is_none() {
        let help = did_you_mean(name, Encoding::NAMES.into_iter())
            .unwrap_or_else(|| format!("use one of {}", Encoding::NAMES.join(", ")));
        problems.error(place, format!("unknown encoding `{}`", unknown(name)), help);
    }
    encoding
}

/// Parses a date, and reports one that is not valid.
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
