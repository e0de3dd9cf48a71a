//! The endpoints for stored deliveries: list, show, replay, cancel, purge, forget.
mod access;
mod act;
mod body;
mod errors;
mod filter;
mod forget;
mod plan;
mod read;
mod replay;
mod show;

pub(super) use act::attempt_now;

use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};

use super::endpoint::{Answers, Endpoint, Needs, schema};
use crate::api::actions::{
    ActAnswer, ActMany, Audit, Empty, Forget, Forgotten, Replay, ReplayBegun, Replays, Resume,
};
use crate::api::deliveries::{Deliveries, DeliveryDetails, Plan, ReplayMany, ReplayOne, Replayed};

/// Returns the endpoints for deliveries.
pub(super) fn endpoints() -> Vec<Endpoint> {
    let mut all = reading();
    all.extend(acting());
    all.extend(replaying());
    all
}

fn reading() -> Vec<Endpoint> {
    vec![
        Endpoint::get(
            "/-/deliveries",
            "Lists and searches deliveries, one page at a time.",
            Answers::Json(200, schema::<Deliveries>),
            get(read::list),
        )
        .with_query::<read::ListQuery>()
        .refuses(&[400, 404, 409]),
        Endpoint::get(
            "/-/deliveries/{id}",
            "Returns a delivery with its request and all attempts, by the gateway's ID or the provider's. If several deliveries have the provider's ID, the newest is returned.",
            Answers::Json(200, schema::<DeliveryDetails>),
            get(read::show),
        )
        .refuses(&[400, 404, 409]),
        Endpoint::get(
            "/-/deliveries/{id}/body",
            "Returns the body exactly as it was received.",
            Answers::Bytes(&["text/plain", "application/octet-stream"]),
            get(read::body),
        )
        .with_query::<read::BodyQuery>()
        .needs(Needs::Read)
        .refuses(&[400, 404, 409]),
        Endpoint::get(
            "/-/deliveries/{id}/http",
            "Returns the request in HTTP/1.1. Authenticators that are the secret itself are not stored and are left out.",
            Answers::Bytes(&["application/octet-stream"]),
            get(read::http),
        )
        .needs(Needs::Read)
        .refuses(&[400, 404, 409]),
        Endpoint::get(
            "/-/audit",
            "Lists the last entries of the audit log, newest first.",
            Answers::Json(200, schema::<Audit>),
            get(read::audit),
        )
        .with_query::<read::AuditQuery>()
        .refuses(&[400, 409]),
    ]
}

fn acting() -> Vec<Endpoint> {
    vec![
        Endpoint::post::<ReplayOne>(
            "/-/deliveries/{id}/replay",
            "Replays one delivery with a new retry budget. 409: nothing to replay in its present state, or another delivery has the same ID.",
            Answers::Json(200, schema::<Replayed>),
            post(act::replay_one),
        )
        .refuses(&[404, 409]),
        Endpoint::post::<ActMany>(
            "/-/deliveries/cancel",
            "Cancels waiting deliveries. A duplicate of a cancelled delivery, or a replay, revives it.",
            Answers::Json(200, schema::<ActAnswer>),
            post(act::cancel),
        )
        .refuses(&[404, 409]),
        Endpoint::post::<ActMany>(
            "/-/deliveries/purge",
            "Deletes deliveries permanently. The gateway still remembers the ID of a delivered one. One that was not delivered is accepted as new if it is sent again.",
            Answers::Json(200, schema::<ActAnswer>),
            post(act::purge),
        )
        .refuses(&[404, 409]),
        Endpoint::post::<Forget>(
            "/-/forget",
            "Forgets a delivery ID, so that the next delivery with it is accepted as new.",
            Answers::Json(200, schema::<Forgotten>),
            // the request may have a body in base64
            post(forget::forget).layer(DefaultBodyLimit::max(forget::MAX_FORGET_BODY)),
        )
        .refuses(&[404, 409]),
    ]
}

fn replaying() -> Vec<Endpoint> {
    vec![
        Endpoint::post::<ReplayMany>(
            "/-/deliveries/replay",
            "Starts a replay of all deliveries that a filter finds, one after the other. A dry run only returns the plan.",
            Answers::Json(202, schema::<ReplayBegun>),
            post(replay::replay_many),
        )
        .or(200, schema::<Plan>)
        .refuses(&[404, 409, 429]),
        Endpoint::get(
            "/-/replays",
            "Lists replays, newest first. A gateway forgets its replays when it is restarted.",
            Answers::Json(200, schema::<Replays>),
            get(replay::list),
        ),
        Endpoint::get(
            "/-/replays/{id}",
            "Returns a replay.",
            Answers::Json(200, schema::<Replay>),
            get(replay::show),
        )
        .refuses(&[400, 404]),
        Endpoint::post::<Empty>(
            "/-/replays/{id}/stop",
            "Stops a replay. Deliveries that it has already started go on.",
            Answers::Json(200, schema::<Replay>),
            post(replay::stop),
        )
        .refuses(&[404, 409]),
        Endpoint::post::<Resume>(
            "/-/replays/{id}/resume",
            "Resumes a stopped replay from where it was.",
            Answers::Json(202, schema::<Replay>),
            post(replay::resume),
        )
        .refuses(&[404, 409, 429]),
    ]
}

#[cfg(test)]
mod tests;
