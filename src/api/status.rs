//! The status of the gateway, as `/-/status` returns it. Times are RFC 3339 in UTC.
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::refusals::Unauthentic;

/// The status of the gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// The gateway's version.
    pub version: String,
    /// Seconds since the gateway's start.
    pub uptime_seconds: u64,
    /// Whether the gateway is ready for traffic.
    pub ready: bool,
    /// When a drain began: since then the gateway accepts no deliveries, until it is restarted. Null without a drain.
    #[serde(default)]
    pub draining_since: Option<String>,
    /// The config's generation.
    pub generation: u64,
    /// The hash over all files of the config.
    pub hash: String,
    /// When the config was loaded.
    pub loaded_at: String,
    /// The error of the last reload; null if it succeeded.
    pub last_error: Option<LastError>,
    /// The config in detail.
    pub config: ConfigStatus,
    /// The routes, in the order of the config.
    pub routes: Vec<RouteStatus>,
    /// The upstreams, by name.
    pub upstreams: Vec<UpstreamStatus>,
    /// The clock.
    pub clock: ClockStatus,
    /// The ledger of delivery IDs.
    pub ledger: LedgerStatus,
    /// The store.
    pub store: StoreStatus,
    /// Sending; null if the gateway sends nothing.
    #[serde(default)]
    pub outbound: Option<OutboundStatus>,
    /// The raised alarms.
    #[serde(default)]
    pub alarms: Vec<AlarmStatus>,
    /// Bytes of request bodies in memory.
    pub in_flight_bytes: u64,
    /// Open connections of senders.
    pub connections: u64,
    /// The maximum number of open files, connections included, that the system allows; 0 if unknown.
    #[serde(default)]
    pub open_files: u64,
}

/// The error of a reload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LastError {
    /// When the reload failed.
    pub at: String,
    /// Every error with its line.
    pub message: String,
}

/// The config that is in use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigStatus {
    /// The config generation. It starts at 1, and every successful reload adds one.
    pub generation: u64,
    /// The hash over all files of the config.
    pub hash: String,
    /// The hash of the parts that gateways of a fleet have in common: without `listen`, `health`, `admin`, `outbound.listen` and `store.spool`.
    #[serde(default)]
    pub common_hash: String,
    /// When the config was loaded.
    pub loaded_at: String,
    /// Seconds since then.
    pub age_seconds: u64,
    /// The error of the last reload; null if it succeeded.
    pub last_error: Option<LastError>,
    /// Changed keys that take effect after a restart.
    pub needs_restart: Vec<String>,
    /// The names of secrets whose files have no usable content now. Their last usable content stays in use.
    pub stale_secrets: Vec<String>,
    /// Certificates whose files have no valid pair now, and why. The last valid pair stays in use.
    #[serde(default)]
    pub stale_certificates: Vec<String>,
}

/// The status of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RouteStatus {
    /// The route's name.
    pub name: String,
    /// The route's action: `forward`, `queue` or `pass`.
    pub action: String,
    /// `enforce`, `observe`, or `none` if the route verifies nothing.
    #[serde(default)]
    pub mode: String,
    /// When the route stops or stopped observing.
    #[serde(default)]
    pub until: Option<String>,
    /// The name of the preset.
    pub provider: Option<String>,
    /// Counts of the last hour.
    pub hour: HourStatus,
    /// The waiting deliveries; null if no delivery of the route can be stored.
    #[serde(default)]
    pub waiting: Option<u64>,
    /// The dead deliveries; null if no delivery of the route can be stored.
    #[serde(default)]
    pub dead: Option<u64>,
    /// The cancelled deliveries; null if no delivery of the route can be stored.
    #[serde(default)]
    pub cancelled: Option<u64>,
    /// Seconds until the next attempt of a paused queue; null if the queue is not paused. A queue pauses while its upstream is down or overloaded.
    #[serde(default)]
    pub pause_seconds: Option<u64>,
    /// Retries that were accepted since the start although they were older than the tolerance: the provider repeats the first attempt's time.
    #[serde(default)]
    pub late_retries: u64,
    /// When the last request ended.
    pub last_at: Option<String>,
    /// The last refused request that was not authentic; null if there was none since the start.
    #[serde(default)]
    pub last_unauthentic: Option<Unauthentic>,
    /// The route's secrets.
    pub secrets: Vec<SecretStatus>,
    /// The state of the route's circuit breaker, which opens when the upstream does not answer in time: `closed`, `open` or `half_open`;
    /// null for `pass`.
    #[serde(default)]
    pub breaker: Option<String>,
}

