//! The actions `forward` and `queue` of a route, as written.
use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess};

use crate::config::file::union::{Forms, OneOrMany, any_form, any_of};
use crate::config::file::verify::Secret;

/// The keys that `forward` and `queue` share: where deliveries go, and how stored ones are delivered.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Outgoing {
    /// The name of an upstream.
    pub upstream: Option<String>,
    /// The path at the upstream (default: the sender's), with the route's parameters: `/hooks/{account}`.
    pub path: Option<String>,
    /// `keep` or `drop` the query (default: keep where the signature covers it, else drop).
    pub query: Option<String>,
    /// Whether the upstream gets the header or query parameter that is itself the secret (schemes `token` and `basic`). Default false.
    pub keep_token: Option<bool>,
    /// The response to a delivery that is stored in the queue, and to a duplicate.
    pub answer: Option<Acknowledgement>,
    /// The schedule of attempts after the first one.
    pub retry: Option<Retry>,
    /// The rate at which stored deliveries of the route are attempted: `50/s` (default 20/s with `forward`, unlimited with `queue`).
    pub rate: Option<String>,
    /// The number of attempts that may start at once after a pause (default: the count of `rate`).
    pub burst: Option<u32>,
    /// The attempts that `rate` counts together: those of this `gateway` (default), or of the whole `fleet`, which needs `store.postgres`.
    pub scope: Option<String>,
    /// The number of attempts that each gateway makes at the same time (default 8 with `queue`, default 4 with `forward`).
    pub concurrency: Option<u32>,
    /// `header:NAME` or `json:/pointer`: stored deliveries with the same value there are delivered one after the other, in the order in which they came.
    ///
    /// A delivery that fails holds up those behind it until it is delivered or dead. With `forward`, new deliveries do not wait for stored ones.
    pub fifo: Option<String>,
    /// Whether deliveries that are sent after their request, from the queue or by a replay, are signed again in the provider's own scheme with the current time (default false).
    ///
    /// The provider's SDK in your app then accepts a delivery however long it waited. Only authentic deliveries are signed, and only where
    /// the scheme is `hmac` and neither the signature nor the time is in the body.
    pub resign: Option<bool>,
    /// The gateway's own signature on each delivery.
    pub sign: Option<Sign>,
}

/// The action `forward`: forwards a delivery within its request.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[serde(default)]
pub struct Forward {
    /// The keys that `queue` has, too.
    #[serde(flatten)]
    pub outgoing: Outgoing,
    /// `fail` (default), or `queue`: a delivery that the upstream cannot take is stored, acknowledged and delivered later. Needs `store.path` or `store.postgres`.
    pub on_failure: Option<OnFailure>,
    /// The time for the upstream to answer before a delivery is stored in the queue (default: the whole timeout of the upstream).
    pub budget: Option<String>,
    /// The deliveries that are recorded although they are not stored in the queue: `all`, `failures` or `none` (default). Needs `store.path` or `store.postgres`.
    pub record: Option<String>,
}

/// The action `queue`: acknowledges a delivery once it is on disk, and delivers it later. Needs `store.path` or `store.postgres`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[serde(default)]
pub struct Queue {
    /// The keys that `forward` has, too.
    #[serde(flatten)]
    pub outgoing: Outgoing,
}

/// The gateway's own signature on deliveries, as in [Standard Webhooks](https://www.standardwebhooks.com).
///
/// `webhook-id` (the value of `Hookgate-Delivery-Id`, else the request ID), `webhook-timestamp` and `webhook-signature` replace the headers
/// that the sender wrote. Only authentic deliveries are signed.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sign {
    /// The secret that your app knows, too: `whsec_` followed by base64, unless its `encoding` says otherwise.
    ///
    /// A list while one secret replaces another: each delivery is then signed with all of them, and an app that knows one accepts it.
    pub secret: Option<OneOrMany<Secret>>,
}

/// The response to a delivery that is on disk, and to a duplicate.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Acknowledgement {
    /// A 2xx status (default: the one that the provider wants, else 200).
    pub status: Option<u16>,
    /// The body, at most 4 KiB (default: none).
    pub body: Option<String>,
    /// The content type of the body (default `text/plain; charset=utf-8`).
    pub content_type: Option<String>,
}

/// The schedule of attempts. A 2xx status ends it with success and 410 ends it at once; everything else is attempted again.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// The upper bound of the first wait (default 5s). Each wait is drawn evenly between 0 and its upper bound.
    pub initial: Option<String>,
    /// The factor by which the upper bound grows with each wait (default 2).
    pub factor: Option<String>,
    /// The largest upper bound (default 1h).
    pub max: Option<String>,
    /// The number of attempts, the first one included (default: as many as fit into `max_age`).
    ///
    /// Write more than `breaker.failures` of the upstream: an upstream that is down uses up attempts until its circuit breaker opens.
    pub max_attempts: Option<u32>,
    /// The age at which a delivery is no longer attempted (default 3d; with a longer `schedule`, twice its sum).
    pub max_age: Option<String>,
    /// Fixed waits, instead of `initial`, `factor`, `max` and `max_attempts`: `[5s, 5m, 30m]` means four attempts.
    pub schedule: Vec<String>,
    /// The part by which each wait of `schedule` is shorter or longer at random, from `0%` to `50%` (default `0%`): deliveries that failed
    /// together are then not all retried at once.
    pub jitter: Option<String>,
    /// The statuses that end it at once, such as `[404, 422]`; 410 always does.
    pub terminal: Vec<u16>,
    /// The longest wait that the upstream can ask for with `Retry-After` and a 429 or 503 (default 1d).
    pub retry_after_max: Option<String>,
}

/// The handling of deliveries that the upstream cannot take, by kind of failure: `queue` or `fail` (default).
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Failures {
    /// The delivery never reached the upstream: no connection, or the circuit breaker is open.
    pub unreached: Option<String>,
    /// The delivery was sent, and there is no response, or a 502, 503 or 504: your app may get it twice.
    ///
    /// If `fail` is written here, the gateway also does not send the delivery again at once when a reused connection turns out to be closed.
    pub ambiguous: Option<String>,
}

/// The retention of a route's stored deliveries. Pending deliveries are always kept.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Keep {
    /// The time after a delivery was delivered (default 7d).
    pub age: Option<String>,
    /// The time after a delivery became dead or was cancelled (default 30d).
    pub dead: Option<String>,
    /// The largest size of all stored deliveries together, such as `1GiB`: the oldest are removed first (default: unlimited).
    pub bytes: Option<String>,
}

/// The handling of deliveries that the upstream cannot take.
#[derive(Debug, Clone)]
pub enum OnFailure {
    /// The word `fail` or `queue`, or one that `compile` refuses.
    Word(String),
    /// A table by kind of failure.
    Table(Failures),
}

impl<'de> Forms<'de> for OnFailure {
    const EXPECTING: &'static str = "`fail`, `queue` or a table";
    fn text<E: Error>(text: &str) -> Result<Self, E> {
        Ok(Self::Word(text.to_owned()))
    }
    fn map<A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        Failures::deserialize(MapAccessDeserializer::new(map)).map(Self::Table)
    }
}

impl<'de> Deserialize<'de> for OnFailure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        any_form(deserializer)
    }
}

impl JsonSchema for OnFailure {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "OnFailure".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<Failures>();
        any_of([json_schema!({ "type": "string" }), table])
    }
}
