//! Checks of the disks that hold the gateway's files.
use std::path::Path;

use super::finding::Finding;
use crate::cli::term;
use crate::mount::{Mount, Storage, storage};

/// The free space that the store needs, in bytes.
const MIN_FREE_BYTES: u64 = 256 << 20;

/// Judges the disk of the store. `shown` is the path in the config, `real` the resolved path, `free` the bytes that are left.
pub(super) fn store(
    shown: &Path,
    real: &Path,
    mounts: &[Mount],
    free: Option<u64>,
) -> Vec<Finding> {
    let name = shown.display();
    let mut findings = Vec::new();
    let remedy = "put it on a persistent disk";
    findings.push(match storage(real, mounts) {
        Storage::Unknown => Finding::skipped(
            "store",
            format!("not checked: the file system of {name} is unknown"),
        ),
        Storage::EmptyDir => Finding::warning(
            "store",
            format!("{name} is an emptyDir: it is deleted with the Pod"),
            "use a persistentVolumeClaim",
        ),
        Storage::Memory(kind) => Finding::bad(
            "store",
            format!("{name} is in memory ({kind}): a restart deletes it"),
            remedy,
        ),
        Storage::Container => Finding::warning(
            "store",
            format!("{name} is in the container's own layer: it is deleted with the container"),
            "mount a volume there",
        ),
        Storage::Network(kind) => Finding::bad(
            "store",
            format!("{name} is on a network disk ({kind}), where file locks are not reliable"),
            "put it on a local disk",
        ),
        Storage::Disk(kind) => Finding::good(
            "store",
            format!("{name} is on a local disk ({kind})"),
            "store on disk",
        ),
    });
    match free {
        Some(free) if free < MIN_FREE_BYTES => {
            findings.push(Finding::warning(
                "free space",
                format!("{} are left under {name}", term::size(free)),
                "free some space",
            ));
        }
        Some(free) => findings.push(Finding::good(
            "free space",
            format!("{} are left under {name}", term::size(free)),
            format!("{} free", term::size(free)),
        )),
        None => {}
    }
    findings
}

/// Judges a file that is watched for changes. A file that is mounted alone never changes.
pub(super) fn watched(shown: &Path, mounts: &[Mount]) -> Option<Finding> {
    alone(shown, &std::fs::canonicalize(shown).ok()?, mounts)
}

fn alone(shown: &Path, real: &Path, mounts: &[Mount]) -> Option<Finding> {
    mounts.iter().any(|mount| mount.point == real).then(|| {
        let sub_path = shown
            .file_name()
            .unwrap_or(shown.as_os_str())
            .to_string_lossy();
        Finding::warning(
            "mount",
            format!("{sub_path} is mounted alone, so it is never updated"),
            "mount its directory",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;
    use crate::mount::parse;
    use crate::mount::tests::INFO;

    #[track_caller]
    fn check(path: &str, level: Level, words: &str) {
        let found = store(Path::new(path), Path::new(path), &parse(INFO), None);
        assert_eq!((found.len(), found[0].level), (1, level), "{found:?}");
        assert!(found[0].message.contains(words), "{found:?}");
    }

    #[test]
    fn file_system_of_the_store_is_judged() {
        check("/srv/hookgate", Level::Good, "local disk (ext4)");
        check("/run/hookgate", Level::Bad, "in memory (tmpfs)");
        check("/run/disk/hookgate", Level::Good, "xfs");
        check("/runner", Level::Good, "ext4");
        check("/merged/state", Level::Warning, "container's own layer");
        check("/mnt/nfs/state", Level::Bad, "network disk (nfs4)");
        check("/mnt/a b/state", Level::Bad, "network disk (fuse.sshfs)");
        check("/var/lib/hookgate", Level::Warning, "emptyDir");
        let unknown = store(Path::new("/x"), Path::new("/x"), &[], None);
        assert_eq!(unknown[0].level, Level::Skipped);
    }

    #[test]
    fn free_space_of_the_store_is_judged() {
        let of = |free| {
            store(
                Path::new("/srv"),
                Path::new("/srv"),
                &parse(INFO),
                Some(free),
            )
            .pop()
            .unwrap()
        };
        assert_eq!(
            (of(1 << 20).level, of(1 << 40).level),
            (Level::Warning, Level::Good)
        );
    }

    #[test]
    fn file_mounted_alone_is_a_finding() {
        let mounts = parse(INFO);
        let found = alone(
            Path::new("config.yaml"),
            Path::new("/etc/hookgate/config.yaml"),
            &mounts,
        )
        .unwrap();
        assert_eq!(
            (found.level, found.message.as_str()),
            (
                Level::Warning,
                "config.yaml is mounted alone, so it is never updated"
            )
        );
        assert_eq!(
            alone(
                Path::new("x"),
                Path::new("/etc/hookgate/other.yaml"),
                &mounts
            ),
            None
        );
    }
}
