//! Notices that a config, or anything it reads, says something else. The content decides; the system's events are only a hint to look.
use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, watch};

use crate::config::source::{matching, read_regular};

/// Between two looks without a hint.
const POLL: Duration = Duration::from_secs(1);
/// After so many looks every content is read again, whatever the file's metadata say.
const LOOKS_TO_A_FULL_ONE: u32 = 10;
/// Directories with more files are looked into on a hint and in full looks only.
const LARGE_DIRECTORY: usize = 1_000;
/// Between the two reads that must agree before a change counts.
const SETTLE: Duration = Duration::from_millis(50);
/// A file that never settles counts after so many reads.
const MOST_READS: u32 = 40;
/// Larger files are told apart by their metadata alone.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// What stands there when the watch begins: a change after this is noticed, one before it is not.
pub struct Beginning {
    files: watch::Receiver<Vec<PathBuf>>,
    hint: mpsc::Sender<()>,
    hints: mpsc::Receiver<()>,
    paths: Vec<PathBuf>,
    seen: Seen,
    eyes: Eyes,
}

impl std::fmt::Debug for Beginning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Beginning")
            .field("paths", &self.paths)
            .finish_non_exhaustive()
    }
}

impl Beginning {
    /// Looks at all files. What was read of them earlier is to be compared by the caller.
    pub async fn look(mut files: watch::Receiver<Vec<PathBuf>>) -> Self {
        let (hint, hints) = mpsc::channel(1);
        let paths = files.borrow_and_update().clone();
        let eyes = Eyes::open(&paths, hint.clone());
        let seen = look(paths.clone(), Seen::default(), Depth::Full).await;
        Self {
            files,
            hint,
            hints,
            paths,
            seen,
            eyes,
        }
    }
}

/// Watches the files of a snapshot ([`crate::config::snapshot::Snapshot::files`]): paths of files, of directories, or patterns with `*`.
/// Sends once for each change that has settled; what comes while a message waits is covered by it. A new list is taken up at once,
/// and what is in both lists is compared with what was seen last, so that nothing slips between two lists.
/// Ends when either channel is closed.
pub async fn watch(beginning: Beginning, changed: mpsc::Sender<()>) {
    let Beginning {
        mut files,
        hint,
        mut hints,
        mut paths,
        mut seen,
        mut eyes,
    } = beginning;
    for looks in 1_u32.. {
        let mut depth = if looks.is_multiple_of(LOOKS_TO_A_FULL_ONE) {
            Depth::Full
        } else {
            Depth::Metadata
        };
        tokio::select! {
            _ = hints.recv() => depth = Depth::Hinted,
            () = tokio::time::sleep(POLL) => {}
            new = files.changed() => {
                if new.is_err() {
                    return;
                }
                paths = files.borrow_and_update().clone();
                eyes = Eyes::open(&paths, hint.clone());
                // Paths that are new here have no past to differ from.
                let fresh: Vec<PathBuf> = paths.iter().filter(|path| !seen.0.contains_key(*path)).cloned().collect();
                seen.0.extend(look(fresh, Seen::default(), Depth::Full).await.0);
                seen.0.retain(|path, _| paths.contains(path));
            }
            () = changed.closed() => return,
        }
        let now = look(paths.clone(), seen.clone(), depth).await;
        if now.says_the_same(&seen) {
            seen = now;
            continue;
        }
        seen = settled(&paths, now).await;
        if matches!(
            changed.try_send(()),
            Err(mpsc::error::TrySendError::Closed(()))
        ) {
            return;
        }
    }
    drop(eyes);
}

/// Reads until two reads agree: nobody is in the middle of writing.
async fn settled(paths: &[PathBuf], mut last: Seen) -> Seen {
    for _ in 0..MOST_READS {
        tokio::time::sleep(SETTLE).await;
        let now = look(paths.to_vec(), last.clone(), Depth::Hinted).await;
        if now.says_the_same(&last) {
            return now;
        }
        last = now;
    }
    last
}

/// How thoroughly to look.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// Read what has other metadata than before; leave large directories alone.
    Metadata,
    /// The same, large directories included.
    Hinted,
    /// Read everything.
    Full,
}

/// What stood at each path.
#[derive(Clone, Debug, Default)]
struct Seen(BTreeMap<PathBuf, Print>);

#[derive(Clone, Debug)]
enum Print {
    Absent,
    File(FilePrint),
    /// The files of a directory or of a pattern.
    Files {
        metadata: Option<Identity>,
        files: BTreeMap<PathBuf, FilePrint>,
    },
}

#[derive(Clone, Debug)]
struct FilePrint {
    identity: Identity,
    content: [u8; 32],
}

/// Two equal ones are, but for rare cases that the full look finds, one content. Symlinks are followed: a swap of `..data` shows as another inode.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Seen {
    fn says_the_same(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self
                .0
                .iter()
                .zip(&other.0)
                .all(|((path, print), (other_path, other))| {
                    path == other_path && print.says_the_same(other)
                })
    }
}

