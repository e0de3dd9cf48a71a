//! The rows of the table of calls that read the catalogue of events.
use super::access::Right;
use super::event_types::{self, EventTypes, TypeDetails, TypeEvents, TypePins};
use super::listing::PageQuery;
use super::state::Api;
use crate::web::call::{Answers, Call, Verb, schema};

/// The statuses that each of them can answer.
const REFUSES: &[u16] = &[400, 404, 503];

/// Returns the calls that read the catalogue of events.
pub(super) fn calls() -> Vec<Call<Api>> {
    vec![
        Call::new(
            Verb::Get,
            "/v1/event-types",
            "Lists the types of the catalogue of events.",
            &Right::Read,
            Answers::Json(200, schema::<EventTypes>),
            event_types::list,
        )
        .refuses(REFUSES)
        .with_query::<PageQuery>(),
        Call::new(
            Verb::Get,
            "/v1/event-types/openapi.json",
            "Returns the catalogue of events as an OpenAPI document with webhooks, for your customers.",
            &Right::Read,
            Answers::Bytes(&["application/json"]),
            event_types::document,
        )
        .refuses(REFUSES),
        Call::new(
            Verb::Get,
            "/v1/event-types/{type}",
            "Returns a type with its schemas and examples.",
            &Right::Read,
            Answers::Json(200, schema::<TypeDetails>),
            event_types::show,
        )
        .refuses(REFUSES),
        Call::new(
            Verb::Get,
            "/v1/event-types/{type}/pins",
            "Counts the tenants and endpoints that get a type, by version. Each page counts other tenants.",
            &Right::Read,
            Answers::Json(200, schema::<TypePins>),
            event_types::pins,
        )
        .refuses(REFUSES)
        .with_query::<PageQuery>(),
        Call::new(
            Verb::Get,
            "/v1/event-types/{type}/events",
            "Lists the published events of a type over all tenants, newest first, with their data.",
            &Right::Read,
            Answers::Json(200, schema::<TypeEvents>),
            event_types::events,
        )
        .refuses(REFUSES)
        .with_query::<PageQuery>(),
    ]
}
