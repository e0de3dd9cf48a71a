//! Sending: the listener of the app, its tokens, and the rules for endpoints.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use super::addresses::{Egress, Listener};
use super::alarms::AlarmWebhook;
use super::deliver::Keep;
use super::token::Token;
use crate::event::catalogue::{Catalogue, Policy};
use crate::limit::Quota;
use crate::retry::Schedule;
use crate::tenant::health::PauseRules;
use crate::verify::Shape;

/// The name of Standard Webhooks as a signature scheme of endpoints.
pub const STANDARD: &str = "standard";

/// The compiled block `outbound`.
#[derive(Debug)]
pub struct Outbound {
    /// The listener for the app.
    pub listener: Listener,
    /// The tokens of the app.
    pub tokens: Vec<AppToken>,
    /// The catalogue of events; without one nothing is checked.
    pub events: Option<EventCatalogue>,
    /// The schedule of attempts.
    pub schedule: Schedule,
    /// The time for one attempt.
    pub timeout: Duration,
    /// The signature of endpoints that name none: [`STANDARD`], or the name of one of `schemes`.
    pub sign: Arc<str>,
    /// The schemes that endpoints may use beside Standard Webhooks, by name.
    pub schemes: BTreeMap<Arc<str>, Arc<Shape>>,
    /// The rules for endpoints.
    pub endpoints: EndpointRules,
    /// The addresses that endpoints may have.
    pub egress: Arc<Egress>,
    /// The limits of sending.
    pub limits: OutboundLimits,
    /// The rules by which endpoints are paused.
    pub pause: PausePolicy,
    /// The webhook of the app that is notified of what happens to endpoints.
    pub notices: Option<Arc<AlarmWebhook>>,
    /// The retention of one tenant's events.
    pub keep: Keep,
    /// The `User-Agent` that endpoints get.
    pub user_agent: HeaderValue,
}

/// The catalogue of events, and the reaction to events that do not fit it.
#[derive(Clone, Debug)]
pub struct EventCatalogue {
    /// The types.
    pub catalogue: Arc<Catalogue>,
    /// The reaction.
    pub policy: Policy,
}

/// A bearer token of the app with the name of its owner.
#[derive(Clone, Debug)]
pub struct AppToken {
    /// The name, unique among the tokens.
    pub name: Arc<str>,
    /// The token, unique, too.
    pub token: Token,
    /// Its permissions.
    pub rights: AppRights,
}

/// The permissions of a token of the app.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AppRights {
    /// Whether it may publish events.
    pub publish: bool,
    /// Whether it may read everything but secrets.
    pub read: bool,
    /// Whether it may change tenants and endpoints.
    pub manage: bool,
}

/// The rules for endpoints of customers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointRules {
    /// Whether URLs may be `http`.
    pub http: bool,
    /// The ports that URLs may have.
    pub ports: Vec<u16>,
    /// The largest number of attempts to one endpoint at the same time.
    pub concurrency: u32,
    /// The largest number of endpoints of one tenant.
    pub per_tenant: u32,
}

/// The rules by which endpoints are paused, and their events end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PausePolicy {
    /// The rules by which an endpoint that fails is paused.
    pub rules: PauseRules,
    /// The time that events wait for a paused endpoint.
    pub keep: Duration,
}

/// The limits of sending.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutboundLimits {
    /// The attempts to endpoints at the same time.
    pub attempts: u32,
    /// The largest body of a publish, in bytes.
    pub body: usize,
    /// The rate of one tenant's events.
    pub publish: Quota,
    /// The units of one tenant that may wait for paused endpoints.
    pub waiting: u64,
}
