//! Deliveries in the admin API's JSON. Times are RFC 3339 in UTC, durations seconds, sizes bytes.
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The state of a delivery at one target.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryState {
    /// The delivery waits for its first attempt.
    #[default]
    Pending,
    /// The delivery waits for another attempt.
    Retrying,
    /// The delivery's attempts are exhausted.
    Dead,
    /// A person cancelled the delivery.
    Cancelled,
    /// The target answered 2xx.
    Delivered,
    /// The delivery waits, but its route is gone from the config. It is not attempted until there is a route with that name.
    Parked,
}

impl DeliveryState {
    /// All states.
    pub const ALL: [Self; 6] = [
        Self::Pending,
        Self::Retrying,
        Self::Dead,
        Self::Cancelled,
        Self::Delivered,
        Self::Parked,
    ];

    /// Returns the state as it is written in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Retrying => "retrying",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
            Self::Delivered => "delivered",
            Self::Parked => "parked",
        }
    }
}

/// The order of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Newest first.
    #[default]
    Newest,
    /// Oldest first.
    Oldest,
}

/// The origin of a delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Origin {
    /// `route`, `tenant` for events that your app published, or `alarm` for the gateway's own alarms.
    pub kind: String,
    /// The name of the route, tenant or alarm webhook.
    pub name: String,
}

/// The last attempt at a target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LastAttempt {
    /// When the attempt began.
    pub at: String,
    /// The response status, or an error code if there was no response.
    pub outcome: String,
    /// How long the attempt took.
    pub took: f64,
}

/// A target of a delivery.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Target {
    /// The name of the target: the route's name, or the ID of an endpoint.
    pub target: String,
    /// The state of the delivery at this target.
    pub state: DeliveryState,
    /// Attempts made since the delivery was accepted or last replayed.
    pub attempt_count: u32,
    /// The maximum number of attempts; null if only the age limits them, or if the route is gone.
    pub max_attempts: Option<u32>,
    /// When the next attempt is due; null if none is planned, if the delivery waits behind others of its lane, or if its endpoint is paused.
    pub next_at: Option<String>,
    /// Whether the event waits because its endpoint is paused. It is sent once the endpoint is resumed.
    #[serde(default)]
    pub paused: bool,
    /// Whether an attempt is in progress.
    pub leased: bool,
    /// The reason why the delivery is dead: `attempts`, `age`, `paused`, `removed`, or the response status that ended it.
    pub reason: Option<String>,
    /// The last attempt.
    pub last: Option<LastAttempt>,
}

/// A delivery, as lists show it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Delivery {
    /// The gateway's ID of the delivery. That of an event begins with `msg_`.
    pub id: String,
    /// The route, tenant or alarm that the delivery belongs to.
    pub origin: Origin,
    /// The provider's ID of the delivery, or the key of an event.
    pub delivery_id: Option<String>,
    /// The account: the key by which the secret was found; null if the route does not find its secrets by a key.
    pub account: Option<String>,
    /// The event type.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// When the delivery was accepted.
    pub received_at: String,
    /// The size of the body in bytes.
    pub size: u64,
    /// The delivery's targets.
    pub targets: Vec<Target>,
}

/// A page of deliveries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Deliveries {
    /// The deliveries, in the requested order. A page can have fewer than `limit` deliveries, or none, although more follow: one call examines
    /// a bounded number of rows.
    pub deliveries: Vec<Delivery>,
    /// The value of `after` for the next page; null at the end.
    pub next: Option<String>,
}

/// A header line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Header {
    /// The name.
    pub name: String,
    /// The value. In headers of received requests, secrets are redacted and signatures shortened.
    pub value: String,
}

/// The request of a delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The path. The query string is only in `/-/deliveries/{id}/http`.
    pub path: String,
    /// Whether there was a query string.
    pub query: bool,
    /// The host that the request was sent to.
    pub host: String,
    /// The headers, in the order in which they were sent.
    pub headers: Vec<Header>,
    /// The client's address.
    pub client: Option<String>,
    /// Whether the request came over TLS.
    pub tls: bool,
    /// When the request was complete.
    pub received_at: Option<String>,
    /// The gateway's ID of the request, as in its logs.
    pub request_id: Option<String>,
    /// The preset of the route at that time.
    pub provider: Option<String>,
    /// Whether the request is authentic.
    pub verified: bool,
    /// The name of the secret that matched.
    pub secret: Option<String>,
    /// The signed time.
    pub signed_at: Option<String>,
    /// The parts of the request that the signature covers.
    pub covers: Option<String>,
    /// The path parameters.
    pub params: BTreeMap<String, String>,
    /// The status of the response to the sender.
    pub response_status: Option<u16>,
    /// Whether the request was refused when it was received, and was released from quarantine later.
    #[serde(default)]
    pub from_quarantine: bool,
}

