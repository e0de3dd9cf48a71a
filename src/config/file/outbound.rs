//! The block `outbound`, as written.
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::file::{AlarmWebhook, Egress, InlineSecret, Listen, Verify};

/// Sending: your app publishes events, and the gateway delivers them to the endpoints of your customers. Needs `store.path` or `store.postgres`, and `store.key`.
///
/// [docs/outbound.md](outbound.md) describes it. `listen` and `store.key` need a restart when they change; everything else reloads. Without
/// this block, events that still wait for endpoints stay in the store.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Outbound {
    /// The listener for your app: `{ address: 127.0.0.1:9400 }`, or `{ address: unix:/run/hookgate/outbound.sock }`, with `tls` if the app is on another machine.
    pub listen: Option<Listen>,
    /// The bearer tokens of your app. Every request needs one.
    pub tokens: Vec<OutboundToken>,
    /// The catalogue of your events: without it, every type is accepted and no data is checked.
    pub events: Option<OutboundEvents>,
    /// The schedule of attempts.
    pub retry: Option<OutboundRetry>,
    /// The signature of endpoints that name none.
    pub sign: Option<OutboundSign>,
    /// Signature schemes that endpoints may use instead of Standard Webhooks, by name: the keys of `verify` without secrets, `scheme: hmac` only.
    ///
    /// The gateway signs with every scheme that it can verify, so that a contract that you already have with your customers stays as it is.
    /// The headers for the delivery ID and the event type of a scheme are written, too.
    pub schemes: BTreeMap<String, Verify>,
    /// The rules for endpoints of customers.
    pub endpoints: Option<Endpoints>,
    /// The networks that endpoints may be in beside public ones. `egress.deny` holds for endpoints, too; `egress.allow` does not.
    pub egress: Option<Egress>,
    /// Limits of sending.
    pub limits: Option<OutboundLimits>,
    /// The rules by which endpoints that fail are paused.
    pub pause: Option<OutboundPause>,
    /// A webhook of your own that is notified when an endpoint fails, is paused, recovers or is gone, and when a recovery of events is over.
    /// Without it nobody is notified.
    pub notices: Option<AlarmWebhook>,
    /// The retention of events.
    pub keep: Option<OutboundKeep>,
    /// The `User-Agent` that endpoints get (default `hookgate/VERSION`).
    pub user_agent: Option<String>,
}

/// A bearer token of your app: exactly one of `env`, `file`, `insecure_inline`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OutboundToken {
    /// The name of its owner: `[a-z0-9][a-z0-9-]{0,62}`. It appears in the audit log.
    pub name: Option<String>,
    /// The environment variable that contains the token.
    pub env: Option<String>,
    /// The file that contains the token. It is read again when it changes.
    pub file: Option<String>,
    /// The token itself. Anyone who can read the config can read it.
    pub insecure_inline: Option<InlineSecret>,
    /// The permissions of the token: `publish`, `read`, `manage` or several of them (default `[publish]`).
    pub allow: Vec<String>,
}

/// The catalogue of your events: types, versions and schemas. A publish that does not fit it is refused.
///
/// [docs/events.md](events.md) describes the files. They reload when one changes; a catalogue with an error is refused as a whole, and the
/// last good one stays in use.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OutboundEvents {
    /// The directory of the catalogue, relative to this file. Required.
    pub dir: Option<String>,
    /// The reaction to data that is not valid: `refuse` (default), or `warn`: the event is sent, and a warning is logged.
    pub invalid: Option<String>,
    /// The reaction to a type or a version that the catalogue does not have: `refuse` (default) or `warn`.
    pub unknown: Option<String>,
}

/// The schedule of attempts to an endpoint. A 2xx status ends it with success; 410 pauses the endpoint; everything else is attempted again.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OutboundRetry {
    /// The waits (default `[5s, 5m, 30m, 2h, 5h, 10h, 14h, 20h, 24h]`: ten attempts in 75 hours).
    pub schedule: Vec<String>,
    /// The share by which each wait is made longer or shorter at random (default 20%).
    pub jitter: Option<String>,
    /// The longest wait that an endpoint can ask for with `Retry-After` and a 429 or 503 (default 1d).
    pub retry_after_max: Option<String>,
    /// The time for one attempt, from the look-up of the name to the end of the response (default 15s, at most 30s).
    pub timeout: Option<String>,
}

/// The signature of endpoints that name none.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OutboundSign {
    /// `standard` ([Standard Webhooks](https://www.standardwebhooks.com), default), or the name of one of `schemes`.
    pub default: Option<String>,
}

/// The rules for endpoints of customers.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Endpoints {
    /// Whether URLs may be `http` (default false).
    pub http: Option<bool>,
    /// The ports that URLs may have (default `[443]`).
    pub ports: Vec<u16>,
    /// The largest number of attempts to one endpoint at the same time (default 4). An endpoint can ask for fewer.
    pub concurrency: Option<u32>,
    /// The largest number of endpoints of one tenant (default 50, at most 1000).
    pub per_tenant: Option<u32>,
}

/// Limits of sending.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OutboundLimits {
    /// The number of attempts to endpoints at the same time, in all (default 512). Half of them are for endpoints that answered their last attempt.
    pub attempts: Option<u32>,
    /// The largest body of a publish (default 1MiB, at most 16MiB).
    pub body: Option<String>,
    /// The rate at which one tenant's events are accepted (default 2000/s).
    pub publish: Option<String>,
    /// The number of attempts that may wait for paused endpoints of one tenant (default 1000000). Later events are stored as dead for these endpoints.
    pub waiting: Option<u64>,
}

/// The rules by which endpoints that fail are paused. An endpoint without a success for a day, and for three days, is reported to `notices`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OutboundPause {
    /// The time without a success after which an endpoint is paused (default 5d).
    pub after: Option<String>,
    /// The number of failed attempts that it must have had in that time (default 20), in at least 24 different hours.
    pub failures: Option<u32>,
    /// The time that events wait for a paused endpoint (default 30d). After it they are dead.
    pub keep: Option<String>,
}

/// The retention of events. Events that still wait are always kept.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OutboundKeep {
    /// The time after the last attempt (default 30d). The key of a publish is remembered for as long.
    pub age: Option<String>,
    /// The time after an event became dead for an endpoint (default 30d).
    pub dead: Option<String>,
    /// The largest size of one tenant's events together: the oldest are removed first (default 1GiB).
    pub bytes_per_tenant: Option<String>,
}
