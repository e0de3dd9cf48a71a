//! Errors that several endpoints of deliveries return.
use axum::http::StatusCode;

use crate::admin::answer::Denied;
use crate::store::StoreError;
use crate::web::problem::quoted;

/// Returns the error for a store that cannot be read or written.
pub(super) fn unavailable(error: &StoreError) -> Denied {
    Denied::new(
        StatusCode::SERVICE_UNAVAILABLE,
        &error.to_string(),
        "repeat the request; `hookgate status` shows the state of the store",
    )
}

/// Returns the error for a gateway without a store on disk.
pub(super) fn no_store() -> Denied {
    Denied::new(
        StatusCode::CONFLICT,
        "the gateway stores no deliveries: the config has no `store.path` and no `store.postgres`",
        "set `store.path` or `store.postgres`, and restart the gateway",
    )
}

/// Returns the error for an unknown delivery.
pub(super) fn no_delivery(id: &str) -> Denied {
    Denied::new(
        StatusCode::NOT_FOUND,
        &format!("there is no delivery {}", quoted(id)),
        "`GET /-/deliveries` lists the stored deliveries; use the gateway's ID or the provider's",
    )
}

/// Returns the error for an unknown route.
pub(super) fn no_route(name: &str) -> Denied {
    Denied::new(
        StatusCode::NOT_FOUND,
        &format!("there is no route {}", quoted(name)),
        "`GET /-/status` lists the routes; routes that are gone from the config keep their names",
    )
}

/// Returns the error for an unknown tenant or endpoint.
pub(super) fn no_such(kind: &str, name: &str) -> Denied {
    Denied::new(
        StatusCode::NOT_FOUND,
        &format!("there is no {kind} {}", quoted(name)),
        "the API of `outbound.listen` lists tenants and their endpoints",
    )
}

/// Returns the error for an invalid request.
pub(super) fn bad_request(error: &str, help: &'static str) -> Denied {
    Denied::new(StatusCode::BAD_REQUEST, error, help)
}
