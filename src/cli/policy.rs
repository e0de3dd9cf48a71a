//! The `verify` block that a command uses: a provider's preset with secrets of the command line, or that of a route.
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::cli::context;
use crate::cli::error::Error;
use crate::cli::term;
use crate::config::load::Loaded;
use crate::config::presets::Catalogue;
use crate::config::secret::check_secret_text;
use crate::config::snapshot::WebhookRoute;
use crate::explain::Subject;
use crate::request::{Params, RequestHead};
use crate::verify::{SecretSet, SecretText, Shape, Verifier};

/// The largest secret, in bytes.
const MAX_SECRET: u64 = 64 << 10;

/// The options that name a `verify` block.
#[derive(Debug, clap::Args)]
pub(super) struct PolicyArgs {
    /// The provider; `hookgate providers list` lists them.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["config", "route"])]
    provider: Option<String>,
    /// The header of the token, if the preset leaves it to the route.
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    header: Option<String>,
    /// The environment variable with a secret; may be repeated.
    #[arg(long, value_name = "VARIABLE", conflicts_with = "config")]
    secret_env: Vec<String>,
    /// The file with a secret; may be repeated.
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    secret_file: Vec<PathBuf>,
    /// A config, for the block and the secrets of a route.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The route in that config.
    #[arg(long, value_name = "ROUTE", requires = "config")]
    route: Option<String>,
}

/// A `verify` block with its secrets.
#[derive(Debug)]
pub(super) enum Policy {
    /// A preset.
    Preset {
        /// The preset's name.
        name: Arc<str>,
        verifier: Box<Verifier>,
        /// The first secret as a shell expands it.
        shell: String,
    },
    /// A route of a config.
    Route(Arc<Loaded>, Arc<WebhookRoute>),
}

impl PolicyArgs {
    /// Returns whether a preset or a route is named.
    pub(super) fn is_given(&self) -> bool {
        self.provider.is_some() || self.route.is_some()
    }

    /// Returns the path of the config.
    pub(super) fn config(&self) -> Option<PathBuf> {
        self.config.clone()
    }

    /// Reads the preset or the config, and the secrets.
    pub(super) fn read(&self) -> Result<Policy, Error> {
        match (&self.provider, &self.config, &self.route) {
            (_, Some(config), Some(route)) => route_of(&Arc::new(context::load(config)?), route),
            (Some(provider), ..) => self.preset(provider),
            _ => Err(Error::usage(
                "write `--provider NAME`, or `--config FILE --route ROUTE`",
            )),
        }
    }

    fn preset(&self, provider: &str) -> Result<Policy, Error> {
        let preset = context::preset(Catalogue::built_in(), provider)?;
        let shape = context::shape(&preset, self.header.as_deref())?;
        let mut texts = Vec::new();
        for name in &self.secret_env {
            texts.push(from_env(name)?);
        }
        for path in &self.secret_file {
            texts.push(from_file(path)?);
        }
        if texts.is_empty() {
            return Err(Error::usage("a secret is missing")
                .hint("--secret-env VARIABLE, or --secret-file FILE"));
        }
        let shell = match (self.secret_env.first(), self.secret_file.first()) {
            (Some(name), _) => format!("${name}"),
            (None, Some(path)) => format!("$(cat {})", quoted(&path.display().to_string())),
            (None, None) => String::new(),
        };
        let hint = format!("hookgate providers show {}", preset.name);
        Ok(Policy::Preset {
            name: Arc::clone(&preset.name),
            verifier: Box::new(with_secrets(shape, texts, &hint)?),
            shell,
        })
    }
}

impl Policy {
    /// Returns the verifier of the block.
    pub(super) fn verifier(&self) -> Result<&Verifier, Error> {
        match self {
            Self::Preset { verifier, .. } => Ok(verifier),
            Self::Route(_, webhook) => webhook.verifier.as_ref().ok_or_else(|| {
                Error::usage(format!(
                    "route {} has `verify: none`: there is nothing to verify",
                    webhook.name
                ))
            }),
        }
    }

    /// Returns the name of the route, or of the preset.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Preset { name, .. } => name,
            Self::Route(_, webhook) => &webhook.name,
        }
    }

    /// Returns the preset.
    pub(super) fn provider(&self) -> Option<&str> {
        match self {
            Self::Preset { name, .. } => Some(name),
            Self::Route(_, webhook) => webhook.provider.as_deref(),
        }
    }

    /// Returns the other routes of the config that verify.
    pub(super) fn others(&self) -> Vec<Subject<'_>> {
        let Self::Route(loaded, own) = self else {
            return Vec::new();
        };
        let others = loaded.snapshot.webhooks.iter();
        others
            .filter(|webhook| webhook.name != own.name)
            .filter_map(|webhook| {
                Some(Subject {
                    name: &webhook.name,
                    verifier: webhook.verifier.as_ref()?,
                })
            })
            .collect()
    }

    /// Returns the path parameters of a request, for secrets that are found by one.
    pub(super) fn params(&self, head: &RequestHead) -> Params {
        let Self::Route(loaded, webhook) = self else {
            return Params::default();
        };
        let found = loaded.snapshot.router.find(&head.authority, head.path());
        let is_ours = |index: usize| {
            loaded
                .snapshot
                .routes
                .get(index)
                .is_some_and(|found| *found.name() == webhook.name)
        };
        match found {
            Some((index, params)) if is_ours(index) => params,
            _ => {
                term::warn(&format!(
                    "the host and path of this request do not match route {}",
                    webhook.name
                ));
                Params::default()
            }
        }
    }
}

