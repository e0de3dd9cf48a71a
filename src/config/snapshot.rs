//! A compiled, immutable config. Nothing in it can be invalid: names are resolved, units are types, secrets are key schedules.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::limit::Quota;
use crate::route::guard::GuardedPathsByApp;
use crate::route::router::Router;
use crate::telemetry::LogPolicy;
use crate::verify::Candidate;

pub mod addresses;
mod alarms;
mod allow;
mod certificates;
mod deliver;
mod outbound;
mod route;
mod store;
mod token;
mod upstream;
mod webhook;

pub use crate::config::snapshot::addresses::{
    Authorities, Egress, Identity, ListenAddress, Listener, TrustedProxies, UpstreamAddress,
    UpstreamTls,
};
pub use alarms::{AlarmWebhook, Alarms, WebAddress};
pub use allow::Allow;
pub use certificates::{CertificateUse, Validity};
pub use deliver::{
    Acknowledgement, Action, Deliver, Inline, Keep, LimitScope, Recording, RefusedAnswer, Spill,
};
pub use outbound::{
    AppRights, AppToken, EndpointRules, EventCatalogue, Outbound, OutboundLimits, PausePolicy,
    STANDARD,
};
pub use route::{Pass, Route};
pub use store::{
    Durability, Engine, PostgresEngine, PostgresTls, PostgresTlsMode, SpoolDirectory, Store,
    TextPlace,
};
pub use token::Token;
pub use upstream::{Breaker, Upstream};
pub use webhook::{
    Dedupe, Forward, OnStoreDown, Quarantine, RateKey, RateLimit, SecretOrigin, WebhookRoute,
};

/// A compiled, immutable config generation: names and policies only. State that outlives a reload is in `gateway::Gate`.
#[derive(Debug)]
pub struct Snapshot {
    /// The generation, counted from 1. Every accepted reload adds one.
    pub generation: u64,
    /// The first 8 hex digits of a hash of all files: config, included files, presets, secret files.
    pub hash: String,
    /// The same of the parts that gateways of a fleet have in common: without addresses and the spool.
    pub common_hash: String,
    /// The time when it was compiled.
    pub loaded_at: SystemTime,
    /// The listeners for senders.
    pub listeners: Vec<Listener>,
    /// The address of `/livez`, `/readyz` and `/metrics`.
    pub health: Option<SocketAddr>,
    /// The listener of the admin API.
    pub admin: Option<Admin>,
    /// The proxies that may set `X-Forwarded-*` or use the PROXY protocol.
    pub trusted_proxies: Arc<TrustedProxies>,
    /// The limits of the gateway as a whole.
    pub limits: Limits,
    /// The behaviour on SIGTERM.
    pub shutdown: Shutdown,
    /// The storage.
    pub store: Store,
    /// The networks that the gateway itself may connect to.
    pub egress: Arc<Egress>,
    /// The alarms and their webhook.
    pub alarms: Alarms,
    /// Sending, if the config has it.
    pub outbound: Option<Arc<Outbound>>,
    /// The request log.
    pub log: LogPolicy,
    /// The upstreams, by name.
    pub upstreams: BTreeMap<Arc<str>, Arc<Upstream>>,
    /// All routes, in the order of the file.
    pub routes: Vec<Route>,
    /// The webhook routes among them.
    pub webhooks: Vec<Arc<WebhookRoute>>,
    /// The paths that pass routes must not request.
    pub guards: GuardedPathsByApp,
    /// The router: it finds the index of a request's route in `routes`.
    pub router: Router,
    /// The certificates of listeners and upstreams.
    pub certificates: Vec<CertificateUse>,
    /// All files that were read, for the watcher.
    pub files: Vec<PathBuf>,
}

impl Snapshot {
    /// Returns the dates at which a secret, a certificate or an observation ends.
    pub fn end_dates(&self) -> impl Iterator<Item = SystemTime> {
        let secrets = self.webhooks.iter().flat_map(|webhook| {
            webhook
                .verifier
                .iter()
                .flat_map(|verifier| verifier.secrets().listed())
        });
        let guards = self
            .webhooks
            .iter()
            .flat_map(|webhook| webhook.handshakes.secrets());
        let expires = secrets.chain(guards).filter_map(Candidate::expires);
        let certificates = self
            .certificates
            .iter()
            .flat_map(|one| one.in_use.iter().chain(&one.waiting))
            .map(|validity| validity.to);
        expires
            .chain(
                self.webhooks
                    .iter()
                    .filter_map(|webhook| webhook.observe_until),
            )
            .chain(certificates)
    }
}

/// The admin listener.
#[derive(Clone, Debug)]
pub struct Admin {
    /// The address to bind.
    pub address: AdminAddress,
    /// The bearer token, if the config has one.
    pub token: Option<Token>,
    /// The named bearer tokens.
    pub tokens: Vec<NamedToken>,
}

/// A bearer token with the name of its owner.
#[derive(Clone, Debug)]
pub struct NamedToken {
    /// The name, unique among the tokens.
    pub name: Arc<str>,
    /// The token, unique, too.
    pub token: Token,
    /// Whether it may read.
    pub read: bool,
    /// Whether it may act.
    pub act: bool,
}

/// The address of the admin listener.
pub type AdminAddress = ListenAddress;

/// The limits of the gateway as a whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// The bytes of bodies held at the same time.
    pub in_flight_bytes: usize,
    /// The refusals that one client may cause.
    pub refused_per_client: Quota,
    /// The time from accept, or from the first byte of a later request, to the end of the head.
    pub header_timeout: Duration,
    /// The time from the end of a response to the first byte of the next request.
    pub idle_timeout: Duration,
    /// The largest head, in bytes.
    pub header_bytes: usize,
    /// The time from the end of the head to the end of the body.
    pub body_timeout: Duration,
    /// The number of open connections.
    pub connections: usize,
    /// The number of open connections of one client.
    pub connections_per_client: usize,
}

/// The behaviour on SIGTERM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// The time of being not ready but still accepting.
    pub delay: Duration,
    /// The time for requests in flight after that.
    pub grace: Duration,
}
