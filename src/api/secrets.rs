//! The use of the secrets of routes, as `/-/secrets` returns it. Times are RFC 3339 in UTC.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The use of the secrets of all routes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Secrets {
    /// The gateway's time.
    pub now: String,
    /// Whether a store counts the matches: they survive restarts, and all gateways that share it add theirs. Without a store, all counts are since
    /// the gateway's start.
    pub stored: bool,
    /// When the gateway started.
    pub started_at: String,
    /// The webhook routes that verify, in the order of the config.
    pub routes: Vec<RouteSecrets>,
}

/// The use of the secrets of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RouteSecrets {
    /// The route's name.
    pub route: String,
    /// Whether the route finds its secrets by account (`by:`). Secrets of accounts are not listed.
    pub by_account: bool,
    /// The secrets, in the order of the config.
    pub secrets: Vec<SecretUse>,
}

/// The use of a secret. A new value under the same name begins anew.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretUse {
    /// The secret's name.
    pub name: String,
    /// The origin of the secret: `env`, `file` or `inline`.
    pub source: String,
    /// When the secret becomes active; null without `not_before`.
    pub not_before: Option<String>,
    /// When the secret expires; null without `expires`.
    pub expires: Option<String>,
    /// The number of requests that the secret matched.
    pub matches: u64,
    /// When the secret last matched; null if it has not.
    pub last_match_at: Option<String>,
    /// Seconds for which the secret has been watched without a gap of more than an hour.
    pub watched_seconds: u64,
    /// The state: `not_yet_active`, `expired`, `in_use`, `only_match` (it expires soon, and no other secret matches), `removable`, `silent` or
    /// `never_matched`.
    pub state: String,
    /// The state in one sentence.
    pub verdict: String,
    /// Whether a person has to do something.
    pub needs_attention: bool,
}
