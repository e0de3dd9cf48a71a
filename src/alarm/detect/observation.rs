//! The observations that alarms are derived from.
use std::sync::Arc;
use std::time::Duration;

use crate::alarm::DisablesAfter;
use crate::mount::Space;

/// The observations of one look. Counts are since the start.
#[derive(Clone, Debug, Default)]
pub struct Observation {
    /// The webhook routes of the config.
    pub routes: Vec<RouteObservation>,
    /// The disk of the store, if there is one.
    pub disk: Option<Space>,
    /// Bytes of the store's files.
    pub store_bytes: u64,
    /// Deliveries that wait for a route that is not in the config.
    pub parked: u64,
    /// The reason why writes to the store fail, if they do.
    pub failing: Option<String>,
    /// A message about a damaged store that was set aside.
    pub set_aside: Option<String>,
    /// Whether the clock jumped recently.
    pub clock_jump: bool,
    /// The number of times that no file descriptor was left for a connection, since the start.
    pub out_of_files: u64,
    /// The certificates that end soon or are not valid, in words.
    pub certificates: Option<String>,
    /// The upstreams whose names do not resolve, and for how long, where that is long enough for an alarm.
    pub unresolved: Vec<(Arc<str>, Duration)>,
    /// The state of a store that gateways share; none if the store is this gateway's own.
    pub fleet: Option<FleetObservation>,
    /// The state of sending; none if nothing is sent, or if it was not observed yet.
    pub sending: Option<SendingObservation>,
}

/// The observations of a store that gateways share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FleetObservation {
    /// The reason why no server can be reached, if none can be.
    pub down: Option<String>,
    /// In words, that commits do not wait for a standby that they should wait for.
    pub standby_ignored: Option<&'static str>,
    /// The days after today for which there are tables; none before the first heartbeat.
    pub days_ahead: Option<u32>,
    /// The different configs that the gateways run.
    pub configs: u32,
}

/// The observations of sending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendingObservation {
    /// The endpoints that the gateway paused, because they failed or answered 410.
    pub paused: u64,
    /// The pauses that the gateway made since it was started, also of endpoints that were resumed.
    pub pauses: u64,
    /// The time for which the oldest event of an endpoint that works has been due.
    pub oldest_due: Option<Duration>,
}

/// The observations of one route.
#[derive(Clone, Debug, Default)]
pub struct RouteObservation {
    /// Its name.
    pub name: Arc<str>,
    /// Requests that verified.
    pub verified: u64,
    /// Requests that did not.
    pub unverified: u64,
    /// Authentic requests that were answered 2xx.
    pub succeeded: u64,
    /// Authentic requests that were answered otherwise.
    pub failed: u64,
    /// Authentic requests of the last hour.
    pub authentic_of_hour: u64,
    /// The authentic requests that were answered as duplicates.
    pub duplicates_of_hour: u64,
    /// Deliveries whose last attempt failed.
    pub deaths: u64,
    /// Dead deliveries in the store.
    pub dead: u64,
    /// The rule by which the provider disables the endpoint, if it is known.
    pub disables_after: Option<DisablesAfter>,
}
