//! Writes answers to the sender of a request through pingora.
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
use crate::config::snapshot::{Acknowledgement, RefusedAnswer};
use crate::delivery::Answer;
use crate::headers::{OWN_REQUEST_ID, REQUEST_ID};
use crate::refusal::Refusal;
use crate::request::RequestId;
use crate::verify::handshake::HandshakeResponse;

const HOOKGATE_STATUS: HeaderName = HeaderName::from_static("hookgate-status");

/// Passes the upstream's answer on as it comes.
pub(super) async fn write_answer(
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
            // the head is gone already; closing tells the sender that the rest is missing
            Err(_) => return Error::e_explain(ErrorType::ReadError, "the answer broke off"),
        }
    }
}

/// Whether the body of an answer goes out in chunks, so that its end can be told from a break, and the connection lives on.
fn is_in_chunks(session: &Session, answer: &Answer) -> bool {
    let request = session.req_header();
    let bodiless = request.method == Method::HEAD
        || matches!(
            answer.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
    request.version == Version::HTTP_11 && !bodiless && !answer.headers.contains_key(CONTENT_LENGTH)
}

/// Writes the route's answer to a delivery that is on the disk, or was handed on before. `code` says which.
pub(super) async fn write_acknowledgement(
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

/// What a provider tests the endpoint with holds text of its own: no browser may take the answer for a page.
pub(super) async fn write_full(
    session: &mut Session,
    full: HandshakeResponse,
    request_id: RequestId,
) -> PingoraResult<()> {
    let mut header = ResponseHeader::build_no_case(StatusCode::OK, Some(full.headers.len() + 5))?;
    if let Some(content_type) = full.content_type {
        header.insert_header(CONTENT_TYPE, content_type)?;
    }
    header.insert_header(X_CONTENT_TYPE_OPTIONS, "nosniff")?;
    header.insert_header(CACHE_CONTROL, "no-store")?;
    for (name, value) in full.headers {
        header.insert_header(name, value)?;
    }
    write_whole(session, header, request_id, full.body).await
}

/// How a refusal is answered.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    refusal: Refusal,
    /// The status of the answer.
    pub(super) status: StatusCode,
    body: RefusedBody,
    /// The methods of the route, for 405.
    pub(super) allow: Option<String>,
}

impl Refused {
    /// Returns the code of the refusal.
    pub(super) fn code(&self) -> &'static str {
        self.refusal.code()
    }

    /// Returns the answer to `refusal` on a route with this answer to what is not authentic.
    pub(super) fn of(refusal: Refusal, not_authentic: Option<RefusedAnswer>) -> Self {
        let RefusedAnswer { status, body } = match (refusal, not_authentic) {
            (Refusal::NotAuthentic(_), Some(answer)) => answer,
            _ => RefusedAnswer {
                status: refusal.status(),
                body: RefusedBody::Json,
            },
        };
        Self {
            refusal,
            status,
            body,
            allow: None,
        }
    }
}

/// Writes a short generic body: the status in words and the request ID; or none. The reason stands in the log, not here.
pub(super) async fn write_refusal(
    session: &mut Session,
    refused: Refused,
    request_id: RequestId,
) -> PingoraResult<()> {
    let Refused {
        refusal,
        status,
        body,
        allow,
    } = refused;
    let mut header = ResponseHeader::build_no_case(status, Some(7))?;
    // an invitation that was cut short has left this off
    session.set_close_on_response_before_downstream_finish(true);
    if refusal.closes() {
        session.set_keepalive(None);
    }
    if let Some(after) = refusal.retry_after() {
        header.insert_header(RETRY_AFTER, whole_seconds(after))?;
    }
    if let Some(allow) = allow.filter(|_| status == StatusCode::METHOD_NOT_ALLOWED) {
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

/// Rounded up, at least one.
fn whole_seconds(duration: Duration) -> HeaderValue {
    HeaderValue::from(
        duration
            .as_secs()
            .saturating_add(u64::from(duration.subsec_nanos() > 0))
            .max(1),
    )
}
