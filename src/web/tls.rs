//! TLS on the connections of a listener.
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, TlsAcceptor};

/// The settings of a listener's TLS, swapped by a reload.
pub type TlsSettings = Arc<ArcSwap<rustls::ServerConfig>>;

/// The protocol that the server speaks, as ALPN names it.
const HTTP_1: &[u8] = b"http/1.1";

/// A TCP listener whose connections begin with a TLS handshake.
pub(super) struct TlsListener {
    /// The TCP listener.
    pub(super) listener: TcpListener,
    /// The settings for new connections.
    pub(super) settings: TlsSettings,
}

impl Listener for TlsListener {
    type Io = TlsConnection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TlsConnection, SocketAddr) {
        let (io, address) = Listener::accept(&mut self.listener).await;
        // without it, an answer may wait until the client has acknowledged the end of the handshake; a socket that refuses it still works
        io.set_nodelay(true).ok();
        let mut settings = rustls::ServerConfig::clone(&self.settings.load());
        settings.alpn_protocols = vec![HTTP_1.to_vec()];
        let accept = TlsAcceptor::from(Arc::new(settings)).accept(io);
        (TlsConnection::Handshake(Box::new(accept)), address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection whose handshake is made when it is first read, so that a slow client does not delay the next one.
pub(super) enum TlsConnection {
    /// The handshake is in progress.
    Handshake(Box<Accept<TcpStream>>),
    /// The handshake is over.
    Open(Box<TlsStream<TcpStream>>),
    /// The handshake failed.
    Failed,
}

impl TlsConnection {
    /// Returns the stream once the handshake is over.
    fn poll_open(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Pin<&mut TlsStream<TcpStream>>>> {
        if let Self::Handshake(accept) = self {
            *self = match Pin::new(accept).poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(stream)) => Self::Open(Box::new(stream)),
                Poll::Ready(Err(_)) => Self::Failed,
            };
        }
        Poll::Ready(match self {
            Self::Open(stream) => Ok(Pin::new(&mut **stream)),
            Self::Handshake(_) | Self::Failed => Err(io::ErrorKind::ConnectionAborted.into()),
        })
    }
}

impl AsyncRead for TlsConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.poll_open(cx)? {
            Poll::Ready(stream) => stream.poll_read(cx, buffer),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncWrite for TlsConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.poll_open(cx)? {
            Poll::Ready(stream) => stream.poll_write(cx, bytes),
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Open(stream) => Pin::new(stream).poll_flush(cx),
            // nothing was written yet
            Self::Handshake(_) | Self::Failed => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Open(stream) => Pin::new(stream).poll_shutdown(cx),
            // the socket is closed when the connection is dropped
            Self::Handshake(_) | Self::Failed => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests;
