//! The response that the sender of a request gets. Pure: it is written by the server that the request came through.
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::config::presets::RefusedBody;
use crate::config::snapshot::Acknowledgement;
use crate::delivery::{Answer, AnswerBody};
use crate::gateway::reply::{Receipt, RefusalResponse, Reply};
use crate::headers::{OWN_REQUEST_ID, REQUEST_ID};
use crate::refusal::Refusal;
use crate::request::RequestId;
use crate::verify::handshake::HandshakeResponse;

const HOOKGATE_STATUS: HeaderName = HeaderName::from_static("hookgate-status");

/// A response.
#[derive(Debug)]
pub(super) struct Response {
    /// The status.
    pub(super) status: StatusCode,
    /// The header lines, without those that are the server's: date, connection, transfer coding.
    pub(super) headers: HeaderMap,
    /// The body.
    pub(super) body: AnswerBody,
    /// Whether the connection is closed after it.
    pub(super) closes: bool,
}

impl Response {
    /// Returns the response that was decided on.
    pub(super) fn of(decided: Result<Reply, RefusalResponse>, request_id: RequestId) -> Self {
        match decided {
            Ok(Reply::Forwarded(answer)) => Self::forwarded(answer, request_id),
            Ok(Reply::Accepted(Receipt { answer, acceptance })) => {
                Self::acknowledgement(answer, acceptance.code(), request_id)
            }
            Ok(Reply::Duplicate(answer)) => Self::acknowledgement(answer, "duplicate", request_id),
            Ok(Reply::Handshake(response)) => Self::handshake(response, request_id),
            // a stream is answered by pingora's own loop
            Ok(Reply::Pass(..)) => Self::refusal(Refusal::Internal.into(), request_id),
            Err(response) => Self::refusal(response, request_id),
        }
    }

    /// Returns the upstream's response.
    fn forwarded(answer: Answer, request_id: RequestId) -> Self {
        let Answer {
            status,
            mut headers,
            body,
        } = answer;
        let id = id_value(request_id);
        if !headers.contains_key(REQUEST_ID) {
            headers.insert(REQUEST_ID, id.clone());
        }
        headers.insert(OWN_REQUEST_ID, id);
        Self {
            status,
            headers,
            body,
            closes: false,
        }
    }

    /// Returns the route's response to a delivery that is stored, or to a duplicate. `code` says which.
    fn acknowledgement(answer: Acknowledgement, code: &'static str, request_id: RequestId) -> Self {
        let Acknowledgement {
            status,
            body,
            content_type,
        } = answer;
        let mut headers = HeaderMap::with_capacity(5);
        headers.insert(HOOKGATE_STATUS, HeaderValue::from_static(code));
        if let Some(content_type) = content_type {
            headers.insert(CONTENT_TYPE, content_type);
        }
        Self::whole(status, headers, request_id, body)
    }

    /// Returns the response to a handshake. It repeats text of the request, so its headers keep browsers from rendering it.
    fn handshake(response: HandshakeResponse, request_id: RequestId) -> Self {
        let mut headers = HeaderMap::with_capacity(response.headers.len() + 5);
        if let Some(content_type) = response.content_type {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in response.headers {
            headers.insert(name, value);
        }
        Self::whole(StatusCode::OK, headers, request_id, response.body)
    }

    /// Returns the response to a refused request. Its body has the status in words and the request ID, or is empty; the reason is in the log
    /// alone.
    pub(super) fn refusal(response: RefusalResponse, request_id: RequestId) -> Self {
        let RefusalResponse {
            refusal,
            status,
            body,
            allow,
        } = response;
        let mut headers = HeaderMap::with_capacity(7);
        if let Some(after) = refusal.retry_after() {
            headers.insert(RETRY_AFTER, whole_seconds(after));
        }
        if let Some(allow) = allow.and_then(|allow| HeaderValue::try_from(allow).ok()) {
            headers.insert(ALLOW, allow);
        }
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let body = match body {
            RefusedBody::Empty => Bytes::new(),
            RefusedBody::Json => {
                let json = HeaderValue::from_static("application/json");
                headers.insert(CONTENT_TYPE, json);
                let words = status.canonical_reason().unwrap_or("Error");
                format!("{{\"error\":\"{words}\",\"request_id\":\"{request_id}\"}}\n").into()
            }
        };
        Self {
            closes: refusal.closes(),
            ..Self::whole(status, headers, request_id, body)
        }
    }

    fn whole(
        status: StatusCode,
        mut headers: HeaderMap,
        request_id: RequestId,
        body: Bytes,
    ) -> Self {
        let id = id_value(request_id);
        headers.insert(REQUEST_ID, id.clone());
        headers.insert(OWN_REQUEST_ID, id);
        if status != StatusCode::NO_CONTENT {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        Self {
            status,
            headers,
            body: AnswerBody::Whole(body),
            closes: false,
        }
    }
}

fn id_value(request_id: RequestId) -> HeaderValue {
    HeaderValue::from_str(request_id.as_str()).unwrap_or(HeaderValue::from_static(""))
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
