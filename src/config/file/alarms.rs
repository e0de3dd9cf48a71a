//! Alarms and what the gate calls out to, as written.
use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::file::Secret;

/// When alarms are raised, and who is told. `docs/alarms.md` has all of them.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Alarms {
    /// Where each alarm that is raised or cleared is sent, through the queue. Needs `store.path`.
    pub webhook: Option<AlarmWebhook>,
    /// What must be free on the disk of the store: a share such as `10%` (default), or a size.
    pub disk_free: Option<String>,
    /// How large the store may be, before that is an alarm (default: without bound).
    pub store_size: Option<String>,
}

/// Where alarms are sent: a signed JSON event each ([Standard Webhooks](https://www.standardwebhooks.com)), tried again for a day.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AlarmWebhook {
    /// `https://HOST/PATH`. Its addresses must be public, or in `egress.allow`.
    pub url: Option<String>,
    /// What it is signed with: `whsec_` and base64, as `echo whsec_$(openssl rand -base64 32)` makes it.
    pub secret: Option<Secret>,
}

/// What the gate itself may call out to. All addresses of a name are judged, in every spelling; one that may not be called refuses the call.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Egress {
    /// Networks as CIDR that it may call although they are not public: private ones, loopback, the machine's own addresses.
    pub allow: Vec<String>,
    /// Networks as CIDR that it may not call. This counts more than `allow`.
    pub deny: Vec<String>,
}
