//! A compiled upstream.
use std::sync::Arc;
use std::time::Duration;

use super::addresses::UpstreamAddress;

/// An upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Its name: the key of its client.
    pub name: Arc<str>,
    /// The address.
    pub address: UpstreamAddress,
    /// The time for connecting.
    pub connect_timeout: Duration,
    /// The time for the exchange; `None`: the route decides.
    pub timeout: Option<Duration>,
    /// The time that an idle connection is kept open.
    pub idle_timeout: Duration,
    /// Whether the upstream gets the host of the URL instead of the sender's.
    pub own_host: bool,
    /// The circuit breaker.
    pub breaker: Breaker,
}

/// The circuit breaker of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// The number of failures in a row that open it; 0 disables it.
    pub failures: u32,
    /// The time that it stays open before a probe.
    pub open: Duration,
}
