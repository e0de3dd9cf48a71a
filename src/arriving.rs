//! Reads the bytes that have arrived on a connection. A connection that waits needs no buffer for it.
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, ReadBuf};

/// The most bytes of one read.
pub const READ_BYTES: usize = 16 * 1024;

thread_local! {
    /// The buffer that bytes arrive in. They are then copied to a buffer of their size.
    static ARRIVING: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// Waits for bytes, and appends those that have arrived to `to`, up to [`READ_BYTES`]. Returns how many; none at the end.
///
/// # Errors
/// The connection broke.
pub async fn read<R>(from: &mut R, to: &mut BytesMut) -> io::Result<usize>
where
    R: AsyncRead + Unpin + ?Sized,
{
    poll_fn(|context| {
        ARRIVING.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            ready!(Pin::new(&mut *from).poll_read(context, &mut buffer))?;
            to.extend_from_slice(buffer.filled());
            Poll::Ready(Ok(buffer.filled().len()))
        })
    })
    .await
}
