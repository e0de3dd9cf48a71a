//! What the admin API says of deliveries, and the CLI reads back. Times are RFC 3339 in UTC, durations seconds, sizes bytes.
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a delivery is on its way to one target.
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
pub enum State {
    /// It waits for its first try.
    #[default]
    Pending,
    /// It waits for another.
    Retrying,
    /// Its tries are over.
    Dead,
    /// A person ended it.
    Cancelled,
    /// It was handed on.
    Delivered,
    /// It waits, and its route is gone from the config: no try is made until there is one of that name.
    Parked,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Pending,
        Self::Retrying,
        Self::Dead,
        Self::Cancelled,
        Self::Delivered,
        Self::Parked,
    ];

    /// The word for it.
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

/// In which direction a list goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Newest first.
    #[default]
    Newest,
    /// Oldest first.
    Oldest,
}

/// What a delivery belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Origin {
    /// `route`, or `alarm`: the gate's own.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// The last try on a way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Last {
    /// When it began.
    pub at: String,
    /// The status it was answered with, or a word for what went wrong.
    pub came_to: String,
    /// How long it took.
    pub took: f64,
}

/// One way of a delivery.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Target {
    /// Where it goes: a route.
    pub target: String,
    /// Where it is.
    pub status: State,
    /// Tries made, in this round.
    pub tries: u32,
    /// Attempts made at most; null where only the age ends them, and where the route is gone.
    pub max_attempts: Option<u32>,
    /// When the next try is due; null if none is planned, and for one that waits behind others.
    pub next_at: Option<String>,
    /// Whether it is being tried now.
    pub leased: bool,
    /// Why it is dead: `attempts`, `age`, or the status that ended it.
    pub reason: Option<String>,
    /// The last try.
    pub last: Option<Last>,
}

/// A delivery in a list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Delivery {
    /// Its ID here.
    pub id: String,
    /// What it belongs to.
    pub origin: Origin,
    /// The provider's ID of it.
    pub delivery_id: Option<String>,
    /// The account: the key by which its secret was found; null where the route finds no secrets by key.
    pub account: Option<String>,
    /// What kind of event it is.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// When it was accepted.
    pub received_at: String,
    /// Bytes of its body.
    pub size: u64,
    /// Its ways.
    pub targets: Vec<Target>,
}

/// What `GET /-/deliveries` answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Deliveries {
    /// In the order that was asked for. It can be fewer than `limit`, or none, although there are more: a search looks at so many at a time.
    pub deliveries: Vec<Delivery>,
    /// What to give as `after` to go on; null at the end.
    pub next: Option<String>,
}

/// A header, in the order and as often as it was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its value; of a secret nothing, of a signature its ends.
    pub value: String,
}

/// The request that a delivery came with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The path. The query, if there was one, is in `http` alone.
    pub path: String,
    /// Whether there was a query.
    pub query: bool,
    /// The host it was sent to.
    pub host: String,
    /// Its headers.
    pub headers: Vec<Header>,
    /// The client's address.
    pub client: Option<String>,
    /// Whether it came over TLS.
    pub tls: bool,
    /// When it was complete.
    pub received_at: Option<String>,
    /// The gate's ID of the request, as in its logs.
    pub request_id: Option<String>,
    /// The preset of its route then.
    pub provider: Option<String>,
    /// Whether it is authentic.
    pub verified: bool,
    /// The name of the secret that matched.
    pub secret: Option<String>,
    /// The signed time.
    pub signed_at: Option<String>,
    /// What the signature covers.
    pub covers: Option<String>,
    /// The path parameters.
    pub params: BTreeMap<String, String>,
    /// The status its sender was answered with.
    pub answered: Option<u16>,
}

/// A body, as far as it is told without showing it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BodyFacts {
    /// Bytes.
    pub size: u64,
    /// Its SHA-256, in hex.
    pub sha256: String,
    /// What its sender says it is.
    pub content_type: Option<String>,
}

