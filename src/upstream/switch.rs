//! Cuts a connection that pingora holds.
//!
//! A stream runs in pingora's own loop, whose timeouts all bound one read: no hook of it ends a request whose response comes late, or byte
//! by byte. So connections for streams are made here, each with a second handle on its socket, which lives exactly as long as the first.
//! To pingora, a shutdown through it looks as if the upstream had closed the connection.
use std::collections::HashMap;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use pingora::connectors::L4Connect;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::upstreams::peer::{HttpPeer, Tracer, Tracing};
use pingora::{Error, ErrorType, Result as PingoraResult};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::AbortHandle;

/// The open connections for streams, by the number of pingora's handle.
static OPEN: LazyLock<Mutex<HashMap<RawFd, Arc<Handle>>>> = LazyLock::new(Mutex::default);

/// The second handle on a socket.
#[derive(Debug)]
enum Handle {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl Handle {
    fn shut_down(&self, how: Shutdown) {
        let shut = match self {
            Self::Tcp(stream) => stream.shutdown(how),
            Self::Unix(stream) => stream.shutdown(how),
        };
        // it is closed already
        shut.unwrap_or_default();
    }
}

/// Connects, and holds the second handle for as long as the first is open.
#[derive(Clone, Debug, Default)]
struct Switched(Arc<Mutex<Option<RawFd>>>);

impl Switched {
    fn keep(&self, number: RawFd, handle: Handle) {
        *self.0.lock() = Some(number);
        OPEN.lock().insert(number, Arc::new(handle));
    }
}

#[async_trait]
impl L4Connect for Switched {
    async fn connect(&self, address: &SocketAddr) -> PingoraResult<Stream> {
        let failed =
            |error| Error::because(ErrorType::ConnectError, "connecting for a stream", error);
        let second = |fd: std::os::fd::BorrowedFd<'_>| -> PingoraResult<OwnedFd> {
            fd.try_clone_to_owned().map_err(failed)
        };
        match address {
            SocketAddr::Inet(address) => {
                let stream = TcpStream::connect(address).await.map_err(failed)?;
                self.keep(
                    stream.as_raw_fd(),
                    Handle::Tcp(second(stream.as_fd())?.into()),
                );
                Ok(stream.into())
            }
            SocketAddr::Unix(address) => {
                let path = address
                    .as_pathname()
                    .ok_or_else(|| Error::new(ErrorType::ConnectError))?;
                let stream = UnixStream::connect(path).await.map_err(failed)?;
                self.keep(
                    stream.as_raw_fd(),
                    Handle::Unix(second(stream.as_fd())?.into()),
                );
                Ok(stream.into())
            }
        }
    }
}

impl Tracing for Switched {
    fn on_connected(&self) {}

    /// Forgets the connection. pingora calls this before it closes its handle, so the number still belongs to this connection.
    fn on_disconnected(&self) {
        if let Some(number) = self.0.lock().take() {
            OPEN.lock().remove(&number);
        }
    }

    fn boxed_clone(&self) -> Box<dyn Tracing> {
        Box::new(self.clone())
    }
}

/// Has connections to `peer` made so that a [`Deadline`] can cut them.
pub fn install(peer: &mut HttpPeer) {
    let switched = Switched::default();
    peer.options.custom_l4 = Some(Arc::new(switched.clone()));
    peer.options.tracer = Some(Tracer(Box::new(switched)));
}

/// Keeps the connection with that handle from being used for another request: pingora finds its reading side closed. Called once the
/// answer is whole.
pub fn retire(number: RawFd) {
    if let Some(handle) = OPEN.lock().get(&number) {
        handle.shut_down(Shutdown::Read);
    }
}

/// Cuts a connection when its time is up, unless it is dropped before.
#[derive(Debug)]
pub struct Deadline {
    passed: Arc<AtomicBool>,
    task: AbortHandle,
}

impl Deadline {
    /// Gives the connection with that handle so much time from now on.
    pub fn within(time: Duration, number: RawFd) -> Self {
        let handle = OPEN.lock().get(&number).map(Arc::downgrade);
        let passed = Arc::new(AtomicBool::new(false));
        let tell = Arc::clone(&passed);
        let waiting = async move {
            tokio::time::sleep(time).await;
            tell.store(true, Ordering::SeqCst);
            if let Some(handle) = handle.and_then(|handle| handle.upgrade()) {
                handle.shut_down(Shutdown::Both);
            }
        };
        Self {
            passed,
            task: tokio::spawn(waiting).abort_handle(),
        }
    }

    /// Returns whether the time has passed.
    pub fn has_passed(&self) -> bool {
        self.passed.load(Ordering::SeqCst)
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.task.abort();
    }
}
