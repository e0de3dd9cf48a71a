//! The files that one load of the config reads, and whether they are still the same later.
use std::collections::HashSet;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::clock::{Clock as _, SystemClock};
use crate::config::source::{Unread, is_pattern, matching, read_regular};

/// The SHA-256 of the content of a file.
pub type Digest = [u8; 32];

/// Returns the digest of the content of a file.
pub fn digest(content: &[u8]) -> Digest {
    Sha256::digest(content).into()
}

/// The metadata of a file. Equal metadata mean equal content, but for a file that changes twice within a moment. Symlinks are followed: a swap
/// of `..data` shows as another inode.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    device: u64,
    inode: u64,
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    /// Returns the identity that the metadata of a file give.
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Returns the second after which the content was not modified any more; `None` before 1970.
    pub fn modified(&self) -> Option<SystemTime> {
        // a program that writes a file may set the first of the two, but not the second
        let last = self.modified.0.max(self.changed.0);
        let seconds = u64::try_from(last).ok()?.checked_add(1)?;
        UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
    }
}

/// The contents that one load found.
#[derive(Default)]
pub struct Contents {
    files: HashSet<Content>,
    /// The directories and patterns, with the paths of their files.
    lists: HashSet<(PathBuf, Vec<PathBuf>)>,
    /// The time of the last read.
    read: Option<Instant>,
}

/// The content of a file.
#[derive(PartialEq, Eq, Hash)]
struct Content {
    path: PathBuf,
    /// The most bytes that were to be read.
    most: usize,
    /// `None` if the file could not be read.
    digest: Option<Digest>,
    /// The metadata, if they tell whether the content is the same.
    identity: Option<Identity>,
}

impl std::fmt::Debug for Contents {
    /// Leaves out paths and digests: they may tell something about a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contents")
            .field("files", &self.files.len())
            .finish_non_exhaustive()
    }
}

impl Contents {
    /// Returns the time since the last file was read.
    pub fn age(&self) -> Duration {
        let now = SystemClock.mono();
        now.saturating_duration_since(self.read.unwrap_or(now))
    }

    /// Reads the files again, and returns whether all have the same content as before. A file that was read twice with different contents is
    /// not the same.
    pub fn are_current(&self) -> bool {
        self.files.iter().all(Content::is_current)
            && self.lists.iter().all(|(path, files)| names(path) == *files)
    }
}

impl Content {
    fn is_current(&self) -> bool {
        if self.identity.is_some() {
            let now = std::fs::metadata(&self.path).map(|metadata| Identity::of(&metadata));
            if now.ok() == self.identity {
                return true;
            }
        }
        let read = read_regular(&self.path, self.most).ok();
        read.map(|bytes| digest(&bytes)) == self.digest
    }
}

/// Returns the paths that a load would look at: those of a directory without the hidden ones, or the files that match a pattern. A link whose
/// target is absent is no file, so that its return is a change.
fn names(path: &Path) -> Vec<PathBuf> {
    let mut names: Vec<PathBuf> = if !path.is_dir() && is_pattern(path) {
        let matches = matching(path).unwrap_or_default();
        matches.into_iter().filter(|path| path.is_file()).collect()
    } else {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        let shown = entries.filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
        shown.map(|entry| entry.path()).collect()
    };
    names.sort();
    names
}

/// The files that one load reads, for the watcher and for the hash of the generation.
#[derive(Debug, Default)]
pub struct Inputs {
    files: Vec<PathBuf>,
    known: HashSet<PathBuf>,
    hash: Sha256,
    /// The hash of the parts that gateways of a fleet have in common.
    common: Sha256,
    contents: Contents,
}

impl Inputs {
    /// Adds a file or directory, whether it can be read or not.
    fn watch(&mut self, path: &Path) {
        if self.known.insert(path.to_owned()) {
            self.files.push(path.to_owned());
        }
    }

    /// Adds a directory or a pattern. Must be called before its files are listed.
    pub fn list(&mut self, path: &Path) {
        self.watch(path);
        self.contents.lists.insert((path.to_owned(), names(path)));
    }

    /// Notes the content of a file of a directory: its digest if it could be read, of at most `most` bytes; and its metadata if they tell
    /// whether it is still the same.
    pub fn note(
        &mut self,
        path: &Path,
        most: usize,
        content: Option<Digest>,
        identity: Option<Identity>,
    ) {
        self.contents.read = Some(SystemClock.mono());
        self.contents.files.insert(Content {
            path: path.to_owned(),
            most,
            digest: content,
            identity,
        });
    }

    /// Adds bytes that were read to the hashes.
    pub fn feed(&mut self, bytes: &[u8]) {
        add(&mut self.hash, bytes);
        add(&mut self.common, bytes);
    }