/// Counts of the last hour.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HourStatus {
    /// Requests that ended.
    pub received: u64,
    /// Requests that were forwarded: the upstream answered 2xx.
    pub forwarded: u64,
    /// Deliveries that were accepted: stored, and acknowledged.
    pub accepted: u64,
    /// Duplicates answered without the upstream.
    pub duplicates: u64,
    /// Refused requests, by code.
    pub refused: BTreeMap<String, u64>,
    /// Requests with another outcome (`upstream_5xx`, `abandoned`, …).
    pub other: BTreeMap<String, u64>,
}

impl From<crate::telemetry::Hour> for HourStatus {
    fn from(hour: crate::telemetry::Hour) -> Self {
        let owned = |counts: BTreeMap<&'static str, u64>| {
            counts
                .into_iter()
                .map(|(name, count)| (name.to_owned(), count))
                .collect()
        };
        Self {
            received: hour.received,
            forwarded: hour.forwarded,
            accepted: hour.accepted,
            duplicates: hour.duplicates,
            refused: owned(hour.refused),
            other: owned(hour.other),
        }
    }
}

/// The status of a secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretStatus {
    /// The secret's name.
    pub name: String,
    /// When the secret last matched; null if it has not. Without a store: since the start.
    pub last_match_at: Option<String>,
    /// When the secret expires.
    pub expires: Option<String>,
    /// The state, as `/-/secrets` has it; empty for a secret that is found by account.
    #[serde(default)]
    pub state: String,
    /// The state in one sentence.
    #[serde(default)]
    pub verdict: String,
    /// Whether a person has to do something.
    #[serde(default)]
    pub needs_attention: bool,
}

/// The status of an upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UpstreamStatus {
    /// The upstream's name.
    pub name: String,
    /// The upstream's URL.
    pub url: String,
    /// The state of the upstream's circuit breaker, which opens when no connection can be made: `closed`, `open` or `half_open`.
    pub breaker: String,
    /// The reason for which the last connection could not be made, in a sentence; null once one is made.
    #[serde(default)]
    pub message: Option<String>,
}

/// The clock, compared with the times that providers sign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClockStatus {
    /// The recent median of how far signed times are behind the gateway's clock; negative if they are ahead.
    pub skew_seconds: f64,
    /// The number of requests in the median.
    pub samples: u64,
    /// Whether the clock jumped and is not trusted yet. Until it is, no entry of the ledger expires.
    pub jumped: bool,
}

/// The ledger of delivery IDs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LedgerStatus {
    /// The number of remembered IDs. With PostgreSQL: by all gateways, as the database estimates it.
    pub entries: u64,
    /// The memory of the ledger in bytes. With PostgreSQL: its tables and indexes in the database.
    pub bytes: u64,
    /// The maximum number of remembered IDs. With PostgreSQL: of those that this gateway remembers itself, for the time in which no server answers.
    pub capacity: u64,
    /// IDs that were forgotten before the end of their window, since the start.
    pub forgotten_early: u64,
    /// Committed IDs that are not in the store yet.
    pub unsaved: u64,
}

/// A raised alarm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlarmStatus {
    /// The code. `docs/alarms.md` lists all codes.
    pub code: String,
    /// The route; null for an alarm of the whole gateway.
    pub route: Option<String>,
    /// When the alarm was raised.
    pub since: String,
    /// A description.
    pub message: String,
    /// Whether its cause has ended: the alarm is cleared within minutes, and nothing is to be done.
    #[serde(default)]
    pub ending: bool,
}

impl From<&crate::alarm::Alarm> for AlarmStatus {
    fn from(alarm: &crate::alarm::Alarm) -> Self {
        Self {
            code: alarm.code.code().to_owned(),
            route: alarm.route.as_deref().map(str::to_owned),
            since: crate::clock::rfc3339(alarm.since),
            message: alarm.text.clone(),
            ending: alarm.ending,
        }
    }
}

