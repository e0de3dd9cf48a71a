//! The errors of the API.
use std::time::Duration;

use axum::http::StatusCode;

use crate::store::StoreError;
use crate::tenant::Invalid;
use crate::web::problem::Problem;

/// The time after which a client may repeat a request that the gateway could not take now.
const SOON: Duration = Duration::from_secs(1);
/// The time after which a client may repeat a request for which the disk is full.
const LATER: Duration = Duration::from_secs(30);
/// The advice for everything that may be repeated.
const REPEAT: &str = "send the same request again, with the same key";

/// Makes the error of a store that does not answer.
pub(super) fn store(error: &StoreError) -> Problem {
    match error {
        StoreError::Full => unavailable("store_full", "the store is full", LATER),
        StoreError::Unavailable(_) | StoreError::Unknown(_) | StoreError::Corrupted(_) => {
            unavailable("store_unavailable", "the store does not answer", SOON)
        }
    }
}

/// Makes the error of a request that may be repeated.
pub(super) fn unavailable(code: &'static str, error: &str, after: Duration) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, error, REPEAT).retry_after(after)
}

/// Makes the error of a gateway that is stopping.
pub(super) fn leaving() -> Problem {
    unavailable("leaving", "the gateway is stopping", SOON)
}

/// Makes the error of a request that failed because of a fault of the gateway.
pub(super) fn internal() -> Problem {
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
        "the gateway failed; its log says why",
        "report it, with the log",
    )
}

/// Makes the error of a version that a type does not have.
pub(super) fn unknown_version(version: u32) -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "unknown_version",
        format!("the type has no version {version}"),
        "GET /v1/event-types to see its versions",
    )
    .at("/version")
}

/// Makes the error of a gateway that holds as much as it may.
pub(super) fn overloaded() -> Problem {
    unavailable(
        "overloaded",
        "the gateway holds as many requests as it may",
        SOON,
    )
}

/// Makes the error of a config without `outbound`.
pub(super) fn off() -> Problem {
    unavailable("off", "the config that runs now does not send", LATER)
}

/// Makes the error for a field that cannot be used.
pub(super) fn invalid(invalid: Invalid) -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "invalid",
        invalid.error,
        invalid.help,
    )
    .at(invalid.at)
}

/// Makes the error for a name that does not exist.
pub(super) fn missing(code: &'static str, kind: &str) -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        code,
        format!("there is no such {kind}"),
        "check the path",
    )
}

/// Makes the error of a change that another one came before.
pub(super) fn conflict() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "conflict",
        "another request changed it at the same time",
        "read it, and send the change again",
    )
}

/// Makes the error of an endpoint whose job is not over.
pub(super) fn busy() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "busy",
        "a job of the endpoint is not over",
        "wait until it ends, or stop a recovery with POST …/job/stop",
    )
}

/// Makes the error of a name that is taken.
pub(super) fn taken() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "taken",
        "another endpoint of the tenant has this `uid`",
        "choose another one, or change that endpoint with PUT or PATCH",
    )
    .at("/uid")
}
