//! One record a request: log line, metrics, recent refusals are views of it.
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{Method, StatusCode};

use crate::request::{Client, RequestId};

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The upstream's answer was passed on.
    Forwarded(StatusCode),
    /// A duplicate of a delivery that was handed on, answered without the upstream.
    Duplicate(StatusCode),
    /// Not let through.
    Refused {
        /// The refusal's stable code.
        code: &'static str,
        /// What the sender saw.
        status: StatusCode,
    },
    /// The request was dropped before it came to an end (the gate left, or failed).
    Abandoned,
}

/// What is known of one request, filled as it goes; closed by [`super::Telemetry::close`].
#[derive(Clone, Debug)]
pub struct Facts {
    /// The gate's own ID of it.
    pub request_id: RequestId,
    /// The sender's own `X-Request-Id`, if it is printable and short.
    pub sender_request_id: Option<Box<str>>,
    /// The route's name.
    pub route: Option<Arc<str>>,
    /// The preset's name.
    pub provider: Option<Arc<str>>,
    /// The method.
    pub method: Method,
    /// The path, never the query; unprintable bytes escaped.
    pub path: Box<str>,
    /// Who sent it.
    pub client: Client,
    /// When its head was complete.
    pub received_at: SystemTime,
    /// Bytes of the body that arrived.
    pub body_bytes: u64,
    /// The name of the secret that matched.
    pub secret: Option<Arc<str>>,
    /// The provider's delivery ID, cleaned for showing.
    pub delivery_id: Option<Box<str>>,
    /// The event type, cleaned for showing.
    pub event_type: Option<Box<str>>,
    /// How far the signed time was behind the gate's clock, in milliseconds; negative: ahead.
    pub skew_ms: Option<i64>,
    /// CPU-bound time spent on the verdict after the body was there.
    pub verify_time: Option<Duration>,
    /// From the claim to the head of the upstream's answer.
    pub upstream_time: Option<Duration>,
    /// The name of the upstream it was handed to.
    pub upstream: Option<Arc<str>>,
    /// How many times the upstream was tried.
    pub attempts: u32,
    /// The commit came too late: another took the claim over.
    pub lost_claim: bool,
}
