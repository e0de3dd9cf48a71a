//! Writes a request to a connection.
use bytes::{BufMut, BytesMut};
use pingora::protocols::Stream;
use tokio::io::AsyncWriteExt;

use super::Outgoing;

/// A body up to this size is copied behind the head: that costs less than a second system call.
const MAX_COPIED_BODY: usize = 16 * 1024;

/// Writes the request: the head and the beginning of the body in one write, the rest without a copy.
pub(super) async fn write(stream: &mut Stream, outgoing: &Outgoing) -> std::io::Result<()> {
    let (small, rest) = outgoing
        .body
        .split_at(outgoing.body.len().min(MAX_COPIED_BODY));
    let lines = outgoing.headers.as_bytes();
    let mut bytes = BytesMut::with_capacity(lines.len() + outgoing.target.len() + small.len() + 32);
    for part in [
        outgoing.method.as_str().as_bytes(),
        b" ",
        &outgoing.target,
        b" HTTP/1.1\r\n",
        lines,
        b"\r\n",
    ] {
        bytes.put_slice(part);
    }
    bytes.put_slice(small);
    stream.write_all(&bytes).await?;
    if !rest.is_empty() {
        stream.write_all(rest).await?;
    }
    stream.flush().await
}
