//! Loads tables of secrets by key. A bad entry disables its key alone; an unchanged file is not read again.
use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::config::diagnostic::{Diagnostics, Place, shown};
use crate::config::inputs::{Digest, Identity, digest};
use crate::config::secret::loader::Loader;
use crate::config::secret::row::{Doubts, Making, Row};
use crate::config::secret::text::{MAX_BYTES, WEAK_BELOW, check_secret_text, without_line_feed};
use crate::config::source::read_regular;
use crate::verify::{Candidate, SecretText, TableMap, is_key};

mod entries;

use entries::{MAX_KEYS, NOT_A_KEY, entries, text_of};

/// The largest size of a table in one file, in bytes.
const MAX_FILE: usize = 16 * 1024 * 1024;
/// The largest number of bad entries that are reported one by one.
const MAX_LISTED: usize = 20;

impl Loader<'_> {
    /// Loads the entries of a directory with one file per key.
    pub fn directory(
        &mut self,
        path: &str,
        making: &Making,
        place: &Place,
        problems: &mut Diagnostics,
    ) -> TableMap {
        let directory = self.base.join(path);
        self.inputs.list(&directory);
        let mut table = TableMap::new();
        let Ok(entries) = std::fs::read_dir(&directory) else {
            problems.error(
                place,
                "the directory of secrets cannot be read",
                "create it, with one file per key".to_owned(),
            );
            return table;
        };
        // Names that begin with a dot belong to Kubernetes (`..data`) or an editor.
        let names = entries
            .flatten()
            .map(|entry| entry.file_name())
            .filter(|name| !name.as_encoded_bytes().starts_with(b"."));
        let mut names: Vec<_> = names.collect();
        names.sort();
        if names.len() > MAX_KEYS {
            problems.error(place, format!("there are more than {MAX_KEYS} keys"), None);
            return table;
        }
        let (mut bad, mut doubtful) = (Bad::default(), Doubtful::default());
        for name in names {
            let Some(key) = name.to_str().filter(|key| is_key(key)) else {
                bad.push(&name.to_string_lossy(), NOT_A_KEY);
                continue;
            };
            match self.row(&directory.join(key), making) {
                Ok((candidates, doubts)) => {
                    self.count += 1;
                    doubtful.note(key, doubts);
                    table.insert(key.into(), candidates);
                }
                Err(why) => bad.push(key, &why),
            }
        }
        bad.report(place, problems);
        doubtful.report(place, problems);
        table
    }

    /// Loads the entry of one file, with doubts about its secret. A file that is empty or unreadable now keeps its last good text.
    fn row(&mut self, path: &Path, making: &Making) -> Result<(Arc<[Candidate]>, Doubts), String> {
        self.origins.files.push(path.to_owned());
        let known = self.previous.and_then(|previous| previous.rows.get(path));
        let mut content = None;
        let read = self.read_row(path, making, known, &mut content);
        let identity = read
            .as_ref()
            .ok()
            .filter(|row| row.is_settled())
            .map(|row| row.identity.clone());
        self.inputs.note(path, MAX_BYTES, content, identity);
        let row = match (read, known) {
            (Ok(row), _) => row,
            (Err(_), Some(known)) if known.making == *making && known.made.is_ok() => {
                let name = |path: Option<&OsStr>| {
                    path.map(|name| shown(&name.to_string_lossy()))
                        .unwrap_or_default()
                };
                self.stale.push(format!(
                    "{}/{}",
                    name(path.parent().and_then(Path::file_name)),
                    name(path.file_name())
                ));
                known.clone()
            }
            (Err(why), _) => return Err(why),
        };
        self.inputs
            .feed(path.file_name().unwrap_or_default().as_encoded_bytes());
        self.inputs.feed(&row.digest);
        let made = row.made.clone().map(|made| (made, row.doubts));
        self.cache.rows.insert(path.to_owned(), row);
        made
    }

    /// Reads the file, or returns the known entry if the metadata are the same. `content` becomes the digest of a file that can be read.
    fn read_row(
        &self,
        path: &Path,
        making: &Making,
        known: Option<&Row>,
        content: &mut Option<Digest>,
    ) -> Result<Row, String> {
        let metadata = std::fs::metadata(path).map_err(|_| "the file cannot be read")?;
        let identity = Identity::of(&metadata);
        let known = known.filter(|row| row.making == *making);
        if let Some(row) = known.filter(|row| row.identity == identity && row.is_settled()) {
            *content = Some(row.digest);
            return Ok(row.clone());
        }
        let bytes = read_regular(path, MAX_BYTES).map_err(|why| format!("the file {why}"))?;
        let digest = digest(&bytes);
        *content = Some(digest);
        let text = without_line_feed(bytes).0;
        if text.is_empty() {
            return Err("the secret is empty".to_owned());
        }
        let doubts = Doubts::about(&text);
        let made = known
            .filter(|row| row.digest == digest)
            .map(|row| row.made.clone());
        let made = made.unwrap_or_else(|| make(text, making));
        Ok(Row {
            identity,
            read_at: self.now.wall,
            digest,
            doubts,
            making: making.clone(),
            made,
        })
    }

    /// Loads the entries of a YAML file with a map from key to secret.
    pub fn map_file(
        &mut self,
        path: &str,
        making: &Making,
        place: &Place,
        problems: &mut Diagnostics,
    ) -> TableMap {
        let mut table = TableMap::new();
        let path = self.base.join(path);
        self.origins.files.push(path.clone());
        let bytes = match self.inputs.read(&path, MAX_FILE) {
            Ok(bytes) => bytes,
            Err(why) => {
                problems.error(
                    place,
                    format!("the table of secrets {why}"),
                    "write a YAML map from key to secret into it".to_owned(),
                );
                return table;
            }
        };
        let Ok(text) = std::str::from_utf8(&bytes) else {
            problems.error(
                place,
                "the table of secrets is not UTF-8 text",
                "write one `KEY: SECRET` per line, as UTF-8 text".to_owned(),
            );
            return table;
        };
        let text = text.trim_start_matches('\u{feff}');
        // An editor may truncate the file before it writes it: that must not remove accounts.
        if text.trim().is_empty() {
            problems.error(
                place,
                "the table of secrets is empty",
                "write one `KEY: SECRET` per line, or `{}` for an empty table".to_owned(),
            );
            return table;
        }
        let Some(entries) = entries(text, place, problems) else {
            return table;
        };
        let (mut bad, mut doubtful) = (Bad::default(), Doubtful::default());
        for (index, entry) in entries.into_iter().enumerate() {
            // An invalid key may be a secret in the wrong place.
            let label = if is_key(&entry.key) {
                entry.key.clone()
            } else {
                format!("number {}", index + 1)
            };
            let made = text_of(entry.value.node, &entry.key).and_then(|text| {
                let doubts = Doubts::about(text.as_bytes());
                make(Zeroizing::new(text.into_bytes()), making)
                    .inspect(|_| doubtful.note(&label, doubts))
            });
            match made {
                Ok(candidates) => {
                    self.count += 1;
                    table.insert(entry.key.into(), candidates);
                }
                Err(why) => bad.push(&label, &why),
            }
        }
        bad.report(place, problems);
        doubtful.report(place, problems);
        table
    }
}

