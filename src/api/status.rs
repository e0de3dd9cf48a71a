//! What `/-/status` answers, and the CLI reads back. Times are RFC 3339 in UTC.
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The state of everything.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// The version of the gate.
    pub version: String,
    /// Seconds since it began.
    pub uptime_seconds: u64,
    /// Whether senders should be sent here.
    pub ready: bool,
    /// The config's generation.
    pub generation: u64,
    /// The config's hash.
    pub hash: String,
    /// When the config was loaded.
    pub loaded_at: String,
    /// Why the last reload was refused; `None` after a good one.
    pub last_error: Option<LastError>,
    /// The config, in detail.
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
    /// The alarms that are raised now.
    #[serde(default)]
    pub alarms: Vec<AlarmStatus>,
    /// Bytes of bodies held now.
    pub in_flight_bytes: u64,
    /// Connections of senders now.
    pub connections: u64,
    /// Files, connections among them, that the system lets it have open at once; 0: not known.
    #[serde(default)]
    pub open_files: u64,
}

/// A reload that was refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LastError {
    /// When.
    pub at: String,
    /// Every mistake with its line.
    pub text: String,
}

/// The config that requests run on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigStatus {
    /// Counted from 1; every accepted reload adds one.
    pub generation: u64,
    /// Over all that was read.
    pub hash: String,
    /// When it was loaded.
    pub loaded_at: String,
    /// Seconds since then.
    pub age_seconds: u64,
    /// Why the last reload was refused; `None` after a good one.
    pub last_error: Option<LastError>,
    /// Keys whose change waits for a restart.
    pub needs_restart: Vec<String>,
    /// Secrets whose file holds no usable text now, by name; the last good text counts.
    pub stale_secrets: Vec<String>,
    /// Certificates whose files hold no good pair now, and why.
    #[serde(default)]
    pub stale_certificates: Vec<String>,
}

/// A route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RouteStatus {
    /// Its name.
    pub name: String,
    /// What it does: `forward`, `queue` or `pass`.
    pub action: String,
    /// `enforce`, `observe`, or `none`: it verifies nothing.
    #[serde(default)]
    pub mode: String,
    /// When it stops observing, or has.
    #[serde(default)]
    pub until: Option<String>,
    /// The preset's name.
    pub provider: Option<String>,
    /// The last hour.
    pub hour: HourStatus,
    /// Deliveries that wait in the queue; null: none can.
    #[serde(default)]
    pub queued: Option<u64>,
    /// Deliveries that are dead or cancelled; null: none can be.
    #[serde(default)]
    pub dead: Option<u64>,
    /// Seconds until the queue of the route makes its next attempt, while it pauses because its app is away or has too much to do; null while
    /// it does not pause.
    #[serde(default)]
    pub pause_seconds: Option<u64>,
    /// Retries accepted since the start although they were older than the tolerance: the provider repeats the time of the first attempt.
    #[serde(default)]
    pub late_retries: u64,
    /// When the last request ended.
    pub last_at: Option<String>,
    /// Its secrets.
    pub secrets: Vec<SecretStatus>,
    /// The circuit breaker of its handler, which opens when requests are not answered in time. `closed`, `open` or `half_open`; null: `pass`.
    #[serde(default)]
    pub breaker: Option<String>,
}

/// Counts of the last hour.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HourStatus {
    /// Requests that ended.
    #[serde(rename = "in")]
    pub received: u64,
    /// Those that the upstream answered with 2xx, or that are on the disk.
    pub handed_on: u64,
    /// Duplicates answered without the upstream.
    pub duplicates: u64,
    /// Refused, by code.
    pub refused: BTreeMap<String, u64>,
    /// What else became of them (`forwarded_5xx`, `abandoned`, …).
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
            handed_on: hour.handed_on,
            duplicates: hour.duplicates,
            refused: owned(hour.refused),
            other: owned(hour.other),
        }
    }
}

/// A secret, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretStatus {
    /// Its name.
    pub name: String,
    /// When it matched last since the start; `None`: not yet.
    pub last_match_at: Option<String>,
    /// When it stops counting.
    pub expires: Option<String>,
}

/// An upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UpstreamStatus {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// The circuit breaker of its address, which opens when no connection can be made: `closed`, `open` or `half_open`.
    pub breaker: String,
}

/// The clock, against the times that providers sign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClockStatus {
    /// How far signed times are behind the gate's clock, the median of late; negative: ahead.
    pub skew_seconds: f64,
    /// Of how many requests.
    pub samples: u64,
    /// Whether the clock jumped and has not held since: nothing expires from the ledger.
    pub jumped: bool,
}

/// The ledger of delivery IDs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LedgerStatus {
    /// IDs remembered.
    pub entries: u64,
    /// Memory of it, in bytes.
    pub bytes: u64,
    /// IDs remembered at most.
    pub capacity: u64,
    /// IDs forgotten before their window was over, since the start.
    pub forgotten_early: u64,
    /// IDs handed on that are not in the store yet.
    pub unsaved: u64,
}

/// An alarm that is raised.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlarmStatus {
    /// What is wrong: `docs/alarms.md` has all codes.
    pub code: String,
    /// On which route; `None`: in the whole gate.
    pub route: Option<String>,
    /// Since when.
    pub since: String,
    /// In words.
    pub text: String,
}

impl From<&crate::alarm::Alarm> for AlarmStatus {
    fn from(alarm: &crate::alarm::Alarm) -> Self {
        Self {
            code: alarm.code.code().to_owned(),
            route: alarm.route.as_deref().map(str::to_owned),
            since: crate::telemetry::rfc3339(alarm.since),
            text: alarm.text.clone(),
        }
    }
}

/// The store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StoreStatus {
    /// Its directory; `None`: memory alone.
    pub path: Option<String>,
    /// What somebody should look at.
    pub alarm: Option<String>,
    /// Bytes of its files.
    #[serde(default)]
    pub bytes: u64,
    /// Bytes that are free beside them; null: not known, or there is no store.
    #[serde(default)]
    pub free: Option<u64>,
    /// Seconds that the last write took until it was on the disk.
    #[serde(default)]
    pub last_fsync: Option<f64>,
    /// Deliveries that wait for routes that are gone from the config.
    #[serde(default)]
    pub parked: u64,
}