/// Returns the verifier of a scheme with these secrets: `secret-1` and so on.
pub(super) fn with_secrets(
    shape: Shape,
    texts: Vec<Zeroizing<Vec<u8>>>,
    hint: &str,
) -> Result<Verifier, Error> {
    let secrets: Vec<SecretText> = (1..)
        .zip(texts)
        .map(|(number, text)| named(number, text))
        .collect();
    let set = SecretSet::list(
        shape.secret_kind(),
        shape.secret_encodings(),
        shape.secret_suffix(),
        &secrets,
    );
    let set = set.map_err(|bad| {
        let words = bad
            .first()
            .map_or_else(String::new, |bad| format!("{}: {}", bad.name, bad.why));
        Error::usage(words).hint(hint)
    })?;
    Ok(shape.with_secrets(set, None))
}

/// Finds a route of a config by its name.
pub(super) fn route_of(loaded: &Arc<Loaded>, route: &str) -> Result<Policy, Error> {
    let webhook = loaded
        .snapshot
        .webhooks
        .iter()
        .find(|webhook| *webhook.name == *route)
        .cloned();
    let Some(webhook) = webhook else {
        let names: Vec<&str> = loaded
            .snapshot
            .webhooks
            .iter()
            .map(|webhook| &*webhook.name)
            .collect();
        return Err(Error::usage(format!("no route is called `{route}`"))
            .why(format!("there are {}", names.join(", "))));
    };
    Ok(Policy::Route(Arc::clone(loaded), webhook))
}

fn named(number: usize, text: Zeroizing<Vec<u8>>) -> SecretText {
    SecretText {
        name: format!("secret-{number}").into(),
        text,
        encodings: None,
        not_before: None,
        expires: None,
    }
}

fn from_env(name: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
    use std::os::unix::ffi::OsStringExt as _;
    let text = std::env::var_os(name).map(|text| Zeroizing::new(text.into_vec()));
    let text =
        text.ok_or_else(|| Error::usage(format!("the environment variable {name} is not set")))?;
    if text.is_empty() {
        return Err(Error::usage(format!(
            "the environment variable {name} is empty"
        )));
    }
    warn_of_faults(&text, &format!("the secret in {name}"));
    Ok(text)
}

fn from_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    let text = secret_file(path)?;
    warn_of_faults(&text, &format!("the secret in {}", path.display()));
    Ok(text)
}

/// Reads a file with secrets, without the line feed at its end.
pub(super) fn secret_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    let location = path.display().to_string();
    let mut text = Zeroizing::new(Vec::new());
    let read =
        std::fs::File::open(path).and_then(|file| file.take(MAX_SECRET + 1).read_to_end(&mut text));
    if let Err(error) = read {
        return Err(Error::usage(format!(
            "the secret file cannot be read: {}",
            context::in_words(&error)
        ))
        .at(location)
        .cause(error));
    }
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > MAX_SECRET {
        return Err(Error::usage("the secret file is larger than a secret can be").at(location));
    }
    if text.pop_if(|last| *last == b'\n').is_some() {
        text.pop_if(|last| *last == b'\r');
    }
    if text.is_empty() {
        return Err(Error::usage("the secret file is empty")
            .at(location)
            .why("Signatures with an empty secret prove nothing."));
    }
    Ok(text)
}

/// Warns of a secret that the gateway would refuse in a config.
pub(super) fn warn_of_faults(text: &[u8], what: &str) {
    if let Err((fault, help)) = check_secret_text(text, false) {
        term::warn(&format!("{what} {fault}; a config would refuse it: {help}"));
    }
}

/// Quotes a word for a POSIX shell.
pub(super) fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@%+=,".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shell_quoting_round_trips() {
        assert_eq!(quoted("a/b.json"), "a/b.json");
        assert_eq!(quoted("it's $HOME"), "'it'\\''s $HOME'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn secret_file_loses_only_one_line_feed() {
        let dir = tempfile::tempdir().unwrap();
        let check = |bytes: &[u8], expect: Option<&[u8]>| {
            let path = dir.path().join("secret");
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(
                from_file(&path).ok().map(|text| text.to_vec()),
                expect.map(<[u8]>::to_vec)
            );
        };
        check(b"s3cret", Some(b"s3cret"));
        check(b"s3cret\n", Some(b"s3cret"));
        check(b"s3cret\r\n", Some(b"s3cret"));
        check(b"s3cret\n\n", Some(b"s3cret\n"));
        check(b"s3 cret", Some(b"s3 cret"));
        check(b"\n", None);
        check(b"", None);
    }
}
