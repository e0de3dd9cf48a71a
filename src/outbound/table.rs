//! The table of the API's calls, its router and its OpenAPI document.
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::http::StatusCode;
use serde_json::Value;

use super::access::{AppTokens, Right};
use super::attempts::{self, Attempts, ShownAttempt};
use super::checks::checked;
use super::counted_publish;
use super::dry_run::Planned;
use super::endpoint_body::EndpointBody;
use super::endpoints;
use super::event_body::Publish;
use super::events::{self, DataQuery, EventDetails, Events, EventsQuery};
use super::listing::PageQuery;
use super::pause::{self, PauseBody, ResumeBody, StateShown};
use super::publish::PublishQuery;
use super::published::Published;
use super::recover::{self, RecoverBody, RecoveryPlan};
use super::secrets::{self, NewSecret, RotateBody, Secrets};
use super::shown::{Endpoints, MadeEndpoint, ShownEndpoint, ShownTenant, Tenants};
use super::state::Api;
use super::tenants;
use super::test_event::{self, TestBody};
use super::title::TITLE;
use super::type_calls;
use crate::tenant::settings::TenantSettings;
use crate::web::call::{Answers, Call, Verb, routes, schema};
use crate::web::guard::Guard;
use crate::web::problem::Problem;
use crate::web::serve::{Bounds, Lifetime};

/// The bounds of the listener.
pub const BOUNDS: Bounds = Bounds {
    connections: 512,
    lifetime: Lifetime::Idle(Duration::from_secs(75)),
    head: Duration::from_secs(10),
    max_read: None,
    shutdown: Duration::from_secs(1),
};

/// The statuses that every call within a tenant can answer.
const WITHIN: &[u16] = &[400, 404, 503];
/// The statuses of calls that change something within a tenant.
const CHANGES: &[u16] = &[400, 404, 409, 411, 413, 422, 503];

fn call<H, T>(
    verb: Verb,
    path: &'static str,
    about: &'static str,
    right: &'static Right,
    answers: Answers,
    handler: H,
) -> Call<Api>
where
    H: axum::handler::Handler<T, Api>,
    T: 'static,
{
    let refuses = if right == &Right::Read {
        WITHIN
    } else {
        CHANGES
    };
    Call::new(verb, path, about, right, answers, handler).refuses(refuses)
}

/// Returns all calls.
fn calls() -> Vec<Call<Api>> {
    let mut all = publishing();
    all.extend(type_calls::calls());
    all.extend(of_tenants());
    all.extend(of_endpoints());
    all.extend(acts_on_endpoints());
    all.extend(of_secrets());
    all.push(Call::new(
        Verb::Get,
        "/v1/openapi.json",
        "Returns this document.",
        &Right::Any,
        Answers::Bytes(&["application/json"]),
        openapi,
    ));
    all
}

fn publishing() -> Vec<Call<Api>> {
    vec![
        call(
            Verb::Post,
            "/v1/tenants/{tenant}/events",
            "Publishes an event: 202 once it is on disk. The same key with the same event gets the first answer again. Repeat a request without an answer, or with 503, with the same key.",
            &Right::Publish,
            Answers::Json(202, schema::<Published>),
            counted_publish::publish,
        )
        .with_query::<PublishQuery>()
        .with_body::<Publish<'_>>()
        .or(200, schema::<Planned>),
        call(
            Verb::Get,
            "/v1/tenants/{tenant}/events",
            "Lists events of a tenant, newest first.",
            &Right::Read,
            Answers::Json(200, schema::<Events>),
            events::list,
        )
        .with_query::<EventsQuery>(),
        call(
            Verb::Get,
            "/v1/tenants/{tenant}/events/{event}",
            "Returns an event and its state at each endpoint.",
            &Right::Read,
            Answers::Json(200, schema::<EventDetails>),
            events::show,
        ),
        call(
            Verb::Get,
            "/v1/tenants/{tenant}/events/{event}/data",
            "Returns the stored body of an event.",
            &Right::Read,
            Answers::Bytes(&["application/json"]),
            events::data,
        )
        .with_query::<DataQuery>(),
        call(
            Verb::Get,
            "/v1/tenants/{tenant}/events/{event}/attempts",
            "Lists the attempts of an event, newest first.",
            &Right::Read,
            Answers::Json(200, schema::<Attempts>),
            attempts::of_event,
        )
        .with_query::<PageQuery>(),
    ]
}

fn of_tenants() -> Vec<Call<Api>> {
    vec![
        call(
            Verb::Get,
            "/v1/tenants",
            "Lists tenants by name.",
            &Right::Read,
            Answers::Json(200, schema::<Tenants>),
            tenants::list,
        )
        .with_query::<PageQuery>(),
        call(
            Verb::Get,
            "/v1/tenants/{tenant}",
            "Returns a tenant.",
            &Right::Read,
            Answers::Json(200, schema::<ShownTenant>),
            tenants::show,
        ),
        call(
            Verb::Put,
            "/v1/tenants/{tenant}",
            "Makes a tenant, or replaces its settings. You can repeat it.",
            &Right::Manage,
            Answers::Json(200, schema::<ShownTenant>),
            tenants::put,
        )
        .with_body::<TenantSettings>(),
        call(
            Verb::Delete,
            "/v1/tenants/{tenant}",
            "Removes a tenant that has no endpoints. Its events stay until their retention is over.",
            &Right::Manage,
            Answers::Nothing(204),
            tenants::delete,
        ),
    ]
}