impl Print {
    fn says_the_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Absent, Self::Absent) => true,
            (Self::File(file), Self::File(other)) => file.content == other.content,
            (Self::Files { files, .. }, Self::Files { files: other, .. }) => {
                files.len() == other.len()
                    && files
                        .iter()
                        .zip(other)
                        .all(|((path, file), (other_path, other))| {
                            path == other_path && file.content == other.content
                        })
            }
            (Self::Absent | Self::File(_) | Self::Files { .. }, _) => false,
        }
    }

    fn take(path: &Path, last: Option<&Self>, depth: Depth) -> Self {
        let Ok(metadata) = std::fs::metadata(path) else {
            return if is_pattern(path) {
                Self::files(None, matching(path).unwrap_or_default(), last, depth)
            } else {
                Self::Absent
            };
        };
        if !metadata.is_dir() {
            let last = match last {
                Some(Self::File(last)) => Some(last),
                Some(Self::Absent | Self::Files { .. }) | None => None,
            };
            return FilePrint::take(path, &metadata, last, depth).map_or(Self::Absent, Self::File);
        }
        let identity = Identity::of(&metadata);
        if let Some(Self::Files {
            metadata: Some(before),
            files,
        }) = last
            && *before == identity
            && files.len() > LARGE_DIRECTORY
            && depth == Depth::Metadata
        {
            return Self::Files {
                metadata: Some(identity),
                files: files.clone(),
            };
        }
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        let visible =
            entries.filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
        Self::files(
            Some(identity),
            visible.map(|entry| entry.path()).collect(),
            last,
            depth,
        )
    }

    fn files(
        metadata: Option<Identity>,
        paths: Vec<PathBuf>,
        last: Option<&Self>,
        depth: Depth,
    ) -> Self {
        let last = match last {
            Some(Self::Files { files, .. }) => Some(files),
            Some(Self::Absent | Self::File(_)) | None => None,
        };
        // A large directory is not read whole every ten seconds for a clock that stood still.
        let depth = if paths.len() > LARGE_DIRECTORY {
            Depth::Hinted
        } else {
            depth
        };
        let print = |path: PathBuf| {
            let metadata = std::fs::metadata(&path).ok().filter(Metadata::is_file)?;
            let print = FilePrint::take(
                &path,
                &metadata,
                last.and_then(|last| last.get(&path)),
                depth,
            )?;
            Some((path, print))
        };
        Self::Files {
            metadata,
            files: paths.into_iter().filter_map(print).collect(),
        }
    }
}

impl FilePrint {
    fn take(path: &Path, metadata: &Metadata, last: Option<&Self>, depth: Depth) -> Option<Self> {
        let identity = Identity::of(metadata);
        if let Some(last) = last.filter(|last| last.identity == identity && depth != Depth::Full) {
            return Some(last.clone());
        }
        let content = match read_regular(path, MAX_BYTES) {
            Ok(bytes) => Sha256::digest(bytes.as_slice()).into(),
            Err(why) => Sha256::digest(why.to_string()).into(),
        };
        Some(Self { identity, content })
    }
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

async fn look(paths: Vec<PathBuf>, last: Seen, depth: Depth) -> Seen {
    let looking = tokio::task::spawn_blocking(move || {
        let print = |path: PathBuf| {
            let print = Print::take(&path, last.0.get(&path), depth);
            (path, print)
        };
        Seen(paths.into_iter().map(print).collect())
    });
    // It is cancelled only when the runtime ends.
    looking.await.unwrap_or_default()
}

fn is_pattern(path: &Path) -> bool {
    path.to_str()
        .is_some_and(|path| path.contains(['*', '?', '[']))
}

/// The system's events, where it has them.
struct Eyes(Option<RecommendedWatcher>);

impl Eyes {
    fn open(paths: &[PathBuf], hint: mpsc::Sender<()>) -> Self {
        let on_event = move |event: notify::Result<notify::Event>| {
            let is_read = event.is_ok_and(|event| match event.kind {
                EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
                EventKind::Access(_) => true,
                EventKind::Any
                | EventKind::Create(_)
                | EventKind::Modify(_)
                | EventKind::Remove(_)
                | EventKind::Other => false,
            });
            if !is_read {
                // A hint that waits already says as much.
                hint.try_send(()).ok();
            }
        };
        let Ok(mut watcher) = notify::recommended_watcher(on_event) else {
            return Self(None);
        };
        // Directories, not files: whoever replaces a file, or swaps a symlink on the way to it, shows there.
        let mut directories = BTreeSet::new();
        for path in paths {
            directories.extend(path.parent().map(|parent| {
                if parent.as_os_str().is_empty() {
                    PathBuf::from(".")
                } else {
                    parent.to_owned()
                }
            }));
            directories.extend(
                std::fs::canonicalize(path)
                    .ok()
                    .and_then(|target| target.parent().map(Path::to_owned)),
            );
            if path.is_dir() {
                directories.insert(path.clone());
            }
        }
        for directory in directories {
            // What cannot be watched is polled.
            watcher.watch(&directory, RecursiveMode::NonRecursive).ok();
        }
        Self(Some(watcher))
    }
}

impl Drop for Eyes {
    fn drop(&mut self) {
        drop(self.0.take());
    }
}

#[cfg(test)]
mod tests;
