//! Serves a router until it is stopped, with a limited number of connections, each of limited duration.
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::time::{Sleep, sleep};

use super::connection::{Connection, Unauthenticated};
use super::tls::TlsListener;
pub use super::tls::TlsSettings;

/// The bounds of a listener's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The maximum number of connections. For a further one, the oldest connection without an admitted request is closed; if there is none,
    /// the further one waits.
    pub connections: usize,
    /// The time after which a connection is closed.
    pub lifetime: Lifetime,
    /// The time for the head of a request, from its first byte on. For the first head of a connection, the time since it was accepted.
    pub head: Duration,
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
        unauthenticated: Arc::default(),
        bounds,
    };
    let service = router
        .layer(from_fn(noted))
        .into_make_service_with_connect_info::<Connection>();
    let serving = axum::serve(bounded, service).with_graceful_shutdown(stopped(stop.clone()));
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

/// Serves a request, and lets its connection know.
async fn noted(
    ConnectInfo(connection): ConnectInfo<Connection>,
    request: Request,
    next: Next,
) -> Response {
    let _served = connection.begin_request();
    next.run(request).await
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
    unauthenticated: Arc<Unauthenticated>,
    bounds: Bounds,
}

impl<L: Listener> Listener for Bounded<L> {
    type Io = Timed<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (io, address) = self.listener.accept().await;
        let permit = match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(_) => {
                self.unauthenticated.close_oldest();
                // the semaphore is never closed, so a permit is acquired in the end
                Arc::clone(&self.permits).acquire_owned().await.ok()
            }
        };
        let timed = Timed::new(io, permit, &self.unauthenticated, self.bounds);
        (timed, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

impl<L: Listener> Connected<IncomingStream<'_, Bounded<L>>> for Connection {
    fn connect_info(stream: IncomingStream<'_, Bounded<L>>) -> Self {
        stream.io().connection.clone()
    }
}

/// A connection with a limited duration and a limited number of bytes to read.
struct Timed<T> {
    io: T,
    left: Option<usize>,
    bounds: Bounds,
    /// The end of the connection.
    end: Pin<Box<Sleep>>,
    /// The end of the time for a head, while one arrives.
    head_end: Pin<Box<Sleep>>,
    is_in_head: bool,
    connection: Connection,
    /// The number of requests whose heads had arrived at the last check.
    requests: u64,
    /// Gets a message if the connection is closed for another one. None: it is not, or was.
    closed: Option<oneshot::Receiver<()>>,
    is_closed: bool,
    _permit: Option<OwnedSemaphorePermit>,
}

impl<T> Timed<T> {
    fn new(
        io: T,
        permit: Option<OwnedSemaphorePermit>,
        unauthenticated: &Arc<Unauthenticated>,
        bounds: Bounds,
    ) -> Self {
        let (Lifetime::Total(time) | Lifetime::Idle(time)) = bounds.lifetime;
        let (connection, closed) = unauthenticated.add();
        Self {
            io,
            left: bounds.max_read,
            bounds,
            end: Box::pin(sleep(time)),
            head_end: Box::pin(sleep(bounds.head)),
            is_in_head: true,
            connection,
            requests: 0,
            closed: Some(closed),
            is_closed: false,
            _permit: permit,
        }
    }

    /// Fails once the time is over, or the connection is closed for another one. Until then the timers wake the polling task.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let requests = self.connection.requests();
        if requests != self.requests {
            self.requests = requests;
            self.is_in_head = false;
        }
        self.is_closed = self.is_closed
            || self.end.as_mut().poll(cx).is_ready()
            || self.is_in_head && self.head_end.as_mut().poll(cx).is_ready()
            || self.is_closed_for_another(cx);
        if self.is_closed {
            Err(io::ErrorKind::TimedOut.into())
        } else {
            Ok(())
        }
    }

    fn is_closed_for_another(&mut self, cx: &mut Context<'_>) -> bool {
        let polled = self.closed.as_mut().map(|closed| Pin::new(closed).poll(cx));
        match polled {
            Some(Poll::Ready(message)) => {
                self.closed = None;
                // without a message, the connection was admitted
                message.is_ok()
            }
            Some(Poll::Pending) | None => false,
        }
    }

    /// Starts the idle time anew after bytes have moved.
    fn moved(&mut self, bytes: usize, cx: &mut Context<'_>) -> io::Result<()> {
        match self.bounds.lifetime {
            Lifetime::Idle(time) if bytes > 0 => {
                self.end.set(sleep(time));
                // the new timer must wake the task too, even if nothing polls the connection before
                self.check(cx)
            }
            Lifetime::Idle(_) | Lifetime::Total(_) => Ok(()),
        }
    }

    /// Starts the time for a head, if these bytes are its first ones.
    fn arrived(&mut self, bytes: usize) {
        if bytes > 0 && !self.is_in_head && !self.connection.is_busy() {
            self.is_in_head = true;
            self.head_end.set(sleep(self.bounds.head));
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
        self.arrived(bytes);
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
