//! The calls that read the catalogue of events: its types, who is pinned to which version, and which events were published.
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::access::{Caller, Right};
use super::events::reference;
use super::faults;
use super::listing::{PageQuery, bad_cursor};
use super::state::{Api, MAX_ENDPOINTS};
use crate::clock::rfc3339;
use crate::config::snapshot::EventCatalogue;
use crate::deliver::{EventFacts, Rules, TEST};
use crate::event::catalogue::{Catalogue, TypeEntry, version_for};
use crate::event::{EventType, envelope, openapi};
use crate::store::archive::{Filter, Order, Row, Scope, UnitsShown};
use crate::store::queue::Stored;
use crate::tenant::event_id::event_id;
use crate::tenant::settings::EndpointSettings;
use crate::web::input::ApiQuery;
use crate::web::problem::Problem;

/// The number of endpoints after which a page of pins ends.
const ENDPOINTS_OF_A_PAGE: usize = 5_000;
/// The size of the data after which a page of events ends, in bytes.
const BYTES_OF_A_PAGE: usize = 4 << 20;

/// A page of types.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct EventTypes {
    types: Vec<TypeSummary>,
    /// The value of `after` for the next page; none at the end.
    next: Option<String>,
}

/// A type of events in a list.
#[derive(Debug, Serialize, JsonSchema)]
struct TypeSummary {
    /// The type.
    #[serde(rename = "type")]
    event_type: String,
    /// The first line of its description.
    summary: Option<String>,
    /// Its versions.
    versions: Vec<u32>,
    /// The versions that you want to stop sending.
    deprecated: Vec<u32>,
    /// The mappings between its versions.
    mappings: Vec<MappingDetails>,
}

/// A type of events with its schemas.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TypeDetails {
    #[serde(flatten)]
    summary: TypeSummary,
    /// Its description, as Markdown.
    about: Option<String>,
    /// The schema and the example of each version.
    schemas: Vec<VersionDetails>,
}

/// A version of a type.
#[derive(Debug, Serialize, JsonSchema)]
struct VersionDetails {
    /// The version.
    version: u32,
    /// The JSON Schema of the data. It refers to no other file.
    schema: Value,
    /// An example of the data.
    example: Option<Value>,
}

/// A mapping between two versions of a type.
#[derive(Debug, Serialize, JsonSchema)]
struct MappingDetails {
    /// The version that it reads.
    from: u32,
    /// The version that it makes.
    to: u32,
}

/// The endpoints that get a type, by version. A page counts some of the tenants: add the pages up.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TypePins {
    pins: Vec<VersionPins>,
    /// The value of `after` for the next page; none at the end.
    next: Option<String>,
}

/// The endpoints that get a version of a type.
#[derive(Debug, Serialize, JsonSchema)]
struct VersionPins {
    /// The version.
    version: u32,
    /// The number of tenants with such an endpoint.
    tenants: usize,
    /// The number of endpoints.
    endpoints: usize,
}

/// A page of published events of a type.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TypeEvents {
    events: Vec<PublishedEvent>,
    /// The value of `after` for the next page; none at the end. A page can be shorter than `limit` although there are more.
    next: Option<String>,
}

/// A published event of a type.
#[derive(Debug, Serialize, JsonSchema)]
struct PublishedEvent {
    /// Its ID.
    id: String,
    /// The time at which it was accepted.
    accepted_at: String,
    /// The version of the data.
    version: u16,
    /// The data.
    #[schemars(with = "Value")]
    data: Box<RawValue>,
}

impl TypeSummary {
    fn of(event_type: &EventType, entry: &TypeEntry) -> Self {
        let mappings = entry.mappings.keys().map(|(from, to)| MappingDetails {
            from: *from,
            to: *to,
        });
        Self {
            event_type: event_type.to_string(),
            summary: entry.summary().map(ToOwned::to_owned),
            versions: entry.versions.keys().copied().collect(),
            deprecated: entry.deprecated.iter().copied().collect(),
            mappings: mappings.collect(),
        }
    }
}

impl TypeDetails {
    fn of(event_type: &EventType, entry: &TypeEntry) -> Self {
        let versions = entry.versions.iter();
        let schemas = versions.map(|(number, version)| VersionDetails {
            version: *number,
            schema: version.document.clone(),
            example: version
                .example
                .as_deref()
                .and_then(|example| serde_json::from_str(example.get()).ok()),
        });
        Self {
            summary: TypeSummary::of(event_type, entry),
            about: entry.about.clone(),
            schemas: schemas.collect(),
        }
    }
}

impl PublishedEvent {
    /// Reads a stored event; `None` if its data cannot be read.
    fn of(stored: &Stored) -> Option<Self> {
        let facts = EventFacts::of(stored);
        let data = envelope::data(&stored.body, facts.data_at)?;
        Some(Self {
            id: event_id(stored.id.0),
            accepted_at: rfc3339(stored.id.drawn_at()),
            version: facts.version,
            data: serde_json::from_slice(&data).ok()?,
        })
    }
}

/// Returns the catalogue of the config that runs.
fn catalogue(rules: &Rules) -> Result<&Catalogue, Problem> {
    let events = rules.outbound.events.as_ref();
    let found = events.map(|EventCatalogue { catalogue, .. }| &**catalogue);
    found.ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_FOUND,
            "no_catalogue",
            "the config names no catalogue of events",
            "write `events: { dir: events }` in `outbound`",
        )
    })
}

