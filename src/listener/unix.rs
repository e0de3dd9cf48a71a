//! Unix sockets to listen on.
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// Its owner and group may connect.
const MODE: u32 = 0o660;

/// The file of a socket that is listened on; removed on drop.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode: what stands there later may be another's.
    identity: (u64, u64),
}

/// Listens on a unix socket at `path`. A socket that nobody listens on is left over from a process that was killed, and replaced.
///
/// # Errors
/// Something else stands there, somebody listens, or the directory may not be written.
pub fn listen(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
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
            // whoever cannot remove it leaves a file that nobody listens on, which the next start replaces
            std::fs::remove_file(&self.path).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_that_is_left_over_is_replaced_and_nothing_else_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gate.sock");
        // a listener that is gone leaves its file
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let (listener, file) = listen(&path).unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            MODE
        );
        assert_eq!(
            listen(&path).unwrap_err().kind(),
            io::ErrorKind::AddrInUse,
            "somebody listens"
        );
        drop((listener, file));
        assert!(!path.exists(), "its file goes with it");
        std::fs::write(&path, "data").unwrap();
        assert!(listen(&path).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "data");
    }

    #[tokio::test]
    async fn the_socket_of_a_successor_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gate.sock");
        let first = listen(&path).unwrap();
        std::fs::rename(&path, directory.path().join("moved.sock")).unwrap();
        let _second = listen(&path).unwrap();
        drop(first);
        assert!(path.exists());
    }
}