    /// Adds a part of the main file to the hash of what gateways of a fleet have in common.
    pub fn feed_common(&mut self, bytes: &[u8]) {
        add(&mut self.common, bytes);
    }

    /// Reads the main file. It is not in the hash of what gateways of a fleet have in common: its parts are fed by [`Self::feed_common`].
    ///
    /// # Errors
    /// The reason why it was not read.
    pub fn read_main(&mut self, path: &Path, most: usize) -> Result<Zeroizing<Vec<u8>>, Unread> {
        let common = self.common();
        let read = self.read(path, most);
        self.restore_common(common);
        read
    }

    /// Returns the hash of what gateways of a fleet have in common, as it is now.
    pub fn common(&self) -> Common {
        Common(self.common.clone())
    }

    /// Takes what was read since out of the hash of what gateways of a fleet have in common.
    pub fn restore_common(&mut self, common: Common) {
        self.common = common.0;
    }

    /// Reads a file and adds it.
    ///
    /// # Errors
    /// The reason why it was not read.
    pub fn read(&mut self, path: &Path, most: usize) -> Result<Zeroizing<Vec<u8>>, Unread> {
        self.watch(path);
        self.read_listed(path, most)
    }

    /// Reads a file of a directory that is listed, and adds it.
    ///
    /// # Errors
    /// The reason why it was not read.
    pub fn read_listed(&mut self, path: &Path, most: usize) -> Result<Zeroizing<Vec<u8>>, Unread> {
        let read = read_regular(path, most);
        let content = read.as_ref().ok().map(|bytes| digest(bytes));
        self.note(path, most, content, None);
        let bytes = read?;
        self.feed(&bytes);
        Ok(bytes)
    }

    /// Returns what was read.
    pub fn finish(self) -> Read {
        Read {
            files: self.files,
            hash: first_digits(self.hash),
            common: first_digits(self.common),
            contents: self.contents,
        }
    }
}

/// The hash of what gateways of a fleet have in common, at some point of a load.
#[derive(Debug)]
pub struct Common(Sha256);

/// The results of a load about its files.
#[derive(Debug)]
pub struct Read {
    /// The files.
    pub files: Vec<PathBuf>,
    /// The first 8 hex digits of the hash of all contents.
    pub hash: String,
    /// The same of the parts that gateways of a fleet have in common.
    pub common: String,
    /// The contents.
    pub contents: Contents,
}

fn add(hash: &mut Sha256, bytes: &[u8]) {
    hash.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
    hash.update(bytes);
}

fn first_digits(hash: Sha256) -> String {
    let digest = hash.finalize();
    let (first, _) = digest.split_at_checked(4).unwrap_or_default();
    hex::encode(first)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Returns the contents of a directory, of a file in it, and of one that is absent.
    fn contents(dir: &Path) -> Contents {
        let mut inputs = Inputs::default();
        inputs.list(dir);
        inputs.read(&dir.join("a"), 10).unwrap();
        inputs.read(&dir.join("absent/b"), 10).unwrap_err();
        inputs.finish().contents
    }

    #[test]
    fn contents_are_current_until_one_changes() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("a", "1");
        let first = contents(dir.path());
        assert!(first.are_current());
        write("a", "1");
        assert!(first.are_current(), "the same content");
        write("a", "2");
        assert!(!first.are_current());
        let second = contents(dir.path());
        write("c", "1");
        assert!(!second.are_current(), "a new name in the directory");
        let third = contents(dir.path());
        fs::create_dir(dir.path().join("absent")).unwrap();
        assert!(!third.are_current());
        let fourth = contents(dir.path());
        assert!(fourth.are_current());
        write("absent/b", "1");
        assert!(!fourth.are_current(), "a file that was absent");
    }

    #[test]
    fn lists_hold_what_a_load_would_read() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("a[1]");
        fs::create_dir(&root).unwrap();
        let list = |path: &Path| {
            let mut inputs = Inputs::default();
            inputs.list(path);
            inputs.finish().contents
        };
        let pattern = dir.path().join("*.yaml");
        let (of_directory, of_pattern) = (list(&root), list(&pattern));
        fs::write(root.join(".hidden"), "").unwrap();
        std::os::unix::fs::symlink(root.join("target"), dir.path().join("a.yaml")).unwrap();
        assert!(of_directory.are_current() && of_pattern.are_current());
        fs::write(root.join("target"), "").unwrap();
        assert!(!of_directory.are_current(), "the name looks like a pattern");
        assert!(!of_pattern.are_current(), "the target of a link is there");
    }

    #[test]
    fn file_that_changes_between_two_reads_is_not_current() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        let mut inputs = Inputs::default();
        for text in ["1", "2"] {
            fs::write(&file, text).unwrap();
            inputs.read(&file, 10).unwrap();
        }
        assert!(!inputs.finish().contents.are_current());
    }
}
