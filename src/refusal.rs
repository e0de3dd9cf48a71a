//! The closed set of reasons why a request is not let through.
//!
//! Log field, metric label, HTTP status and `docs/refusals.md` all come from the matches below.
use std::time::Duration;

use http::StatusCode;

use crate::delivery::Shortage;
use crate::verify::NotAuthentic;

/// The time after which a sender may retry while the store is full. A full disk does not empty within a second.
const RETRY_WHEN_FULL: Duration = Duration::from_secs(30);

/// The reason why a request is not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The head or the framing of the body could be read in more than one way.
    #[error("the request is malformed")]
    Malformed,
    /// The target is longer than `header_bytes`.
    #[error("the target is too long")]
    TargetTooLong,
    /// The head has too many bytes or lines.
    #[error("the head is too large")]
    HeadTooLarge,
    /// No route matches host and path.
    #[error("no route matches")]
    NoRoute,
    /// The request has already passed this gateway, or more than eight others.
    #[error("the request has passed this gateway before, so it is in a loop")]
    Loop,
    /// A webhook route guards the path of this request.
    #[error("the path is guarded by a webhook route")]
    PathGuarded,
    /// The route does not accept this method.
    #[error("the route does not accept this method")]
    MethodNotAllowed,
    /// The client's address is not in the route's `allow` list.
    #[error("the client is not allowed on this route")]
    ClientNotAllowed,
    /// The body is larger than the route's `max_body`.
    #[error("the body is larger than the route allows")]
    BodyTooLarge,
    /// The body did not arrive in time.
    #[error("the body did not arrive in time")]
    BodyTimeout,
    /// The sender could not be authenticated.
    #[error(transparent)]
    NotAuthentic(#[from] NotAuthentic),
    /// A rate limit is exceeded.
    #[error("a rate limit is exceeded")]
    RateLimited {
        /// The time until a new request can succeed.
        retry_after: Duration,
    },
    /// The limit of bytes in flight is reached.
    #[error("too many bytes are in flight")]
    Overloaded,
    /// Another request with the same delivery is being forwarded.
    #[error("the same delivery is in flight")]
    InFlight,
    /// The store does not answer. It holds the delivery IDs and the queue.
    #[error("the store does not answer")]
    StoreUnavailable,
    /// The store has no room for the delivery.
    #[error("the store has no room for the delivery")]
    StoreFull,
    /// The gateway is draining and accepts no more deliveries.
    #[error("the gateway is draining and accepts no more deliveries")]
    Draining,
    /// The upstream's circuit breaker is open.
    #[error("the upstream failed several times, so its circuit breaker is open")]
    UpstreamOpen {
        /// The time until the breaker lets a probe through.
        retry_after: Duration,
    },
    /// No connection to the upstream could be made.
    #[error("the upstream cannot be reached")]
    UpstreamUnreachable,
    /// The connection to the upstream broke before its response was complete.
    #[error("the upstream closed the connection before its response was complete")]
    UpstreamReset,
    /// The upstream's response is not valid HTTP.
    #[error("the upstream's response is malformed")]
    UpstreamMalformed,
    /// The upstream did not answer in time.
    #[error("the upstream did not answer in time")]
    UpstreamTimeout,
    /// The gateway's machine lacks a resource for a connection to the upstream.
    #[error("the gateway is out of {}", .0.words())]
    OutOf(Shortage),
    /// The gateway itself failed.
    #[error("the gateway failed")]
    Internal,
}

