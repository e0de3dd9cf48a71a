//! Publishing: an event is checked, matched with endpoints, stored in one transaction, and answered after that.
use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::access::{Caller, Right};
use super::event_body::{Event, check};
use super::faults;
use super::state::{Api, Customer, Subscriber, joined};
use crate::activity::InFlight;
use crate::clock::{rfc3339, unix_ms};
use crate::deliver::{DATA_AT, ORDERED, ReservedEndpoint, VERSION, attempt_published};
use crate::queue::stored::RECEIVED_AT;
use crate::retry::Reason;
use crate::store::address_book::EndpointState;
use crate::store::archive::Scope;
use crate::store::queue::{
    Accept, Accepted, Dedupe, DeliveryRef, NewUnit, Start, Stored, TargetId,
};
use crate::store::record::{Pairs, Record};
use crate::store::{StoreError, repeated as repeated_call};
use crate::tenant::event_id::event_id;
use crate::tenant::settings::Payload;
use crate::web::input::{ApiQuery, body_length, read_body};
use crate::web::problem::Problem;

/// The longest body, in bytes, that is sent from memory. A longer one is read back from the disk.
const FROM_MEMORY: usize = 256 << 10;
/// The most endpoints of an event that are attempted from memory; the others follow from the disk.
const AT_ONCE: usize = 64;
/// The fact of an event's record that says to how many endpoints it goes.
const TARGETS: &str = "targets";
/// The version of events where no catalogue says which there are.
const ONLY_VERSION: u16 = 1;

/// The query of a publish.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PublishQuery {
    /// Whether nothing is stored, and the answer says who would get the event.
    dry_run: bool,
}

/// An event that is stored.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Published {
    /// The ID of the event, which endpoints get as `webhook-id`.
    id: String,
    /// Its type.
    #[serde(rename = "type")]
    event_type: String,
    /// The version of the stored data.
    version: u16,
    /// The number of endpoints that get it.
    targets: usize,
    /// The time at which it was accepted, as RFC 3339.
    accepted_at: String,
    /// Whether an earlier request with the same key stored it.
    repeated: bool,
}

/// The endpoints that would get an event.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Planned {
    /// The endpoints that would get it.
    targets: Vec<PlannedTarget>,
    /// The endpoints that would not.
    left_out: Vec<LeftOut>,
}

/// An endpoint that would get an event.
#[derive(Debug, Serialize, JsonSchema)]
struct PlannedTarget {
    /// The endpoint.
    endpoint: String,
    /// The version that it gets.
    version: u16,
    /// The bytes of the body.
    bytes: usize,
    /// Its state. Events wait for one that is paused.
    state: &'static str,
}

/// An endpoint that would not get an event.
#[derive(Debug, Serialize, JsonSchema)]
struct LeftOut {
    /// The endpoint.
    endpoint: String,
    /// The reason: `type`: none of its patterns matches.
    why: &'static str,
}

/// Publishes an event.
pub(super) async fn publish(
    State(api): State<Api>,
    caller: Caller,
    Path(uid): Path<String>,
    ApiQuery(query): ApiQuery<PublishQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    caller.may(Right::Publish)?;
    let activity = api.stays()?;
    let _in_flight = InFlight::begin(activity);
    let rules = api.rules()?;
    let limits = rules.outbound.limits;
    // an unknown tenant is refused before its body is read
    api.customer(&uid).await?;
    let length = body_length(&headers, limits.body)?;
    let _memory = api.reserve(length)?;
    let body = read_body(body, length).await?;
    let event = check(&body, &headers, &api)?;
    // read again: endpoints may have changed while the body arrived
    let customer = api.customer(&uid).await?;
    let (wanting, others): (Vec<&Subscriber>, Vec<&Subscriber>) = customer
        .endpoints
        .iter()
        .filter(|endpoint| endpoint.state != EndpointState::Removing)
        .partition(|endpoint| endpoint.wants(&event.event_type));
    if query.dry_run {
        return Ok(Json(planned(&api, &event, &wanting, &others)).into_response());
    }
    api.pace(&customer, limits.publish)?;
    let published = store(&api, &customer, event, &wanting).await?;
    Ok((StatusCode::ACCEPTED, Json(published)).into_response())
}

