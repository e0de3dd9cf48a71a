//! The calls for stored deliveries: list, show, replay, cancel, purge, forget; and those for refused requests that are kept.
mod access;
mod act;
mod audit;
mod body;
mod errors;
mod explain;
mod filter;
mod forget;
mod plan;
mod quarantine;
mod read;
mod replay;
mod show;

pub(super) use act::attempt_now;

use super::table::{AdminCall, Needs, change_call, read_call};
use crate::api::actions::{
    ActAnswer, ActMany, Audit, Empty, Forget, Forgotten, Replay, ReplayBegun, Replays, Resume,
};
use crate::api::deliveries::{Deliveries, DeliveryDetails, Plan, ReplayMany, ReplayOne, Replayed};
use crate::web::call::{Answers, schema};

/// Returns the calls for deliveries.
pub(super) fn calls() -> Vec<AdminCall> {
    let mut all = reading();
    all.extend(acting());
    all.extend(replaying());
    all.extend(quarantine::calls());
    all.extend(explain::calls());
    all
}

fn reading() -> Vec<AdminCall> {
    vec![
        read_call(
            "/-/deliveries",
            "Lists and searches deliveries, one page at a time.",
            Answers::Json(200, schema::<Deliveries>),
            read::list,
        )
        .with_query::<read::ListQuery>()
        .refuses(&[400, 404, 409, 503]),
        read_call(
            "/-/deliveries/{id}",
            "Returns a delivery with its request and all attempts, by the gateway's ID or the provider's. If several deliveries have the provider's ID, the newest is returned.",
            Answers::Json(200, schema::<DeliveryDetails>),
            read::show,
        )
        .refuses(&[400, 404, 409, 503]),
        read_call(
            "/-/deliveries/{id}/body",
            "Returns the body exactly as it was received.",
            Answers::Bytes(&["text/plain", "application/octet-stream"]),
            read::body,
        )
        .with_query::<read::BodyQuery>()
        .needs(&Needs::Read)
        .refuses(&[400, 404, 409, 503]),
        read_call(
            "/-/deliveries/{id}/http",
            "Returns the request in HTTP/1.1. Authenticators that are the secret itself are not stored and are left out.",
            Answers::Bytes(&["application/octet-stream"]),
            read::http,
        )
        .needs(&Needs::Read)
        .refuses(&[400, 404, 409, 503]),
        read_call(
            "/-/audit",
            "Lists the last entries of the audit log, newest first.",
            Answers::Json(200, schema::<Audit>),
            audit::audit,
        )
        .with_query::<audit::AuditQuery>()
        .refuses(&[400, 409, 503]),
    ]
}

fn acting() -> Vec<AdminCall> {
    vec![
        change_call(
            "/-/deliveries/{id}/replay",
            "Replays one delivery with a new retry budget. 409: nothing to replay in its present state, or another delivery has the same ID.",
            Answers::Json(200, schema::<Replayed>),
            act::replay_one,
        ).with_body::<ReplayOne>()
        .refuses(&[404, 409, 503]),
        change_call(
            "/-/deliveries/cancel",
            "Cancels waiting deliveries. A duplicate of a cancelled delivery, or a replay, revives it.",
            Answers::Json(200, schema::<ActAnswer>),
            act::cancel,
        ).with_body::<ActMany>()
        .refuses(&[404, 409, 503]),
        change_call(
            "/-/deliveries/purge",
            "Deletes deliveries permanently. The gateway still remembers the ID of a delivered one. One that was not delivered is accepted as new if it is sent again.",
            Answers::Json(200, schema::<ActAnswer>),
            act::purge,
        ).with_body::<ActMany>()
        .refuses(&[404, 409, 503]),
        change_call(
            "/-/forget",
            "Forgets a delivery ID, so that the next delivery with it is accepted as new.",
            Answers::Json(200, schema::<Forgotten>),
            forget::forget,
        ).with_body::<Forget>()
        // the request may have a body in base64
        .max_body(forget::MAX_FORGET_BODY)
        .refuses(&[404, 409, 503]),
    ]
}

fn replaying() -> Vec<AdminCall> {
    vec![
        change_call(
            "/-/deliveries/replay",
            "Starts a replay of all deliveries that a filter finds, one after the other. A dry run only returns the plan.",
            Answers::Json(202, schema::<ReplayBegun>),
            replay::replay_many,
        ).with_body::<ReplayMany>()
        .or(200, schema::<Plan>)
        .refuses(&[404, 409, 429, 503]),
        read_call(
            "/-/replays",
            "Lists replays, newest first. A gateway forgets its replays when it is restarted.",
            Answers::Json(200, schema::<Replays>),
            replay::list,
        ),
        read_call(
            "/-/replays/{id}",
            "Returns a replay.",
            Answers::Json(200, schema::<Replay>),
            replay::show,
        )
        .refuses(&[400, 404]),
        change_call(
            "/-/replays/{id}/stop",
            "Stops a replay. Deliveries that it has already started go on.",
            Answers::Json(200, schema::<Replay>),
            replay::stop,
        ).with_body::<Empty>()
        .refuses(&[404, 409]),
        change_call(
            "/-/replays/{id}/resume",
            "Resumes a stopped replay from where it was.",
            Answers::Json(202, schema::<Replay>),
            replay::resume,
        ).with_body::<Resume>()
        .refuses(&[404, 409, 429]),
    ]
}

#[cfg(test)]
mod tests;
