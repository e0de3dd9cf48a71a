//! Secrets found by key: a table that can be replaced while requests are verified.
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::HeaderName;

use super::candidate::Candidate;

/// The candidates by key, replaced when a file changes.
#[derive(Clone, Default)]
pub struct SecretTable(Arc<ArcSwap<TableMap>>);

/// The content of a [`SecretTable`].
pub type TableMap = HashMap<Box<str>, Arc<[Candidate]>>;

impl SecretTable {
    /// Makes a table of these entries.
    pub fn new(map: TableMap) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(map)))
    }

    /// Replaces all entries.
    pub fn replace(&self, map: TableMap) {
        self.0.store(Arc::new(map));
    }

    /// Changes one entry, or removes it. The others stay as they are.
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

    /// Returns the candidates of one key.
    pub fn get(&self, key: &str) -> Option<Arc<[Candidate]>> {
        self.0.load().get(key).cloned()
    }

    /// Returns the number of keys.
    pub fn len(&self) -> usize {
        self.0.load().len()
    }

    /// Returns whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.0.load().is_empty()
    }
}

impl fmt::Debug for SecretTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretTable({} keys)", self.len())
    }
}

/// The place of the key of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyedBy {
    /// A path parameter.
    Param(Box<str>),
    /// A header.
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

/// Returns whether `key` may be a key of a table: `[A-Za-z0-9_-]{1,128}`.
pub fn is_key(key: &str) -> bool {
    (1..=128).contains(&key.len())
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}
