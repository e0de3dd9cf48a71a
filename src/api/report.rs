//! The report of what observing routes would have refused, as `/-/report` returns it. Times are RFC 3339 in UTC.
use std::time::SystemTime;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::rfc3339;
use crate::telemetry::Observation;

/// The report of all routes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// The gateway's time.
    pub now: String,
    /// The webhook routes, in the order of the config.
    pub routes: Vec<RouteReport>,
}

/// The report of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RouteReport {
    /// The route's name.
    pub route: String,
    /// `enforce`, `observe`, or `none` if the route verifies nothing.
    pub mode: String,
    /// Whether the route currently forwards requests that it would refuse when enforcing.
    pub observes: bool,
    /// When the route stops or stopped observing; null without `mode: observe`.
    pub until: Option<String>,
    /// Since when the route observes, at the earliest since the gateway's start. All counts are since then.
    pub since: Option<String>,
    /// The number of authentic requests.
    pub authentic: u64,
    /// When the last authentic request was received.
    pub last_authentic_at: Option<String>,
    /// The requests that would have been refused, by code.
    pub refused: Vec<WouldRefuse>,
}

/// Requests that would have been refused with one code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WouldRefuse {
    /// The refusal's code.
    pub code: String,
    /// The number of requests.
    pub count: u64,
    /// When the last one was received.
    pub last_at: Option<String>,
    /// A short description of the senders.
    pub hint: String,
    /// The reason for which the last one is not authentic, where it is known.
    #[serde(default)]
    pub why: Option<String>,
}

/// Returns the name of a route's verification mode.
pub fn mode(verifies: bool, observes: bool) -> &'static str {
    match (verifies, observes) {
        (false, _) => "none",
        (true, true) => "observe",
        (true, false) => "enforce",
    }
}

impl RouteReport {
    /// Returns the report of a route from what was observed on it.
    pub fn new(
        route: &str,
        mode: &str,
        until: Option<SystemTime>,
        observation: Option<&Observation>,
    ) -> Self {
        let refused = observation
            .into_iter()
            .flat_map(|observation| &observation.refused)
            .map(|(code, refused)| WouldRefuse {
                code: (*code).to_owned(),
                count: refused.count,
                last_at: Some(rfc3339(refused.last_at)),
                hint: refused.hint(code),
                why: refused.last_why.as_deref().map(str::to_owned),
            });
        Self {
            route: route.to_owned(),
            mode: mode.to_owned(),
            observes: mode == "observe",
            until: until.map(rfc3339),
            since: observation.map(|observation| rfc3339(observation.since)),
            authentic: observation.map_or(0, |observation| observation.authentic),
            last_authentic_at: observation
                .and_then(|observation| observation.last_authentic_at)
                .map(rfc3339),
            refused: refused.collect(),
        }
    }
}
