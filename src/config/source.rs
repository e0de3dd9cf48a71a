//! The files that a config is written in.
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::config::diagnostic::{Diagnostics, Place};
use crate::config::shape::{Meaning, Shape};
use crate::config::type_schema;
use crate::config::yaml_tree::{self, Area, Fault, Node, Spanned};

/// A file as it was read.
pub struct Source {
    /// The path as it is shown to people.
    pub shown: String,
    /// The text.
    pub text: Zeroizing<String>,
    /// The values with their positions; `None` if the text is not valid YAML.
    pub tree: Option<Spanned>,
    /// The faults of the text as YAML.
    pub faults: Vec<Fault>,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source")
            .field("shown", &self.shown)
            .finish_non_exhaustive()
    }
}

impl Source {
    /// Parses the bytes of a file.
    pub fn new(shown: String, bytes: &[u8]) -> Self {
        let mut source = Self {
            shown,
            text: Zeroizing::default(),
            tree: None,
            faults: Vec::new(),
        };
        match std::str::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => {
                source.text = Zeroizing::new(text.to_owned());
                (source.tree, source.faults) = yaml_tree::read(text.trim_start_matches('\u{feff}'));
            }
            Ok(_) => source.refuse("the file contains a NUL byte"),
            Err(error) => {
                let line = 1 + bytes
                    .iter()
                    .take(error.valid_up_to())
                    .filter(|byte| **byte == b'\n')
                    .count();
                source.refuse("the file is not UTF-8 text");
                source
                    .faults
                    .iter_mut()
                    .for_each(|fault| fault.area = Area::at(line, 1));
            }
        }
        source
    }

    /// Notes that the file is a truncated version of the one that was read before.
    pub fn break_off(&mut self) {
        let line = self.text.lines().count().max(1);
        let help = Some(
            "write the file completely; if it is complete, end its last line with a newline, or restart the gateway".to_owned(),
        );
        let message = "the file is truncated in the middle of a line".to_owned();
        self.tree = None;
        self.faults = vec![Fault {
            area: Area::at(line, 1),
            message,
            help,
            fatal: true,
        }];
    }

    /// Returns the keys at the top of the file.
    pub fn keys(&self) -> BTreeSet<String> {
        match self.tree.as_ref().map(|tree| &tree.node) {
            Some(Node::Map(entries)) => entries.iter().map(|entry| entry.key.clone()).collect(),
            Some(Node::Scalar { .. } | Node::List(_)) | None => BTreeSet::new(),
        }
    }

    fn refuse(&mut self, message: &str) {
        self.faults.push(Fault {
            area: Area::at(1, 1),
            message: message.to_owned(),
            help: None,
            fatal: true,
        });
    }

    /// Deserializes the file, as far as it has the shape of the schema.
    pub fn parse<T: DeserializeOwned + JsonSchema + Default>(
        &mut self,
        index: usize,
        problems: &mut Diagnostics,
    ) -> T {
        let Some(tree) = &self.tree else {
            return T::default();
        };
        let root = Place::root(index);
        let text = self.text.trim_start_matches('\u{feff}');
        let meaning = if is_blank(text) {
            Meaning::Map(Vec::new())
        } else {
            match serde_yaml::from_str(text) {
                Ok(meaning) => meaning,
                Err(error) => {
                    // Its message may quote the text.
                    let area = error
                        .location()
                        .map_or(Area::at(1, 1), |at| Area::at(at.line(), at.column()));
                    let message = "this YAML is ambiguous".to_owned();
                    self.faults.push(Fault {
                        area,
                        message,
                        help: Some("put it in quotes".to_owned()),
                        fatal: true,
                    });
                    return T::default();
                }
            }
        };
        let schema = type_schema::of::<T>();
        let fitting = Shape {
            schema: &schema,
            problems,
        }
        .fit(&root, tree, &meaning);
        let Some(fitting) = fitting else {
            return T::default();
        };
        serde_json::from_value(fitting).unwrap_or_else(|_| {
            problems.error(&root, "the config cannot be read", None);
            T::default()
        })
    }
}

fn is_blank(text: &str) -> bool {
    text.lines()
        .all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
}

/// Returns whether a path is a pattern.
pub fn is_pattern(path: &Path) -> bool {
    path.to_str()
        .is_some_and(|path| path.contains(['*', '?', '[']))
}

/// The largest number of files and directories that a pattern may match.
pub const MAX_MATCHES: usize = 1_000;

/// The reason why a pattern is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadPattern {
    /// The pattern is not valid.
    Unreadable,
    /// It matches more than [`MAX_MATCHES`] files and directories.
    TooMany,
}

/// Returns the paths that a pattern matches, sorted by name.
///
/// # Errors
/// The reason why the pattern is not used.
pub fn matching(pattern: &Path) -> Result<Vec<PathBuf>, BadPattern> {
    let found = pattern
        .to_str()
        .and_then(|pattern| glob::glob(pattern).ok())
        .ok_or(BadPattern::Unreadable)?;
    // unreadable entries count, too
    let found: Vec<_> = found.take(MAX_MATCHES + 1).collect();
    if found.len() > MAX_MATCHES {
        Err(BadPattern::TooMany)
    } else {
        Ok(found.into_iter().flatten().collect())
    }
}

/// The reason why a file was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// The file does not exist.
    #[error("does not exist")]
    Absent,
    /// The user of the gateway may not read it.
    #[error("is not readable by this user")]
    Forbidden,
    /// It is a directory, a pipe, a socket or a device.
    #[error("is not a regular file")]
    NotRegular,
    /// It is larger than allowed.
    #[error("is larger than {0} bytes")]
    TooLarge(usize),
    /// Any other error.
    #[error("cannot be read ({0:?})")]
    Other(std::io::ErrorKind),
}

impl From<std::io::Error> for Unread {
    fn from(error: std::io::Error) -> Self {
        let kind = error.kind();
        if matches!(
            kind,
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
        ) {
            Self::Absent
        } else if kind == std::io::ErrorKind::PermissionDenied {
            Self::Forbidden
        } else {
            Self::Other(kind)
        }
    }
}

/// Reads a regular file (symlinks followed) of at most `most` bytes.
///
/// # Errors
/// The reason why it was not read.
pub fn read_regular(path: &Path, most: usize) -> Result<Zeroizing<Vec<u8>>, Unread> {
    // Checked before opening: opening a device may have an effect.
    if !std::fs::metadata(path)?.is_file() {
        return Err(Unread::NotRegular);
    }
    // It may be another file by now. Opening a pipe, or some files of the kernel, would block.
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(Unread::NotRegular);
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(
        usize::try_from(metadata.len()).unwrap_or(most).min(most) + 1,
    ));
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes)?;
    if bytes.len() > most {
        Err(Unread::TooLarge(most))
    } else {
        Ok(bytes)
    }
}
