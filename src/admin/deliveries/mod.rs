//! Deliveries: looked at, replayed, cancelled, purged.
mod act;
mod desk;
mod filter;
mod plan;
mod read;
pub(super) mod replay;
mod show;

pub(super) use act::attempt_now;
pub use desk::{DeliveryName, Desk, Keyed, Policy};

use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};

use super::endpoint::{Answers, Endpoint, Needs, schema};

/// What is asked of deliveries.
pub(super) fn endpoints() -> Vec<Endpoint> {
    let mut all = looking();
    all.extend(acting());
    all.extend(replaying());
    all
}

fn looking() -> Vec<Endpoint> {
    vec![
        Endpoint::get(
            "/-/deliveries",
            "Lists and searches deliveries, a page at a time.",
            Answers::Json(200, schema::<crate::api::deliveries::Deliveries>),
            get(read::list),
        )
        .asked::<read::Listed>()
        .refuses(&[400, 404, 409]),
        Endpoint::get(
            "/-/deliveries/{id}",
            "One delivery with its request and every try, by its ID here or the provider's: then the newest that has it.",
            Answers::Json(200, schema::<crate::api::deliveries::DeliveryDetails>),
            get(read::show),
        )
        .refuses(&[400, 404, 409]),
        Endpoint::get(
            "/-/deliveries/{id}/body",
            "The body exactly as it came.",
            Answers::Bytes(&["text/plain", "application/octet-stream"]),
            get(read::body),
        )
        .asked::<read::Raw>()
        .needs(Needs::Read)
        .refuses(&[400, 404, 409]),
        Endpoint::get(
            "/-/deliveries/{id}/http",
            "The request in HTTP/1.1, without authenticators that are the secret itself: they are not kept.",
            Answers::Bytes(&["application/octet-stream"]),
            get(read::http),
        )
        .needs(Needs::Read)
        .refuses(&[400, 404, 409]),
        Endpoint::get(
            "/-/audit",
            "The last acts, newest first.",
            Answers::Json(200, schema::<crate::api::actions::Audit>),
            get(read::audit),
        )
        .asked::<read::Audited>()
        .refuses(&[400, 409]),
    ]
}

fn acting() -> Vec<Endpoint> {
    vec![
        Endpoint::post::<crate::api::deliveries::ReplayOne>(
            "/-/deliveries/{id}/replay",
            "Sets one delivery going again, with a fresh retry budget. 409: there is nothing to set going, or another has its ID.",
            Answers::Json(200, schema::<crate::api::deliveries::Replayed>),
            post(act::replay_one),
        )
        .refuses(&[404, 409]),
        Endpoint::post::<crate::api::actions::ActMany>(
            "/-/deliveries/cancel",
            "Ends deliveries that wait. A duplicate of one, or a replay, sets it going again.",
            Answers::Json(200, schema::<crate::api::actions::ActAnswer>),
            post(act::cancel),
        )
        .refuses(&[404, 409]),
        Endpoint::post::<crate::api::actions::ActMany>(
            "/-/deliveries/purge",
            "Deletes deliveries, for good. The ID of one that was delivered stays remembered; one that was not is accepted as new if it is sent again.",
            Answers::Json(200, schema::<crate::api::actions::ActAnswer>),
            post(act::purge),
        )
        .refuses(&[404, 409]),
        Endpoint::post::<crate::api::actions::Forget>(
            "/-/forget",
            "Forgets an ID that was handed on: the next delivery that has it is taken for new.",
            Answers::Json(200, schema::<crate::api::actions::Forgotten>),
            // a body may come along, in base64
            post(act::forget).layer(DefaultBodyLimit::max(act::MOST_FORGOTTEN)),
        )
        .refuses(&[404, 409]),
    ]
}

fn replaying() -> Vec<Endpoint> {
    vec![
        Endpoint::post::<crate::api::deliveries::ReplayMany>(
            "/-/deliveries/replay",
            "Sets many deliveries going again, one after the other, in the gate. A dry run says what would be done, and does nothing.",
            Answers::Json(202, schema::<crate::api::actions::ReplayBegun>),
            post(replay::replay_many),
        )
        .or(200, schema::<crate::api::deliveries::Plan>)
        .refuses(&[404, 409, 429]),
        Endpoint::get(
            "/-/replays",
            "The replays that are known, newest first. A gate that is restarted knows none from before.",
            Answers::Json(200, schema::<crate::api::actions::Replays>),
            get(replay::list),
        ),
        Endpoint::get("/-/replays/{id}", "One replay.", Answers::Json(200, schema::<crate::api::actions::Replay>), get(replay::show))
            .refuses(&[400, 404]),
        Endpoint::post::<crate::api::actions::Nothing>(
            "/-/replays/{id}/stop",
            "Stops a replay. What it has set going goes on.",
            Answers::Json(200, schema::<crate::api::actions::Replay>),
            post(replay::stop),
        )
        .refuses(&[404, 409]),
        Endpoint::post::<crate::api::actions::Resume>(
            "/-/replays/{id}/resume",
            "Lets a replay that was stopped go on from where it was.",
            Answers::Json(202, schema::<crate::api::actions::Replay>),
            post(replay::resume),
        )
        .refuses(&[404, 409, 429]),
    ]
}

#[cfg(test)]
mod tests;
