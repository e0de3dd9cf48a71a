//! Looking: lists, single deliveries, bodies, the audit.
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Deserialize;

use super::desk::{Desk, Names, bad, no_delivery, no_store, shortened, unavailable};
use super::filter::{Sought, sought, states};
use super::show::{self, View};
use crate::admin::Source;
use crate::admin::answer::Denied;
use crate::admin::token::{MayRead, Reader};
use crate::api::actions::{Audit, AuditEntry};
use crate::api::deliveries::{Deliveries, DeliveryDetails, Filter, Order};
use crate::queue::stored;
use crate::store::archive::{self, Row, Scope};
use crate::store::queue::DeliveryRef;
use crate::telemetry::rfc3339;

/// Deliveries in a list, when nobody says how many, and at most.
const LISTED: u16 = 50;
const MOST_LISTED: u16 = 500;
/// Steps of the store that one call makes: each looks at a bounded number of rows.
const STEPS: u32 = 20;
/// Deliveries with one ID of a provider's that are counted.
const OTHERS: u16 = 100;
/// Acts in the audit, when nobody says how many, and at most.
const AUDITED: u16 = 50;
const MOST_AUDITED: u16 = 1000;

/// The desk of a gate.
pub(super) fn desk(source: &Arc<dyn Source>) -> Result<Arc<dyn Desk>, Denied> {
    source.desk().ok_or_else(no_store)
}

/// What `GET /-/deliveries` is asked.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Listed {
    /// Those of this route; one that is gone from the config has a name still.
    route: Option<String>,
    /// Those on a way that is one of `pending`, `retrying`, `dead`, `cancelled`, `delivered`, `parked`; several with commas between.
    state: Option<String>,
    /// Accepted then or later: RFC 3339, or an age such as `22h`.
    since: Option<String>,
    /// Accepted before: RFC 3339, or an age.
    until: Option<String>,
    /// The provider's ID.
    id: Option<String>,
    /// The kind of event.
    #[serde(rename = "type")]
    event_type: Option<String>,
    /// The body contains this text. It needs a token that reads.
    text: Option<String>,
    /// In which direction.
    order: Order,
    /// How many at most: up to 500.
    #[schemars(range(min = 1, max = 500))]
    limit: Option<u16>,
    /// The `next` of the page before.
    after: Option<String>,
}

pub(super) async fn list(
    State(source): State<Arc<dyn Source>>,
    MayRead(may_read): MayRead,
    asked: Result<Query<Listed>, QueryRejection>,
) -> Result<Json<Deliveries>, Denied> {
    let Query(asked) = asked.map_err(|error| {
        bad(
            &error.body_text(),
            "`GET /-/openapi.json` says what can be asked",
        )
    })?;
    let Listed {
        route,
        state,
        since,
        until,
        id,
        event_type,
        text,
        order,
        limit,
        after,
    } = asked;
    if text.is_some() {
        // whoever may search a body piece by piece reads it
        may_read?;
    }
    let limit = limit.unwrap_or(LISTED);
    if limit == 0 || limit > MOST_LISTED {
        return Err(bad(
            "`limit` is out of bounds",
            "write a number from 1 to 500",
        ));
    }
    let after = after.map(|after| cursor(&after)).transpose()?;
    let state = state
        .as_deref()
        .map(states)
        .transpose()?
        .unwrap_or_default();
    let desk = desk(&source)?;
    let names = Names::of(&*desk).await?;
    let sought = sought(
        &Filter {
            route,
            state,
            since,
            until,
            id,
            event_type,
            text,
        },
        &names,
        desk.now().wall,
    )?;
    let (rows, next) = page(&*desk, &sought, order_of(order), after, limit).await?;
    let view = View {
        desk: &*desk,
        names: &names,
    };
    Ok(Json(Deliveries {
        deliveries: rows.iter().map(|row| view.row(row)).collect(),
        next: next.map(|next| next.to_string()),
    }))
}

