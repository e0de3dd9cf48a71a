//! Watches the files of a config for changes of their content. Events of the system are only a hint to compare.
use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::{mpsc, watch};

use crate::config::inputs::{Digest, Identity, digest};
use crate::config::source::{is_pattern, matching, read_regular};

/// The time between two comparisons without a hint.
const POLL: Duration = Duration::from_secs(1);
/// The number of comparisons after which all contents are read again, whatever the metadata are.
const FULL_INTERVAL: u32 = 10;
/// The number of files above which a directory is compared only on a hint and in full comparisons.
const LARGE_DIRECTORY: usize = 1_000;
/// The time between the two reads that must agree before a change counts.
const SETTLE: Duration = Duration::from_millis(50);
/// The number of reads after which a change counts although the file never settles.
const MAX_READS: u32 = 40;
/// The largest file whose content is compared. Larger files are compared by their metadata.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// The state of the files when the watch begins. Changes after this are noticed.
pub struct Beginning {
    files: watch::Receiver<Vec<PathBuf>>,
    hint: mpsc::Sender<Depth>,
    hints: mpsc::Receiver<Depth>,
    paths: Vec<PathBuf>,
    prints: Prints,
    events: Events,
}

impl std::fmt::Debug for Beginning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Beginning")
            .field("paths", &self.paths)
            .finish_non_exhaustive()
    }
}

impl Beginning {
    /// Reads all files. Earlier reads are the caller's to compare.
    pub async fn look(mut files: watch::Receiver<Vec<PathBuf>>) -> Self {
        let (hint, hints) = mpsc::channel(1);
        let paths = files.borrow_and_update().clone();
        let events = Events::open(&paths, hint.clone());
        let prints = look(paths.clone(), Prints::default(), Depth::Full).await;
        Self {
            files,
            hint,
            hints,
            paths,
            prints,
            events,
        }
    }
}

/// Watches the files of a snapshot ([`crate::config::snapshot::Snapshot::files`]): paths of files, of directories, or patterns with `*`.
/// Sends once for each change that has settled; further changes while a message is pending are covered by it. A new list is used at once,
/// and files of both lists are compared with their last state, so that no change is missed between two lists.
/// Ends when either channel is closed.
pub async fn watch(beginning: Beginning, changed: mpsc::Sender<()>) {
    let Beginning {
        mut files,
        hint,
        mut hints,
        mut paths,
        mut prints,
        mut events,
    } = beginning;
    let poll = Poll::start(hint.clone());
    poll.go_on_from(&paths, &prints);
    loop {
        let mut depth = Depth::Metadata;
        tokio::select! {
            hinted = hints.recv() => depth = hinted.unwrap_or(Depth::Hinted),
            new = files.changed() => {
                if new.is_err() {
                    return;
                }
                paths = files.borrow_and_update().clone();
                drop(std::mem::replace(
                    &mut events,
                    Events::open(&paths, hint.clone()),
                ));
                // New paths have no earlier state.
                let fresh: Vec<PathBuf> = paths.iter().filter(|path| !prints.0.contains_key(*path)).cloned().collect();
                prints.0.extend(look(fresh, Prints::default(), Depth::Full).await.0);
                prints.0.retain(|path, _| paths.contains(path));
                poll.go_on_from(&paths, &prints);
            }
            () = changed.closed() => return,
        }
        let now = look(paths.clone(), prints.clone(), depth).await;
        if now.is_same(&prints) {
            prints = now;
            continue;
        }
        prints = settled(&paths, now).await;
        poll.go_on_from(&paths, &prints);
        if matches!(
            changed.try_send(()),
            Err(mpsc::error::TrySendError::Closed(()))
        ) {
            return;
        }
    }
}

/// A thread that compares the files once in a while, and sends a hint if they differ. It wakes an idle process once; a timer of the runtime and
/// a task on its blocking threads would wake it several times.
struct Poll(Sender<(Vec<PathBuf>, Prints)>);

impl Poll {
    /// Starts the thread. It ends with the last sender.
    fn start(hint: mpsc::Sender<Depth>) -> Self {
        let (state, states) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new().name("config-watch".to_owned());
        if let Err(error) = thread.spawn(move || compare(&states, &hint)) {
            tracing::error!(%error, "the thread that compares the files of the config cannot start; only changes that the system reports are seen");
        }
        Self(state)
    }