/// Returns a type of the catalogue.
fn entry<'r>(rules: &'r Rules, name: &str) -> Result<(EventType, &'r TypeEntry), Problem> {
    let catalogue = catalogue(rules)?;
    let event_type = EventType::new(name).ok();
    event_type
        .and_then(|event_type| Some((event_type.clone(), catalogue.get(&event_type)?)))
        .ok_or_else(|| {
            Problem::new(
                StatusCode::NOT_FOUND,
                "no_type",
                "the catalogue has no such type",
                "GET /v1/event-types lists all types",
            )
        })
}

/// Lists the types by name.
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    ApiQuery(query): ApiQuery<PageQuery>,
) -> Result<Json<EventTypes>, Problem> {
    caller.may(Right::Read)?;
    let limit = usize::from(query.limit()?);
    let rules = api.rules()?;
    let after = query.after().unwrap_or_default();
    let mut rest = catalogue(&rules)?
        .types()
        .skip_while(|(event_type, _)| event_type.as_str() <= after);
    let types: Vec<TypeSummary> = rest
        .by_ref()
        .take(limit)
        .map(|(event_type, entry)| TypeSummary::of(event_type, entry))
        .collect();
    let last = types.last().map(|last| last.event_type.clone());
    let next = last.filter(|_| rest.next().is_some());
    Ok(Json(EventTypes { types, next }))
}

/// Shows a type.
pub(super) async fn show(
    State(api): State<Api>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<TypeDetails>, Problem> {
    caller.may(Right::Read)?;
    let rules = api.rules()?;
    let (event_type, entry) = entry(&rules, &name)?;
    Ok(Json(TypeDetails::of(&event_type, entry)))
}

/// Returns the catalogue as an OpenAPI document with webhooks.
pub(super) async fn document(
    State(api): State<Api>,
    caller: Caller,
) -> Result<Json<Value>, Problem> {
    caller.may(Right::Read)?;
    let rules = api.rules()?;
    Ok(Json(openapi::document(catalogue(&rules)?)))
}

/// Counts the endpoints that get a type, by version.
pub(super) async fn pins(
    State(api): State<Api>,
    caller: Caller,
    Path(name): Path<String>,
    ApiQuery(query): ApiQuery<PageQuery>,
) -> Result<Json<TypePins>, Problem> {
    caller.may(Right::Read)?;
    let limit = query.limit()?;
    let rules = api.rules()?;
    let (event_type, entry) = entry(&rules, &name)?;
    let after = query.after().map(Arc::from);
    let tenants = api.ask(api.store().tenants(after, limit)).await?;
    let is_last = tenants.len() < usize::from(limit);
    let mut counts = BTreeMap::<u32, (usize, usize)>::new();
    let (mut seen, mut next) = (0, None);
    for tenant in &tenants {
        if seen >= ENDPOINTS_OF_A_PAGE {
            break;
        }
        next = Some(tenant.uid.to_string());
        let rows = api.store().endpoints(tenant.origin, None, MAX_ENDPOINTS);
        let rows = api.ask(rows).await?;
        seen += rows.len();
        let mut own = BTreeMap::<u32, usize>::new();
        for row in &rows {
            let settings = EndpointSettings::from_json(&row.settings).unwrap_or_default();
            let pin = settings.versions.get(&event_type).copied();
            let version = version_for(pin.map(u32::from), entry.versions.keys().copied());
            if let Some(version) = version.filter(|_| settings.wants(&event_type)) {
                *own.entry(version).or_default() += 1;
            }
        }
        for (version, endpoints) in own {
            let count = counts.entry(version).or_default();
            count.0 += 1;
            count.1 += endpoints;
        }
    }
    let reached_end = next.as_deref() == tenants.last().map(|last| &*last.uid);
    let pins = counts.into_iter();
    Ok(Json(TypePins {
        pins: pins
            .map(|(version, (tenants, endpoints))| VersionPins {
                version,
                tenants,
                endpoints,
            })
            .collect(),
        next: next.filter(|_| !(is_last && reached_end)),
    }))
}

/// Lists the published events of a type over all tenants, newest first, with their data.
pub(super) async fn events(
    State(api): State<Api>,
    caller: Caller,
    Path(name): Path<String>,
    ApiQuery(query): ApiQuery<PageQuery>,
) -> Result<Json<TypeEvents>, Problem> {
    caller.may(Right::Read)?;
    let limit = query.limit()?;
    let event_type = EventType::new(&name).map_err(|_| faults::missing("no_type", "type"))?;
    let after = match query.after() {
        Some(text) => Some(reference(text).ok_or_else(bad_cursor)?),
        None => None,
    };
    let filter = Filter {
        event_type: Some(event_type.as_str().into()),
        ..Filter::default()
    };
    let units = UnitsShown::First(0);
    let page = api
        .store()
        .page(Scope::All, &filter, Order::Newest, after, limit, units);
    let page = api.ask(page).await?;
    let (mut events, mut bytes, mut next) = (Vec::new(), 0, page.next);
    // routes have event types, too, and tests are no events of the app
    let is_real = |row: &&Row| row.origin.is_tenant() && row.record.fact(TEST.as_bytes()).is_none();
    for row in page.rows.iter().filter(is_real) {
        if bytes > BYTES_OF_A_PAGE {
            break;
        }
        let stored = api.ask(api.store().stored(Scope::of(row.origin), row.id));
        if let Some(stored) = stored.await? {
            bytes += stored.body.len();
            events.extend(PublishedEvent::of(&stored));
        }
        if bytes > BYTES_OF_A_PAGE {
            next = Some(row.id);
        }
    }
    Ok(Json(TypeEvents {
        events,
        next: next.map(|next| event_id(next.0)),
    }))
}