/// Returns who would get an event.
fn planned(api: &Api, event: &Event, wanting: &[&Subscriber], others: &[&Subscriber]) -> Planned {
    let target = |endpoint: &&Subscriber| PlannedTarget {
        endpoint: endpoint.id.to_string(),
        version: ONLY_VERSION,
        bytes: match endpoint.settings.payload {
            Payload::Envelope => event.body.bytes.len(),
            Payload::Raw => event.body.bytes.len() - event.body.data_at - 1,
        },
        state: if api.worker().endpoints().is_inactive(endpoint.target) {
            "paused"
        } else {
            "active"
        },
    };
    let left_out = |endpoint: &&Subscriber| LeftOut {
        endpoint: endpoint.id.to_string(),
        why: "type",
    };
    Planned {
        targets: wanting.iter().map(target).collect(),
        left_out: others.iter().map(left_out).collect(),
    }
}

/// Stores an event with a unit for each endpoint, and begins the attempts for which there are places. A stored event is attempted also if
/// nobody waits for the answer any more.
async fn store(
    api: &Api,
    customer: &Customer,
    event: Event,
    wanting: &[&Subscriber],
) -> Result<Published, Problem> {
    let id = DeliveryRef::draw();
    let origin = customer.tenant.origin;
    let reserved = reserve(api, &event, wanting).await?;
    let is_over = is_over(api, customer, wanting).await?;
    let accepted_at = api.clock().now().wall;
    let endpoints = api.worker().endpoints();
    let unit = |endpoint: &&Subscriber| NewUnit {
        target: endpoint.target,
        lane: endpoint.settings.ordered.then_some(ORDERED),
        start: match reserved.get(&endpoint.target) {
            Some(reserved) => Start::Mine(reserved.lease()),
            None if is_over && endpoints.is_inactive(endpoint.target) => {
                Start::Over(Some(Reason::Paused))
            }
            None => Start::Anyone,
        },
        attempts: Vec::new(),
    };
    let to: Vec<NewUnit> = wanting.iter().map(unit).collect();
    let targets = to.len();
    let event_type: Arc<str> = event.event_type.as_str().into();
    let accept = Arc::new(Accept {
        id,
        origin,
        delivery_id: Some(event.key),
        key: None,
        event_type: Some(Arc::clone(&event_type)),
        to,
        record: record(event.body.data_at, targets, accepted_at),
        body: event.body.bytes,
        versions: Vec::new(),
    });
    let dedupe = Dedupe::Own {
        digest: event.digest,
    };
    let accepting = tokio::spawn(accept_and_attempt(api.clone(), accept, dedupe, reserved));
    match api.ask(Box::pin(joined(accepting))).await? {
        Accepted::New(_) => Ok(Published {
            id: event_id(id.0),
            event_type: event_type.to_string(),
            version: ONLY_VERSION,
            targets,
            accepted_at: rfc3339(accepted_at),
            repeated: false,
        }),
        Accepted::Duplicate { of } => repeated(api, customer, of).await,
        Accepted::Other { .. } => Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "key_reused",
            "another event has this key",
            "choose a new key for each event, and send the same event when you repeat a key",
        )),
        // neither claims nor dead deliveries count for events
        Accepted::Revived { .. } | Accepted::InFlight { .. } => Err(faults::unavailable(
            "store_unavailable",
            "the store gave no answer that can be used",
            std::time::Duration::from_secs(1),
        )),
    }
}

/// Returns the record of an event.
fn record(data_at: usize, targets: usize, accepted_at: std::time::SystemTime) -> Record {
    let fact = |name: &'static str, value: String| {
        (Bytes::from_static(name.as_bytes()), Bytes::from(value))
    };
    let facts: Pairs = vec![
        fact(RECEIVED_AT, unix_ms(accepted_at).to_string()),
        fact(VERSION, ONLY_VERSION.to_string()),
        fact(DATA_AT, data_at.to_string()),
        fact(TARGETS, targets.to_string()),
    ];
    Record {
        facts,
        ..Record::default()
    }
}

