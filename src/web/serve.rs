//! Serves a router until it is stopped, with a limited number of connections, each of limited duration.
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Sleep, sleep};

use super::tls::TlsListener;
pub use super::tls::TlsSettings;

/// The bounds of a listener's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The maximum number of connections. Further connections wait.
    pub connections: usize,
    /// The time after which a connection is closed.
    pub lifetime: Lifetime,
    /// The maximum number of bytes that a connection may send, all its requests together. `None`: no maximum.
    pub max_read: Option<usize>,
    /// The time for responses in progress when the listener is stopped. Connections that take longer are cut.
    pub shutdown: Duration,
}

/// The time after which a connection is closed, busy or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// The time since it was accepted.
    Total(Duration),
    /// The time since bytes moved in either direction.
    Idle(Duration),
}

/// Serves on TCP until `stop` is true, or its sender is gone.
pub async fn serve_tcp(
    listener: TcpListener,
    router: Router,
    bounds: Bounds,
    stop: watch::Receiver<bool>,
) {
    serve(listener, router, bounds, stop).await;
}

/// Serves HTTP/1 over TLS on TCP until `stop` is true, or its sender is gone. The handshake counts as idle time.
pub async fn serve_tls(
    listener: TcpListener,
    settings: TlsSettings,
    router: Router,
    bounds: Bounds,
    stop: watch::Receiver<bool>,
) {
    let listener = TlsListener { listener, settings };
    serve(listener, router, bounds, stop).await;
}

/// Serves on a unix socket until `stop` is true, or its sender is gone.
pub async fn serve_unix(
    listener: UnixListener,
    router: Router,
    bounds: Bounds,
    stop: watch::Receiver<bool>,
) {
    serve(listener, router, bounds, stop).await;
}

async fn serve<L>(listener: L, router: Router, bounds: Bounds, stop: watch::Receiver<bool>)
where
    L: Listener,
    L::Addr: std::fmt::Debug,
{
    let bounded = Bounded {
        listener,
        permits: Arc::new(Semaphore::new(bounds.connections)),
        bounds,
    };
    let serving = axum::serve(bounded, router).with_graceful_shutdown(stopped(stop.clone()));
    let overdue = async {
        stopped(stop).await;
        sleep(bounds.shutdown).await;
    };
    tokio::select! {
        served = serving => {
            if let Err(error) = served {
                tracing::error!(error = %error, "a listener ended");
            }
        }
        () = overdue => {}
    }
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // an error says that the sender is gone, which stops as well
    stop.wait_for(|stop| *stop)
        .await
        .map(drop)
        .unwrap_or_default();
}

/// A listener whose connections are bounded in number and time.
struct Bounded<L> {
    listener: L,
    permits: Arc<Semaphore>,
    bounds: Bounds,
}

impl<L: Listener> Listener for Bounded<L> {
    type Io = Timed<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        // the semaphore is never closed, so a permit is acquired in the end
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok();
        let (io, address) = self.listener.accept().await;
        (Timed::new(io, permit, self.bounds), address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// A connection with a limited duration and a limited number of bytes to read.
struct Timed<T> {
    io: T,
    left: Option<usize>,
    lifetime: Lifetime,
    end: Pin<Box<Sleep>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl<T> Timed<T> {
    fn new(io: T, permit: Option<OwnedSemaphorePermit>, bounds: Bounds) -> Self {
        let (Lifetime::Total(time) | Lifetime::Idle(time)) = bounds.lifetime;
        Self {
            io,
            left: bounds.max_read,
            lifetime: bounds.lifetime,
            end: Box::pin(sleep(time)),
            _permit: permit,
        }
    }

    /// Fails once the time is over. Until then the timer wakes the polling task.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.end.as_mut().poll(cx).is_ready() {
            Err(io::ErrorKind::TimedOut.into())
        } else {
            Ok(())
        }
    }

    /// Starts the idle time anew after bytes have moved.
    fn moved(&mut self, bytes: usize, cx: &mut Context<'_>) -> io::Result<()> {
        match self.lifetime {
            Lifetime::Idle(time) if bytes > 0 => {
                self.end.set(sleep(time));
                // the new timer must wake the task too, even if nothing polls the connection before
                self.check(cx)
            }
            Lifetime::Idle(_) | Lifetime::Total(_) => Ok(()),
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Timed<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        if self.left == Some(0) {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buffer);
        let bytes = buffer.filled().len().saturating_sub(before);
        self.left = self.left.map(|left| left.saturating_sub(bytes));
        self.moved(bytes, cx)?;
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Timed<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        if let Poll::Ready(Ok(bytes)) = written {
            self.moved(bytes, cx)?;
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
