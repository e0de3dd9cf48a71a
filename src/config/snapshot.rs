//! One compiled, immutable config. Nothing in it can be invalid: names are resolved, units are types, secrets are key schedules.
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderName, Method};
use ipnet::IpNet;
use sha2::{Digest as _, Sha256};

use crate::alarm::DisablesAfter;
use crate::clock::Dates;
use crate::dedupe::late::LateRule;
use crate::limit::Quota;
use crate::request::{ClientCertificate, RequestHead};
use crate::route::guard::{GuardedPathsByApp, GuardedRoute};
use crate::route::router::Router;
use crate::route::template::PathTemplate;
use crate::telemetry::LogPolicy;
use crate::verify::{Candidate, Handshakes, Locator, SecretLocations, SigningKey, Verifier};

pub mod addresses;
mod alarms;
mod certificates;
mod deliver;
mod route;

pub use crate::config::snapshot::addresses::{
    Authorities, Egress, Identity, ListenAddress, Listener, TrustedProxies, UpstreamAddress,
    UpstreamTls,
};
pub use alarms::{AlarmWebhook, Alarms, WebAddress};
pub use certificates::{CertificateUse, Validity};
pub use deliver::{
    Acknowledgement, Action, Deliver, Inline, Keep, Recording, RefusedAnswer, Spill,
};
pub use route::{Pass, Route};

/// One compiled, immutable config generation: names and policies only. What outlives a reload lives in `gateway::Gate`.
#[derive(Debug)]
pub struct Snapshot {
    /// Counted from 1; every accepted reload adds one.
    pub generation: u64,
    /// The first 8 hex digits of a hash over all that was read: config, included files, presets, secret files.
    pub hash: String,
    /// When it was compiled.
    pub loaded_at: SystemTime,
    /// Where senders connect.
    pub listeners: Vec<Listener>,
    /// Where `/livez`, `/readyz` and `/metrics` are.
    pub health: Option<SocketAddr>,
    /// Where `/-/status` and its like are.
    pub admin: Option<Admin>,
    /// Only these may set `X-Forwarded-*`, or speak the PROXY protocol.
    pub trusted_proxies: Arc<TrustedProxies>,
    /// Bounds of the whole gate.
    pub limits: Limits,
    /// What happens on SIGTERM.
    pub shutdown: Shutdown,
    /// Where state is kept, and how much of it.
    pub store: Store,
    /// What the gate itself may call out to.
    pub egress: Arc<Egress>,
    /// What somebody should look at, and who is told.
    pub alarms: Alarms,
    /// What is logged.
    pub log: LogPolicy,
    /// The apps, by name.
    pub upstreams: BTreeMap<Arc<str>, Arc<Upstream>>,
    /// All routes, in the order of the file.
    pub routes: Vec<Route>,
    /// The webhook routes among them.
    pub hooks: Vec<Arc<WebhookRoute>>,
    /// The paths that only webhook routes may ask for.
    pub guards: GuardedPathsByApp,
    /// Finds the route of a request: its place in `routes`.
    pub router: Router,
    /// The certificates of listeners and upstreams.
    pub certificates: Vec<CertificateUse>,
    /// All files that were read, for the watcher.
    pub files: Vec<PathBuf>,
}

impl Snapshot {
    /// Returns the dates at which something of the config ends.
    pub fn end_dates(&self) -> impl Iterator<Item = SystemTime> {
        let secrets = self.hooks.iter().flat_map(|hook| {
            hook.verifier
                .iter()
                .flat_map(|verifier| verifier.secrets().listed())
        });
        let guards = self.hooks.iter().flat_map(|hook| hook.handshakes.secrets());
        let expires = secrets.chain(guards).filter_map(Candidate::expires);
        let certificates = self
            .certificates
            .iter()
            .flat_map(|one| one.in_use.iter().chain(&one.waiting))
            .map(|validity| validity.to);
        expires
            .chain(self.hooks.iter().filter_map(|hook| hook.observe_until))
            .chain(certificates)
    }
}