/// Stores an event, and begins the attempts that were reserved.
async fn accept_and_attempt(
    api: Api,
    accept: Arc<Accept>,
    dedupe: Dedupe,
    mut reserved: HashMap<TargetId, ReservedEndpoint>,
) -> Result<Accepted, StoreError> {
    let accepted = repeated_call(|| api.store().accept(Arc::clone(&accept), dedupe)).await?;
    if let Accepted::New(leases) = &accepted {
        let stored = Arc::new(Stored {
            id: accept.id,
            origin: accept.origin,
            key: None,
            delivery_id: accept.delivery_id.clone(),
            event_type: accept.event_type.clone(),
            record: accept.record.clone(),
            body: accept.body.clone(),
        });
        for lease in leases {
            if let Some(reserved) = reserved.remove(&lease.unit.target) {
                attempt_published(api.worker(), reserved, &stored, *lease);
            }
        }
    }
    Ok(accepted)
}

/// Returns whether as many units of the tenant wait as may, so that those for paused endpoints are stored as dead: they can be sent later.
async fn is_over(api: &Api, customer: &Customer, wanting: &[&Subscriber]) -> Result<bool, Problem> {
    let endpoints = api.worker().endpoints();
    if !wanting
        .iter()
        .any(|endpoint| endpoints.is_inactive(endpoint.target))
    {
        return Ok(false);
    }
    let sums = api.ask(api.store().sums(customer.tenant.origin)).await?;
    Ok(sums.waiting >= api.rules()?.outbound.limits.waiting)
}

/// Reserves places for the first endpoints of an event.
async fn reserve(
    api: &Api,
    event: &Event,
    wanting: &[&Subscriber],
) -> Result<HashMap<TargetId, ReservedEndpoint>, Problem> {
    if event.body.bytes.len() > FROM_MEMORY {
        return Ok(HashMap::new());
    }
    let all = wanting.iter().map(|endpoint| endpoint.target);
    let targets: Vec<TargetId> = all.take(AT_ONCE).collect();
    let endpoints = api.worker().endpoints();
    // an endpoint that cannot be read now gets the event from the disk
    let live = endpoints.get(&targets).await.unwrap_or_default();
    let bytes = event.body.bytes.len();
    let reserved = live
        .into_iter()
        .filter_map(|(target, endpoint)| Some((target, endpoints.reserve(&endpoint, bytes)?)));
    Ok(reserved.collect())
}

/// Returns the answer that an event got when it was published first.
async fn repeated(
    api: &Api,
    customer: &Customer,
    of: Option<DeliveryRef>,
) -> Result<Published, Problem> {
    let scope = Scope::of(customer.tenant.origin);
    let stored = match of {
        Some(of) => api.ask(api.store().stored(scope, of)).await?,
        None => None,
    };
    // it was deleted in this very moment, so its key is free
    let Some(stored) = stored else {
        return Err(faults::unavailable(
            "store_unavailable",
            "the event with this key was just deleted",
            std::time::Duration::from_secs(1),
        ));
    };
    let fact = |name: &str| {
        let facts = &stored.record.facts;
        let found = facts.iter().find(|(known, _)| known == name.as_bytes());
        found.and_then(|(_, value)| std::str::from_utf8(value).ok()?.parse::<u64>().ok())
    };
    let accepted_at = fact(RECEIVED_AT).map_or_else(
        || stored.id.drawn_at(),
        |ms| std::time::UNIX_EPOCH + std::time::Duration::from_millis(ms),
    );
    Ok(Published {
        id: event_id(stored.id.0),
        event_type: stored.event_type.as_deref().unwrap_or_default().to_owned(),
        version: fact(VERSION)
            .and_then(|one| u16::try_from(one).ok())
            .unwrap_or(ONLY_VERSION),
        targets: fact(TARGETS)
            .and_then(|count| usize::try_from(count).ok())
            .unwrap_or(0),
        accepted_at: rfc3339(accepted_at),
        repeated: true,
    })
}