fn of_endpoints() -> Vec<Call<Api>> {
    vec![
        call(
            Verb::Get,
            "/v1/tenants/{tenant}/endpoints",
            "Lists the endpoints of a tenant.",
            &Right::Read,
            Answers::Json(200, schema::<Endpoints>),
            endpoints::list,
        )
        .with_query::<PageQuery>(),
        call(
            Verb::Post,
            "/v1/tenants/{tenant}/endpoints",
            "Makes an endpoint. Its secret is in this response alone, unless the request has its own.",
            &Right::Manage,
            Answers::Json(201, schema::<MadeEndpoint>),
            endpoints::make,
        )
        .with_body::<EndpointBody>(),
        call(
            Verb::Get,
            "/v1/tenants/{tenant}/endpoints/{endpoint}",
            "Returns an endpoint, by its ID or by your `uid`.",
            &Right::Read,
            Answers::Json(200, schema::<ShownEndpoint>),
            endpoints::show,
        ),
        call(
            Verb::Put,
            "/v1/tenants/{tenant}/endpoints/{endpoint}",
            "Makes the endpoint with this `uid`, or replaces its settings. You can repeat it.",
            &Right::Manage,
            Answers::Json(200, schema::<ShownEndpoint>),
            endpoints::put,
        )
        .with_body::<EndpointBody>()
        .or(201, schema::<MadeEndpoint>),
        call(
            Verb::Patch,
            "/v1/tenants/{tenant}/endpoints/{endpoint}",
            "Changes the given fields of an endpoint.",
            &Right::Manage,
            Answers::Json(200, schema::<ShownEndpoint>),
            endpoints::patch,
        )
        .with_body::<EndpointBody>(),
        call(
            Verb::Delete,
            "/v1/tenants/{tenant}/endpoints/{endpoint}",
            "Removes an endpoint. Events that wait for it are not sent any more.",
            &Right::Manage,
            Answers::Nothing(204),
            endpoints::delete,
        ),
    ]
}

fn acts_on_endpoints() -> Vec<Call<Api>> {
    vec![
        call(
            Verb::Post,
            "/v1/tenants/{tenant}/endpoints/{endpoint}/pause",
            "Pauses an endpoint. Its events wait.",
            &Right::Manage,
            Answers::Json(200, schema::<StateShown>),
            pause::pause,
        )
        .with_body::<PauseBody>(),
        call(
            Verb::Post,
            "/v1/tenants/{tenant}/endpoints/{endpoint}/resume",
            "Resumes a paused endpoint: sends all events that wait, those since a time, or none. The others are cancelled. 200 is the answer to a dry run.",
            &Right::Manage,
            Answers::Json(202, schema::<StateShown>),
            pause::resume,
        )
        .with_body::<ResumeBody>()
        .or(200, schema::<StateShown>),
        call(
            Verb::Post,
            "/v1/tenants/{tenant}/endpoints/{endpoint}/recover",
            "Sends events to an endpoint again, or for the first time: 202 with the plan. It goes on after a restart; the endpoint shows its `job`.",
            &Right::Manage,
            Answers::Json(202, schema::<RecoveryPlan>),
            recover::recover,
        )
        .with_body::<RecoverBody>()
        .or(200, schema::<RecoveryPlan>),
        call(
            Verb::Post,
            "/v1/tenants/{tenant}/endpoints/{endpoint}/job/stop",
            "Stops the recovery of an endpoint's events. Attempts that were begun go on.",
            &Right::Manage,
            Answers::Json(200, schema::<ShownEndpoint>),
            recover::stop,
        ),
        call(
            Verb::Post,
            "/v1/tenants/{tenant}/endpoints/{endpoint}/test",
            "Sends an example to an endpoint at once, even if it is paused. The answer is the attempt, whether it failed or not. One a second for an endpoint, ten a minute for a tenant.",
            &Right::Manage,
            Answers::Json(200, schema::<ShownAttempt>),
            test_event::test,
        )
        .with_body::<TestBody>(),
        call(
            Verb::Get,
            "/v1/tenants/{tenant}/endpoints/{endpoint}/attempts",
            "Lists the attempts to an endpoint, newest first.",
            &Right::Read,
            Answers::Json(200, schema::<Attempts>),
            attempts::of_endpoint,
        )
        .with_query::<PageQuery>(),
    ]
}

fn of_secrets() -> Vec<Call<Api>> {
    vec![
        call(
            Verb::Get,
            "/v1/tenants/{tenant}/endpoints/{endpoint}/secrets",
            "Lists the names and dates of the secrets of an endpoint.",
            &Right::Read,
            Answers::Json(200, schema::<Secrets>),
            secrets::list,
        ),
        call(
            Verb::Post,
            "/v1/tenants/{tenant}/endpoints/{endpoint}/rotate",
            "Adds a secret and ends the others after an overlap. The new secret is in this response alone, unless the request has its own.",
            &Right::Manage,
            Answers::Json(200, schema::<NewSecret>),
            secrets::rotate,
        )
        .with_body::<RotateBody>(),
        call(
            Verb::Delete,
            "/v1/tenants/{tenant}/endpoints/{endpoint}/secrets/{name}",
            "Ends a secret at once.",
            &Right::Manage,
            Answers::Nothing(204),
            secrets::delete,
        ),
    ]
}

/// Returns the OpenAPI document.
pub fn document() -> Value {
    crate::web::document::document(&TITLE, &calls())
}

async fn openapi() -> Json<Value> {
    Json(document())
}

async fn unknown() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "no_call",
        "there is no such call",
        "GET /v1/openapi.json lists all calls",
    )
}

async fn wrong_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method",
        "this call has another method",
        "GET /v1/openapi.json lists all calls",
    )
}

/// Builds the router of the API behind its guard.
pub fn router(api: Api, guard: Guard<AppTokens>) -> Router {
    let router = routes(calls().into_iter().map(checked).collect())
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method);
    guard.protect(router).with_state(api)
}
