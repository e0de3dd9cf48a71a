//! `/-/drain`: what is left to deliver, and the request to accept no more deliveries.
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;

use super::AdminSource;
use super::answer::Denied;
use super::deliveries::attempt_now;
use super::table::{AdminCall, change_call, read_call};
use super::token::Actor;
use crate::api::actions::{Drain, DrainRequest};
use crate::web::call::{Answers, schema};

/// Returns the calls of a drain.
pub(super) fn calls() -> Vec<AdminCall> {
    vec![
        read_call(
            "/-/drain",
            "Returns what is left to deliver.",
            Answers::Json(200, schema::<Drain>),
            progress,
        )
        .refuses(&[503]),
        change_call(
            "/-/drain",
            "Stops accepting deliveries until the gateway is restarted. Due deliveries are still attempted; with `now`, those that wait for a later time are attempted at once, too.",
            Answers::Json(200, schema::<Drain>),
            drain,
        ).with_body::<DrainRequest>()
        .refuses(&[400, 409, 413, 503]),
    ]
}

async fn progress(State(source): State<Arc<dyn AdminSource>>) -> Result<Json<Drain>, Denied> {
    source.drain().await.map(Json).map_err(|error| Denied {
        status: StatusCode::SERVICE_UNAVAILABLE,
        error: error.to_string(),
        help: "the queue cannot be read now; repeat the request",
    })
}

async fn drain(
    actor: Actor,
    State(source): State<Arc<dyn AdminSource>>,
    request: Result<Json<DrainRequest>, JsonRejection>,
) -> Result<Json<Drain>, Denied> {
    let Ok(Json(DrainRequest { accept: false, now })) = request else {
        return Err(Denied::new(
            StatusCode::BAD_REQUEST,
            "the body is not a request to drain",
            "send `{\"accept\": false}`; a drained gateway accepts deliveries again after a restart",
        ));
    };
    source.stop_accepting();
    if now {
        attempt_now(&source, actor).await?;
    }
    progress(State(source)).await
}
