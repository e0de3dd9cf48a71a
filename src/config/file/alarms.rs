//! The blocks `alarms` and `egress`, as written.
use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::file::{OneOrMany, Secret};

/// The thresholds of alarms, and the webhook that receives them. [docs/alarms.md](alarms.md) lists all alarms.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Alarms {
    /// The webhook that gets an event for each alarm that is raised or cleared, through the queue. Needs `store.path` or `store.postgres`.
    pub webhook: Option<AlarmWebhook>,
    /// The free space that the disk of the store must have: a percentage such as `10%` (default), or a size.
    pub disk_free: Option<String>,
    /// The size of the store above which an alarm is raised (default: unlimited).
    pub store_size: Option<String>,
}

/// The webhook that receives alarms as signed JSON events ([Standard Webhooks](https://www.standardwebhooks.com)), retried for a day.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AlarmWebhook {
    /// `https://HOST/PATH`. Its addresses must be public or in `egress.allow`.
    pub url: Option<String>,
    /// The signing secret: `whsec_` followed by base64, as created by `echo whsec_$(openssl rand -base64 32)`.
    /// A list while one secret replaces another: each alarm is then signed with all of them.
    pub secret: Option<OneOrMany<Secret>>,
}

/// The networks that the gateway itself may connect to. All addresses of a name are checked; if one of them is not allowed, the gateway does not connect.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Egress {
    /// Networks (CIDR) that are allowed although they are not public: private ones, loopback, the machine's own addresses.
    pub allow: Vec<String>,
    /// Networks (CIDR) that are not allowed, even if they are in `allow`.
    pub deny: Vec<String>,
}