/// The status of sending. An event counts once for each endpoint, except in `published`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OutboundStatus {
    /// Whether the config has the block `outbound`. Without it, events of earlier configs stay stored.
    pub sends: bool,
    /// The number of tenants.
    pub tenants: u64,
    /// The number of endpoints by state: `active`, `paused_by_hand`, `paused_failing`, `paused_gone` (it answered 410), `resuming`, `removing`.
    pub endpoints: BTreeMap<String, u64>,
    /// Events that wait for an endpoint, also for a paused one.
    pub waiting: u64,
    /// Seconds for which the oldest event has been due of an endpoint that works; null if none is due.
    pub oldest_due_seconds: Option<f64>,
    /// Events whose attempts are exhausted.
    pub dead: u64,
    /// Events published since the start.
    pub published: u64,
    /// Attempts since the start.
    pub attempts: u64,
    /// Attempts since the start that did not end with a 2xx status.
    pub failed_attempts: u64,
    /// Endpoints that fail, up to five.
    pub failing: Vec<FailingEndpoint>,
    /// The number of other endpoints that fail. They are counted up to 195.
    #[serde(default)]
    pub more_failing: u64,
}

/// An endpoint that fails.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FailingEndpoint {
    /// The endpoint's ID.
    pub id: String,
    /// Your app's name of the endpoint.
    #[serde(default)]
    pub uid: Option<String>,
    /// The tenant.
    pub tenant: String,
    /// The endpoint's state: `active`, `paused` or `resuming`.
    pub state: String,
    /// The time of the first failure since its last success.
    pub since: String,
    /// The number of failures since then.
    pub failures: u32,
    /// The last failure in words.
    pub message: String,
}

/// The status of the store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StoreStatus {
    /// The directory; null if the store is in memory only.
    pub path: Option<String>,
    /// A problem that needs attention.
    pub alarm: Option<String>,
    /// The size of the store's files in bytes.
    #[serde(default)]
    pub bytes: u64,
    /// Free bytes on the store's disk; null if unknown, or if the store is in memory only.
    #[serde(default)]
    pub free: Option<u64>,
    /// Seconds that the last write took, fsync included.
    #[serde(default)]
    pub last_fsync: Option<f64>,
    /// Deliveries whose routes are gone from the config.
    #[serde(default)]
    pub parked: u64,
    /// Secrets of customers that are sealed with one of `store.old_keys`; null if there are no such keys. At 0, `store.old_keys` can be removed.
    #[serde(default)]
    pub sealed_by_old_keys: Option<u64>,
    /// The database; null if the store is not on PostgreSQL.
    #[serde(default)]
    pub postgres: Option<PostgresStatus>,
    /// The spool of this gateway; null if it has none.
    #[serde(default)]
    pub spool: Option<SpoolStatus>,
}

/// The deliveries that a gateway keeps on its own disk while the database is away.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SpoolStatus {
    /// The directory.
    pub path: String,
    /// The deliveries that were not handed over to the database yet.
    pub waiting: u64,
    /// The bytes that are in use.
    pub bytes: u64,
    /// The maximum size in bytes.
    pub capacity: u64,
    /// Seconds since the oldest of them was received; null if there is none.
    pub oldest_seconds: Option<f64>,
}

/// The database of the store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PostgresStatus {
    /// The hosts and the database, as the URL named them when the config was loaded: `db-rw:5432/hooks`.
    pub server: String,
    /// The schema.
    pub schema: String,
    /// `store.postgres.durability` of the config: `disk`, `storage` or `standby`; null if it says nothing.
    pub durability: Option<String>,
    /// Seconds for which no server could be reached; null if one can be.
    #[serde(default)]
    pub away_seconds: Option<f64>,
    /// The gateways that share the database; null before the first heartbeat.
    pub fleet: Option<FleetStatus>,
}

/// The gateways that share a database, and its server, as of the last heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FleetStatus {
    /// Seconds since the heartbeat. There is one every five seconds while the database can be reached.
    pub age_seconds: f64,
    /// The gateways, with this one.
    pub gateways: u32,
    /// The number of different configs that they run.
    pub configs: u32,
    /// The number of different versions of the program that they run.
    pub versions: u32,
    /// The days after today for which there are tables. Gateways keep seven.
    pub days_ahead: u32,
    /// `waits`: commits wait for a standby; `ignored`: a standby is attached, and they do not wait for it; `none`: no standby is attached.
    pub standby: String,
    /// Whether the server takes writes.
    pub writable: bool,
    /// Seconds by which the server's clock is ahead of this gateway's; negative if it is behind.
    pub clock_ahead_seconds: f64,
}
