//! Writes responses to the sender of a request, through pingora.
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, TRANSFER_ENCODING,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, Method, StatusCode, Version};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result as PingoraResult};

use crate::config::presets::RefusedBody;
use crate::config::snapshot::Acknowledgement;
use crate::delivery::Answer;
use crate::gateway::reply::{Receipt, RefusalResponse, Reply};
use crate::headers::{OWN_REQUEST_ID, REQUEST_ID};
use crate::refusal::Refusal;
use crate::request::RequestId;
use crate::verify::handshake::HandshakeResponse;

const HOOKGATE_STATUS: HeaderName = HeaderName::from_static("hookgate-status");

/// Writes the response that was decided on.
///
/// # Errors
/// The sender has left, or the body of the upstream's response broke off.
pub(super) async fn write_decided(
    session: &mut Session,
    decided: Result<Reply, RefusalResponse>,
    request_id: RequestId,
) -> PingoraResult<()> {
    match decided {
        Ok(Reply::Forwarded(answer)) => write_answer(session, answer, request_id).await,
        Ok(Reply::Accepted(Receipt { answer, acceptance })) => {
            write_acknowledgement(session, answer, acceptance.code(), request_id).await
        }
        Ok(Reply::Duplicate(answer)) => {
            write_acknowledgement(session, answer, "duplicate", request_id).await
        }
        Ok(Reply::Handshake(response)) => write_handshake(session, response, request_id).await,
        // a stream is answered by pingora's own loop
        Ok(Reply::Pass(..)) => write_refusal(session, Refusal::Internal.into(), request_id).await,
        Err(response) => write_refusal(session, response, request_id).await,
    }
}

/// Writes the upstream's response as it arrives.
async fn write_answer(
    session: &mut Session,
    mut answer: Answer,
    request_id: RequestId,
) -> PingoraResult<()> {
    let mut header = ResponseHeader::build_no_case(answer.status, Some(answer.headers.len() + 3))?;
    for (name, value) in &answer.headers {
        header.append_header(name, value)?;
    }
    if !answer.headers.contains_key(REQUEST_ID) {
        header.insert_header(REQUEST_ID, request_id.as_str())?;
    }
    header.insert_header(OWN_REQUEST_ID, request_id.as_str())?;
    if is_in_chunks(session, &answer) {
        header.insert_header(TRANSFER_ENCODING, "chunked")?;
    }
    session
        .as_downstream_mut()
        .write_response_header(Box::new(header))
        .await?;
    loop {
        match answer.body.next().await {
            Ok(Some(chunk)) => {
                let last = answer.body.is_over();
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
fn is_in_chunks(session: &Session, answer: &Answer) -> bool {
    let request = session.req_header();
    let bodiless = request.method == Method::HEAD
        || matches!(
            answer.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
    request.version == Version::HTTP_11 && !bodiless && !answer.headers.contains_key(CONTENT_LENGTH)
}

/// Writes the route's response to a delivery that is stored, or to a duplicate. `code` says which.
async fn write_acknowledgement(
    session: &mut Session,
    answer: Acknowledgement,
    code: &'static str,
    request_id: RequestId,
) -> PingoraResult<()> {
    let Acknowledgement {
        status,
        body,
        content_type,
    } = answer;
    let mut header = ResponseHeader::build_no_case(status, Some(5))?;
    header.insert_header(HOOKGATE_STATUS, code)?;
    if let Some(content_type) = content_type {
        header.insert_header(CONTENT_TYPE, content_type)?;
    }
    write_whole(session, header, request_id, body).await
}

/// Writes the response to a handshake. It repeats text of the request, so its headers keep browsers from rendering it.
async fn write_handshake(
    session: &mut Session,
    response: HandshakeResponse,
    request_id: RequestId,
) -> PingoraResult<()> {
    let mut header =
        ResponseHeader::build_no_case(StatusCode::OK, Some(response.headers.len() + 5))?;
    if let Some(content_type) = response.content_type {
        header.insert_header(CONTENT_TYPE, content_type)?;
    }
    header.insert_header(X_CONTENT_TYPE_OPTIONS, "nosniff")?;
    header.insert_header(CACHE_CONTROL, "no-store")?;
    for (name, value) in response.headers {
        header.insert_header(name, value)?;
    }
    write_whole(session, header, request_id, response.body).await
}

/// Writes the response to a refused request. Its body has the status in words and the request ID, or is empty; the reason is in the log alone.
pub(super) async fn write_refusal(
    session: &mut Session,
    response: RefusalResponse,
    request_id: RequestId,
) -> PingoraResult<()> {
    let RefusalResponse {
        refusal,
        status,
        body,
        allow,
    } = response;
    let mut header = ResponseHeader::build_no_case(status, Some(7))?;
    // an interim response that was cut short has left this off
    session.set_close_on_response_before_downstream_finish(true);
    if refusal.closes() {
        session.set_keepalive(None);
    }
    if let Some(after) = refusal.retry_after() {
        header.insert_header(RETRY_AFTER, whole_seconds(after))?;
    }
    if let Some(allow) = allow {
        header.insert_header(ALLOW, allow)?;
    }
    header.insert_header(CACHE_CONTROL, "no-store")?;
    let body = match body {
        RefusedBody::Empty => Bytes::new(),
        RefusedBody::Json => {
            header.insert_header(CONTENT_TYPE, "application/json")?;
            let words = status.canonical_reason().unwrap_or("Error");
            format!("{{\"error\":\"{words}\",\"request_id\":\"{request_id}\"}}\n").into()
        }
    };
    write_whole(session, header, request_id, body).await
}

async fn write_whole(
    session: &mut Session,
    mut header: ResponseHeader,
    request_id: RequestId,
    body: Bytes,
) -> PingoraResult<()> {
    header.insert_header(REQUEST_ID, request_id.as_str())?;
    header.insert_header(OWN_REQUEST_ID, request_id.as_str())?;
    if header.status != StatusCode::NO_CONTENT {
        header.insert_header(CONTENT_LENGTH, HeaderValue::from(body.len()))?;
    }
    header.set_version(Version::HTTP_11);
    session
        .as_downstream_mut()
        .write_response_header(Box::new(header))
        .await?;
    session
        .as_downstream_mut()
        .write_response_body(body, true)
        .await
}

/// Returns the duration in whole seconds, rounded up, at least one.
fn whole_seconds(duration: Duration) -> HeaderValue {
    HeaderValue::from(
        duration
            .as_secs()
            .saturating_add(u64::from(duration.subsec_nanos() > 0))
            .max(1),
    )
}