/// Who a route takes. Nobody named: everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allow {
    /// Clients of these networks.
    pub networks: Vec<IpNet>,
    /// Clients with a verified certificate of one of these names.
    pub subjects: Vec<String>,
}

impl Allow {
    /// Whether a client is taken: by its address or by its certificate.
    pub fn admits(&self, ip: IpAddr, certificate: Option<&ClientCertificate>) -> bool {
        self.networks.is_empty() && self.subjects.is_empty()
            || self.networks.iter().any(|network| network.contains(&ip))
            || certificate.is_some_and(|certificate| {
                self.subjects
                    .iter()
                    .any(|subject| certificate.is_named(subject))
            })
    }
}

/// The admin listener.
#[derive(Clone, Debug)]
pub struct Admin {
    /// The address to bind.
    pub address: AdminAddress,
    /// The bearer token, if the config has one.
    pub token: Option<Token>,
    /// Those with names.
    pub tokens: Vec<NamedToken>,
}

/// A bearer token of somebody.
#[derive(Clone, Debug)]
pub struct NamedToken {
    /// Whose it is: no other has this name.
    pub name: Arc<str>,
    /// The token: no other is the same.
    pub token: Token,
    /// Whether it is good for looking.
    pub read: bool,
    /// Whether it is good for acting.
    pub act: bool,
}

/// Where the admin listener is.
pub type AdminAddress = ListenAddress;

/// A bearer token, as its hash: neither its bytes nor its length can be told from it or from how long a comparison takes.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl Token {
    /// The token of these bytes, which are wiped.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Sha256::digest(zeroize::Zeroizing::new(bytes).as_slice()).into())
    }

    /// Whether `offered` is the token, in constant time.
    pub fn matches(&self, offered: &[u8]) -> bool {
        subtle::ConstantTimeEq::ct_eq(self.0.as_slice(), Sha256::digest(offered).as_slice()).into()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Bounds of the whole gate.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Bytes of bodies held at once.
    pub in_flight_bytes: usize,
    /// Refusals by one client.
    pub refused_per_client: Quota,
    /// From accept, or the first byte of a next request, to the end of the head.
    pub header_timeout: Duration,
    /// From the end of an answer to the first byte of a next request.
    pub idle_timeout: Duration,
    /// Bytes of a head.
    pub header_bytes: usize,
    /// From the end of the head to the end of the body.
    pub body_timeout: Duration,
    /// Open connections.
    pub connections: usize,
    /// Open connections of one client.
    pub connections_per_client: usize,
}

/// What happens on SIGTERM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// Not ready, still accepting.
    pub delay: Duration,
    /// For what is in flight after that.
    pub grace: Duration,
}

/// Where state is kept, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// The directory; `None`: memory alone.
    pub path: Option<PathBuf>,
    /// Delivery IDs remembered at most.
    pub ledger_entries: usize,
}

/// An app behind the gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Its name: the key of its client.
    pub name: Arc<str>,
    /// Where it is.
    pub address: UpstreamAddress,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long the exchange may take; `None`: the route says.
    pub timeout: Option<Duration>,
    /// How long an idle connection is kept.
    pub idle_timeout: Duration,
    /// Whether the app sees the host of the URL instead of the sender's.
    pub own_host: bool,
    /// When the gate stops trying.
    pub breaker: Breaker,
}

/// When the gate stops trying an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// Failures in a row; 0: never.
    pub failures: u32,
    /// How long it stays open before a probe.
    pub open: Duration,
}

