//! Discards bytes that no request will read.
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Sleep, sleep};

/// The bytes that are read at once.
const BUFFER: usize = 16 * 1024;

/// Reads and discards what has arrived, up to `left` bytes. Ready once the other side has ended, or `left` is used up.
///
/// # Errors
/// The connection broke.
pub(super) fn poll_discard<R>(
    io: &mut R,
    left: &mut usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>>
where
    R: AsyncRead + Unpin,
{
    let mut buffer = [0; BUFFER];
    while *left > 0 {
        let mut buf = ReadBuf::new(&mut buffer);
        ready!(Pin::new(&mut *io).poll_read(cx, &mut buf))?;
        if buf.filled().is_empty() {
            break;
        }
        *left = left.saturating_sub(buf.filled().len());
    }
    Poll::Ready(Ok(()))
}

/// The bytes that are still read and discarded, and the deadline.
pub(super) struct Drain {
    left: usize,
    end: Pin<Box<Sleep>>,
}

impl Drain {
    /// Returns a drain of at most so many bytes, for at most so long.
    pub(super) fn new(bytes: usize, longest: Duration) -> Self {
        Self {
            left: bytes,
            end: Box::pin(sleep(longest)),
        }
    }

    /// Reads and discards what the sender still sends, within these bounds, until it closes its side.
    pub(super) fn poll<R>(&mut self, io: &mut R, cx: &mut Context<'_>) -> Poll<()>
    where
        R: AsyncRead + Unpin,
    {
        if self.end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        poll_discard(io, &mut self.left, cx).map(drop)
    }
}
