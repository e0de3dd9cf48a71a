//! The kinds of routes, and the pass route.
use std::sync::Arc;
use std::time::Duration;

use http::Method;

use super::allow::Allow;
use super::upstream::Upstream;
use super::webhook::{RateLimit, WebhookRoute};

/// A route.
#[derive(Clone, Debug)]
pub enum Route {
    /// A webhook route.
    Webhook(Arc<WebhookRoute>),
    /// A pass route.
    Pass(Arc<Pass>),
}

impl Route {
    /// Returns its earlier names, the oldest first.
    pub fn previously(&self) -> &[Box<str>] {
        match self {
            Self::Webhook(webhook) => &webhook.previously,
            Self::Pass(pass) => &pass.previously,
        }
    }

    /// Returns the webhook route, if it is one.
    pub fn webhook(&self) -> Option<&Arc<WebhookRoute>> {
        match self {
            Self::Webhook(webhook) => Some(webhook),
            Self::Pass(_) => None,
        }
    }

    /// Returns the pass route, if it is one.
    pub fn pass(&self) -> Option<&Arc<Pass>> {
        match self {
            Self::Webhook(_) => None,
            Self::Pass(pass) => Some(pass),
        }
    }

    /// Returns its name.
    pub fn name(&self) -> &Arc<str> {
        match self {
            Self::Webhook(webhook) => &webhook.name,
            Self::Pass(pass) => &pass.name,
        }
    }
}

/// A route that streams other traffic to an upstream, unverified.
#[derive(Debug)]
pub struct Pass {
    /// Its name: log field, metric label, part of limiter keys.
    pub name: Arc<str>,
    /// Its earlier names, the oldest first.
    pub previously: Vec<Box<str>>,
    /// The host as written in the config.
    pub host: Option<String>,
    /// The path as written in the config.
    pub path: String,
    /// The methods that it accepts; `None`: all but TRACE.
    pub methods: Option<Vec<Method>>,
    /// The largest body, in bytes.
    pub max_body: Option<u64>,
    /// The clients that may use it.
    pub allow: Allow,
    /// Its rate limits, by client address or by route.
    pub rate_limits: Vec<RateLimit>,
    /// The upstream.
    pub upstream: Arc<Upstream>,
    /// The time from the end of the request to the head of the response.
    pub timeout: Duration,
    /// The time that both sides may be silent.
    pub idle_timeout: Duration,
}
