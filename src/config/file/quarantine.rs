//! The quarantine of a route, as written.
use schemars::JsonSchema;
use serde::Deserialize;

/// The quarantine of a route: requests that were refused as not authentic.
///
/// `quarantine: {}` keeps them with the defaults; without the key, nothing is kept. The sender gets the same response either way.
/// [docs/refusals.md](refusals.md#keep-what-was-refused) describes what is kept, and how it is released.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Quarantine {
    /// The bytes that the route keeps in all (default 16MiB). One client keeps at most a sixteenth of them. A request that does not fit is not kept.
    ///
    /// A client is an address, IPv6 by /64. The share of one client counts only where the address is the client's own, as with
    /// `limits.refused_per_client`. Each request counts 512 bytes more than it has.
    pub max_bytes: Option<String>,
    /// The time after which a kept request is removed (default 24h).
    pub max_age: Option<String>,
}
