//! What the admin API is told to do and says it did: replays, cancelling, purging, forgetting, and the audit of it all.
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::deliveries::{Filter, Plan};

/// Where a replay by filter is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReplayState {
    /// It goes on.
    #[default]
    Running,
    /// All is done.
    Done,
    /// It stopped by itself; `why` says it. It can be resumed.
    Stopped,
    /// A person stopped it. It can be resumed.
    Cancelled,
}

/// What `GET /-/replays/{id}` answers. Replays are known until the gate ends, the last of them that are over included: what was set going goes on
/// without them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Replay {
    /// Its ID.
    pub id: String,
    /// Where it is.
    pub state: ReplayState,
    /// Why it stopped.
    pub why: Option<String>,
    /// Deliveries it is about; it grows while `counting`.
    pub planned: u64,
    /// Whether they are being counted still.
    pub counting: bool,
    /// Set going.
    pub done: u64,
    /// Handed on by their first try.
    pub handed_on: u64,
    /// Not handed on by their first try; their retries go on.
    pub failed: u64,
    /// Left out: another delivery of the same ID was handed on, or waits; or there was nothing to set going any more.
    pub skipped: u64,
    /// Neither left out nor tried yet.
    pub not_tried: u64,
    /// Deliveries a second.
    pub rate: f64,
    /// Stops after so many failures in a row; 0: never.
    pub stop_after: u32,
    /// Which.
    pub filter: Filter,
    /// Why, as it was said.
    pub reason: String,
    /// Who asked for it.
    pub who: String,
    /// When it began.
    pub started_at: String,
    /// When it ended.
    pub ended_at: Option<String>,
}

/// What `GET /-/replays` answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Replays {
    /// Newest first.
    pub replays: Vec<Replay>,
}

/// What `POST /-/deliveries/replay` answers when it begins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReplayBegun {
    /// The replay's ID.
    pub id: String,
}

/// What `POST /-/replays/{id}/resume` is told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Resume {
    /// Deliveries a second from now on; null: as before.
    #[schemars(range(min = 0.01, max = 1000))]
    pub rate: Option<f64>,
}

/// What `POST /-/deliveries/cancel` and `…/purge` are told: `ids` or `filter`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ActMany {
    /// These, by their IDs here.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000))]
    pub ids: Option<Vec<String>>,
    /// Those found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<Filter>,
    /// Why, for the audit.
    pub reason: String,
    /// Says what would be done, and does nothing.
    pub dry_run: bool,
    /// For a purge: also what still waits, which is then never delivered.
    pub waiting: bool,
}

/// What a cancel or a purge did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Acted {
    /// Deliveries it changed or deleted.
    pub done: u64,
    /// Whether there is more to do than one call does: ask once more.
    pub more: bool,
}

/// What a call came to that can be made as a dry run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ActAnswer {
    /// It was a dry run.
    Plan(Box<Plan>),
    /// It was done.
    Acted(Acted),
}

/// What `POST /-/forget` is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Forget {
    /// The route.
    pub route: String,
    /// The provider's ID of the delivery, or its ID here.
    pub id: String,
    /// The path parameters it came with, where the route has any.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// The account it came from, where the route finds its secrets by a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The body exactly as it came, in base64, where the key is made of it too and no stored delivery has the ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
    /// Why, for the audit.
    #[serde(default)]
    pub reason: String,
}

/// What forgetting came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Forgotten {
    /// Whether the ledger had it.
    pub forgotten: bool,
}

/// An act as it was recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditEntry {
    /// When.
    pub at: String,
    /// Who: the name of a token; `admin` is `admin.token`, or the one beside the store.
    pub who: String,
    /// `replay`, `attempt_now`, `cancel`, `purge` or `forget`.
    pub what: String,
    /// To what.
    pub which: String,
    /// Why.
    pub reason: String,
    /// Deliveries it changed.
    pub done: u64,
}

/// What `GET /-/audit` answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Audit {
    /// Newest first.
    pub audit: Vec<AuditEntry>,
}

/// Nothing need be said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}
