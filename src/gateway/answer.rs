//! Writes responses through pingora.
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{Method, StatusCode, Version};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result as PingoraResult};

use crate::delivery::AnswerBody;
use crate::gateway::response::Response;

/// Writes a response.
///
/// # Errors
/// The sender has left, or the body of the upstream's response broke off.
pub(super) async fn write(session: &mut Session, response: Response) -> PingoraResult<()> {
    let Response {
        status,
        headers,
        body,
        closes,
    } = response;
    let is_whole = matches!(body, AnswerBody::Whole(_));
    if is_whole {
        // an interim response that was cut short has left this off
        session.set_close_on_response_before_downstream_finish(true);
    }
    if closes {
        session.set_keepalive(None);
    }
    let mut header = ResponseHeader::build_no_case(status, Some(headers.len() + 2))?;
    for (name, value) in &headers {
        header.append_header(name, value)?;
    }
    header.set_version(Version::HTTP_11);
    if !is_whole && is_in_chunks(session, &header) {
        header.insert_header(TRANSFER_ENCODING, "chunked")?;
    }
    session
        .as_downstream_mut()
        .write_response_header(Box::new(header))
        .await?;
    match body {
        AnswerBody::Whole(bytes) => {
            session
                .as_downstream_mut()
                .write_response_body(bytes, true)
                .await
        }
        body @ AnswerBody::Pieces(..) => stream(session, body).await,
    }
}

/// Writes the body of the upstream's response as it arrives.
async fn stream(session: &mut Session, mut body: AnswerBody) -> PingoraResult<()> {
    loop {
        match body.next().await {
            Ok(Some(chunk)) => {
                let last = body.is_over();
                session
                    .as_downstream_mut()
                    .write_response_body(chunk, last)
                    .await?;
                if last {
                    return Ok(());
                }
            }
            Ok(None) => {
                return session
                    .as_downstream_mut()
                    .write_response_body(Bytes::new(), true)
                    .await;
            }
            // the head is sent already: closing the connection tells the sender that the rest is missing
            Err(_) => {
                return Error::e_explain(ErrorType::ReadError, "the upstream's response broke off");
            }
        }
    }
}

/// Returns whether the body of a response is sent in chunks, so that its end differs from a break and the connection can be reused.
fn is_in_chunks(session: &Session, response: &ResponseHeader) -> bool {
    let request = session.req_header();
    let bodiless = request.method == Method::HEAD
        || matches!(
            response.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
    request.version == Version::HTTP_11
        && !bodiless
        && !response.headers.contains_key(CONTENT_LENGTH)
}
