//! The storage of the gateway.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::tenant::seal::SealKeys;

/// The storage of the gateway. A reload compares it with the one that was opened: any difference needs a restart. Keys are compared by their IDs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// The place of the state.
    pub engine: Engine,
    /// The largest number of delivery IDs that are remembered.
    pub ledger_entries: usize,
    /// The keys that seal secrets of endpoints, if the config has one.
    pub keys: Option<Arc<SealKeys>>,
}

/// The place where a store keeps its state. It holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The memory of the process: a restart forgets everything.
    Memory,
    /// A directory on a local disk.
    Directory(PathBuf),
}

impl Engine {
    /// Returns whether the state outlives the process, so that deliveries can be stored.
    pub fn is_durable(&self) -> bool {
        match self {
            Self::Memory => false,
            Self::Directory(_) => true,
        }
    }

    /// Returns the directory, if the state is in one.
    pub fn directory(&self) -> Option<&Path> {
        match self {
            Self::Memory => None,
            Self::Directory(path) => Some(path),
        }
    }
}
