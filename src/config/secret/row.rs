//! An entry of a table of secrets, as one load leaves it to the next.
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::time::SystemTime;

use crate::config::secret::text::{WEAK_BELOW, is_quoted};
use crate::verify::{Candidate, Encoding, SecretKind};

/// The way from texts to keys, the same for all entries of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Making {
    /// The kind of key.
    pub kind: SecretKind,
    /// The encodings of the texts. Each that decodes gives a candidate.
    pub encodings: Vec<Encoding>,
    /// The text that is appended.
    pub suffix: Option<String>,
}

/// An entry, and the file that it was read from.
#[derive(Clone)]
pub(super) struct Row {
    pub(super) identity: Identity,
    pub(super) read_at: SystemTime,
    pub(super) digest: [u8; 32],
    pub(super) doubts: Doubts,
    pub(super) making: Making,
    pub(super) made: Result<Arc<[Candidate]>, String>,
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Row")
            .field("made", &self.made.is_ok())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
impl Row {
    pub(super) fn candidates(&self) -> Option<&Arc<[Candidate]>> {
        self.made.as_ref().ok()
    }
}

/// The metadata by which an unchanged file is recognized.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Identity {
    inode: u64,
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    /// Returns the identity that the metadata of a file give.
    pub(super) fn of(metadata: &std::fs::Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// The doubts about a secret that can be used.
#[derive(Clone, Copy)]
pub(super) struct Doubts {
    pub(super) is_weak: bool,
    pub(super) is_quoted: bool,
}

impl Doubts {
    /// Returns the doubts about a text.
    pub(super) fn about(text: &[u8]) -> Self {
        Self {
            is_weak: text.len() < WEAK_BELOW,
            is_quoted: is_quoted(text),
        }
    }
}
