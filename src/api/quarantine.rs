//! Requests and responses of the admin API about refused requests that are kept.
use std::collections::BTreeMap;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The refused requests that this gateway keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Quarantined {
    /// The requests, newest first.
    pub requests: Vec<QuarantinedRequest>,
    /// The routes that keep requests, with their bounds.
    pub routes: Vec<QuarantineRoute>,
}

/// A refused request that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QuarantinedRequest {
    /// The gateway's ID of the request.
    pub id: String,
    /// The route.
    pub route: String,
    /// The refusal's code. `docs/refusals.md` lists all codes.
    pub code: String,
    /// When the request was received: RFC 3339 in UTC.
    pub received_at: String,
    /// When the request is removed.
    pub kept_until: String,
    /// The client's address.
    pub client: IpAddr,
    /// The bytes that it counts: those of its head and body, and 512 more.
    pub bytes: u64,
}

/// The number and the bytes of the requests that a route keeps, and its bounds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QuarantineRoute {
    /// The route.
    pub route: String,
    /// The number of requests that are kept.
    pub requests: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The largest number of bytes; null if the config has no `quarantine` for the route any more.
    pub max_bytes: Option<u64>,
    /// The time after which a request is removed, in seconds.
    pub max_age: Option<u64>,
}

/// A request to judge the kept requests of a route again, and to release those that are authentic by the current config.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reverify {
    /// The route.
    pub route: String,
    /// Whether only the plan is returned.
    #[serde(default)]
    pub dry_run: bool,
    /// The `next` of the call before, to go on behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// The reason, for the audit log.
    #[serde(default)]
    pub reason: String,
}

/// The result of a reverify, or the plan of a dry run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ReverifyAnswer {
    /// The plan of a dry run.
    Plan(ReverifyPlan),
    /// The result.
    Done(Reverified),
}

/// The verdicts on the kept requests of a route, by the current config.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReverifyPlan {
    /// The number of requests that were judged.
    pub kept: u64,
    /// The number of those that would be released.
    pub passing: u64,
    /// The number of the others, by code.
    pub refused: BTreeMap<String, u64>,
    /// Whether all kept requests were judged. A plan takes at most 20 seconds.
    pub complete: bool,
    /// Some requests that would be released, oldest first.
    pub sample: Vec<ReverifySample>,
}

/// A request that would be released.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReverifySample {
    /// The gateway's ID of the request.
    pub id: String,
    /// When the request was received.
    pub received_at: String,
    /// The event type, if it is known.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
}

/// The result of one call. A call releases at most 100 requests, oldest first, and takes about 20 seconds at most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reverified {
    /// Requests that were forwarded and answered 2xx, or stored in the queue.
    pub released: u64,
    /// Requests that are duplicates of deliveries that were delivered.
    pub duplicates: u64,
    /// Requests that are authentic and could not be released, by code, or by the status of the app. They are still kept.
    pub failed: BTreeMap<String, u64>,
    /// Requests that are not authentic now either, by code. They are still kept.
    pub refused: BTreeMap<String, u64>,
    /// The number of requests of the route that are kept after this call.
    pub left: u64,
    /// The `after` of the next call; null if this call came to the end.
    pub next: Option<String>,
}
