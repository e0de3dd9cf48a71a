//! What the files of a gate are mounted from: `/proc/self/mountinfo` (<https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html>).
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use super::finding::Finding;
use crate::cli::term;

/// Less is too little for the store to work on.
const LITTLE: u64 = 256 << 20;
/// Disks over a network, whose locks and fsyncs are not what a store needs.
const NETWORK: [&str; 13] =
    ["nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "lustre", "afs", "beegfs", "gpfs", "virtiofs"];

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// What of the disk is mounted.
    pub(super) root: PathBuf,
    /// Where.
    pub(super) point: PathBuf,
    /// The kind of disk: `ext4`, `tmpfs`, …
    pub(super) kind: String,
}

/// The mounts of a mountinfo; lines that are none are passed over.
pub(super) fn parse(text: &[u8]) -> Vec<Mount> {
    let mount = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b' ');
        let (root, point) = (fields.nth(3)?, fields.next()?);
        let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
        Some(Mount { root: unescaped(root), point: unescaped(point), kind: String::from_utf8_lossy(kind).into_owned() })
    };
    text.split(|byte| *byte == b'\n').filter_map(mount).collect()
}

/// A field with its blanks, which stand there as `\040`.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// The mount that a real path lies on: the deepest, and of several at one place the last.
pub(super) fn of<'a>(path: &Path, mounts: &'a [Mount]) -> Option<&'a Mount> {
    let over = mounts.iter().filter(|mount| path.starts_with(&mount.point));
    over.max_by_key(|mount| mount.point.components().count())
}

/// What is to be said of the store's disk. `shown` is the path as the config has it, `real` where it is, `free` how many bytes it has left.
pub(super) fn store(shown: &Path, real: &Path, mounts: &[Mount], free: Option<u64>) -> Vec<Finding> {
    let name = shown.display();
    let mut findings = Vec::new();
    let kept = "put it on a disk that stays";
    match of(real, mounts) {
        None => findings.push(Finding::skipped("store", format!("not judged: nobody says what {name} is mounted from"))),
        Some(Mount { root, .. }) if root.as_os_str().as_bytes().windows(EMPTY_DIR.len()).any(|part| part == EMPTY_DIR) => {
            findings.push(Finding::look(
                "store",
                format!("{name} is an emptyDir: it goes when the Pod goes"),
                "take a persistentVolumeClaim",
            ));
        }
        Some(Mount { kind, .. }) => findings.push(match kind.as_str() {
            "tmpfs" | "ramfs" => Finding::bad("store", format!("{name} is in memory ({kind}): a restart forgets all of it"), kept),
            "overlay" | "aufs" => Finding::look(
                "store",
                format!("{name} is in the container's own layer: it goes with the container"),
                "mount a volume there",
            ),
            kind if NETWORK.contains(&kind) || is_remote_fuse(kind) => {
                Finding::bad("store", format!("{name} is on a network disk ({kind}), where a lock is no lock"), "put it on a local disk")
            }
            kind => Finding::good("store", format!("{name} is on a local disk ({kind})"), "store on disk"),
        }),
    }
    match free {
        Some(free) if free < LITTLE => {
            findings.push(Finding::look("free space", format!("{} are left under {name}", term::size(free)), "make room"));
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

/// The directory of an emptyDir on its node.
const EMPTY_DIR: &[u8] = b"/kubernetes.io~empty-dir/";

/// Disks of the user's own program may be anything; these are local.
fn is_remote_fuse(kind: &str) -> bool {
    (kind == "fuse" || kind.starts_with("fuse.")) && !matches!(kind, "fuse.lxcfs" | "fuse.ext4" | "fuse.ntfs-3g")
}

/// What is to be said of a file that is watched for changes: mounted alone, it is the one file that was there when it was mounted.
pub(super) fn watched(shown: &Path, mounts: &[Mount]) -> Option<Finding> {
    alone(shown, &std::fs::canonicalize(shown).ok()?, mounts)
}

fn alone(shown: &Path, real: &Path, mounts: &[Mount]) -> Option<Finding> {
    mounts.iter().any(|mount| mount.point == real).then(|| {
        let sub_path = shown.file_name().unwrap_or(shown.as_os_str()).to_string_lossy();
        Finding::look("mount", format!("{sub_path} is mounted alone (subPath): it never updates"), "mount its directory")
    })
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    const INFO: &[u8] = b"22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 27 0:40 / /run rw,nosuid - tmpfs tmpfs rw,size=1k
31 27 0:41 /docker/overlay /merged rw - overlay overlay rw
32 27 0:42 /export/a /mnt/nfs rw shared:5 master:2 - nfs4 10.0.0.1:/export rw
33 27 254:0 /var/lib/kubelet/pods/1b/volumes/kubernetes.io~empty-dir/state /var/lib/hookgate rw - ext4 /dev/vda rw
34 27 254:0 /var/lib/kubelet/pods/1b/volume-subpaths/config/gate/0 /etc/hookgate/config.yaml ro - ext4 /dev/vda rw
35 27 0:43 / /mnt/a\\040b rw - fuse.sshfs host: rw
36 30 254:0 / /run/disk rw - xfs /dev/vdb rw
not a mount
";

    #[track_caller]
    fn check(path: &str, level: Level, words: &str) {
        let found = store(Path::new(path), Path::new(path), &parse(INFO), None);
        assert_eq!((found.len(), found[0].level), (1, level), "{found:?}");
        assert!(found[0].said.contains(words), "{found:?}");
    }

    #[test]
    fn what_the_store_lies_on() {
        check("/srv/hookgate", Level::Good, "local disk (ext4)");
        check("/run/hookgate", Level::Bad, "in memory (tmpfs)");
        check("/run/disk/hookgate", Level::Good, "xfs");
        check("/runner", Level::Good, "ext4");
        check("/merged/state", Level::Look, "container's own layer");
        check("/mnt/nfs/state", Level::Bad, "network disk (nfs4)");
        check("/mnt/a b/state", Level::Bad, "network disk (fuse.sshfs)");
        check("/var/lib/hookgate", Level::Look, "emptyDir");
        let unknown = store(Path::new("/x"), Path::new("/x"), &[], None);
        assert_eq!(unknown[0].level, Level::Skipped);
    }

    #[test]
    fn how_much_room_it_has() {
        let of = |free| store(Path::new("/srv"), Path::new("/srv"), &parse(INFO), Some(free)).pop().unwrap();
        assert_eq!((of(1 << 20).level, of(1 << 40).level), (Level::Look, Level::Good));
    }

    #[test]
    fn a_file_mounted_alone_never_updates() {
        let mounts = parse(INFO);
        let found = alone(Path::new("config.yaml"), Path::new("/etc/hookgate/config.yaml"), &mounts).unwrap();
        assert_eq!((found.level, found.said.as_str()), (Level::Look, "config.yaml is mounted alone (subPath): it never updates"));
        assert_eq!(alone(Path::new("x"), Path::new("/etc/hookgate/other.yaml"), &mounts), None);
    }

    #[test]
    fn whatever_stands_there_is_read_without_harm() {
        for text in
            [&b""[..], b"\n\n", b" ", b"1 2 3 4 5", b"1 2 3 / \\04 x - ", b"1 2 3 / \\777 x - k", b"\xff \xff \xff \xff \xff - \xff"]
        {
            parse(text);
        }
        assert_eq!(parse(b"1 2 3 / /a\\134b x - ext4 d")[0].point, Path::new("/a\\b"));
        assert!(parse(&std::fs::read("/proc/self/mountinfo").unwrap_or_default()).len() < 100_000);
    }
}
