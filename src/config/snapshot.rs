//! One compiled, immutable config. Nothing in it can be invalid: names are resolved, units are types, secrets are key schedules.
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderName, Method, StatusCode};
use ipnet::IpNet;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::router::Router;
use crate::limit::Quota;
use crate::request::ClientCertificate;
use crate::telemetry::LogPolicy;
use crate::verify::{Handshakes, Locator, Verifier};

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
    /// What is logged.
    pub log: LogPolicy,
    /// The apps, by name.
    pub upstreams: BTreeMap<Arc<str>, Arc<Upstream>>,
    /// All routes, in the order of the file.
    pub routes: Vec<Route>,
    /// The webhook routes among them.
    pub hooks: Vec<Arc<Hook>>,
    /// Finds the route of a request: its place in `routes`.
    pub router: Router,
    /// All files that were read, for the watcher.
    pub files: Vec<PathBuf>,
}

/// Where senders connect.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The address to bind.
    pub address: ListenAddress,
    /// Whether each connection begins with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// With TLS: the finished server side, h2 and http/1.1 by ALPN.
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

/// Where a listener is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

impl ListenAddress {
    /// The TCP address, if it is one.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl std::fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The proxies in front of the gate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    /// Their addresses.
    pub networks: Vec<IpNet>,
    /// Whether one stands behind the gate's own unix sockets.
    pub unix: bool,
}

impl TrustedProxies {
    /// Whether the address is a proxy's.
    pub fn has(&self, ip: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&ip))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.unix
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
            || certificate.is_some_and(|certificate| self.subjects.iter().any(|subject| certificate.is_named(subject)))
    }
}

/// The admin listener.
#[derive(Clone, Debug)]
pub struct Admin {
    /// The address to bind.
    pub address: AdminAddress,
    /// The bearer token, if the config has one.
    pub token: Option<Token>,
}

/// Where the admin listener is.
pub type AdminAddress = ListenAddress;

/// A bearer token. `Debug` does not show it, drop wipes it.
#[derive(Clone)]
pub struct Token(zeroize::Zeroizing<Vec<u8>>);

impl Token {
    /// Wraps the bytes of a token.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(zeroize::Zeroizing::new(bytes))
    }

    /// Whether `offered` is the token, in constant time.
    pub fn matches(&self, offered: &[u8]) -> bool {
        subtle::ConstantTimeEq::ct_eq(self.0.as_slice(), offered).into()
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
    /// Its name: key of its client, pool and breaker.
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

/// Where an app is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamAddress {
    /// Behind a TCP port.
    Tcp {
        /// Host of the URL: a name or an address, without brackets.
        host: String,
        /// Port of the URL.
        port: u16,
        /// How TLS is spoken, if it is.
        tls: Option<UpstreamTls>,
    },
    /// Behind a unix socket.
    Unix(PathBuf),
}

impl UpstreamAddress {
    /// How TLS is spoken, if it is.
    pub fn tls(&self) -> Option<&UpstreamTls> {
        match self {
            Self::Tcp { tls, .. } => tls.as_ref(),
            Self::Unix(_) => None,
        }
    }
}

/// The gate's side of TLS to an app.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    /// The CA of the app's certificate; `None`: the system's.
    pub ca: Option<Arc<Authorities>>,
    /// What the gate shows an app that asks for a certificate.
    pub identity: Option<Arc<Identity>>,
}

/// Certificates that are trusted to sign others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorities {
    /// The PEM file they were read from.
    pub file: PathBuf,
    /// At least one.
    pub certificates: Vec<CertificateDer<'static>>,
}

/// A certificate and the key that belongs to it. `Debug` shows neither.
#[derive(PartialEq, Eq)]
pub struct Identity {
    /// The certificate itself first, then its chain.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key.
    pub key: PrivateKeyDer<'static>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity(…)")
    }
}

/// When the gate stops trying an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// Connect failures and timeouts in a row; 0: never.
    pub failures: u32,
    /// How long it stays open before a probe.
    pub open: Duration,
}

/// A route.
#[derive(Clone, Debug)]
pub enum Route {
    /// Takes webhooks.
    Hook(Arc<Hook>),
    /// Lets other traffic through.
    Pass(Arc<Pass>),
}

impl Route {
    /// The webhook route, if it is one.
    pub fn hook(&self) -> Option<&Arc<Hook>> {
        match self {
            Self::Hook(hook) => Some(hook),
            Self::Pass(_) => None,
        }
    }

    /// The pass route, if it is one.
    pub fn pass(&self) -> Option<&Arc<Pass>> {
        match self {
            Self::Hook(_) => None,
            Self::Pass(pass) => Some(pass),
        }
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        match self {
            Self::Hook(hook) => &hook.name,
            Self::Pass(pass) => &pass.name,
        }
    }
}

/// A route that streams other traffic of an app through, unverified.
#[derive(Debug)]
pub struct Pass {
    /// Its name: log field, metric label, part of limiter keys.
    pub name: Arc<str>,
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

/// A webhook route.
#[derive(Debug)]
pub struct Hook {
    /// Its name: log field, metric label, part of ledger and limiter keys.
    pub name: Arc<str>,
    /// The name its ledger entries are kept under: the oldest of `previously`, else its own.
    pub ledger_name: Arc<str>,
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
    /// Until when it lets in what it would refuse for want of a proof, and only says so; `None`: it enforces.
    pub observe_until: Option<SystemTime>,
    /// How the provider tests the endpoint, as far as the gate answers.
    pub handshakes: Handshakes,
    /// Its limits.
    pub rate_limits: Vec<RateLimit>,
    /// Dedupe, if it is on.
    pub dedupe: Option<Dedupe>,
    /// Where deliveries go.
    pub forward: Forward,
    /// What a duplicate of a delivery that was handed on is answered with.
    pub success_status: StatusCode,
    /// How long the provider waits for an answer.
    pub answer_within: Option<Duration>,
}

impl Hook {
    /// Whether it only observes as of `now`: what is not authentic goes on.
    pub fn observes(&self, now: SystemTime) -> bool {
        self.verifier.is_some() && self.observe_until.is_some_and(|until| now < until)
    }

    /// Whether it refuses, as of `now`, what is not authentic.
    pub fn enforces(&self, now: SystemTime) -> bool {
        self.verifier.is_some() && !self.observes(now)
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
    /// How long an ID is remembered: at least as long as the provider retries.
    pub window: Duration,
    /// By the signed body alone.
    pub by_content: bool,
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
    /// Headers that are the secret itself, taken off before the app sees them.
    pub drop_headers: Vec<HeaderName>,
    /// A query parameter that is the secret itself, taken off likewise.
    pub drop_query: Option<String>,
    /// How long connecting, sending and answering may take together.
    pub timeout: Duration,
}

/// A path at the app, with parameters of the route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTemplate(pub Vec<PathPiece>);

/// A piece of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPiece {
    /// As written.
    Literal(String),
    /// The raw value of a parameter.
    Parameter(String),
}
