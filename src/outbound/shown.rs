//! Tenants and endpoints as JSON.
use schemars::JsonSchema;
use serde::Serialize;

use crate::clock::rfc3339;
use crate::deliver::{Rules, open_headers};
use crate::store::address_book::{Endpoint, HealthRow, Tenant};
use crate::tenant::event_id::event_id;
use crate::tenant::settings::{EndpointSettings, TenantSettings};

/// A page of tenants.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Tenants {
    pub(super) tenants: Vec<ShownTenant>,
    /// The value of `after` for the next page; none at the end.
    pub(super) next: Option<String>,
}

/// A tenant.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ShownTenant {
    /// Your name of it.
    uid: String,
    /// The time at which it was made.
    created_at: String,
    #[serde(flatten)]
    settings: TenantSettings,
}

impl ShownTenant {
    pub(super) fn of(row: &Tenant) -> Self {
        Self {
            uid: row.uid.to_string(),
            created_at: rfc3339(row.created),
            settings: TenantSettings::from_json(&row.settings).unwrap_or_default(),
        }
    }
}

/// A page of endpoints.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Endpoints {
    pub(super) endpoints: Vec<ShownEndpoint>,
    /// The value of `after` for the next page; none at the end.
    pub(super) next: Option<String>,
}

/// An endpoint that was just made.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct MadeEndpoint {
    #[serde(flatten)]
    pub(super) endpoint: ShownEndpoint,
    /// The secret, unless the request gave it. It is shown in this response alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) secret: Option<String>,
}

/// An endpoint.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ShownEndpoint {
    /// Its ID.
    id: String,
    /// Your name of it.
    uid: Option<String>,
    /// The URL.
    url: String,
    #[serde(flatten)]
    settings: EndpointSettings,
    /// The names of its own headers. Their values are never shown.
    headers: Vec<String>,
    /// `active`, `paused`, `resuming` or `removing`.
    state: &'static str,
    /// The pause, if it is paused.
    paused: Option<Paused>,
    /// Its failures since its last success, if there are any.
    health: Option<Health>,
}

/// The pause of an endpoint.
#[derive(Debug, Serialize, JsonSchema)]
struct Paused {
    /// `by_hand`, `failing` or `gone`.
    why: &'static str,
    /// The time of the pause.
    since: String,
}

/// The failures of an endpoint since its last success.
#[derive(Debug, Serialize, JsonSchema)]
struct Health {
    /// The time of the first failure.
    failing_since: String,
    /// The number of failed attempts.
    failures: u32,
    /// The status of the last one, if there was one.
    status: Option<u16>,
    /// The error of the last one, if there was no status.
    error: Option<String>,
    /// The event that failed first.
    first: String,
}

impl Health {
    fn of(row: &HealthRow) -> Option<Self> {
        (row.notified != HealthRow::RECOVERED).then(|| Self {
            failing_since: rfc3339(row.since),
            failures: row.failures,
            status: row.status,
            error: row.cause.as_deref().map(str::to_owned),
            first: event_id(row.first.0),
        })
    }
}

impl ShownEndpoint {
    pub(super) fn of(row: &Endpoint, rules: &Rules) -> Self {
        let headers = open_headers(row, &rules.keys).unwrap_or_default();
        Self {
            id: row.id.to_string(),
            uid: row.uid.as_deref().map(str::to_owned),
            url: row.url.to_string(),
            settings: EndpointSettings::from_json(&row.settings).unwrap_or_default(),
            headers: headers.names().map(str::to_owned).collect(),
            state: row.state.word(),
            paused: row.state.pause_reason().map(|why| Paused {
                why,
                since: rfc3339(row.since),
            }),
            health: row.health.as_ref().and_then(Health::of),
        }
    }
}
