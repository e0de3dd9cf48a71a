//! One request of a connection, read whole and within bounds; and its answer, byte by byte.
use std::time::Duration;

use http::StatusCode;
use http::header::{CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::cli::message::Message;

/// The largest head, in bytes.
const MAX_HEAD: usize = 64 << 10;
/// The largest body, in bytes.
const MAX_BODY: usize = 1 << 20;
/// The largest number of bytes that the coding of a chunked body may add.
const MAX_CODING: usize = 64 << 10;
/// The largest number of headers.
const MAX_HEADERS: usize = 512;
/// The longest time until a request is complete.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest time until the sender closes a connection that was answered.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// The pause before each byte of a dripping answer.
const DRIP: Duration = Duration::from_secs(1);

/// The reason why there is no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Incomplete {
    /// The sender closed the connection before a byte of a request came.
    Closed,
    /// The sender closed the connection within the request.
    CutOff,
    /// The request did not come in time.
    Slow,
    /// The head is too large.
    LargeHead,
    /// The body is too large.
    LargeBody,
}

/// The form in which the length of a body is told.
enum Framing {
    Length(usize),
    Chunked,
}

/// Reads a whole request: the bytes of head and body.
///
/// # Errors
/// The reason why there is none.
pub(super) async fn read(stream: &mut TcpStream) -> Result<Vec<u8>, Incomplete> {
    timeout(READ_TIMEOUT, read_whole(stream))
        .await
        .unwrap_or(Err(Incomplete::Slow))
}

async fn read_whole(stream: &mut TcpStream) -> Result<Vec<u8>, Incomplete> {
    let mut bytes = Vec::with_capacity(8 << 10);
    let head = loop {
        let end = end_of_head(&bytes);
        if end.unwrap_or(bytes.len()) > MAX_HEAD {
            return Err(Incomplete::LargeHead);
        }
        if let Some(end) = end {
            break end;
        }
        fill(stream, &mut bytes).await?;
    };
    let (framing, expects_continue) = framing(bytes.get(..head).unwrap_or_default());
    if let Framing::Length(length) = framing
        && length > MAX_BODY
    {
        return Err(Incomplete::LargeBody);
    }
    if expects_continue {
        let go_on = stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await;
        go_on.map_err(|_| Incomplete::CutOff)?;
    }
    match framing {
        Framing::Length(length) => {
            while bytes.len() < head + length {
                fill(stream, &mut bytes).await?;
            }
            bytes.truncate(head + length);
        }
        Framing::Chunked => {
            while !(bytes.ends_with(b"\r\n\r\n") && Message::parse(&bytes).is_ok()) {
                if bytes.len() > head + MAX_BODY + MAX_CODING {
                    return Err(Incomplete::LargeBody);
                }
                fill(stream, &mut bytes).await?;
            }
        }
    }
    Ok(bytes)
}

/// Reads what has arrived, at least one byte.
async fn fill(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Result<(), Incomplete> {
    match stream.read_buf(bytes).await {
        Ok(0) | Err(_) if bytes.is_empty() => Err(Incomplete::Closed),
        Ok(0) | Err(_) => Err(Incomplete::CutOff),
        Ok(_) => Ok(()),
    }
}

/// Returns the number of bytes up to the empty line that ends a head.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let end = b"\r\n\r\n";
    bytes
        .windows(end.len())
        .position(|window| window == end)
        .map(|at| at + end.len())
}

/// Reads how long the body is, and whether the sender waits for a word before it sends it. A head with a mistake has no body: whoever parses it finds the mistake.
fn framing(head: &[u8]) -> (Framing, bool) {
    let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut slots);
    if !matches!(request.parse(head), Ok(httparse::Status::Complete(_))) {
        return (Framing::Length(0), false);
    }
    let value = |name: &http::HeaderName| {
        let mut headers = request.headers.iter();
        headers
            .find(|header| header.name.eq_ignore_ascii_case(name.as_str()))
            .map(|header| header.value.trim_ascii())
    };
    let expects_continue =
        value(&EXPECT).is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"));
    let length = value(&CONTENT_LENGTH)
        .and_then(|value| std::str::from_utf8(value).ok())
        .and_then(|value| value.parse().ok());
    let framing = match (length, value(&TRANSFER_ENCODING)) {
        (None, Some(coding)) if coding.eq_ignore_ascii_case(b"chunked") => Framing::Chunked,
        (length, _) => Framing::Length(length.unwrap_or(0)),
    };
    (framing, expects_continue)
}

/// Returns the bytes of an answer without a body.
fn answer(status: StatusCode) -> Vec<u8> {
    let length = if status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
        ""
    } else {
        "Content-Length: 0\r\n"
    };
    let reason = status.canonical_reason().unwrap_or_default();
    let status = status.as_u16();
    format!("HTTP/1.1 {status} {reason}\r\n{length}Connection: close\r\n\r\n").into_bytes()
}

/// Writes an answer at once. Returns whether the sender was still there.
pub(super) async fn write(stream: &mut TcpStream, status: StatusCode) -> bool {
    stream.write_all(&answer(status)).await.is_ok() && stream.shutdown().await.is_ok()
}

/// Writes an answer a byte a second, for as long as the sender reads it.
pub(super) async fn drip(stream: &mut TcpStream, status: StatusCode) {
    for byte in answer(status) {
        if stream.write_all(&[byte]).await.is_err() || is_closed_within(stream, DRIP).await {
            return;
        }
    }
}

/// Waits for `limit`. Returns early, with `true`, once the sender has closed the connection.
pub(super) async fn is_closed_within(stream: &mut TcpStream, limit: Duration) -> bool {
    tokio::select! {
        () = closed(stream) => true,
        () = sleep(limit) => false,
    }
}

/// Gives the sender time to read its answer: a connection that is closed with unread bytes in it loses the answer.
pub(super) async fn linger(stream: &mut TcpStream) {
    is_closed_within(stream, CLOSE_TIMEOUT).await;
}

/// Waits until the sender closes the connection. Drops what it still sends.
async fn closed(stream: &mut TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(1..) = stream.read(&mut buffer).await {}
}
