//! The kinds of routes, the one that is no webhook's, and paths at the app.
use std::sync::Arc;
use std::time::Duration;

use http::Method;

use super::{Allow, RateLimit, Upstream, WebhookRoute};

/// A route.
#[derive(Clone, Debug)]
pub enum Route {
    /// Takes webhooks.
    Webhook(Arc<WebhookRoute>),
    /// Lets other traffic through.
    Pass(Arc<Pass>),
}

impl Route {
    /// The names that it had before, the oldest first.
    pub fn previously(&self) -> &[Box<str>] {
        match self {
            Self::Webhook(hook) => &hook.previously,
            Self::Pass(pass) => &pass.previously,
        }
    }

    /// The webhook route, if it is one.
    pub fn webhook(&self) -> Option<&Arc<WebhookRoute>> {
        match self {
            Self::Webhook(hook) => Some(hook),
            Self::Pass(_) => None,
        }
    }

    /// The pass route, if it is one.
    pub fn pass(&self) -> Option<&Arc<Pass>> {
        match self {
            Self::Webhook(_) => None,
            Self::Pass(pass) => Some(pass),
        }
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        match self {
            Self::Webhook(hook) => &hook.name,
            Self::Pass(pass) => &pass.name,
        }
    }
}

/// A route that streams other traffic of an app through, unverified.
#[derive(Debug)]
pub struct Pass {
    /// Its name: log field, metric label, part of limiter keys.
    pub name: Arc<str>,
    /// The names that it had before, the oldest first.
    pub previously: Vec<Box<str>>,
    /// The host as the config writes it.
    pub host: Option<String>,
    /// The path as the config writes it.
    pub path: String,
    /// The methods it takes; `None`: all but TRACE.
    pub methods: Option<Vec<Method>>,
    /// How large a body may be, in bytes.
    pub max_body: Option<u64>,
    /// Clients it takes; empty: all.
    pub allow: Allow,
    /// Its limits, by client address or by route.
    pub rate_limits: Vec<RateLimit>,
    /// The app.
    pub upstream: Arc<Upstream>,
    /// From the end of the request to the head of the answer.
    pub timeout: Duration,
    /// How long nothing may come from either side.
    pub idle_timeout: Duration,
}
