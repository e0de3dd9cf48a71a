//! The calls that read events.
use axum::Json;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::access::{Caller, Right};
use super::faults;
use super::listing::{bad_cursor, limit};
use super::state::Api;
use crate::api::deliveries::DeliveryState;
use crate::clock::rfc3339;
use crate::deliver::EventFacts;
use crate::store::archive::{Filter, Order, Row, Scope, Status, UnitShown, UnitsShown};
use crate::store::queue::{DeliveryRef, OriginId};
use crate::tenant::event_id::{event_id, parse_event_id};
use crate::web::input::ApiQuery;
use crate::web::problem::Problem;

/// The query of a list of events.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct EventsQuery {
    /// The number of rows, 1 to 500 (default 50).
    limit: Option<u16>,
    /// The `next` of the page before.
    after: Option<String>,
    /// Only events of this type.
    #[serde(rename = "type")]
    event_type: Option<String>,
    /// Only the event with this key.
    key: Option<String>,
}

/// The query of an event's body.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DataQuery {
    /// The version (default: the newest that was published).
    version: Option<u16>,
}

/// A page of events.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Events {
    events: Vec<ShownEvent>,
    /// The value of `after` for the next page; none at the end. A page can be shorter than `limit` although there are more.
    next: Option<String>,
}

/// An event in a list.
#[derive(Debug, Serialize, JsonSchema)]
struct ShownEvent {
    /// Its ID, which endpoints get as `webhook-id`.
    id: String,
    /// The key that it was published with.
    key: Option<String>,
    /// Its type.
    #[serde(rename = "type")]
    event_type: Option<String>,
    /// The time at which it was accepted.
    accepted_at: String,
    /// The bytes of its body.
    size: u64,
}

/// An event with its state at each endpoint.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct EventDetails {
    #[serde(flatten)]
    event: ShownEvent,
    /// The endpoints that get it.
    targets: Vec<EventTarget>,
}

/// The state of an event at an endpoint.
#[derive(Debug, Serialize, JsonSchema)]
struct EventTarget {
    /// The endpoint.
    endpoint: String,
    /// The state.
    state: DeliveryState,
    /// The attempts made.
    attempts: u32,
    /// The time of the next attempt, if one is planned; none while the endpoint is paused.
    next_at: Option<String>,
    /// Whether it waits because the endpoint is paused. It is sent once the endpoint is resumed.
    paused: bool,
}

impl ShownEvent {
    fn of(row: &Row) -> Self {
        Self {
            id: event_id(row.id.0),
            key: row.delivery_id.as_deref().map(str::to_owned),
            event_type: row.event_type.as_deref().map(str::to_owned),
            accepted_at: rfc3339(row.id.drawn_at()),
            size: row.size,
        }
    }
}

/// Lists events of a tenant.
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Path(uid): Path<String>,
    ApiQuery(query): ApiQuery<EventsQuery>,
) -> Result<Json<Events>, Problem> {
    caller.may(Right::Read)?;
    let limit = limit(query.limit)?;
    let tenant = api.tenant(&uid).await?;
    let after = match &query.after {
        Some(text) => Some(reference(text).ok_or_else(bad_cursor)?),
        None => None,
    };
    let filter = Filter {
        event_type: query.event_type.as_deref().map(Into::into),
        delivery_id: query.key.as_deref().map(Into::into),
        ..Filter::default()
    };
    let scope = Scope::of(tenant.origin);
    let page = api.store().page(
        scope,
        &filter,
        Order::Newest,
        after,
        limit,
        UnitsShown::First(0),
    );
    let page = api.ask(page).await?;
    Ok(Json(Events {
        events: page.rows.iter().map(ShownEvent::of).collect(),
        next: page.next.map(|next| event_id(next.0)),
    }))
}

/// Shows an event.
pub(super) async fn show(
    State(api): State<Api>,
    caller: Caller,
    Path((uid, event)): Path<(String, String)>,
) -> Result<Json<EventDetails>, Problem> {
    caller.may(Right::Read)?;
    let tenant = api.tenant(&uid).await?;
    let row = find(&api, tenant.origin, &event).await?;
    let numbers: Vec<u32> = row.units.iter().map(|unit| unit.target.0).collect();
    let names = api.ask(api.store().called(&numbers)).await?;
    let now = api.clock().now().wall;
    let target = |unit: &UnitShown| {
        let known = names.iter().find(|(number, _)| *number == unit.target.0);
        let paused = matches!(unit.status, Status::Pending | Status::Retrying)
            && !unit.leased
            && api.worker().endpoints().is_inactive(unit.target);
        EventTarget {
            endpoint: known.map(|(_, id)| id.to_string()).unwrap_or_default(),
            state: state(unit.status),
            attempts: unit.attempts,
            next_at: unit
                .next_in
                .filter(|_| !unit.leased && !paused)
                .and_then(|wait| now.checked_add(wait))
                .map(rfc3339),
            paused,
        }
    };
    Ok(Json(EventDetails {
        event: ShownEvent::of(&row),
        targets: row.units.iter().map(target).collect(),
    }))
}

/// Returns the body of an event.
pub(super) async fn data(
    State(api): State<Api>,
    caller: Caller,
    Path((uid, event)): Path<(String, String)>,
    ApiQuery(query): ApiQuery<DataQuery>,
) -> Result<Response, Problem> {
    caller.may(Right::Read)?;
    let tenant = api.tenant(&uid).await?;
    let id = reference(&event).ok_or_else(no_event)?;
    let stored = api
        .ask(api.store().stored(Scope::of(tenant.origin), id))
        .await?
        .ok_or_else(no_event)?;
    let other = query
        .version
        .filter(|version| *version != EventFacts::of(&stored).version);
    let body = match other {
        Some(version) => {
            let body = api.ask(api.store().version(id, version)).await?;
            body.ok_or_else(|| faults::missing("no_version", "version of the event"))?
        }
        None => stored.body,
    };
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

/// Returns the row of an event of a tenant.
pub(super) async fn find(api: &Api, origin: OriginId, event: &str) -> Result<Row, Problem> {
    let id = reference(event).ok_or_else(no_event)?;
    let rows = api.store().rows(Scope::of(origin), &[id], UnitsShown::All);
    let rows = api.ask(rows).await?;
    rows.into_iter().next().ok_or_else(no_event)
}

/// Reads the ID of an event.
pub(super) fn reference(text: &str) -> Option<DeliveryRef> {
    parse_event_id(text).map(DeliveryRef)
}

pub(super) fn no_event() -> Problem {
    faults::missing("no_event", "event")
}

fn state(status: Status) -> DeliveryState {
    match status {
        Status::Pending => DeliveryState::Pending,
        Status::Retrying => DeliveryState::Retrying,
        Status::Dead => DeliveryState::Dead,
        Status::Cancelled => DeliveryState::Cancelled,
        Status::Delivered => DeliveryState::Delivered,
    }
}
