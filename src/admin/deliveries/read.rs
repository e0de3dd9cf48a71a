//! Endpoints that read deliveries: lists, single deliveries, bodies.
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Deserialize;

use super::access::{names_of, store_access};
use super::errors::{bad_request, no_delivery, unavailable};
use super::filter::{parse_states, search_of};
use super::show::{self, View};
use crate::admin::AdminSource;
use crate::admin::answer::Denied;
use crate::admin::token::{MayRead, Reader};
use crate::api::deliveries::{Deliveries, DeliveryDetails, Filter, Order};
use crate::queue::stored;
use crate::replay::{Names, Search, StoreAccess};
use crate::store::archive::{self, Row, Scope};
use crate::store::queue::DeliveryRef;
use crate::web::problem::quoted;

/// The number of deliveries of a page, by default and at most.
const DEFAULT_PAGE: u16 = 50;
const MAX_PAGE: u16 = 500;
/// The number of queries that one call makes. Each examines a bounded number of rows.
const MAX_QUERIES: u32 = 20;
/// The maximum number of other deliveries with the same provider's ID that are counted.
const MAX_SAME_ID: u16 = 100;
/// The units of a delivery that a list shows at most.
const MAX_UNITS: u16 = 100;

/// The query of `GET /-/deliveries`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ListQuery {
    /// The name of the route. Routes that are gone from the config keep their names.
    route: Option<String>,
    /// Your app's name of a tenant: events that were published to it.
    tenant: Option<String>,
    /// An endpoint of the tenant, by its ID or your app's name: events that go to it. It is the only one of their `targets` then.
    endpoint: Option<String>,
    /// States, separated by commas: `pending`, `retrying`, `dead`, `cancelled`, `delivered`, `parked`.
    state: Option<String>,
    /// The earliest time of acceptance: RFC 3339, or an age such as `22h`.
    since: Option<String>,
    /// The time before which the delivery was accepted: RFC 3339, or an age.
    until: Option<String>,
    /// The provider's ID of the delivery.
    id: Option<String>,
    /// The event type.
    #[serde(rename = "type")]
    event_type: Option<String>,
    /// A text that the body contains. It needs a token with `read`.
    text: Option<String>,
    /// The order.
    order: Order,
    /// The maximum number of deliveries: up to 500.
    #[schemars(range(min = 1, max = 500))]
    limit: Option<u16>,
    /// The `next` of the previous page.
    after: Option<String>,
}

