//! Candidate secrets: from text to key material once, found by list or by key.
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use http::HeaderName;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use super::encoding::Encoding;
use super::hmac::{Algorithm, Mac};
use crate::clock::Dates;
use crate::request::{Params, RequestHead};

/// A secret as it was loaded: text, not yet a key.
#[derive(Clone)]
pub struct SecretText {
    /// How logs and metrics call it.
    pub name: Arc<str>,
    /// The text, wiped on drop.
    pub text: Zeroizing<Vec<u8>>,
    /// How it becomes key bytes, instead of the scheme's way; each that decodes is a candidate.
    pub encodings: Option<Vec<Encoding>>,
    /// Not accepted before this time.
    pub not_before: Option<SystemTime>,
    /// Not accepted from this time on.
    pub expires: Option<SystemTime>,
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretText")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What a secret is made into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretKind {
    /// A key schedule.
    Hmac(Algorithm),
    /// A text that is presented as it is.
    Token,
    /// `user:password`.
    Basic,
}

/// One of the secrets now accepted.
#[derive(Clone)]
pub struct Candidate {
    name: Arc<str>,
    material: Material,
    not_before: Option<SystemTime>,
    expires: Option<SystemTime>,
}

#[derive(Clone)]
enum Material {
    Key(Box<Mac>),
    /// Compared by digest, so that neither content nor length shows in time; the text is kept to sign with.
    Text {
        digest: [u8; 32],
        text: Zeroizing<Vec<u8>>,
    },
}

impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Candidate {
    /// The candidates that one secret makes: one for each encoding that decodes it.
    ///
    /// # Errors
    /// What is wrong with the text, if no encoding decodes it.
    pub fn make(
        kind: SecretKind,
        defaults: &[Encoding],
        suffix: Option<&str>,
        secret: &SecretText,
    ) -> Result<Vec<Self>, &'static str> {
        let encodings = secret.encodings.as_deref().unwrap_or(defaults);
        let encodings = if encodings.is_empty() {
            &[Encoding::Utf8]
        } else {
            encodings
        };
        let mut made = Vec::with_capacity(encodings.len());
        let mut why = "the secret is empty";
        let mut seen: Vec<Zeroizing<Vec<u8>>> = Vec::new();
        for encoding in encodings {
            match encoding.decode(&secret.text, suffix) {
                Ok(key) if seen.contains(&key) => {}
                Ok(key) => {
                    made.push(Self {
                        name: Arc::clone(&secret.name),
                        material: Material::make(kind, &key)?,
                        not_before: secret.not_before,
                        expires: secret.expires,
                    });
                    seen.push(key);
                }
                Err(reason) => why = reason,
            }
        }
        if made.is_empty() { Err(why) } else { Ok(made) }
    }

    /// The candidates of an entry of a table: always as many as there are encodings, however many of them decode, so that no key
    /// takes longer than another, or than one that is in no table. What fills them up never matches.
    ///
    /// # Errors
    /// What is wrong with the text, if no encoding decodes it.
    pub fn entry(
        kind: SecretKind,
        encodings: &[Encoding],
        suffix: Option<&str>,
        secret: &SecretText,
    ) -> Result<Vec<Self>, &'static str> {
        let mut made = Self::make(kind, encodings, suffix, secret)?;
        made.extend(Self::decoys(kind, encodings).into_iter().skip(made.len()));
        Ok(made)
    }

    /// Candidates that never match, one for each encoding.
    fn decoys(kind: SecretKind, encodings: &[Encoding]) -> Vec<Self> {
        let text = SecretText {
            name: "decoy".into(),
            text: Zeroizing::new(b"no:body".to_vec()),
            encodings: Some(vec![Encoding::Utf8]),
            not_before: None,
            expires: Some(SystemTime::UNIX_EPOCH),
        };
        let decoy = Self::make(kind, &[], None, &text).unwrap_or_default();
        decoy
            .into_iter()
            .cycle()
            .take(encodings.len().max(1))
            .collect()
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Returns whether it is accepted now.
    pub fn active(&self, dates: &Dates) -> bool {
        self.not_before.is_none_or(|from| dates.has_begun(from))
            && self.expires.is_none_or(|until| !dates.has_ended(until))
    }

    /// From when on it is not accepted any more.
    pub fn expires(&self) -> Option<SystemTime> {
        self.expires
    }

    /// A MAC with its key, nothing fed yet; `None` if it is not a key.
    pub(super) fn mac(&self) -> Option<Mac> {
        match &self.material {
            Material::Key(mac) => Some((**mac).clone()),
            Material::Text { .. } => None,
        }
    }

    /// Whether it is the text with that digest.
    pub(super) fn is_text(&self, presented: &[u8; 32]) -> Choice {
        match &self.material {
            Material::Key(_) => Choice::from(0),
            Material::Text { digest, .. } => digest.ct_eq(presented),
        }
    }

    /// The text to present, if it is one.
    pub(super) fn text(&self) -> Option<&[u8]> {
        match &self.material {
            Material::Key(_) => None,
            Material::Text { text, .. } => Some(text),
        }
    }
}