impl Refusal {
    /// All refusals, in the order of `docs/refusals.md`. Durations are placeholders.
    pub const ALL: &'static [Self] = &[
        Self::Malformed,
        Self::TargetTooLong,
        Self::HeadTooLarge,
        Self::NoRoute,
        Self::Loop,
        Self::PathGuarded,
        Self::MethodNotAllowed,
        Self::ClientNotAllowed,
        Self::BodyTooLarge,
        Self::BodyTimeout,
        Self::NotAuthentic(NotAuthentic::SignatureMissing),
        Self::NotAuthentic(NotAuthentic::SignatureMalformed),
        Self::NotAuthentic(NotAuthentic::SignatureMismatch),
        Self::NotAuthentic(NotAuthentic::TimestampMissing),
        Self::NotAuthentic(NotAuthentic::TimestampMalformed),
        Self::NotAuthentic(NotAuthentic::TimestampStale),
        Self::NotAuthentic(NotAuthentic::TimestampFuture),
        Self::RateLimited {
            retry_after: Duration::ZERO,
        },
        Self::Overloaded,
        Self::InFlight,
        Self::StoreUnavailable,
        Self::StoreFull,
        Self::Draining,
        Self::UpstreamOpen {
            retry_after: Duration::ZERO,
        },
        Self::UpstreamUnreachable,
        Self::UpstreamReset,
        Self::UpstreamMalformed,
        Self::UpstreamTimeout,
        Self::OutOf(Shortage::Descriptors),
        Self::OutOf(Shortage::Ports),
        Self::OutOf(Shortage::Memory),
        Self::Internal,
    ];

    /// Returns the stable code: log field and metric label. The sender never sees it.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TargetTooLong => "target_too_long",
            Self::HeadTooLarge => "head_too_large",
            Self::NoRoute => "no_route",
            Self::Loop => "loop",
            Self::PathGuarded => "path_guarded",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::ClientNotAllowed => "client_not_allowed",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyTimeout => "body_timeout",
            Self::NotAuthentic(why) => why.code(),
            Self::RateLimited { .. } => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::InFlight => "in_flight",
            Self::StoreUnavailable => "store_unavailable",
            Self::StoreFull => "store_full",
            Self::Draining => "draining",
            Self::UpstreamOpen { .. } => "upstream_open",
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::UpstreamReset => "upstream_reset",
            Self::UpstreamMalformed => "upstream_malformed",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::OutOf(Shortage::Descriptors) => "out_of_descriptors",
            Self::OutOf(Shortage::Ports) => "out_of_ports",
            Self::OutOf(Shortage::Memory) => "out_of_memory",
            Self::Internal => "internal",
        }
    }

    /// Returns the HTTP status that the sender sees. All requests that are not authentic get the same one, 401.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Loop => StatusCode::LOOP_DETECTED,
            Self::NoRoute | Self::PathGuarded => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::ClientNotAllowed => StatusCode::FORBIDDEN,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::NotAuthentic(_) => StatusCode::UNAUTHORIZED,
            Self::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Overloaded
            | Self::InFlight
            | Self::StoreUnavailable
            | Self::StoreFull
            | Self::Draining
            | Self::UpstreamOpen { .. }
            | Self::OutOf(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::UpstreamUnreachable | Self::UpstreamReset | Self::UpstreamMalformed => {
                StatusCode::BAD_GATEWAY
            }
            Self::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Returns the time until a new request can succeed, sent as `Retry-After` in whole seconds, at least one.
    pub fn retry_after(&self) -> Option<Duration> {
        if let Self::RateLimited { retry_after } | Self::UpstreamOpen { retry_after } = self {
            return Some(*retry_after);
        }
        if matches!(self, Self::StoreFull) {
            return Some(RETRY_WHEN_FULL);
        }
        matches!(
            self,
            Self::Overloaded
                | Self::InFlight
                | Self::StoreUnavailable
                | Self::Draining
                | Self::OutOf(_)
        )
        .then_some(Duration::from_secs(1))
    }

    /// Returns whether the connection is closed after the response: the next bytes on it may be the rest of a body.
    pub const fn closes(&self) -> bool {
        matches!(
            self,
            Self::Malformed
                | Self::TargetTooLong
                | Self::HeadTooLarge
                | Self::BodyTooLarge
                | Self::BodyTimeout
                | Self::Overloaded
        )
    }
}