/// A webhook route.
#[derive(Debug)]
pub struct WebhookRoute {
    /// Its name: log field, metric label, part of ledger and limiter keys.
    pub name: Arc<str>,
    /// The names that it had before, the oldest first: what the store has under them is its own.
    pub previously: Vec<Box<str>>,
    /// The path as the config writes it.
    pub path: String,
    /// The methods it takes.
    pub methods: Vec<Method>,
    /// How large a body may be, in bytes.
    pub max_body: usize,
    /// Clients it takes.
    pub allow: Allow,
    /// The preset's name, if it has one.
    pub provider: Option<Arc<str>>,
    /// How senders prove who they are; `None`: `verify: none`.
    pub verifier: Option<Verifier>,
    /// The parts of its requests that hold a secret or a signature.
    pub secret_locations: SecretLocations,
    /// Until when it lets in what it would refuse for want of a proof, and only says so; `None`: it enforces.
    pub observe_until: Option<SystemTime>,
    /// How the provider tests the endpoint, as far as the gate answers.
    pub handshakes: Handshakes,
    /// Its limits.
    pub rate_limits: Vec<RateLimit>,
    /// Dedupe, if it is on.
    pub dedupe: Option<Dedupe>,
    /// Whether two deliveries can have the same delivery ID, so that only the body with it tells them apart.
    pub id_with_body: bool,
    /// Where deliveries go.
    pub forward: Forward,
    /// When they go there.
    pub action: Action,
    /// How those that wait in the queue are delivered; also what a route that queues nothing has there from before.
    pub deliver: Deliver,
    /// How long they are kept.
    pub keep: Keep,
    /// The answer to a delivery that waits in the queue, and to a duplicate.
    pub answer: Acknowledgement,
    /// The answer to a request that is not authentic.
    pub refused: RefusedAnswer,
    /// How long the provider waits for an answer.
    pub answer_within: Option<Duration>,
    /// How long the provider retries a delivery.
    pub retries_for: Option<Duration>,
    /// Whether its retries keep the time that the first attempt was signed with; `false` where no source says so.
    pub retry_keeps_time: bool,
    /// When the provider disables the endpoint, if that is known.
    pub disables_after: Option<DisablesAfter>,
}

