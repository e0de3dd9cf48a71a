//! Listens on unix sockets.
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// The mode of a socket's file: its owner and group may connect.
const MODE: u32 = 0o660;

/// The file of a socket that the gateway listens on, removed when it is dropped.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// The device and inode, since the file at the path may later be that of another process.
    identity: (u64, u64),
}

/// Listens on a unix socket at `path`. A socket without a listener is left over from a process that was killed, and is replaced.
///
/// # Errors
/// The path is another kind of file, another process listens on it, or the directory cannot be written.
pub(crate) fn listen(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    let is_socket =
        std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if is_socket
        && std::os::unix::net::UnixStream::connect(path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    let file = SocketFile {
        path: path.to_owned(),
        identity: identity(path)?,
    };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(MODE))?;
    Ok((listener, file))
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            // a file that cannot be removed is replaced at the next start
            std::fs::remove_file(&self.path).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_left_over_socket_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gate.sock");
        // a std listener leaves its file behind
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let (listener, file) = listen(&path).unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            MODE
        );
        assert_eq!(
            listen(&path).unwrap_err().kind(),
            io::ErrorKind::AddrInUse,
            "another listener"
        );
        drop((listener, file));
        assert!(!path.exists(), "the file is removed");
        std::fs::write(&path, "data").unwrap();
        assert!(listen(&path).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "data");
    }

    #[tokio::test]
    async fn socket_of_a_successor_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gate.sock");
        let first = listen(&path).unwrap();
        std::fs::rename(&path, directory.path().join("moved.sock")).unwrap();
        let _second = listen(&path).unwrap();
        drop(first);
        assert!(path.exists());
    }
}
