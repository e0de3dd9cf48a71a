//! Parses the bodies of requests that change deliveries.
use std::sync::Arc;

use axum::extract::rejection::BytesRejection;
use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::errors::bad_request;
use crate::admin::answer::Denied;
use crate::store::text::storable;

/// The maximum length of a reason in bytes.
const MAX_REASON: usize = 1024;

/// The body of a request. Its size is limited by a layer.
pub(super) type RequestBody = Result<Bytes, BytesRejection>;

/// Parses the JSON object in a body. An empty body counts as an empty object.
pub(super) fn parse_body<T: DeserializeOwned>(body: RequestBody) -> Result<T, Denied> {
    const HELP: &str = "`GET /-/openapi.json` describes all requests";
    let body = body
        .map_err(|error| Denied::new(error.status(), &error.body_text(), "send at most 64 KiB"))?;
    let json = match body.trim_ascii() {
        b"" => &b"{}"[..],
        _ => &body[..],
    };
    // the parser would also take a list of the fields in their order
    if !json.trim_ascii_start().starts_with(b"{") {
        return Err(bad_request("the body is not a JSON object", HELP));
    }
    serde_json::from_slice(json).map_err(|error| bad_request(&error.to_string(), HELP))
}

/// Checks the length of a reason for the audit log, and returns it as it is stored.
pub(super) fn parse_reason(text: &str) -> Result<Arc<str>, Denied> {
    if text.len() > MAX_REASON {
        return Err(bad_request(
            &format!("`reason` is longer than {MAX_REASON} bytes"),
            "write a shorter reason",
        ));
    }
    Ok(storable(text).into())
}
