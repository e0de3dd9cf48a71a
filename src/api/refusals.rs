//! The last refused requests, as `/-/refusals` returns them.
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::rfc3339;
use crate::telemetry::{LastRefusal, RefusedRequest};

/// The last refused requests.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Refusals {
    /// The requests, newest first.
    pub refusals: Vec<RecentRefusal>,
}

/// A request that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecentRefusal {
    /// When the request ended: RFC 3339 in UTC.
    pub at: String,
    /// The refusal's code. `docs/refusals.md` lists all codes.
    pub code: String,
    /// The status of the response.
    pub status: u16,
    /// The exact reason behind the code, where it is known: why the request is not authentic, why the upstream cannot be reached, or what is
    /// malformed.
    #[serde(default)]
    pub why: Option<String>,
    /// The route, if one was found.
    pub route: Option<String>,
    /// The gateway's ID of the request.
    pub request_id: String,
    /// The client's address.
    pub client: IpAddr,
    /// The method.
    pub method: String,
    /// The path, fit for showing.
    pub path: String,
    /// When the request is removed from quarantine; null if it is not kept.
    #[serde(default)]
    pub kept_until: Option<String>,
}

impl From<RefusedRequest> for RecentRefusal {
    fn from(refused: RefusedRequest) -> Self {
        Self {
            at: rfc3339(refused.at),
            code: refused.code.to_owned(),
            status: refused.status.as_u16(),
            why: refused.why.as_deref().map(str::to_owned),
            route: refused.route.as_deref().map(str::to_owned),
            request_id: refused.request_id.to_string(),
            client: refused.client,
            method: refused.method.into(),
            path: refused.path.into(),
            kept_until: None,
        }
    }
}

/// A refused request that was not authentic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unauthentic {
    /// When the request ended.
    pub at: String,
    /// The refusal's code. `docs/refusals.md` lists all codes.
    pub code: String,
    /// The exact reason.
    pub why: String,
}

impl From<LastRefusal> for Unauthentic {
    fn from(last: LastRefusal) -> Self {
        Self {
            at: rfc3339(last.at),
            code: last.code.to_owned(),
            why: last.why.to_string(),
        }
    }
}