impl Material {
    fn make(kind: SecretKind, key: &[u8]) -> Result<Self, &'static str> {
        match kind {
            SecretKind::Hmac(algorithm) => match Mac::new(algorithm, key) {
                Some(mac) => Ok(Self::Key(Box::new(mac))),
                None => Err("the secret has a length that the algorithm cannot take"),
            },
            SecretKind::Basic if !super::scheme::basic::well_formed(key) => {
                Err("write the secret as `user:password`")
            }
            SecretKind::Token | SecretKind::Basic => Ok(Self::Text {
                digest: Sha256::digest(key).into(),
                text: Zeroizing::new(key.to_vec()),
            }),
        }
    }
}

/// A secret of a list that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadSecret {
    /// Its place in the list, counted from 0.
    pub index: usize,
    /// Its name.
    pub name: Arc<str>,
    /// What is wrong with it, without showing it.
    pub why: &'static str,
}

/// The candidates by key, swapped in place when a file changes.
#[derive(Clone, Default)]
pub struct SecretTable(Arc<ArcSwap<TableMap>>);

/// What a [`SecretTable`] holds.
pub type TableMap = HashMap<Box<str>, Arc<[Candidate]>>;

impl SecretTable {
    /// A table of these entries.
    pub fn new(map: TableMap) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(map)))
    }

    /// Puts a whole new map in place.
    pub fn replace(&self, map: TableMap) {
        self.0.store(Arc::new(map));
    }

    /// Changes one entry, or takes it out; the others stay as they are.
    pub fn set(&self, key: &str, candidates: Option<&Arc<[Candidate]>>) {
        self.0.rcu(|map| {
            let mut map = TableMap::clone(map);
            match candidates {
                Some(candidates) => map.insert(key.into(), Arc::clone(candidates)),
                None => map.remove(key),
            };
            map
        });
    }

    /// The candidates of one key.
    pub fn get(&self, key: &str) -> Option<Arc<[Candidate]>> {
        self.0.load().get(key).cloned()
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.0.load().len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.0.load().is_empty()
    }
}

impl fmt::Debug for SecretTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretTable({} keys)", self.len())
    }
}

/// Where the key of a table stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyedBy {
    /// In a path parameter.
    Param(Box<str>),
    /// In a header.
    Header(HeaderName),
}

impl KeyedBy {
    /// Returns the header that holds the key, if one does.
    pub fn header(&self) -> Option<&HeaderName> {
        match self {
            Self::Header(name) => Some(name),
            Self::Param(_) => None,
        }
    }
}

/// Whether `key` may be a key of a table: `[A-Za-z0-9_-]{1,128}`.
pub fn is_key(key: &str) -> bool {
    (1..=128).contains(&key.len())
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// The secrets of a route.
#[derive(Clone, Debug)]
pub enum SecretSet {
    /// Candidates, newest first.
    List(Arc<[Candidate]>),
    /// Candidates by key.
    Table {
        /// Where the key stands.
        by: KeyedBy,
        /// The entries.
        table: SecretTable,
        /// What an unknown key is tried with, so that it costs what a known one costs. It never matches.
        decoy: Arc<[Candidate]>,
    },
}

/// The candidates for one request.
pub(super) enum Found<'a> {
    Listed(&'a [Candidate]),
    Keyed {
        /// The key, which is a key of the table: the account.
        account: Box<str>,
        candidates: Arc<[Candidate]>,
    },
    /// The key is in no table: these never match. Held as those of a known key are, so that it takes as long.
    Decoy(Arc<[Candidate]>),
    /// The header with the key is there twice.
    Repeated,
}

impl Found<'_> {
    pub(super) fn candidates(&self) -> &[Candidate] {
        match self {
            Self::Listed(list) => list,
            Self::Keyed {
                candidates: list, ..
            }
            | Self::Decoy(list) => list,
            Self::Repeated => &[],
        }
    }

    pub(super) fn known(&self) -> bool {
        matches!(self, Self::Listed(_) | Self::Keyed { .. })
    }

    /// The account whose secrets these are, where accounts exist.
    pub(super) fn account(&self) -> Option<&str> {
        match self {
            Self::Keyed { account, .. } => Some(account),
            Self::Listed(_) | Self::Decoy(_) | Self::Repeated => None,
        }
    }
}

