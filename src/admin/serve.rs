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

/// The maximum number of connections of a listener. Further connections wait.
const MAX_CONNECTIONS: usize = 256;
/// The maximum duration of a connection, busy or not. No request takes longer.
const MAX_LIFETIME: Duration = Duration::from_secs(60);
/// The maximum number of bytes that a connection may send. No request is larger.
const MAX_READ: usize = 64 * 1024;
/// The time for responses in progress when the listener is stopped. Connections that take longer are cut.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves on TCP until `stop` is true, or its sender is gone.
pub async fn serve_tcp(listener: TcpListener, router: Router, stop: watch::Receiver<bool>) {
    serve(listener, router, stop).await;
}

/// Serves on a unix socket until `stop` is true, or its sender is gone.
pub async fn serve_unix(listener: UnixListener, router: Router, stop: watch::Receiver<bool>) {
    serve(listener, router, stop).await;
}

async fn serve<L>(listener: L, router: Router, stop: watch::Receiver<bool>)
where
    L: Listener,
    L::Addr: std::fmt::Debug,
{
    let bounded = Bounded {
        listener,
        permits: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        lifetime: MAX_LIFETIME,
    };
    let serving = axum::serve(bounded, router).with_graceful_shutdown(stopped(stop.clone()));
    let overdue = async {
        stopped(stop).await;
        sleep(SHUTDOWN_TIMEOUT).await;
    };
    tokio::select! {
        served = serving => {
            if let Err(error) = served {
                tracing::error!(error = %error, "an admin listener ended");
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
    lifetime: Duration,
}

impl<L: Listener> Listener for Bounded<L> {
    type Io = Timed<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        // the semaphore is never closed, so a permit is acquired in the end
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok();
        let (io, address) = self.listener.accept().await;
        (
            Timed {
                io,
                _permit: permit,
                left: MAX_READ,
                end: Box::pin(sleep(self.lifetime)),
            },
            address,
        )
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// A connection with a limited duration and a limited number of bytes to read.
struct Timed<T> {
    io: T,
    left: usize,
    _permit: Option<OwnedSemaphorePermit>,
    end: Pin<Box<Sleep>>,
}

impl<T> Timed<T> {
    /// Fails once the time is over. Until then the timer wakes the polling task.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.end.as_mut().poll(cx).is_ready() {
            Err(io::ErrorKind::TimedOut.into())
        } else {
            Ok(())
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
        if self.left == 0 {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buffer);
        self.left = self
            .left
            .saturating_sub(buffer.filled().len().saturating_sub(before));
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
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn a_silent_connection_is_closed_after_its_lifetime() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let bounded = Bounded {
            listener,
            permits: Arc::new(Semaphore::new(1)),
            lifetime: Duration::from_millis(200),
        };
        let serving = tokio::spawn(async { axum::serve(bounded, Router::new()).await });
        let mut silent = TcpStream::connect(address).await.unwrap();
        silent.write_all(b"GET / HTTP/1.1\r\nHost:").await.unwrap();
        let mut next = TcpStream::connect(address).await.unwrap();
        next.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        next.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
        assert_eq!(silent.read(&mut [0; 1]).await.unwrap_or(0), 0);
        serving.abort();
    }
}