impl WebhookRoute {
    /// Returns the paths that this route guards at its app.
    pub fn guarded(&self) -> GuardedRoute<'_> {
        GuardedRoute {
            name: &self.name,
            path: &self.path,
            onward: self.forward.path.as_ref(),
            app: self.forward.upstream.address.app(),
        }
    }

    /// Whether the ledger key of its deliveries depends on the body: only then is a body hashed as it arrives.
    pub fn keys_by_body(&self) -> bool {
        let by_body = |dedupe: Dedupe| {
            dedupe.by_content || !self.verifier.as_ref().is_some_and(Verifier::covers_id)
        };
        self.dedupe.is_some_and(by_body)
            || self.dedupe.is_some() && self.id_with_body
            || self.late_retries().is_some()
    }

    /// When a request that is older than the tolerance is accepted as a retry; none where none ever is.
    pub fn late_retries(&self) -> Option<LateRule> {
        let retries_for = self.retries_for.filter(|_| self.retry_keeps_time)?;
        let (verifier, dedupe) = (self.verifier.as_ref()?, self.dedupe?);
        let tolerance = verifier.tolerance()?;
        let rule = LateRule {
            tolerance,
            retries_for,
            window: dedupe.late_window(),
            covers_body: verifier.covers().body,
        };
        Some(rule).filter(|rule| rule.applies())
    }

    /// Returns how long a delivery is remembered, `has_id` saying whether an ID tells it from others.
    pub fn window_of(&self, has_id: bool) -> Duration {
        let Some(dedupe) = self.dedupe else {
            return Duration::ZERO;
        };
        // the signed time is part of the key: an equal body of a later event has another
        if self.late_retries().is_some() {
            dedupe.late_window()
        } else {
            dedupe.window_of(has_id)
        }
    }

    /// Everything that decides how deliveries of a route with late retries are remembered: if it changes, earlier ones may not be.
    pub fn ledger_policy(&self) -> Option<String> {
        let (rule, verifier) = (self.late_retries()?, self.verifier.as_ref()?);
        let (dedupe, observes) = (&self.dedupe, &self.observe_until);
        Some(format!(
            "{rule:?} {dedupe:?} {observes:?} {} {:?} {:?}",
            self.path,
            verifier.secrets().keyed_by(),
            verifier.shape()
        ))
    }

    /// Returns whether it only observes: what is not authentic goes on.
    pub fn observes(&self, dates: &Dates) -> bool {
        self.verifier.is_some()
            && self
                .observe_until
                .is_some_and(|until| !dates.has_ended(until))
    }

    /// Returns whether a header that the route reads as single is there with different values: two readers could take different ones.
    pub fn is_ambiguous(&self, head: &RequestHead) -> bool {
        self.verifier
            .as_ref()
            .is_some_and(|verifier| verifier.is_ambiguous(head))
            || self.handshakes.is_ambiguous(head)
            || self.keys().any(|at| at.is_ambiguous(head))
    }

    /// Returns the headers that hold the account and the keys of rate limits and FIFO lanes.
    pub fn key_headers(&self) -> impl Iterator<Item = &HeaderName> {
        let account = self
            .verifier
            .as_ref()
            .and_then(|verifier| verifier.secrets().keyed_by()?.header());
        account
            .into_iter()
            .chain(self.keys().flat_map(Locator::headers))
    }

    /// Returns the places of the keys of its rate limits and FIFO lanes.
    fn keys(&self) -> impl Iterator<Item = &Locator> {
        let rates = self.rate_limits.iter().filter_map(|limit| {
            if let RateKey::Value(at) = &limit.key {
                Some(at)
            } else {
                None
            }
        });
        rates.chain(&self.deliver.fifo)
    }

    /// Returns whether it refuses what is not authentic.
    pub fn enforces(&self, dates: &Dates) -> bool {
        self.verifier.is_some() && !self.observes(dates)
    }
}

/// One limit of a route.
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimit {
    /// How often.
    pub quota: Quota,
    /// Who shares it.
    pub key: RateKey,
}

/// Who shares a limit.
#[derive(Clone, Debug, PartialEq)]
pub enum RateKey {
    /// All requests of a client address, counted before authentication.
    ClientIp,
    /// All authentic requests of the route.
    Route,
    /// All authentic requests with the same value there.
    Value(Locator),
}

/// Dedupe of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dedupe {
    /// How long a delivery ID is remembered.
    pub window: Duration,
    /// How long the body of a delivery is remembered that no ID tells from others.
    pub content_window: Duration,
    /// By the signed body alone.
    pub by_content: bool,
    /// Whether the same ID under a secret of another name is another delivery.
    pub per_secret: bool,
}

impl Dedupe {
    /// Returns how long a delivery is remembered on a route with late retries.
    pub fn late_window(&self) -> Duration {
        if self.by_content {
            self.content_window
        } else {
            self.window
        }
    }

    /// Returns how long a delivery is remembered.
    pub fn window_of(&self, has_id: bool) -> Duration {
        if has_id && !self.by_content {
            self.window
        } else {
            self.content_window
        }
    }
}

/// Where deliveries of a route go.
#[derive(Clone, Debug)]
pub struct Forward {
    /// The app.
    pub upstream: Arc<Upstream>,
    /// The path at the app; `None`: the sender's.
    pub path: Option<PathTemplate>,
    /// Whether the app gets the query.
    pub keep_query: bool,
    /// The secrets that are removed before the upstream or the store gets the request.
    pub dropped: SecretLocations,
    /// How long connecting, sending and answering may take together.
    pub timeout: Duration,
    /// Whether what is handed on later than within its request is signed anew, as its provider does.
    pub resign: bool,
    /// What the gate signs with in its own name.
    pub sign: Option<Arc<SigningKey>>,
}
