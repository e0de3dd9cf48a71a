//! The mounts of this machine, from `/proc/self/mountinfo` (<https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html>), and the
//! space of a disk.
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;

/// File systems over a network, whose locks and fsyncs are not good enough for a store.
const NETWORK: [&str; 13] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "ceph",
    "glusterfs",
    "lustre",
    "afs",
    "beegfs",
    "gpfs",
    "virtiofs",
];
/// The directory of an emptyDir on its node.
const EMPTY_DIR: &[u8] = b"/kubernetes.io~empty-dir/";

/// The space of a disk, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// The bytes that a process that is not root can still write.
    pub free: u64,
    /// All bytes.
    pub total: u64,
}

impl Space {
    /// Returns the space of the disk that `path` is on, if the system tells it.
    pub fn of(path: &Path) -> Option<Self> {
        let found = statvfs(path).ok()?;
        #[allow(
            clippy::useless_conversion,
            reason = "on some systems these have 32 bits"
        )]
        let bytes = |blocks| u64::from(blocks).saturating_mul(u64::from(found.fragment_size()));
        Some(Self {
            free: bytes(found.blocks_available()),
            total: bytes(found.blocks()),
        })
    }
}

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The directory of the file system that is mounted.
    pub root: PathBuf,
    /// The directory that it is mounted on.
    pub point: PathBuf,
    /// The kind of disk: `ext4`, `tmpfs`, …
    pub kind: String,
}

/// The kind of storage under a directory, by the lifetime of its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage<'a> {
    /// The system does not tell the mount.
    Unknown,
    /// They go when the Pod goes.
    EmptyDir,
    /// They are in memory, in a disk of this kind.
    Memory(&'a str),
    /// They go with the container.
    Container,
    /// They are behind a network, in a disk of this kind.
    Network(&'a str),
    /// They stay, on a disk of this kind.
    Disk(&'a str),
}

/// Returns the mounts of this process; none where the system does not tell.
pub fn own() -> Vec<Mount> {
    std::fs::read("/proc/self/mountinfo")
        .map(|text| parse(&text))
        .unwrap_or_default()
}

/// Parses the text of mountinfo. Skips lines that are no mounts.
pub fn parse(text: &[u8]) -> Vec<Mount> {
    let mount = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b' ');
        let (root, point) = (fields.nth(3)?, fields.next()?);
        let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
        Some(Mount {
            root: unescaped(root),
            point: unescaped(point),
            kind: String::from_utf8_lossy(kind).into_owned(),
        })
    };
    text.split(|byte| *byte == b'\n')
        .filter_map(mount)
        .collect()
}

/// Decodes a field, in which a blank is written as `\040`.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let code = after
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|digits| std::str::from_utf8(digits).ok());
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

/// Returns the mount that a real path is on: the deepest one, and the last of several on the same directory.
pub fn of<'a>(path: &Path, mounts: &'a [Mount]) -> Option<&'a Mount> {
    let over = mounts.iter().filter(|mount| path.starts_with(&mount.point));
    over.max_by_key(|mount| mount.point.components().count())
}

/// Returns the kind of storage under a real path.
pub fn storage<'a>(path: &Path, mounts: &'a [Mount]) -> Storage<'a> {
    let Some(Mount { root, kind, .. }) = of(path, mounts) else {
        return Storage::Unknown;
    };
    if root
        .as_os_str()
        .as_bytes()
        .windows(EMPTY_DIR.len())
        .any(|part| part == EMPTY_DIR)
    {
        return Storage::EmptyDir;
    }
    match kind.as_str() {
        "tmpfs" | "ramfs" => Storage::Memory(kind),
        "overlay" | "aufs" => Storage::Container,
        kind if NETWORK.contains(&kind) || is_remote_fuse(kind) => Storage::Network(kind),
        kind => Storage::Disk(kind),
    }
}

/// Disks of the user's own program may be anything; these are local.
fn is_remote_fuse(kind: &str) -> bool {
    (kind == "fuse" || kind.starts_with("fuse."))
        && !matches!(kind, "fuse.lxcfs" | "fuse.ext4" | "fuse.ntfs-3g")
}

/// Resolves a path. For a path that does not exist yet, returns the nearest directory above it that exists.
pub fn real(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    whole
        .ancestors()
        .find_map(|above| std::fs::canonicalize(above).ok())
        .unwrap_or(whole)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The mounts of a container, one of each kind.
    pub(crate) const INFO: &[u8] = b"22 27 0:21 / /proc rw,relatime - proc proc rw
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

    #[test]
    fn mount_of_a_directory_is_found() {
        let mounts = parse(INFO);
        let at = |path: &str| storage(Path::new(path), &mounts);
        assert_eq!(at("/srv/hookgate"), Storage::Disk("ext4"));
        assert_eq!(at("/run/hookgate"), Storage::Memory("tmpfs"));
        assert_eq!(at("/run/disk/hookgate"), Storage::Disk("xfs"));
        assert_eq!(at("/runner"), Storage::Disk("ext4"));
        assert_eq!(at("/merged/state"), Storage::Container);
        assert_eq!(at("/mnt/nfs/state"), Storage::Network("nfs4"));
        assert_eq!(at("/mnt/a b/state"), Storage::Network("fuse.sshfs"));
        assert_eq!(at("/var/lib/hookgate"), Storage::EmptyDir);
        assert_eq!(storage(Path::new("/x"), &[]), Storage::Unknown);
    }

    #[test]
    fn any_mount_table_is_read_without_panic() {
        for text in [
            &b""[..],
            b"\n\n",
            b" ",
            b"1 2 3 4 5",
            b"1 2 3 / \\04 x - ",
            b"1 2 3 / \\777 x - k",
            b"\xff \xff \xff \xff \xff - \xff",
        ] {
            parse(text);
        }
        assert_eq!(
            parse(b"1 2 3 / /a\\134b x - ext4 d")[0].point,
            Path::new("/a\\b")
        );
        assert!(own().len() < 100_000);
    }

    #[test]
    fn missing_path_has_the_mount_of_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        let there = std::fs::canonicalize(dir.path()).unwrap();
        std::os::unix::fs::symlink(&there, there.join("link")).unwrap();
        assert_eq!(real(&there.join("link/not/there")), there);
        assert_eq!(real(&there), there);
    }
}
