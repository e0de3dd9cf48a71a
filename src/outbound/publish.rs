//! Publishing: an event is checked, matched with endpoints, stored in one transaction, and answered after that.
use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;

use super::access::{Caller, Right};
use super::dry_run::planned;
use super::event_body::header_key;
use super::event_check::{self, Event, Refusal, Warning};
use super::faults;
use super::published::{Published, TARGETS, accepted_before, repeated};
use super::state::{Api, Customer, Subscriber, joined};
use crate::activity::InFlight;
use crate::clock::{rfc3339, unix_ms};
use crate::deliver::{
    DATA_AT, ORDERED, ReservedEndpoint, Rules, VERSION, VERSIONS, attempt_published,
};
use crate::event::EventType;
use crate::queue::stored::RECEIVED_AT;
use crate::retry::Reason;
use crate::store::queue::{
    Accept, Accepted, Dedupe, DeliveryRef, NewUnit, Start, Stored, TargetId,
};
use crate::store::record::{Pairs, Record};
use crate::store::{StoreError, repeated as repeated_call};
use crate::telemetry::PublishResult;
use crate::tenant::event_id::event_id;
use crate::web::input::{body_length, read_body};
use crate::web::problem::Problem;

/// The longest body, in bytes, that is sent from memory. A longer one is read back from the disk.
const FROM_MEMORY: usize = 256 << 10;
/// The most endpoints of an event that are attempted from memory; the others follow from the disk.
const AT_ONCE: usize = 64;
/// The longest body, in bytes, that is checked in the task of its request.
const CHECKED_IN_PLACE: usize = 64 << 10;

/// The query of a publish.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PublishQuery {
    /// Whether nothing is stored, and the answer says who would get the event.
    dry_run: bool,
}

impl PublishQuery {
    /// Returns whether nothing is stored.
    pub(super) fn is_dry_run(&self) -> bool {
        self.dry_run
    }
}

/// Publishes an event.
pub(super) async fn publish(
    api: &Api,
    caller: &Caller,
    uid: &str,
    query: &PublishQuery,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    caller.may(Right::Publish)?;
    let activity = api.stays()?;
    let _in_flight = InFlight::begin(activity);
    let rules = api.rules()?;
    let limits = rules.outbound.limits;
    // an unknown tenant is refused before its body is read
    api.customer(uid).await?;
    let length = body_length(headers, limits.body)?;
    let _memory = api.reserve(length)?;
    let body = read_body(body, length).await?;
    // read again: endpoints may have changed while the body arrived
    let customer = api.customer(uid).await?;
    let (event, _others) = match checked(api, body, headers, &rules, &customer).await {
        Ok(checked) => checked,
        // one that cannot be a repeated publish costs nothing of the limit
        Err(refusal) if query.dry_run || refusal.publish.is_none() => return Err(refusal.problem),
        Err(refusal) => {
            api.pace(&customer, limits.publish)?;
            let published = accepted_before(api, &customer, *refusal).await?;
            api.telemetry()
                .sending()
                .count_publish(PublishResult::Repeated);
            return Ok((StatusCode::ACCEPTED, Json(published)).into_response());
        }
    };
    let (wanting, others): (Vec<&Subscriber>, Vec<&Subscriber>) = customer
        .receivers()
        .partition(|endpoint| endpoint.wants(&event.event_type));
    if query.dry_run {
        return Ok(Json(planned(api, &event, &wanting, &others)).into_response());
    }
    api.pace(&customer, limits.publish)?;
    let published = store(api, &customer, event, &wanting).await?;
    api.telemetry()
        .sending()
        .count_publish(if published.repeated {
            PublishResult::Repeated
        } else {
            PublishResult::Accepted
        });
    Ok((StatusCode::ACCEPTED, Json(published)).into_response())
}

/// Checks a publish, and reserves the memory of its other versions. A large body is checked on a thread of its own, so that the requests of
/// others go on.
async fn checked(
    api: &Api,
    body: Bytes,
    headers: &HeaderMap,
    rules: &Arc<Rules>,
    customer: &Arc<Customer>,
) -> Result<(Event, OwnedSemaphorePermit), Box<Refusal>> {
    let key = header_key(headers)?;
    let now = api.clock().now().wall;
    let is_large = body.len() > CHECKED_IN_PLACE;
    let (api, rules, customer) = (api.clone(), Arc::clone(rules), Arc::clone(customer));
    let check = move || {
        let events = rules.outbound.events.as_ref();
        let pins = |event_type: &EventType| customer.pins(event_type);
        let reserve = |bytes| api.reserve(bytes);
        event_check::check(&body, key.as_deref(), now, events, pins, reserve)
    };
    if !is_large {
        return check();
    }
    let checking = tokio::task::spawn_blocking(check);
    checking.await.map_err(|_| faults::internal())?
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
    let (version, warnings) = (event.version, event.warnings.clone());
    let record = record(&event, targets, accepted_at);
    let others = event.others.into_iter();
    let accept = Arc::new(Accept {
        id,
        origin,
        delivery_id: Some(event.key),
        key: None,
        event_type: Some(Arc::clone(&event_type)),
        to,
        record,
        body: event.body,
        versions: others
            .map(|(version, other)| (version, other.body))
            .collect(),
    });
    let dedupe = Dedupe::Own {
        digest: event.digest,
    };
    let accepting = tokio::spawn(accept_and_attempt(api.clone(), accept, dedupe, reserved));
    match api.ask(Box::pin(joined(accepting))).await? {
        Accepted::New(_) => {
            log(api, &event_type, &warnings);
            Ok(Published {
                id: event_id(id.0),
                event_type: event_type.to_string(),
                version,
                targets,
                accepted_at: rfc3339(accepted_at),
                repeated: false,
                warnings,
            })
        }
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

/// Logs that an event is sent although it does not fit the catalogue. The place in the data is left out: a key of an object can be a customer's
/// value.
fn log(api: &Api, event_type: &Arc<str>, warnings: &[Warning]) {
    let due = |warning: &&Warning| api.may_warn(event_type, warning.code);
    for Warning { code, .. } in warnings.iter().filter(due) {
        tracing::warn!(
            event_type = &**event_type,
            code,
            "events do not fit the catalogue, and are sent nevertheless; the answer to each publish has the place"
        );
    }
}

/// Returns the record of an event.
fn record(event: &Event, targets: usize, accepted_at: std::time::SystemTime) -> Record {
    let fact = |name: &'static str, value: String| {
        (Bytes::from_static(name.as_bytes()), Bytes::from(value))
    };
    let mut facts: Pairs = vec![
        fact(RECEIVED_AT, unix_ms(accepted_at).to_string()),
        fact(VERSION, event.version.to_string()),
        fact(DATA_AT, event.data_at.to_string()),
        fact(TARGETS, targets.to_string()),
    ];
    if !event.others.is_empty() {
        let others: Vec<String> = event.others.keys().map(u16::to_string).collect();
        facts.push(fact(VERSIONS, others.join(",")));
    }
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
    if event.body.len() > FROM_MEMORY {
        return Ok(HashMap::new());
    }
    let all = wanting.iter().map(|endpoint| endpoint.target);
    let targets: Vec<TargetId> = all.take(AT_ONCE).collect();
    let endpoints = api.worker().endpoints();
    // an endpoint that cannot be read now gets the event from the disk
    let live = endpoints.get(&targets).await.unwrap_or_default();
    let bytes = event.body.len();
    let reserved = live
        .into_iter()
        .filter_map(|(target, endpoint)| Some((target, endpoints.reserve(&endpoint, bytes)?)));
    Ok(reserved.collect())
}