impl SecretSet {
    /// A list of candidates, in the order of the secrets.
    ///
    /// # Errors
    /// Every secret that cannot be used.
    pub fn list(
        kind: SecretKind,
        defaults: &[Encoding],
        suffix: Option<&str>,
        secrets: &[SecretText],
    ) -> Result<Self, Vec<BadSecret>> {
        let mut made = Vec::with_capacity(secrets.len());
        let mut bad = Vec::new();
        for (index, secret) in secrets.iter().enumerate() {
            match Candidate::make(kind, defaults, suffix, secret) {
                Ok(candidates) => made.extend(candidates),
                Err(why) => bad.push(BadSecret {
                    index,
                    name: Arc::clone(&secret.name),
                    why,
                }),
            }
        }
        if bad.is_empty() {
            Ok(Self::List(made.into()))
        } else {
            Err(bad)
        }
    }

    /// A table of candidates by key, each made by [`Candidate::entry`] with the same encodings.
    pub fn table(
        kind: SecretKind,
        encodings: &[Encoding],
        by: KeyedBy,
        table: SecretTable,
    ) -> Self {
        Self::Table {
            by,
            table,
            decoy: Candidate::decoys(kind, encodings).into(),
        }
    }

    /// The candidates of a list, in its order; none for a table.
    pub fn listed(&self) -> &[Candidate] {
        match self {
            Self::List(list) => list,
            Self::Table { .. } => &[],
        }
    }

    /// Where the key of a table stands; none for a list.
    pub fn keyed_by(&self) -> Option<&KeyedBy> {
        match self {
            Self::List(_) => None,
            Self::Table { by, .. } => Some(by),
        }
    }

    /// The names of the secrets, of one account where they are found by key.
    pub fn names(&self, account: Option<&str>) -> Vec<Arc<str>> {
        let names = |candidates: &[Candidate]| {
            candidates
                .iter()
                .map(|candidate| Arc::clone(candidate.name()))
                .collect::<Vec<_>>()
        };
        let mut names = match self {
            Self::List(list) => names(list),
            Self::Table { table, .. } => account
                .and_then(|account| table.get(account))
                .map(|list| names(&list))
                .unwrap_or_default(),
        };
        names.sort_unstable();
        names.dedup();
        names
    }

    pub(super) fn find(&self, head: &RequestHead, params: &Params) -> Found<'_> {
        let (by, table, decoy) = match self {
            Self::List(list) => return Found::Listed(list),
            Self::Table { by, table, decoy } => (by, table, decoy),
        };
        let key = match by {
            KeyedBy::Param(name) => params.get(name),
            KeyedBy::Header(name) => match head.single(name) {
                Ok(value) => value.and_then(|value| value.to_str().ok()),
                Err(_) => return Found::Repeated,
            },
        };
        let entry = key
            .filter(|key| is_key(key))
            .and_then(|key| Some((key, table.get(key).filter(|list| !list.is_empty())?)));
        match entry {
            Some((account, candidates)) => Found::Keyed {
                account: account.into(),
                candidates,
            },
            None => Found::Decoy(Arc::clone(decoy)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_shows_the_secret() {
        let text = SecretText {
            name: "new".into(),
            text: Zeroizing::new(b"s3cret".to_vec()),
            encodings: None,
            not_before: None,
            expires: None,
        };
        let set =
            SecretSet::list(SecretKind::Token, &[], None, std::slice::from_ref(&text)).unwrap();
        let shown = format!("{text:?} {set:?}");
        assert!(
            shown.contains("new") && !shown.contains("s3cret") && !shown.contains("115, 51"),
            "{shown}"
        );
    }

    #[test]
    fn one_entry_of_a_table_changes_alone() {
        let table = SecretTable::default();
        let entry = |text: &str| -> Arc<[Candidate]> {
            let text = SecretText {
                name: "k".into(),
                text: Zeroizing::new(text.as_bytes().to_vec()),
                encodings: None,
                not_before: None,
                expires: None,
            };
            Candidate::make(SecretKind::Token, &[], None, &text)
                .unwrap()
                .into()
        };
        table.set("a", Some(&entry("1")));
        table.set("b", Some(&entry("2")));
        let kept = table.get("a").unwrap();
        table.set("b", None);
        assert!(Arc::ptr_eq(&kept, &table.get("a").unwrap()));
        assert!(table.get("b").is_none() && table.len() == 1);
        assert!(!is_key("") && !is_key("a/b") && !is_key(&"a".repeat(129)) && is_key("A-z_9"));
    }
}
