//! Requests and responses of the admin API that change something: replay, cancel, purge, forget; and the audit log.
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::deliveries::{Filter, Plan};

/// The state of a replay by filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReplayState {
    /// The replay is running.
    #[default]
    Running,
    /// Every delivery was replayed or skipped.
    Done,
    /// The replay stopped by itself, for the reason in `stop_reason`. It can be resumed.
    Stopped,
    /// A person stopped the replay. It can be resumed.
    Cancelled,
}

/// A replay, as `GET /-/replays/{id}` returns it. A gateway remembers its replays, the last finished ones included, until it is restarted.
/// The deliveries that a replay has started go on without it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Replay {
    /// The replay's ID.
    pub id: String,
    /// The replay's state.
    pub state: ReplayState,
    /// The reason why the replay stopped; null while it runs, and once it is done.
    pub stop_reason: Option<String>,
    /// Deliveries to replay. The number grows while `counting` is true.
    pub planned: u64,
    /// Whether the deliveries are still being counted.
    pub counting: bool,
    /// Deliveries that were started again so far.
    pub done: u64,
    /// Deliveries that were delivered by their first attempt.
    pub delivered: u64,
    /// Deliveries whose first attempt failed. Their retries go on.
    pub failed: u64,
    /// Deliveries that were skipped: another delivery with the same ID was delivered or is waiting, or there was nothing left to replay.
    pub skipped: u64,
    /// Deliveries that were neither skipped nor attempted yet.
    pub not_attempted: u64,
    /// Deliveries per second.
    pub rate: f64,
    /// The number of consecutive failures after which the replay stops; 0: it never stops.
    pub stop_after: u32,
    /// The deliveries that are replayed.
    pub filter: Filter,
    /// The reason that was given for the replay.
    pub reason: String,
    /// The name of the token that started the replay.
    pub who: String,
    /// When the replay began.
    pub started_at: String,
    /// When the replay ended.
    pub ended_at: Option<String>,
}

/// The replays that this gateway remembers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Replays {
    /// The replays, newest first.
    pub replays: Vec<Replay>,
}

/// A replay that was started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReplayBegun {
    /// The replay's ID.
    pub id: String,
}

/// A request to resume a replay.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Resume {
    /// Deliveries per second from now on; null: the rate from before.
    #[schemars(range(min = 0.01, max = 1000))]
    pub rate: Option<f64>,
}

/// A request to cancel or purge deliveries. Exactly one of `ids` and `filter` must be given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ActMany {
    /// The deliveries, by the gateway's IDs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000))]
    pub ids: Option<Vec<String>>,
    /// The deliveries that this filter finds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<Filter>,
    /// The reason, for the audit log.
    pub reason: String,
    /// Whether only to return what would be done.
    pub dry_run: bool,
    /// Whether a purge also deletes waiting deliveries, which are then never delivered.
    pub include_waiting: bool,
}

/// The result of a cancel or a purge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Acted {
    /// The number of deliveries that were changed or deleted.
    pub done: u64,
    /// Whether there is more to do than one call can do. If so, repeat the call.
    pub more: bool,
}

/// The result of a cancel or a purge, or the plan of a dry run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ActAnswer {
    /// The plan of a dry run.
    Plan(Box<Plan>),
    /// The result.
    Acted(Acted),
}

/// A request to forget a delivery ID.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Forget {
    /// The name of the route.
    pub route: String,
    /// The provider's ID of the delivery, or the gateway's.
    pub id: String,
    /// The delivery's path parameters, if the route has any.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// The delivery's account, if the route finds its secrets by a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The body exactly as it was received, in base64. Needed if the ledger key depends on the body and no stored delivery has the ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
    /// The reason, for the audit log.
    #[serde(default)]
    pub reason: String,
}

/// The result of forgetting a delivery ID.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Forgotten {
    /// Whether the ledger remembered the ID.
    pub forgotten: bool,
}

/// An entry of the audit log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditEntry {
    /// When it was done.
    pub at: String,
    /// The name of the token that was used. `admin` is `admin.token`, or the generated token in the store's directory.
    pub who: String,
    /// The action: `replay`, `attempt_now`, `cancel`, `purge` or `forget`.
    pub action: String,
    /// The deliveries, as IDs or as a filter.
    pub selection: String,
    /// The reason that was given.
    pub reason: String,
    /// The number of deliveries that were changed.
    pub done: u64,
}

/// The last entries of the audit log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Audit {
    /// The entries, newest first.
    pub audit: Vec<AuditEntry>,
}

/// The config generation after a reload.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Reloaded {
    /// The new config generation.
    pub generation: u64,
}

/// A request to drain the gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DrainRequest {
    /// Always false: a gateway that accepts no more deliveries is about to be stopped.
    pub accept: bool,
    /// Whether to attempt deliveries at once that wait for a later time. Deliveries that fail wait again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub now: bool,
}

/// The progress of a drain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Drain {
    /// Whether the gateway accepts deliveries.
    pub accepting: bool,
    /// Deliveries that wait, or are being attempted.
    pub waiting: u64,
    /// Requests and attempts in progress.
    pub in_flight: u64,
    /// Dead deliveries. They stay until they are replayed or purged.
    pub dead: u64,
    /// Cancelled deliveries. They stay until they are replayed or purged.
    pub cancelled: u64,
    /// The events that are left to send, counted apart from the deliveries above; null if the gateway sends nothing.
    #[serde(default)]
    pub outbound: Option<OutboundDrain>,
}

/// The events that are left to send. An event counts once for each endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OutboundDrain {
    /// Events that wait for an endpoint which is not paused, or are being attempted.
    pub waiting: u64,
    /// Events that wait for a paused endpoint. They stay stored, and a drain does not wait for them.
    pub paused: u64,
    /// Endpoints with a resume, recovery or removal that is not over.
    pub jobs: u64,
    /// Events whose attempts are exhausted.
    pub dead: u64,
}

/// An empty object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Empty {}
