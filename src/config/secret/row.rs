//! An entry of a table of secrets, as one load leaves it to the next.
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::config::inputs::{Digest, Identity};
use crate::config::secret::text::{WEAK_BELOW, is_quoted};
use crate::verify::{Candidate, Encoding, SecretKind};

/// The age below which a file may change again without other metadata.
const SETTLED: Duration = Duration::from_secs(2);

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
    pub(super) digest: Digest,
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

impl Row {
    /// Returns whether the file was last changed so long before it was read that another change would show in its metadata.
    pub(super) fn is_settled(&self) -> bool {
        self.identity
            .modified()
            .is_some_and(|modified| modified + SETTLED < self.read_at)
    }
}

#[cfg(test)]
impl Row {
    pub(super) fn candidates(&self) -> Option<&Arc<[Candidate]>> {
        self.made.as_ref().ok()
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