/// Creates the candidates of an entry. Keys are never labels, so all entries have the same name.
fn make(text: Zeroizing<Vec<u8>>, making: &Making) -> Result<Arc<[Candidate]>, String> {
    check_secret_text(&text, false).map_err(|(what, _)| format!("the secret {what}"))?;
    let Making {
        kind,
        encodings,
        suffix,
    } = making;
    let text = SecretText {
        name: "secret-1".into(),
        text,
        encodings: None,
        not_before: None,
        expires: None,
    };
    Ok(Candidate::entry(*kind, encodings, suffix.as_deref(), &text)?.into())
}

/// The number of entries with doubtful secrets, and the first key, by kind of doubt.
#[derive(Default)]
struct Doubtful {
    weak: (usize, String),
    quoted: (usize, String),
}

impl Doubtful {
    fn note(&mut self, key: &str, doubts: Doubts) {
        for (is_so, (count, first)) in [
            (doubts.is_weak, &mut self.weak),
            (doubts.is_quoted, &mut self.quoted),
        ] {
            if is_so && *count == 0 {
                key.clone_into(first);
            }
            *count += usize::from(is_so);
        }
    }

    fn report(self, place: &Place, problems: &mut Diagnostics) {
        let weak = format!("shorter than {WEAK_BELOW} bytes");
        let quoted = "in quotes, which count as part of the secret".to_owned();
        for ((count, first), what, help) in [
            (self.weak, weak, "create each with `openssl rand -hex 32`"),
            (self.quoted, quoted, "remove the quotes"),
        ] {
            let many = match count {
                0 => continue,
                1 => format!("the secret of key {} is", shown(&first)),
                count => format!(
                    "the secrets of {count} keys, such as {}, are",
                    shown(&first)
                ),
            };
            problems.warning(place, format!("{many} {what}"), help.to_owned());
        }
    }
}

/// The entries that are ignored.
#[derive(Default)]
struct Bad {
    messages: Vec<String>,
    keys: HashSet<String>,
}

impl Bad {
    fn push(&mut self, key: &str, why: &str) {
        if self.messages.len() < MAX_LISTED {
            self.messages
                .push(format!("key {} is ignored: {why}", shown(key)));
        }
        self.keys.insert(key.to_owned());
    }

    fn report(self, place: &Place, problems: &mut Diagnostics) {
        let more = self.keys.len().saturating_sub(self.messages.len());
        for message in self.messages {
            problems.warning(place, message, None);
        }
        if more > 0 {
            problems.warning(place, format!("{more} more keys are ignored"), None);
        }
    }
}
