//! The file with the addresses of a running gateway, by which commands find it when its config cannot be read, or has changed since it started.
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The file's name.
const FILE: &str = "running.json";
/// The longest file that is read, in bytes.
const MAX_BYTES: usize = 64 << 10;
/// The longest error text in it, in characters.
const MAX_TEXT: usize = 8 << 10;

/// The addresses of a running gateway, and its admin token's file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Running {
    /// The path of its config. A command that names another config means another gateway.
    pub(super) config: PathBuf,
    /// The health listener, `HOST:PORT`.
    pub(super) health: Option<String>,
    /// The admin listener, `HOST:PORT` or `unix:PATH`.
    pub(super) admin: Option<String>,
    /// The file with the admin token, if the gateway made one.
    pub(super) token_file: Option<PathBuf>,
    /// The number of reloads that a SIGHUP asked for.
    pub(super) signals: u64,
    /// The outcome of the last of them: the generation, or each mistake of the config with its line.
    pub(super) reloaded: Option<Result<u64, String>>,
}

/// The file of a running gateway. Removed on drop.
#[derive(Debug)]
pub(super) struct RunningFile {
    path: PathBuf,
    running: Running,
}

impl RunningFile {
    /// Records the outcome of a reload that a SIGHUP asked for: a gateway without an admin listener reports it in no other way.
    pub(super) fn note_reload(&mut self, outcome: Result<u64, String>) {
        self.running.signals += 1;
        self.running.reloaded = Some(outcome.map_err(|text| text.chars().take(MAX_TEXT).collect()));
        if let Err(error) = self.running.write(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "cannot write the outcome of the reload: `hookgate reload` will not report it");
        }
    }
}

impl Running {
    /// Writes the file into the service's runtime directory, else beside the store. Without either, there is no file.
    pub(super) fn leave(self, store: Option<&Path>) -> Option<RunningFile> {
        let path = paths(store).into_iter().next()?;
        match self.write(&path) {
            Ok(()) => Some(RunningFile {
                path,
                running: self,
            }),
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "cannot write the file with the addresses: commands will use those of the config");
                None
            }
        }
    }

    /// Writes a new file beside the old one and renames it: a reader never sees half of one, and the mode is 0600 from the start.
    fn write(&self, path: &Path) -> std::io::Result<()> {
        let new = path.with_extension("json.new");
        if let Err(error) = std::fs::remove_file(&new)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        std::fs::rename(new, path)
    }

    /// Finds the file of the gateway of `config` in the runtime directory or beside `store`.
    pub(super) fn find(config: Option<&Path>, store: Option<&Path>) -> Option<Self> {
        let found = paths(store)
            .into_iter()
            .filter_map(|path| Self::read(&path));
        let config = config.map(absolute);
        found.into_iter().find(|running| {
            config
                .as_ref()
                .is_none_or(|config| *config == running.config)
        })
    }

    fn read(path: &Path) -> Option<Self> {
        let bytes = std::fs::read(path)
            .ok()
            .filter(|bytes| bytes.len() <= MAX_BYTES)?;
        serde_json::from_slice(&bytes).ok()
    }
}

impl Drop for RunningFile {
    fn drop(&mut self) {
        std::fs::remove_file(&self.path).ok();
    }
}

/// Returns `path` from the root, without following links: a command is given the same path as the gateway.
pub(super) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Returns the possible paths of the file in order: `$RUNTIME_DIRECTORY` (the first, if the service has several), then beside the store.
fn paths(store: Option<&Path>) -> Vec<PathBuf> {
    let runtime =
        std::env::var_os("RUNTIME_DIRECTORY").filter(|directories| !directories.is_empty());
    let runtime = runtime.and_then(|directories| std::env::split_paths(&directories).next());
    runtime
        .into_iter()
        .chain(store.map(Path::to_owned))
        .map(|directory| directory.join(FILE))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn file_is_private_and_found_by_its_config() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("config.yaml");
        let running = Running {
            config: config.clone(),
            health: Some("127.0.0.1:1".to_owned()),
            ..Running::default()
        };
        let path = dir.path().join(FILE);
        // a file of a crash that is readable by all neither blocks nor passes its mode on
        std::fs::write(path.with_extension("json.new"), "half").unwrap();
        running.write(&path).unwrap();
        let mut file = RunningFile {
            path: path.clone(),
            running: running.clone(),
        };
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(
            Running::find(Some(&config), Some(dir.path())),
            Some(running.clone())
        );
        assert_eq!(Running::find(None, Some(dir.path())), Some(running));
        assert_eq!(
            Running::find(Some(&dir.path().join("other.yaml")), Some(dir.path())),
            None
        );
        file.note_reload(Err("\u{1}".repeat(1 << 20)));
        let long = Running::find(Some(&config), Some(dir.path())).unwrap();
        assert_eq!(
            (
                long.signals,
                long.reloaded.map(|outcome| outcome.unwrap_err().len())
            ),
            (1, Some(MAX_TEXT))
        );
        drop(file);
        assert_eq!(Running::find(None, Some(dir.path())), None);
        std::fs::write(&path, "no JSON").unwrap();
        assert_eq!(Running::find(None, Some(dir.path())), None);
    }
}