/// A page, in so many steps of the store at most.
async fn page(
    desk: &dyn Desk,
    sought: &Sought,
    order: archive::Order,
    mut after: Option<DeliveryRef>,
    limit: u16,
) -> Result<(Vec<Row>, Option<DeliveryRef>), Denied> {
    let mut rows = Vec::new();
    for _ in 0..STEPS {
        let left = limit.saturating_sub(u16::try_from(rows.len()).unwrap_or(u16::MAX));
        if left == 0 {
            break;
        }
        let page = desk
            .store()
            .page(sought.scope.clone(), &sought.filter, order, after, left)
            .await
            .map_err(|error| unavailable(&error))?;
        rows.extend(page.rows);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok((rows, after))
}

fn cursor(text: &str) -> Result<DeliveryRef, Denied> {
    parse(text).ok_or_else(|| bad("`after` is no cursor", "give the `next` of the page before"))
}

pub(super) fn order_of(order: Order) -> archive::Order {
    match order {
        Order::Newest => archive::Order::Newest,
        Order::Oldest => archive::Order::Oldest,
    }
}

/// An ID of ours.
pub(super) fn parse(text: &str) -> Option<DeliveryRef> {
    uuid::Uuid::try_parse(text).ok().map(DeliveryRef)
}

/// The ID of a path.
pub(super) fn id_of(path: Result<Path<String>, PathRejection>) -> Result<String, Denied> {
    path.map(|Path(id)| id).map_err(|error| {
        bad(
            &error.body_text(),
            "write the ID with everything but letters, digits and `-` encoded",
        )
    })
}

/// Returns the delivery with that ID, or the newest with that ID of a provider's, and how many others have it.
/// An ID of a provider's names a delivery within one route, account and set of path parameters alone: deliveries of several are refused.
pub(super) async fn find(desk: &dyn Desk, id: &str) -> Result<(archive::Shown, u64), Denied> {
    let told = |error| unavailable(&error);
    if let Some(id) = parse(id)
        && let Some(shown) = desk.store().get(Scope::All, id).await.map_err(told)?
    {
        return Ok((shown, 0));
    }
    let filter = archive::Filter {
        delivery_id: Some(id.into()),
        ..archive::Filter::default()
    };
    let page = desk
        .store()
        .page(
            Scope::All,
            &filter,
            archive::Order::Newest,
            None,
            OTHERS + 1,
        )
        .await
        .map_err(told)?;
    let Some(newest) = page.rows.first() else {
        return Err(no_delivery(id));
    };
    let names = Names::of(desk).await?;
    if page
        .rows
        .iter()
        .any(|row| !same_sender(&names, row, newest))
    {
        let help = "`GET /-/deliveries?id=…` lists them with their routes and accounts; ask by the gateway's own `id`";
        let error = format!(
            "several routes or accounts have a delivery {}",
            shortened(id)
        );
        return Err(Denied::new(StatusCode::CONFLICT, &error, help));
    }
    let others = u64::try_from(page.rows.len())
        .unwrap_or(u64::MAX)
        .saturating_sub(1);
    match desk
        .store()
        .get(Scope::All, newest.id)
        .await
        .map_err(told)?
    {
        Some(shown) => Ok((shown, others)),
        None => Err(no_delivery(id)),
    }
}

/// Whether two deliveries come from the same sender, so that an ID of the provider's names one delivery among theirs.
pub(super) fn same_sender(names: &Names, one: &Row, other: &Row) -> bool {
    let account = |row: &Row| stored::fact(&row.record, stored::ACCOUNT).map(str::to_owned);
    names.origin(one.origin.0) == names.origin(other.origin.0)
        && account(one) == account(other)
        && stored::parameters(&one.record) == stored::parameters(&other.record)
}

pub(super) async fn show(
    State(source): State<Arc<dyn Source>>,
    MayRead(may_read): MayRead,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<DeliveryDetails>, Denied> {
    let (id, desk) = (id_of(path)?, desk(&source)?);
    let (shown, others) = find(&*desk, &id).await?;
    let names = Names::of(&*desk).await?;
    Ok(Json(
        View {
            desk: &*desk,
            names: &names,
        }
        .whole(&shown, others, may_read.is_ok()),
    ))
}

/// What `GET /-/deliveries/{id}/body` is asked.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Raw {
    /// As bytes, to be saved, instead of as text.
    raw: bool,
}

pub(super) async fn body(
    _: Reader,
    State(source): State<Arc<dyn Source>>,
    path: Result<Path<String>, PathRejection>,
    asked: Result<Query<Raw>, QueryRejection>,
) -> Result<Response, Denied> {
    let Query(Raw { raw }) =
        asked.map_err(|error| bad(&error.body_text(), "write `?raw=true`, or nothing"))?;
    let (shown, _) = find(&*desk(&source)?, &id_of(path)?).await?;
    let body = show::body(&shown.stored.record, &shown.stored.body);
    Ok(match raw {
        true => bytes(body),
        false => (
            [(
                CONTENT_TYPE,
                HeaderValue::from_static("text/plain; charset=utf-8"),
            )],
            body,
        )
            .into_response(),
    })
}

pub(super) async fn http(
    _: Reader,
    State(source): State<Arc<dyn Source>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Denied> {
    let (shown, _) = find(&*desk(&source)?, &id_of(path)?).await?;
    Ok(bytes(show::raw(&shown.stored.record, &shown.stored.body)))
}

/// Bytes that a browser saves and does not show.
fn bytes(bytes: Vec<u8>) -> Response {
    const HEAD: [(HeaderName, HeaderValue); 2] = [
        (
            CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        ),
        (CONTENT_DISPOSITION, HeaderValue::from_static("attachment")),
    ];
    (StatusCode::OK, HEAD, bytes).into_response()
}

/// What `GET /-/audit` is asked.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Audited {
    /// How many at most: up to 1000.
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<u16>,
}

pub(super) async fn audit(
    State(source): State<Arc<dyn Source>>,
    asked: Result<Query<Audited>, QueryRejection>,
) -> Result<Json<Audit>, Denied> {
    let Query(Audited { limit }) =
        asked.map_err(|error| bad(&error.body_text(), "write `?limit=20`"))?;
    let limit = limit.unwrap_or(AUDITED);
    if limit == 0 || limit > MOST_AUDITED {
        return Err(bad(
            "`limit` is out of bounds",
            "write a number from 1 to 1000",
        ));
    }
    let rows = desk(&source)?
        .store()
        .audit(limit)
        .await
        .map_err(|error| unavailable(&error))?;
    let entry = |row: archive::Audit| AuditEntry {
        at: rfc3339(row.at),
        who: row.who.to_string(),
        action: row.what.to_string(),
        selection: row.which.to_string(),
        reason: row.reason.to_string(),
        done: row.done,
    };
    Ok(Json(Audit {
        audit: rows.into_iter().map(entry).collect(),
    }))
}