/// One try.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Attempt {
    /// Where it went.
    pub target: String,
    /// Its number, which `Hookgate-Attempt` had: it only grows, past replays and restarts too.
    pub number: u32,
    /// Why it was made: `schedule`, `replay`, `test`, or `probe`, the one that tries an upstream that was down.
    pub cause: String,
    /// Whether it came back after another had taken over, or after the delivery was cancelled.
    pub late: bool,
    /// When it began.
    pub started_at: String,
    /// How long it took in all.
    pub took: f64,
    /// How long connecting took; null where a connection was used again.
    pub connect: Option<f64>,
    /// How long the first byte of the answer took.
    pub first_byte: Option<f64>,
    /// The status it was answered with, or the word in `error`.
    pub came_to: String,
    /// The status, if there was one.
    pub status: Option<u16>,
    /// The failure in one word, if there was none: `cut_off` if the gateway ended before the outcome was known, else it begins with
    /// `unreached` or `ambiguous`.
    pub error: Option<String>,
    /// The address connected to.
    pub peer: Option<String>,
    /// The answer's headers, as far as they were kept.
    pub headers: Vec<Header>,
    /// The first bytes of the answer's body, as text; null for whoever asks without a token that reads.
    pub body_text: Option<String>,
}

/// What `GET /-/deliveries/{id}` answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Shown {
    /// What a list says of it.
    #[serde(flatten)]
    pub delivery: Delivery,
    /// How many older deliveries have the ID of the provider's that was asked for, of the last hundred.
    pub others: u64,
    /// The request that it came with.
    pub request: Request,
    /// Its body.
    pub body: BodyFacts,
    /// Every try, in order.
    pub attempts: Vec<Attempt>,
}

/// Which deliveries. What is not said does not matter; all that is said must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Those of this route; one that is gone from the config has a name still.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Those on a way that is one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<State>,
    /// Accepted then or later: RFC 3339, or an age such as `22h`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Accepted before: RFC 3339, or an age.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// The provider's ID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The kind of event.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// The body contains this text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// What an act would be done to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// How many deliveries.
    pub count: u64,
    /// Whether all were counted; if not, there are more.
    pub complete: bool,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// When the oldest was accepted.
    pub first_at: Option<String>,
    /// When the newest was accepted.
    pub last_at: Option<String>,
    /// How many of each kind of event; those without one are under the empty name, those past the fiftieth kind under `…`.
    pub types: BTreeMap<String, u64>,
    /// The first few.
    pub sample: Vec<Delivery>,
}

/// What `POST /-/deliveries/{id}/replay` is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReplayOne {
    /// Why, for the audit.
    pub reason: String,
    /// Also if it was handed on: the app sees it twice.
    pub delivered: bool,
    /// Also if another delivery of the same ID was handed on, or waits.
    pub bypass_dedupe: bool,
}

/// What `POST /-/deliveries/replay` is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReplayMany {
    /// Which. Without a status: those that are dead or cancelled, and with `delivered` those handed on.
    pub filter: Filter,
    /// Says what would be done, and does nothing.
    pub dry_run: bool,
    /// Deliveries a second.
    #[schemars(range(min = 0.01, max = 1000))]
    pub rate: f64,
    /// Stops after so many failures in a row: deliveries that their first try does not hand on. 0: never.
    pub stop_after: u32,
    /// Why, for the audit.
    pub reason: String,
    /// Also those whose ID another delivery has that was handed on, or waits.
    pub bypass_dedupe: bool,
    /// Also those that were handed on: the app sees them twice.
    pub delivered: bool,
    /// In which order.
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
            delivered: false,
            order: Order::Oldest,
        }
    }
}

/// What a single replay came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Replayed {
    /// Its ID here.
    pub id: String,
    /// Ways that go again: 0 where there was nothing to do.
    pub done: u64,
}
