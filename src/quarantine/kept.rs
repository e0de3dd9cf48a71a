//! A refused request as it is offered, stored and read back.
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::HeaderName;

use super::bounds::{Owner, ROW_OVERHEAD};
use crate::clock::Now;
use crate::config::snapshot::WebhookRoute;
use crate::listener::client_address::network_of;
use crate::queue::stored;
use crate::request::{Client, Params, Received, RequestHead};
use crate::store::record::Record;
use crate::units::saturating;
use crate::verify::{NotAuthentic, Refused, Verifier};

/// The name of the fact with the tolerance, in milliseconds.
const TOLERANCE: &str = "tolerance";

/// A refused request that waits to be written.
pub(super) struct Offered {
    webhook: Arc<WebhookRoute>,
    params: Params,
    why: NotAuthentic,
    received: Received,
    /// Its owner.
    pub(super) owner: Owner,
    /// The bytes that it counts.
    pub(super) bytes: u64,
    /// The opening of the file in which it was counted.
    pub(super) epoch: u64,
}

/// A row of the file.
pub(super) struct Row {
    pub(super) id: String,
    pub(super) owner: Owner,
    pub(super) code: &'static str,
    pub(super) client: IpAddr,
    pub(super) received_at: SystemTime,
    pub(super) until: SystemTime,
    pub(super) bytes: u64,
    pub(super) epoch: u64,
    pub(super) record: Bytes,
    pub(super) body: Bytes,
}

/// A kept request, without its head and body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The gateway's ID of the request.
    pub id: String,
    /// The route.
    pub route: Arc<str>,
    /// The code of its refusal.
    pub code: Box<str>,
    /// The time at which its head was complete.
    pub received_at: SystemTime,
    /// The time at which it is removed.
    pub until: SystemTime,
    /// The client's address.
    pub client: IpAddr,
    /// The bytes that it counts.
    pub bytes: u64,
}

/// A kept request.
#[derive(Debug)]
pub struct Kept {
    /// Its facts.
    pub entry: Entry,
    /// The greatest distance of the signed time that the route allowed then; `None` if it enforced none.
    pub tolerance: Option<Duration>,
    /// The path parameters of its route when it was received.
    pub params: Params,
    /// Its head and its body. The time of receipt is that by the wall clock; its monotonic time is that of the reading.
    pub received: Received,
}

impl Offered {
    /// Takes a refused request of a route.
    pub(super) fn new(webhook: &Arc<WebhookRoute>, params: &Params, refused: Refused) -> Self {
        let Refused { why, received } = refused;
        // its memory is bounded here, and no longer a part of `in_flight_bytes`
        received.body.release_share();
        let bytes = ROW_OVERHEAD
            .saturating_add(size_of_head(&received.head))
            .saturating_add(saturating(received.body.bytes().len()));
        Self {
            owner: Owner {
                route: Arc::clone(&webhook.name),
                client: network(received.head.client),
            },
            webhook: Arc::clone(webhook),
            params: params.clone(),
            why,
            received,
            bytes,
            epoch: 0,
        }
    }

    /// Returns the row to write: the request without the secrets that its verification does not read.
    pub(super) fn into_row(self) -> Row {
        let Self {
            webhook,
            params,
            why,
            received,
            owner,
            bytes,
            epoch,
        } = self;
        let head = &received.head;
        let max_age = webhook.quarantine.map(|of| of.max_age).unwrap_or_default();
        let received_at = head.received.wall;
        let mut record = stored::unproved(head, &params, target(&webhook, head), |name| {
            is_stored(&webhook, name)
        });
        let tolerance = webhook.verifier.as_ref().and_then(Verifier::tolerance);
        record.facts.extend(tolerance.map(|tolerance| {
            let ms = tolerance.as_millis().to_string();
            (Bytes::from_static(TOLERANCE.as_bytes()), Bytes::from(ms))
        }));
        Row {
            id: head.request_id.to_string(),
            code: why.code(),
            client: head.client.ip,
            received_at,
            until: received_at.checked_add(max_age).unwrap_or(received_at),
            record: record.encode(),
            body: received.body.bytes().clone(),
            owner,
            bytes,
            epoch,
        }
    }
}

impl Kept {
    /// Reads a stored request; `None` if it is damaged.
    pub(super) fn read(entry: Entry, record: Bytes, body: Bytes, now: Now) -> Option<Self> {
        let record = Record::decode(record).ok()?;
        let tolerance = stored::fact(&record, TOLERANCE).and_then(|ms| ms.parse().ok());
        Some(Self {
            entry,
            tolerance: tolerance.map(Duration::from_millis),
            params: stored::parameters(&record),
            received: stored::request(&record, body, now).ok()?,
        })
    }
}

/// Returns the client as limits count it, if the address is its own.
fn network(client: Client) -> Option<IpAddr> {
    client.own.then(|| network_of(client.ip))
}

fn size_of_head(head: &RequestHead) -> u64 {
    let lines = head.headers.iter();
    let lines: usize = lines.map(|(name, value)| name.len() + value.len()).sum();
    saturating(lines + head.target.len() + head.authority.len())
}

/// Returns whether a header is stored: what may hold a secret is not, unless the route reads it, for its verification or as a key.
fn is_stored(webhook: &WebhookRoute, name: &str) -> bool {
    let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
        return false;
    };
    let is_read = |verifier: &Verifier| verifier.shape().headers().has(name.as_str());
    !webhook.secret_locations.hides(&name)
        || webhook.verifier.as_ref().is_some_and(is_read)
        || webhook.key_headers().any(|key| *key == name)
}

/// Returns the target without parameters that hold a secret, unless the signature covers the query.
fn target(webhook: &WebhookRoute, head: &RequestHead) -> Bytes {
    let is_signed = webhook.verifier.as_ref().is_some_and(|verifier| {
        let covers = verifier.covers();
        covers.url || covers.query
    });
    let without = || webhook.secret_locations.without_parameters(&head.target);
    let without = (!is_signed).then(without).flatten();
    without.map_or_else(|| head.target.clone(), BytesMut::freeze)
}