pub(super) async fn list(
    State(source): State<Arc<dyn AdminSource>>,
    MayRead(may_read): MayRead,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Deliveries>, Denied> {
    let Query(query) = query.map_err(|error| {
        bad_request(
            &error.body_text(),
            "`GET /-/openapi.json` describes all requests",
        )
    })?;
    let ListQuery {
        route,
        tenant,
        endpoint,
        state,
        since,
        until,
        id,
        event_type,
        text,
        order,
        limit,
        after,
    } = query;
    if text.is_some() {
        // a body can be read by searching for it piece by piece
        may_read?;
    }
    let limit = limit.unwrap_or(DEFAULT_PAGE);
    if limit == 0 || limit > MAX_PAGE {
        return Err(bad_request(
            "`limit` is out of bounds",
            "write a number from 1 to 500",
        ));
    }
    let after = after.map(|after| cursor(&after)).transpose()?;
    let state = state
        .as_deref()
        .map(parse_states)
        .transpose()?
        .unwrap_or_default();
    let access = store_access(&source)?;
    let names = names_of(&access).await?;
    let search = search_of(
        &access,
        &Filter {
            route,
            tenant,
            endpoint,
            state,
            since,
            until,
            id,
            event_type,
            text,
        },
        &names,
        access.now().wall,
    )
    .await?;
    let (rows, next) = page(&access, &search, order_of(order), after, limit).await?;
    let shown = rows.iter().map(|row| (row.origin, &*row.units));
    let names = names.with_called(&access, shown).await;
    let names = names.map_err(|error| unavailable(&error))?;
    let view = View {
        access: &access,
        names: &names,
    };
    Ok(Json(Deliveries {
        deliveries: rows.iter().map(|row| view.row(row)).collect(),
        next: next.map(|next| next.to_string()),
    }))
}

/// Returns a page, after at most [`MAX_QUERIES`] queries, and the delivery after which the next page begins.
async fn page(
    access: &StoreAccess,
    search: &Search,
    order: archive::Order,
    mut after: Option<DeliveryRef>,
    limit: u16,
) -> Result<(Vec<Row>, Option<DeliveryRef>), Denied> {
    let mut rows = Vec::new();
    // a list about one endpoint shows nothing of the others
    let units = match &*search.filter.targets {
        [one] if one.is_endpoint() => archive::UnitsShown::Of(*one),
        _ => archive::UnitsShown::First(MAX_UNITS),
    };
    for _ in 0..MAX_QUERIES {
        let left = limit.saturating_sub(u16::try_from(rows.len()).unwrap_or(u16::MAX));
        if left == 0 {
            break;
        }
        let page = access
            .store
            .page(
                search.scope.clone(),
                &search.filter,
                order,
                after,
                left,
                units,
            )
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
    parse_id(text).ok_or_else(|| {
        bad_request(
            "`after` is not a cursor",
            "write the `next` of the previous page",
        )
    })
}

pub(super) fn order_of(order: Order) -> archive::Order {
    match order {
        Order::Newest => archive::Order::Newest,
        Order::Oldest => archive::Order::Oldest,
    }
}

/// Parses a gateway's ID of a delivery.
pub(super) fn parse_id(text: &str) -> Option<DeliveryRef> {
    let event = text
        .strip_prefix(show::EVENT)
        .filter(|digits| digits.len() == 32);
    uuid::Uuid::try_parse(event.unwrap_or(text))
        .ok()
        .map(DeliveryRef)
}

/// Returns the ID in a path.
pub(super) fn id_of(path: Result<Path<String>, PathRejection>) -> Result<String, Denied> {
    path.map(|Path(id)| id).map_err(|error| {
        bad_request(
            &error.body_text(),
            "percent-encode the ID, except for letters, digits and `-`",
        )
    })
}

/// Finds a delivery by the gateway's ID, or the newest one with a provider's ID and the number of older ones.
///
/// A provider's ID names a delivery only within one route, account and set of path parameters. If deliveries of several have it, an error is
/// returned.
pub(super) async fn find(access: &StoreAccess, id: &str) -> Result<(archive::Shown, u64), Denied> {
    let failed = |error| unavailable(&error);
    if let Some(id) = parse_id(id)
        && let Some(shown) = access
            .store
            .get(Scope::All, id, archive::UnitsShown::All)
            .await
            .map_err(failed)?
    {
        return Ok((shown, 0));
    }
    let filter = archive::Filter {
        delivery_id: Some(id.into()),
        ..archive::Filter::default()
    };
    let page = access
        .store
        .page(
            Scope::All,
            &filter,
            archive::Order::Newest,
            None,
            MAX_SAME_ID + 1,
            archive::UnitsShown::First(0),
        )
        .await
        .map_err(failed)?;
    let Some(newest) = page.rows.first() else {
        return Err(no_delivery(id));
    };
    let names = names_of(access).await?;
    if page
        .rows
        .iter()
        .any(|row| !same_sender(&names, row, newest))
    {
        let help = "`GET /-/deliveries?id=…` lists them with their routes and accounts; use the gateway's own `id`";
        let error = format!("several routes or accounts have a delivery {}", quoted(id));
        return Err(Denied::new(StatusCode::CONFLICT, &error, help));
    }
    let others = u64::try_from(page.rows.len())
        .unwrap_or(u64::MAX)
        .saturating_sub(1);
    match access
        .store
        .get(Scope::All, newest.id, archive::UnitsShown::All)
        .await
        .map_err(failed)?
    {
        Some(shown) => Ok((shown, others)),
        None => Err(no_delivery(id)),
    }
}

/// Returns whether two deliveries have the same sender: then a provider's ID names one delivery among theirs.
pub(super) fn same_sender(names: &Names, one: &Row, other: &Row) -> bool {
    let account = |row: &Row| stored::fact(&row.record, stored::ACCOUNT).map(str::to_owned);
    names.origin(one.origin.0) == names.origin(other.origin.0)
        && account(one) == account(other)
        && stored::parameters(&one.record) == stored::parameters(&other.record)
}

pub(super) async fn show(
    State(source): State<Arc<dyn AdminSource>>,
    MayRead(may_read): MayRead,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<DeliveryDetails>, Denied> {
    let (id, access) = (id_of(path)?, store_access(&source)?);
    let (shown, others) = find(&access, &id).await?;
    let row = std::iter::once((shown.stored.origin, &*shown.units));
    let names = names_of(&access)
        .await?
        .with_called(&access, row)
        .await
        .map_err(|error| unavailable(&error))?;
    Ok(Json(
        View {
            access: &access,
            names: &names,
        }
        .details(&shown, others, may_read.is_ok()),
    ))
}

/// The query of `GET /-/deliveries/{id}/body`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct BodyQuery {
    /// Whether to return the body as bytes to save, instead of as text.
    raw: bool,
}

pub(super) async fn body(
    _: Reader,
    State(source): State<Arc<dyn AdminSource>>,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<BodyQuery>, QueryRejection>,
) -> Result<Response, Denied> {
    let Query(BodyQuery { raw }) =
        query.map_err(|error| bad_request(&error.body_text(), "write `?raw=true`, or no query"))?;
    let (shown, _) = find(&store_access(&source)?, &id_of(path)?).await?;
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
    State(source): State<Arc<dyn AdminSource>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Denied> {
    let (shown, _) = find(&store_access(&source)?, &id_of(path)?).await?;
    Ok(bytes(show::raw(&shown.stored.record, &shown.stored.body)))
}

/// Returns bytes as a download, which a browser saves and does not show.
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
