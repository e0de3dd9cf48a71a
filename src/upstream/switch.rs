//! Cuts a connection that pingora holds.
//!
//! A stream runs in pingora's own loop, whose timeouts all bound one read: no hook of it ends a request whose response comes late, or byte
//! by byte. So connections for streams are made here, each with a second handle on its socket, which lives exactly as long as the first.
//! To pingora, a shutdown through it looks as if the upstream had closed the connection.
use std::collections::HashMap;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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

/// The open connections for streams to one address, by the number of pingora's handle.
#[derive(Clone, Debug, Default)]
pub struct Switches(Arc<Mutex<HashMap<RawFd, Arc<Handle>>>>);

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
#[derive(Clone, Debug)]
struct Switched {
    open: Switches,
    number: Arc<Mutex<Option<RawFd>>>,
}

impl Switched {
    fn keep(&self, number: RawFd, handle: Handle) {
        *self.number.lock() = Some(number);
        self.open.0.lock().insert(number, Arc::new(handle));
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
        if let Some(number) = self.number.lock().take() {
            self.open.0.lock().remove(&number);
        }
    }

    fn boxed_clone(&self) -> Box<dyn Tracing> {
        Box::new(self.clone())
    }
}

impl Switches {
    /// Has connections to `peer` made so that a [`Deadline`] can cut them.
    pub(super) fn install(&self, peer: &mut HttpPeer) {
        let switched = Switched {
            open: self.clone(),
            number: Arc::default(),
        };
        peer.options.custom_l4 = Some(Arc::new(switched.clone()));
        peer.options.tracer = Some(Tracer(Box::new(switched)));
    }

    /// Keeps the connection with that handle from being used for another request: pingora finds its reading side closed. Called once the
    /// answer is whole.
    pub fn retire(&self, number: RawFd) {
        if let Some(handle) = self.0.lock().get(&number) {
            handle.shut_down(Shutdown::Read);
        }
    }

    /// Gives the connection with that handle so much time from now on.
    pub fn deadline(&self, time: Duration, number: RawFd) -> Deadline {
        let handle = self.0.lock().get(&number).map(Arc::downgrade);
        let passed = Arc::new(AtomicBool::new(false));
        let tell = Arc::clone(&passed);
        let waiting = async move {
            tokio::time::sleep(time).await;
            tell.store(true, Ordering::SeqCst);
            if let Some(handle) = handle.and_then(|handle| handle.upgrade()) {
                handle.shut_down(Shutdown::Both);
            }
        };
        Deadline {
            passed,
            task: tokio::spawn(waiting).abort_handle(),
        }
    }
}

/// Cuts a connection when its time is up, unless it is dropped before.
#[derive(Debug)]
pub struct Deadline {
    passed: Arc<AtomicBool>,
    task: AbortHandle,
}

impl Deadline {
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
