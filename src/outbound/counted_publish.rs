//! The call that publishes an event: the request is counted by its result.
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::access::Caller;
use super::publish::{self, PublishQuery};
use super::state::Api;
use crate::telemetry::PublishResult;
use crate::web::input::ApiQuery;
use crate::web::problem::Problem;

/// Publishes an event. A refused one is counted here, a stored one by [`publish::publish`], a dry run by nobody.
pub(super) async fn publish(
    State(api): State<Api>,
    caller: Caller,
    Path(uid): Path<String>,
    ApiQuery(query): ApiQuery<PublishQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let answered = publish::publish(&api, &caller, &uid, &query, &headers, body).await;
    if let Err(problem) = &answered
        && !query.is_dry_run()
    {
        let result = if problem.status().is_server_error() {
            PublishResult::Unavailable
        } else {
            PublishResult::Refused
        };
        api.telemetry().sending().count_publish(result);
    }
    answered
}
