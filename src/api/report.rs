//! What `/-/report` answers, and `hookgate report` reads back: what routes that observe would have refused. Times are RFC 3339 in UTC.
use std::time::SystemTime;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::telemetry::{Observation, rfc3339};

/// All routes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// The gate's time.
    pub now: String,
    /// The webhook routes, in the order of the config.
    pub routes: Vec<RouteReport>,
}

/// One route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RouteReport {
    /// Its name.
    pub route: String,
    /// `enforce`, `observe`, or `none`: it verifies nothing.
    pub mode: String,
    /// Whether it lets in, now, what it would refuse.
    pub observes: bool,
    /// When it stops observing, or has; `None` without `mode: observe`.
    pub until: Option<String>,
    /// Since when it observes, at the earliest since the start of the gate; all counts are since then.
    pub since: Option<String>,
    /// Authentic requests.
    pub let_in: u64,
    /// When the last one was.
    pub let_in_at: Option<String>,
    /// Those that would have been refused, by code.
    pub refused: Vec<WouldRefuse>,
}

/// Requests that would have been refused with one code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WouldRefuse {
    /// The refusal's code.
    pub code: String,
    /// How many.
    pub count: u64,
    /// When the last one was.
    pub last_at: Option<String>,
    /// Who sent them, in a few words.
    pub hint: String,
}

/// How a route stands to what is not authentic.
pub fn mode(verifies: bool, observes: bool) -> &'static str {
    match (verifies, observes) {
        (false, _) => "none",
        (true, true) => "observe",
        (true, false) => "enforce",
    }
}

impl RouteReport {
    /// The report of a route, as far as it was seen.
    pub fn new(
        route: &str,
        mode: &str,
        until: Option<SystemTime>,
        seen: Option<&Observation>,
    ) -> Self {
        let refused = seen
            .into_iter()
            .flat_map(|seen| &seen.refused)
            .map(|(code, refused)| WouldRefuse {
                code: (*code).to_owned(),
                count: refused.count,
                last_at: Some(rfc3339(refused.last_at)),
                hint: refused.hint(code),
            });
        Self {
            route: route.to_owned(),
            mode: mode.to_owned(),
            observes: mode == "observe",
            until: until.map(rfc3339),
            since: seen.map(|seen| rfc3339(seen.since)),
            let_in: seen.map_or(0, |seen| seen.let_in),
            let_in_at: seen.and_then(|seen| seen.let_in_at).map(rfc3339),
            refused: refused.collect(),
        }
    }
}
