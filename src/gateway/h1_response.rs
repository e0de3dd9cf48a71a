//! Writes responses over HTTP/1: the head and a short body in one piece.
use std::cell::RefCell;
use std::io;
use std::pin::pin;
use std::time::SystemTime;

use bytes::{BufMut as _, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::clock::at_once;
use crate::delivery::AnswerBody;
use crate::gateway::h1_head::RequestForm;
use crate::gateway::response::Response;
use crate::listener::h1_connection::H1Connection;

/// The bytes that are gathered before they are sent, as long as more are there.
const MAX_GATHERED: usize = 16 * 1024;
/// The room for the head of a response, besides its body.
const HEAD_ROOM: usize = 512;

/// The form in which the end of a body is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// There is no body, whatever the head says.
    None,
    /// The head says its length.
    Sized,
    /// The body is sent in chunks, so that its end differs from a break.
    Chunked,
    /// The end of the connection is the end of the body: HTTP/1.0 has no chunks.
    UntilClose,
}

/// Writes a response. Returns whether the connection may serve another request.
///
/// # Errors
/// The sender has left, or the body of the upstream's response broke off. The connection must be dropped then.
pub(super) async fn write(
    connection: &mut H1Connection,
    response: Response,
    form: RequestForm,
    now: SystemTime,
) -> io::Result<bool> {
    let Response {
        status,
        mut headers,
        body,
        ..
    } = response;
    let length = match &body {
        AnswerBody::Whole(bytes) => Some(bytes.len()),
        AnswerBody::Pieces(..) => None,
    };
    let framing = framing(status, &mut headers, length, form);
    let closes = form.closes || framing == Framing::UntilClose;
    let mut out = BytesMut::with_capacity(HEAD_ROOM + length.unwrap_or_default());
    put_head(&mut out, status, &headers, framing, closes, now);
    match body {
        AnswerBody::Whole(bytes) if framing == Framing::None || bytes.is_empty() => {
            connection.write(&out).await?;
        }
        AnswerBody::Whole(bytes) if bytes.len() <= MAX_GATHERED => {
            out.put_slice(&bytes);
            connection.write(&out).await?;
        }
        AnswerBody::Whole(bytes) => {
            connection.write(&out).await?;
            connection.write(&bytes).await?;
        }
        body @ AnswerBody::Pieces(..) => {
            let size = declared(&headers).filter(|_| framing == Framing::Sized);
            // boxed, since most bodies are there at once
            Box::pin(stream(connection, out, body, (framing, size))).await?;
        }
    }
    Ok(!closes)
}

/// Returns how the end of the body is announced. Where all of a body is there, the head says its length.
fn framing(
    status: StatusCode,
    headers: &mut HeaderMap,
    length: Option<usize>,
    form: RequestForm,
) -> Framing {
    let has_no_body = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if form.is_head || has_no_body {
        Framing::None
    } else if let Some(length) = length {
        if declared(headers) != Some(length) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        Framing::Sized
    } else if headers.contains_key(CONTENT_LENGTH) {
        Framing::Sized
    } else if form.is_1_0 {
        Framing::UntilClose
    } else {
        Framing::Chunked
    }
}

/// Appends the head of a response, with the gateway's own `date` and `connection`.
fn put_head(
    out: &mut BytesMut,
    status: StatusCode,
    headers: &HeaderMap,
    framing: Framing,
    closes: bool,
    now: SystemTime,
) {
    out.put_slice(b"HTTP/1.1 ");
    out.put_slice(status.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.put_slice(b"\r\n");
    for (name, value) in headers {
        if *name != DATE && *name != CONNECTION {
            out.put_slice(name.as_str().as_bytes());
            out.put_slice(b": ");
            out.put_slice(value.as_bytes());
            out.put_slice(b"\r\n");
        }
    }
    if framing == Framing::Chunked {
        out.put_slice(b"transfer-encoding: chunked\r\n");
    }
    out.put_slice(b"date: ");
    put_date(out, now);
    out.put_slice(if closes {
        b"\r\nconnection: close\r\n\r\n"
    } else {
        b"\r\nconnection: keep-alive\r\n\r\n"
    });
}

/// Appends the date, which is rendered once a second.
fn put_date(out: &mut BytesMut, now: SystemTime) {
    thread_local! {
        static DATE: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
    }
    let second = crate::clock::unix_ms(now) / 1000;
    DATE.with_borrow_mut(|(of, text)| {
        if *of != second || text.is_empty() {
            (*of, *text) = (second, httpdate::fmt_http_date(now));
        }
        out.put_slice(text.as_bytes());
    });
}

/// Returns the length that a response announces.
fn declared(headers: &HeaderMap) -> Option<usize> {
    headers
        .get(CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// Sends the gathered part of a response whose rest is missing, or is not of the announced length. The caller drops the connection, so the sender
/// sees that the response is not complete.
async fn broken_off(connection: &mut H1Connection, out: &[u8]) -> io::Result<()> {
    if !out.is_empty() {
        connection.write(out).await?;
    }
    Err(io::Error::other("the upstream's response broke off"))
}

/// Writes a body as it arrives. Pieces that are available at once are gathered behind the head in `out`.
async fn stream(
    connection: &mut H1Connection,
    mut out: BytesMut,
    mut body: AnswerBody,
    (framing, size): (Framing, Option<usize>),
) -> io::Result<()> {
    if framing == Framing::None {
        return connection.write(&out).await;
    }
    let mut left = size;
    loop {
        let piece = if body.is_over() {
            Ok(None)
        } else {
            let mut next = pin!(body.next());
            match at_once(next.as_mut()).await {
                Some(piece) => piece,
                None if out.is_empty() => next.await,
                None => {
                    connection.write(&out).await?;
                    out.clear();
                    next.await
                }
            }
        };
        let Ok(piece) = piece else {
            return broken_off(connection, &out).await;
        };
        let Some(piece) = piece else {
            if left.is_some_and(|left| left > 0) {
                return broken_off(connection, &out).await;
            }
            if framing == Framing::Chunked {
                out.put_slice(b"0\r\n\r\n");
            }
            return if out.is_empty() {
                Ok(())
            } else {
                connection.write(&out).await
            };
        };
        if let Some(left) = &mut left {
            match left.checked_sub(piece.len()) {
                Some(rest) => *left = rest,
                None => return broken_off(connection, &out).await,
            }
        }
        if framing == Framing::Chunked {
            out.put_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        }
        if out.len() + piece.len() <= MAX_GATHERED {
            out.put_slice(&piece);
        } else {
            connection.write(&out).await?;
            out.clear();
            connection.write(&piece).await?;
        }
        if framing == Framing::Chunked {
            out.put_slice(b"\r\n");
        }
    }
}

#[cfg(test)]
mod tests;
