//! Matches of the secrets of routes, counted by all gateways that use a store, so that they survive restarts.
use std::time::Duration;

use super::Key;

/// The time after which a secret that no gateway has in its config is forgotten.
pub const FORGOTTEN_AFTER: Duration = Duration::from_secs(90 * 86_400);
/// The longest time without a call about a secret in which it still counts as watched. A restart takes less.
pub const MAX_GAP: Duration = Duration::from_secs(3600);

/// The matches of a secret that the store does not know yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretMatches {
    /// The keyed fingerprint of the route, the name and the value of the secret.
    pub key: Key,
    /// The number of matches.
    pub count: u64,
    /// The time since the last one; `None` if there was none.
    pub last: Option<Duration>,
}

/// The matches of a secret that the store knows, with those of other gateways and of earlier runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SecretTotals {
    /// The number of matches.
    pub count: u64,
    /// The time since the last one; `None` if there was none.
    pub last: Option<Duration>,
    /// The time for which gateways have watched it without a gap longer than [`MAX_GAP`].
    pub watched: Duration,
}
