//! Checks the form of responses, and that a body of another length than announced drops the connection.
use std::collections::VecDeque;

use bytes::Bytes;
use http::HeaderValue;
use tokio::io::AsyncReadExt as _;

use super::*;
use crate::clock::{Clock as _, SystemClock};
use crate::delivery::{BodyPieces, Fault, Pending};

struct Pieces(VecDeque<Result<&'static str, Fault>>);

impl BodyPieces for Pieces {
    fn next(&mut self) -> Pending<'_, Result<Option<Bytes>, Fault>> {
        let next = self.0.pop_front().transpose();
        Box::pin(async move { Ok(next?.map(|piece| Bytes::from_static(piece.as_bytes()))) })
    }
}

/// Writes a 200 with a body of these pieces, and a length if one is announced. Returns the body as the sender gets it, and the result.
async fn written(
    length: Option<&'static str>,
    pieces: &[Result<&'static str, Fault>],
    form: RequestForm,
) -> (String, Option<bool>) {
    let (mut sender, io) = tokio::io::duplex(1 << 16);
    let mut connection = H1Connection::over(io);
    let mut headers = HeaderMap::new();
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static(length));
    }
    let response = Response {
        status: StatusCode::OK,
        headers,
        body: AnswerBody::Pieces(
            Bytes::new(),
            Box::new(Pieces(pieces.iter().copied().collect())),
        ),
        closes: false,
    };
    let result = write(&mut connection, response, form, SystemClock.now().wall).await;
    drop(connection);
    let mut text = String::new();
    sender.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    (body.to_owned(), result.ok())
}

const POST: RequestForm = RequestForm {
    is_head: false,
    is_1_0: false,
    closes: false,
};

#[tokio::test]
async fn body_is_framed_as_its_head_says() {
    let hello = [Ok("hel"), Ok(""), Ok("lo")];
    assert_eq!(
        written(Some("5"), &hello, POST).await,
        ("hello".to_owned(), Some(true))
    );
    assert_eq!(
        written(None, &hello, POST).await,
        ("3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n".to_owned(), Some(true))
    );
    let old = RequestForm {
        is_1_0: true,
        ..POST
    };
    assert_eq!(
        written(None, &hello, old).await,
        ("hello".to_owned(), Some(false))
    );
    let head = RequestForm {
        is_head: true,
        ..POST
    };
    assert_eq!(
        written(Some("5"), &hello, head).await,
        (String::new(), Some(true))
    );
}

#[tokio::test]
async fn body_of_another_length_drops_the_connection() {
    for (length, pieces, sent) in [
        (Some("5"), &[Ok("hel")][..], "hel"),
        (Some("5"), &[Ok("hel"), Err(Fault::Reset)], "hel"),
        (Some("2"), &[Ok("hel")], ""),
        (None, &[Ok("hel"), Err(Fault::Malformed)], "3\r\nhel\r\n"),
    ] {
        assert_eq!(
            written(length, pieces, POST).await,
            (sent.to_owned(), None),
            "{length:?} {pieces:?}"
        );
    }
}
