//! The calls that read attempts.
use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use schemars::JsonSchema;
use serde::Serialize;

use super::access::{Caller, Right};
use super::endpoints;
use super::events::{no_event, reference};
use super::listing::{PageQuery, bad_cursor};
use super::state::Api;
use crate::api::deliveries::Header;
use crate::clock::rfc3339;
use crate::deliver::attempt_message;
use crate::store::address_book::Tenant;
use crate::store::archive::{AttemptPosition, AttemptShown, AttemptsOf, Scope, UnitsShown};
use crate::store::queue::{Cause, DeliveryRef};
use crate::store::record::parse_headers;
use crate::tenant::event_id::event_id;
use crate::web::input::ApiQuery;
use crate::web::problem::Problem;

/// A page of attempts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Attempts {
    attempts: Vec<ShownAttempt>,
    /// The value of `after` for the next page; none at the end.
    next: Option<String>,
}

/// An attempt.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ShownAttempt {
    /// The event.
    event: String,
    /// The endpoint.
    endpoint: String,
    /// The number of the attempt at this endpoint.
    number: u32,
    /// The cause of the attempt: `schedule`, `replay` (a person asked for it), `probe` (of an endpoint that was unavailable) or `test`.
    cause: &'static str,
    /// The time at which it began.
    started_at: String,
    /// Its duration in seconds.
    took: f64,
    /// The status of the response, if there was one.
    status: Option<u16>,
    /// The error, if there was no response.
    error: Option<String>,
    /// The failure in words that a customer understands, without a full stop; none if the attempt succeeded.
    message: Option<String>,
    /// The address that it was sent to.
    peer: Option<String>,
    /// The URL that it was sent to.
    url: Option<String>,
    /// The version of the data.
    version: Option<u16>,
    /// `envelope` or `raw`.
    payload: Option<String>,
    /// The names of the secrets that signed it.
    secrets: Vec<String>,
    /// The headers of the response.
    headers: Vec<Header>,
    /// The beginning of the body of the response.
    body_text: Option<String>,
}

impl ShownAttempt {
    pub(super) fn of(
        event: DeliveryRef,
        shown: &AttemptShown,
        names: &HashMap<u32, Arc<str>>,
    ) -> Self {
        let attempt = &shown.attempt;
        let facts: HashMap<String, String> = pairs(&attempt.facts).into_iter().collect();
        let secrets = facts.get("secrets").map(String::as_str).unwrap_or_default();
        let secrets = secrets.split(", ").filter(|name| !name.is_empty());
        Self {
            event: event_id(event.0),
            endpoint: names
                .get(&shown.target.0)
                .map(ToString::to_string)
                .unwrap_or_default(),
            number: shown.number,
            cause: word(attempt.cause),
            started_at: rfc3339(attempt.started),
            took: attempt.took.as_secs_f64(),
            status: attempt.status,
            error: attempt.error.as_deref().map(|error| code(error).to_owned()),
            message: attempt_message(attempt),
            peer: attempt.peer.as_deref().map(str::to_owned),
            url: facts.get("url").cloned(),
            version: facts.get("version").and_then(|text| text.parse().ok()),
            payload: facts.get("payload").cloned(),
            secrets: secrets.map(str::to_owned).collect(),
            headers: pairs(&attempt.head)
                .into_iter()
                .map(|(name, value)| Header { name, value })
                .collect(),
            body_text: (!attempt.body.is_empty())
                .then(|| String::from_utf8_lossy(&attempt.body).into_owned()),
        }
    }
}

/// Lists the attempts of an event.
pub(super) async fn of_event(
    State(api): State<Api>,
    caller: Caller,
    Path((uid, event)): Path<(String, String)>,
    ApiQuery(query): ApiQuery<PageQuery>,
) -> Result<Json<Attempts>, Problem> {
    caller.may(Right::Read)?;
    let tenant = api.tenant(&uid).await?;
    let id = reference(&event).ok_or_else(no_event)?;
    let rows = api
        .store()
        .rows(Scope::of(tenant.origin), &[id], UnitsShown::First(0));
    if api.ask(rows).await?.is_empty() {
        return Err(no_event());
    }
    page(&api, &tenant, AttemptsOf::Delivery(id), &query).await
}

/// Lists the attempts to an endpoint.
pub(super) async fn of_endpoint(
    State(api): State<Api>,
    caller: Caller,
    Path((uid, name)): Path<(String, String)>,
    ApiQuery(query): ApiQuery<PageQuery>,
) -> Result<Json<Attempts>, Problem> {
    caller.may(Right::Read)?;
    let tenant = api.tenant(&uid).await?;
    let row = endpoints::find(&api, &tenant, &name).await?;
    page(&api, &tenant, AttemptsOf::Endpoint(row.target), &query).await
}

/// Reads a page of attempts.
async fn page(
    api: &Api,
    tenant: &Tenant,
    of: AttemptsOf,
    query: &PageQuery,
) -> Result<Json<Attempts>, Problem> {
    let limit = query.limit()?;
    let before = match query.after() {
        Some(text) => Some(AttemptPosition(text.parse().map_err(|_| bad_cursor())?)),
        None => None,
    };
    let scope = Scope::of(tenant.origin);
    let page = api
        .ask(api.store().attempts(scope, of, before, limit))
        .await?;
    let all: Vec<(DeliveryRef, AttemptShown)> = page
        .rows
        .into_iter()
        .map(|row| (row.delivery, row.shown))
        .collect();
    Ok(Json(Attempts {
        attempts: named(api, &all).await?,
        next: page.next.map(|next| next.0.to_string()),
    }))
}

/// Converts attempts, with the names of their endpoints.
async fn named(
    api: &Api,
    all: &[(DeliveryRef, AttemptShown)],
) -> Result<Vec<ShownAttempt>, Problem> {
    let mut numbers: Vec<u32> = all.iter().map(|(_, attempt)| attempt.target.0).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let names = api.ask(api.store().called(&numbers)).await?;
    let names: HashMap<u32, Arc<str>> = names.into_iter().collect();
    let shown = all
        .iter()
        .map(|(event, attempt)| ShownAttempt::of(*event, attempt, &names));
    Ok(shown.collect())
}

/// Returns the code of a stored error, without the date that can be behind it.
fn code(error: &str) -> &str {
    error.split_once(' ').map_or(error, |(code, _)| code)
}

fn word(cause: Cause) -> &'static str {
    match cause {
        Cause::Schedule => "schedule",
        Cause::Replay => "replay",
        Cause::Test => "test",
        Cause::Probe => "probe",
    }
}

/// Reads headers or facts as text.
fn pairs(bytes: &bytes::Bytes) -> Vec<(String, String)> {
    let text = |bytes: &bytes::Bytes| String::from_utf8_lossy(bytes).into_owned();
    let pairs = parse_headers(bytes.clone()).unwrap_or_default();
    pairs
        .iter()
        .map(|(name, value)| (text(name), text(value)))
        .collect()
}
