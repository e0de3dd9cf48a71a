//! The body of a request: its length, its bytes, its JSON.
use std::future::poll_fn;
use std::pin::Pin;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use http_body::Body as _;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;

use super::fault::{Fault, HELP};
use super::pointer::{child, pointer};
use crate::event::document::{self, DocumentFault};
use crate::web::problem::Problem;

/// A JSON object in the body of a request, of at most `MAX` bytes. An empty body counts as an empty object.
#[derive(Clone, Copy, Debug)]
pub struct JsonBody<T, const MAX: usize = 65_536>(pub T);

impl<T, S, const MAX: usize> FromRequest<S> for JsonBody<T, MAX>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (head, body) = request.into_parts();
        let length = body_length(&head.headers, MAX)?;
        let body = read_body(body, length).await?;
        let parsed = parse(&body)?;
        check_document(&body)?;
        Ok(Self(parsed))
    }
}

/// Checks that a body means the same to every parser: no object in it has a key twice. An empty body is good.
///
/// # Errors
/// The first object that does, or the first place that is no JSON.
pub fn check_document(body: &[u8]) -> Result<(), Problem> {
    if body.trim_ascii().is_empty() {
        return Ok(());
    }
    document::check(body).map_err(|fault| {
        let (line, column) = fault.position();
        let help = format!("see line {line}, column {column} of the body");
        match &fault {
            DocumentFault::NotJson { .. } => Problem::bad_request(fault.to_string(), help),
            DocumentFault::RepeatedKey { at, .. } => {
                let code = "repeated_key";
                Problem::new(StatusCode::BAD_REQUEST, code, fault.to_string(), help).at(at)
            }
            DocumentFault::ReservedKey { at, .. } => {
                Problem::bad_request(fault.to_string(), help).at(at)
            }
        }
    })
}

/// Returns the length of a body before it is read, so that the caller can reserve memory for it.
///
/// # Errors
/// If the length is unknown, or greater than `max`.
pub fn body_length(headers: &HeaderMap, max: usize) -> Result<usize, Problem> {
    let unknown = || {
        Problem::new(
            StatusCode::LENGTH_REQUIRED,
            "length_required",
            "the length of the body is unknown",
            "send `Content-Length`, and no `Transfer-Encoding`",
        )
    };
    if headers.contains_key(TRANSFER_ENCODING) {
        return Err(unknown());
    }
    // without either header there is no body
    let Some(length) = headers.get(CONTENT_LENGTH) else {
        return Ok(0);
    };
    let digits = length.to_str().map_err(|_| unknown())?;
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(unknown());
    }
    // digits that are no number are too large for one
    match digits.parse::<usize>() {
        Ok(length) if length <= max => Ok(length),
        Ok(_) | Err(_) => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            format!("the body is larger than {max} bytes"),
            "send less in one request",
        )),
    }
}

/// Reads a body of this length.
///
/// # Errors
/// If the body ends early.
pub async fn read_body(mut body: Body, length: usize) -> Result<Bytes, Problem> {
    let mut bytes = Vec::with_capacity(length);
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(frame) = frame else { break };
        if let Ok(data) = frame.into_data() {
            bytes.extend_from_slice(&data);
        }
        if bytes.len() > length {
            break;
        }
    }
    if bytes.len() == length {
        Ok(bytes.into())
    } else {
        Err(Problem::bad_request(
            "the body does not have the announced length",
            "send as many bytes as `Content-Length` says",
        ))
    }
}

/// Parses the JSON object in a body. An empty body counts as an empty object.
///
/// # Errors
/// If the body is not such an object. The error names the field, and never a value.
pub fn parse<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, Problem> {
    let json = match body.trim_ascii() {
        b"" => b"{}",
        _ => body,
    };
    // the parser would also take a list of the fields in their order
    if !json.trim_ascii_start().starts_with(b"{") {
        return Err(Problem::bad_request("the body is not a JSON object", HELP));
    }
    serde_json::from_slice(json).map_err(|error| problem(&error, json))
}

fn problem(error: &serde_json::Error, json: &[u8]) -> Problem {
    let end = offset(json, error.line(), error.column());
    let (fault, end) = match error.classify() {
        Category::Data => {
            let message = error.to_string();
            let place = format!(" at line {} column {}", error.line(), error.column());
            let message = message.strip_suffix(&place).unwrap_or(&message);
            (Fault::read(message), end)
        }
        // the parser also says so of a number where the name of a variant is expected; the place is then its first byte
        Category::Syntax if serde_json::from_slice::<IgnoredAny>(json).is_ok() => {
            (Fault::Other(None), end.saturating_sub(1))
        }
        Category::Syntax | Category::Eof | Category::Io => {
            return Problem::bad_request(format!("the body is not JSON: {error}"), HELP);
        }
    };
    let mut at = pointer(json, end);
    if let Fault::Missing(name) = &fault {
        at = child(&at, name);
    }
    let mut place = match at.is_empty() {
        true => "the body".to_owned(),
        false => format!("`{at}`"),
    };
    // a type with checks of its own may refuse the last value of an object after the parser has read the object's end
    let last = end.checked_sub(1).and_then(|last| json.get(last));
    if matches!(fault, Fault::Other(_)) && matches!(last, Some(b'}' | b']')) {
        place = format!("a value in {place}");
    }
    fault.problem(&place).at(at)
}

/// Returns the number of bytes before a place of a text. Columns are counted in bytes, from 1.
fn offset(json: &[u8], line: usize, column: usize) -> usize {
    let before = json.split_inclusive(|&byte| byte == b'\n');
    let lines: usize = before.take(line.saturating_sub(1)).map(<[u8]>::len).sum();
    lines + column
}
