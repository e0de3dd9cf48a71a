//! Checks who may read the files of secrets and keys, and how old they are.
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::finding::Finding;
use crate::cli::policy::quoted;
use crate::cli::term;

/// The age from which a secret should be rotated.
const MAX_SECRET_AGE: Duration = Duration::from_secs(365 * 86_400);
/// The number of findings that are shown one by one.
const MAX_SHOWN: usize = 5;

/// The content of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A secret: it should be rotated.
    Secret,
    /// The key of a certificate: it goes with the certificate.
    Key,
}

/// A file, symlinks followed.
#[derive(Clone, Debug)]
pub(super) struct Fact {
    pub(super) path: PathBuf,
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) owner: u32,
    pub(super) modified: SystemTime,
    /// Whether it is in a volume of Kubernetes, which sets the modes.
    pub(super) in_volume: bool,
}

impl Fact {
    /// Returns the facts of a file.
    pub(super) fn new(path: &Path, kind: Kind, metadata: &Metadata) -> Self {
        let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let is_version = |part: std::path::Component<'_>| {
            let name = part.as_os_str().as_encoded_bytes();
            name.len() > 2 && name.starts_with(b"..")
        };
        Self {
            path: path.to_owned(),
            kind,
            mode: metadata.mode() & 0o777,
            owner: metadata.uid(),
            modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            in_volume: real.components().any(is_version),
        }
    }
}

/// Judges the files, for a process of the user `own`.
pub(super) fn judge(files: &[Fact], own: u32, now: SystemTime) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    let mut more = 0_u64;
    for file in files {
        let found = [readers(file, own), age(file, now)];
        for finding in found.into_iter().flatten() {
            if findings.len() < MAX_SHOWN {
                findings.push(finding);
            } else {
                more += 1;
            }
        }
    }
    if more > 0 {
        findings.push(Finding::warning(
            "files",
            format!("{} of this kind", term::counted(more, "more finding")),
            "fix these first",
        ));
    }
    if findings.is_empty() && !files.is_empty() {
        let count = u64::try_from(files.len()).unwrap_or(u64::MAX);
        findings.push(Finding::good(
            "files",
            format!(
                "{} readable only by the gateway, and none old",
                term::counted(count, "secret and key file")
            ),
            "file modes",
        ));
    }
    findings
}

fn readers(file: &Fact, own: u32) -> Option<Finding> {
    let Fact { mode, owner, .. } = *file;
    let message = |what: &str| format!("{} is {what} ({mode:04o})", file.path.display());
    let help = if file.in_volume {
        "`defaultMode: 0400` in the volume, or 0440 with `fsGroup`".to_owned()
    } else {
        format!("chmod 600 {}", quoted(&file.path.display().to_string()))
    };
    // a reader that is not the owner needs the group's bit
    let by_group = owner == own;
    if mode & 0o002 != 0 {
        Some(Finding::bad("files", message("writable by all"), help))
    } else if mode & 0o004 != 0 {
        Some(Finding::warning("files", message("readable by all"), help))
    } else if mode & 0o020 != 0 {
        Some(Finding::warning(
            "files",
            message("writable by its group"),
            help,
        ))
    } else if mode & 0o040 != 0 && by_group && !file.in_volume {
        Some(Finding::warning(
            "files",
            message("readable by its group"),
            help,
        ))
    } else {
        None
    }
}

fn age(file: &Fact, now: SystemTime) -> Option<Finding> {
    let age = now.duration_since(file.modified).unwrap_or_default();
    let is_old = file.kind == Kind::Secret && age > MAX_SECRET_AGE;
    is_old.then(|| {
        Finding::warning(
            "files",
            format!("{} is {} old", file.path.display(), term::age(age)),
            "rotate it: add a new secret beside it",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    fn file(mode: u32, owner: u32, days: u64) -> Fact {
        let modified = now() - Duration::from_secs(days * 86_400);
        Fact {
            path: "/run/secrets/stripe".into(),
            kind: Kind::Secret,
            mode,
            owner,
            modified,
            in_volume: false,
        }
    }

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000)
    }

    #[track_caller]
    fn check(file: &Fact, level: Level, words: &str, help: &str) {
        let found = judge(std::slice::from_ref(file), 1000, now());
        assert_eq!((found.len(), found[0].level), (1, level), "{found:?}");
        assert!(
            found[0].message.contains(words) && found[0].help.contains(help),
            "{found:?}"
        );
    }

    #[test]
    fn secret_file_readable_by_others_is_found() {
        check(
            &file(0o600, 1000, 1),
            Level::Good,
            "1 secret and key file readable only by the gateway",
            "",
        );
        check(&file(0o400, 0, 1), Level::Good, "", "");
        check(
            &file(0o644, 1000, 1),
            Level::Warning,
            "/run/secrets/stripe is readable by all (0644)",
            "chmod 600 /run/secrets/stripe",
        );
        check(
            &file(0o604, 0, 1),
            Level::Warning,
            "readable by all",
            "chmod",
        );
        check(
            &file(0o640, 1000, 1),
            Level::Warning,
            "readable by its group (0640)",
            "chmod",
        );
        check(&file(0o440, 0, 1), Level::Good, "", "");
        check(
            &file(0o460, 0, 1),
            Level::Warning,
            "writable by its group",
            "chmod",
        );
        check(
            &file(0o666, 1000, 1),
            Level::Bad,
            "writable by all (0666)",
            "chmod",
        );
        check(
            &Fact {
                in_volume: true,
                ..file(0o644, 0, 1)
            },
            Level::Warning,
            "readable by all",
            "defaultMode",
        );
        check(
            &Fact {
                in_volume: true,
                ..file(0o440, 1000, 1)
            },
            Level::Good,
            "",
            "",
        );
    }

    #[test]
    fn old_secret_is_found() {
        check(&file(0o600, 1000, 364), Level::Good, "", "");
        check(
            &file(0o600, 1000, 400),
            Level::Warning,
            "is 400 d old",
            "rotate",
        );
        check(
            &Fact {
                kind: Kind::Key,
                ..file(0o600, 1000, 400)
            },
            Level::Good,
            "",
            "",
        );
    }

    #[test]
    fn findings_about_many_files_are_summarised() {
        let many: Vec<Fact> = (0..10_000).map(|_| file(0o644, 1000, 1)).collect();
        let found = judge(&many, 1000, now());
        assert_eq!(found.len(), MAX_SHOWN + 1);
        assert!(found[MAX_SHOWN].message.contains("9,995 more"), "{found:?}");
        assert!(judge(&[], 1000, now()).is_empty());
    }

    #[test]
    fn mounted_secret_volume_is_recognised() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("..2026_11_25")).unwrap();
        std::fs::write(dir.path().join("..2026_11_25/github"), "x").unwrap();
        std::os::unix::fs::symlink("..2026_11_25", dir.path().join("..data")).unwrap();
        std::os::unix::fs::symlink("..data/github", dir.path().join("github")).unwrap();
        let path = dir.path().join("github");
        assert!(Fact::new(&path, Kind::Secret, &std::fs::metadata(&path).unwrap()).in_volume);
        let plain = dir.path().join("plain");
        std::fs::write(&plain, "x").unwrap();
        assert!(!Fact::new(&plain, Kind::Secret, &std::fs::metadata(&plain).unwrap()).in_volume);
    }
}