    /// Makes the thread compare these paths with this state from now on.
    fn go_on_from(&self, paths: &[PathBuf], prints: &Prints) {
        // without a thread there are only events
        self.0.send((paths.to_vec(), prints.clone())).ok();
    }
}

/// Compares the files every [`POLL`] with their last state, until there is no sender of states any more.
fn compare(states: &Receiver<(Vec<PathBuf>, Prints)>, hint: &mpsc::Sender<Depth>) {
    let (mut paths, mut last) = (Vec::new(), Prints::default());
    let mut looks = 0_u32;
    loop {
        match states.recv_timeout(POLL) {
            Ok(state) => (paths, last) = state,
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                looks = looks.wrapping_add(1);
                let depth = if looks.is_multiple_of(FULL_INTERVAL) {
                    Depth::Full
                } else {
                    Depth::Metadata
                };
                let now = Prints::take(&paths, &last, depth);
                if now.is_same(&last) {
                    last = now;
                } else {
                    // a pending hint is enough; the next comparison of this depth repeats it
                    hint.try_send(depth).ok();
                }
            }
        }
    }
}

/// Reads until two reads agree, so that a file is not used while it is being written.
async fn settled(paths: &[PathBuf], mut last: Prints) -> Prints {
    for _ in 0..MAX_READS {
        tokio::time::sleep(SETTLE).await;
        let now = look(paths.to_vec(), last.clone(), Depth::Hinted).await;
        if now.is_same(&last) {
            return now;
        }
        last = now;
    }
    last
}

/// The thoroughness of a comparison.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// Reads files with changed metadata, except in large directories.
    Metadata,
    /// Reads files with changed metadata, large directories included.
    Hinted,
    /// Reads all files.
    Full,
}

/// The state of each path.
#[derive(Clone, Debug, Default)]
struct Prints(BTreeMap<PathBuf, Print>);

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
    content: Digest,
}

impl Prints {
    fn take(paths: &[PathBuf], last: &Self, depth: Depth) -> Self {
        let print = |path: &PathBuf| {
            let print = Print::take(path, last.0.get(path), depth);
            (path.clone(), print)
        };
        Self(paths.iter().map(print).collect())
    }

    fn is_same(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self
                .0
                .iter()
                .zip(&other.0)
                .all(|((path, print), (other_path, other))| {
                    path == other_path && print.is_same(other)
                })
    }
}

impl Print {
    fn is_same(&self, other: &Self) -> bool {
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
        let paths = visible.map(|entry| entry.path()).collect();
        Self::files(Some(identity), paths, last, depth)
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
        // A large directory is not read completely every ten seconds, although a clock may have stood still.
        let depth = if paths.len() > LARGE_DIRECTORY {
            Depth::Hinted
        } else {
            depth
        };
        let print = |path: PathBuf| {
            // a directory within it counts by its name alone
            let is_listed = |metadata: &Metadata| metadata.is_file() || metadata.is_dir();
            let metadata = std::fs::metadata(&path).ok().filter(is_listed)?;
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
            Ok(bytes) => digest(&bytes),
            Err(why) => digest(why.to_string().as_bytes()),
        };
        Some(Self { identity, content })
    }
}

async fn look(paths: Vec<PathBuf>, last: Prints, depth: Depth) -> Prints {
    let looking = tokio::task::spawn_blocking(move || Prints::take(&paths, &last, depth));
    // The task is cancelled only when the runtime ends.
    looking.await.unwrap_or_default()
}

/// The file events of the system, where available.
struct Events(Option<RecommendedWatcher>);

impl Events {
    fn open(paths: &[PathBuf], hint: mpsc::Sender<Depth>) -> Self {
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
                // A pending hint is enough.
                hint.try_send(Depth::Hinted).ok();
            }
        };
        let Ok(mut watcher) = notify::recommended_watcher(on_event) else {
            return Self(None);
        };
        // Directories, not files: replacing a file, or a symlink on its path, is an event of the directory.
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
            // A directory that cannot be watched is polled.
            watcher.watch(&directory, RecursiveMode::NonRecursive).ok();
        }
        Self(Some(watcher))
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        drop(self.0.take());
    }
}

#[cfg(test)]
mod tests;
