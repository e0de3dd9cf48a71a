//! What a route does with deliveries that wait, as written.
use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::file::Secret;

/// Acknowledges once the delivery is on the disk, and delivers later. Needs `store.path`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Queue {
    /// A name under `upstreams`.
    pub upstream: Option<String>,
    /// The path at the app (default: the sender's), with the route's parameters: `/hooks/{account}`.
    pub path: Option<String>,
    /// `keep` or `drop` the query (default: keep where the signature covers it, else drop).
    pub query: Option<String>,
    /// Whether the app gets the header that is itself the secret (token, basic). Default false.
    pub keep_token: Option<bool>,
    /// The answer to a delivery, and to a duplicate.
    pub answer: Option<Acknowledgement>,
    /// When a delivery that failed is tried again.
    pub retry: Option<Retry>,
    /// How often deliveries are tried, all of the route together, by each gate: `50/s` (default: as often as `concurrency` lets them).
    pub rate: Option<String>,
    /// How many may be tried at once after a pause (default: the count of `rate`).
    pub burst: Option<u32>,
    /// How many are tried at the same time, by each gate (default 8).
    pub concurrency: Option<u32>,
    /// `header:NAME` or `json:/pointer`: deliveries with the same value there go out one after the other, in the order they came. One that fails holds up those behind it until it is delivered or dead.
    pub fifo: Option<String>,
    /// Signs each delivery anew when it is handed on, in the provider's own scheme, with the time as it is then (default false): the provider's SDK in the app takes it however long it waited. Only what is authentic is signed, and only where the scheme is `hmac` and neither signature nor time stands in the body.
    pub resign: Option<bool>,
    /// Signs what is handed on in the gate's own name.
    pub sign: Option<Sign>,
}

/// Signs what is handed on in the gate's own name, as [Standard Webhooks](https://www.standardwebhooks.com) has it: `webhook-id` (what `Hookgate-Delivery-Id` says, else the request ID), `webhook-timestamp` and `webhook-signature` take the place of what the sender wrote there. Only what is authentic is signed.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sign {
    /// The secret that the app knows, too: `whsec_` and base64, unless its `encoding` says otherwise.
    pub secret: Option<Secret>,
}

/// The answer to a delivery that is on the disk, and to a duplicate.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Acknowledgement {
    /// A 2xx (default: what the provider wants, else 200).
    pub status: Option<u16>,
    /// The body, at most 4 KiB (default: none).
    pub body: Option<String>,
    /// What the body is (default `text/plain; charset=utf-8`).
    pub content_type: Option<String>,
}

/// When a delivery that failed is tried again. 2xx ends it well, 410 ends it at once; all else is tried again.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// The longest first wait (default 5s). Each wait is drawn evenly between nothing and its longest.
    pub initial: Option<String>,
    /// How much longer each wait can be than the one before it (default 2).
    pub factor: Option<String>,
    /// The longest wait of all (default 1h).
    pub max: Option<String>,
    /// The attempts in all (default: as many as fit into `max_age`).
    pub max_attempts: Option<u32>,
    /// How old a delivery may become; it is not tried after that (default 3d; with `schedule` twice as long as that takes, if it is longer).
    pub max_age: Option<String>,
    /// The waits as they are, instead of `initial`, `factor`, `max` and `max_attempts`: `[5s, 5m, 30m]` is four tries.
    pub schedule: Vec<String>,
    /// Statuses that end it at once, such as `[404, 422]`; 410 always does.
    pub terminal: Vec<u16>,
    /// The longest wait that the app can ask for by `Retry-After`, with 429 or 503 (default 1d).
    pub retry_after_max: Option<String>,
}

/// What happens when the app cannot take a delivery, by kind of failure: `queue` or `fail` (default).
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Failures {
    /// It never reached the app: no connection, or the breaker is open.
    pub unreached: Option<String>,
    /// It was sent, and there is no answer, or a 502, 503 or 504: the app may get it twice. `fail`, where it is written, also keeps the gateway
    /// from sending it again at once when a kept connection turns out closed.
    pub ambiguous: Option<String>,
}

/// How long what is kept of a route's deliveries is kept. What waits in the queue is kept in any case.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Keep {
    /// After it was accepted (default 7d).
    pub age: Option<String>,
    /// After it died, of one that could not be delivered (default 30d).
    pub dead: Option<String>,
    /// How large all of it may be together, such as `1GiB`: the oldest go first (default: without bound).
    pub bytes: Option<String>,
}