/// Facts about a body that do not reveal it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BodyFacts {
    /// The size in bytes.
    pub size: u64,
    /// The SHA-256 digest, in hex.
    pub sha256: String,
    /// The `Content-Type` that the sender gave.
    pub content_type: Option<String>,
}

/// An attempt.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Attempt {
    /// The name of the target.
    pub target: String,
    /// The number of the attempt, as in `Hookgate-Attempt`. It keeps growing across replays and restarts.
    pub number: u32,
    /// The cause of the attempt: `schedule`, `replay`, `test`, or `probe` for an attempt that probes an upstream that was down.
    pub cause: String,
    /// Whether the attempt ended after another attempt had taken over, or after the delivery was cancelled.
    pub late: bool,
    /// When the attempt began.
    pub started_at: String,
    /// How long the attempt took.
    pub took: f64,
    /// How long connecting took; null if a connection was reused.
    pub connect: Option<f64>,
    /// How long it took until the first byte of the response.
    pub first_byte: Option<f64>,
    /// The response status, or the error code in `error`.
    pub outcome: String,
    /// The response status, if there was a response.
    pub status: Option<u16>,
    /// The error code, if there was no response: `cut_off` if the gateway ended before the outcome was known; otherwise it begins with
    /// `unreached` or `ambiguous`.
    pub error: Option<String>,
    /// The reason for which there was no response, in a sentence; null if the error code has none.
    #[serde(default)]
    pub message: Option<String>,
    /// The address that the gateway connected to.
    pub peer: Option<String>,
    /// The stored headers of the response.
    pub headers: Vec<Header>,
    /// The first bytes of the response body, as text; null without a token that has `read`.
    pub body_text: Option<String>,
}

/// A delivery with its request and all attempts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryDetails {
    /// The delivery, as lists show it.
    #[serde(flatten)]
    pub delivery: Delivery,
    /// The number of older deliveries with the same provider's ID, among the last hundred. It is 0 if the delivery was requested by the
    /// gateway's ID.
    pub same_id_count: u64,
    /// The request of the delivery.
    pub request: Request,
    /// The body.
    pub body: BodyFacts,
    /// All attempts, in order.
    pub attempts: Vec<Attempt>,
}

/// A filter for deliveries. A delivery must match every field that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// The name of the route. Routes that are gone from the config keep their names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Your app's name of a tenant: events that were published to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// An endpoint of the tenant, by its ID or your app's name: events that go to it. Only lists have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// States: the delivery is in one of them at some target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub state: Vec<DeliveryState>,
    /// The earliest time of acceptance: RFC 3339, or an age such as `22h`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The time before which the delivery was accepted: RFC 3339, or an age.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// The provider's ID of the delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The event type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// A text that the body contains.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// The deliveries that an action would change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// The number of deliveries.
    pub count: u64,
    /// Whether all deliveries were counted. If not, there are more.
    pub complete: bool,
    /// The total size of their bodies in bytes.
    pub bytes: u64,
    /// When the oldest delivery was accepted.
    pub first_at: Option<String>,
    /// When the newest delivery was accepted.
    pub last_at: Option<String>,
    /// The number of deliveries by event type. Deliveries without an event type have the empty name; types past the fiftieth are counted
    /// under `…`.
    pub types: BTreeMap<String, u64>,
    /// The first few deliveries.
    pub sample: Vec<Delivery>,
}

/// A request to replay one delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReplayOne {
    /// The reason, for the audit log.
    pub reason: String,
    /// Whether to replay the delivery even if it was delivered: your app receives it again.
    pub include_delivered: bool,
    /// Whether to replay the delivery even if another delivery with the same ID was delivered or is waiting.
    pub bypass_dedupe: bool,
}

/// A request to replay all deliveries that a filter finds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReplayMany {
    /// The deliveries. Without `state`: dead and cancelled ones, and with `include_delivered` also delivered ones.
    pub filter: Filter,
    /// Whether only to return what would be done.
    pub dry_run: bool,
    /// Deliveries per second.
    #[schemars(range(min = 0.01, max = 1000))]
    pub rate: f64,
    /// The number of consecutive failures after which the replay stops. A delivery whose first attempt fails counts as a failure. 0: never.
    pub stop_after: u32,
    /// The reason, for the audit log.
    pub reason: String,
    /// Whether to replay deliveries even if another delivery with the same ID was delivered or is waiting.
    pub bypass_dedupe: bool,
    /// Whether to replay deliveries that were delivered: your app receives them again.
    pub include_delivered: bool,
    /// The order.
    pub order: Order,
}

impl Default for ReplayMany {
    fn default() -> Self {
        Self {
            filter: Filter::default(),
            dry_run: false,
            rate: 20.0,
            stop_after: 0,
            reason: String::new(),
            bypass_dedupe: false,
            include_delivered: false,
            order: Order::Oldest,
        }
    }
}

/// The result of replaying one delivery.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Replayed {
    /// The gateway's ID of the delivery.
    pub id: String,
    /// The number of targets at which the delivery is attempted again.
    pub done: u64,
}
