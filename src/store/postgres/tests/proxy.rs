//! A proxy before the server that cuts a connection after some bytes.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio_postgres::Config;

/// The direction of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    ToServer,
    ToClient,
}

/// A proxy. It passes everything on until it is told to cut.
#[derive(Debug)]
pub(super) struct Proxy {
    directory: tempfile::TempDir,
    cut: Arc<Mutex<Option<(Way, usize)>>>,
}

impl Proxy {
    /// Starts a proxy before the server whose socket is in this directory.
    pub(super) fn before(server: &Path) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let name = ".s.PGSQL.5432";
        let listener = UnixListener::bind(directory.path().join(name)).unwrap();
        let (server, cut) = (server.join(name), Arc::<Mutex<_>>::default());
        tokio::spawn(serve(listener, server, Arc::clone(&cut)));
        Self { directory, cut }
    }

    /// Returns the way to a database through it.
    pub(super) fn config(&self, config: &Config) -> Config {
        let mut through = Config::new();
        through
            .host_path(self.directory.path())
            .user("hookgate")
            .dbname(config.get_dbname().unwrap());
        through
    }

    /// Cuts the next connection that has passed so many bytes on from now.
    pub(super) fn cut_after(&self, way: Way, bytes: usize) {
        *self.cut.lock() = Some((way, bytes));
    }

    /// Returns whether it has cut since it was told to, and forgets it.
    pub(super) fn has_cut(&self) -> bool {
        self.cut.lock().take().is_none()
    }
}

async fn serve(listener: UnixListener, server: PathBuf, cut: Arc<Mutex<Option<(Way, usize)>>>) {
    while let Ok((client, _)) = listener.accept().await {
        let (server, cut) = (server.clone(), Arc::clone(&cut));
        tokio::spawn(async move {
            let Ok(server) = UnixStream::connect(server).await else {
                return;
            };
            let ((from_client, to_client), (from_server, to_server)) =
                (client.into_split(), server.into_split());
            tokio::select! {
                () = pass(from_client, to_server, Way::ToServer, &cut) => {}
                () = pass(from_server, to_client, Way::ToClient, &cut) => {}
            }
        });
    }
}

/// Passes bytes on until the end, or until it is to cut.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    way: Way,
    cut: &Mutex<Option<(Way, usize)>>,
) {
    let mut buffer = vec![0; 16_384];
    while let Ok(count) = from.read(&mut buffer).await {
        if count == 0 {
            return;
        }
        let left = {
            let mut state = cut.lock();
            match &mut *state {
                Some((cuts, left)) if *cuts == way => {
                    let passed = (*left).min(count);
                    *left -= passed;
                    if passed < count || *left == 0 {
                        *state = None;
                        Some(passed)
                    } else {
                        None
                    }
                }
                _ => None,
            }
        };
        let passed = left.unwrap_or(count);
        if to.write_all(&buffer[..passed]).await.is_err() || left.is_some() {
            return;
        }
    }
}
