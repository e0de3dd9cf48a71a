//! What the YAML says, word for word. Nothing is looked up or checked here.
//!
//! Plain structs with optional fields only: "exactly one of" and "must be there" are said by `compile`, with a better message and a place.
//! The doc comments are the reference: the JSON Schema, `docs/config.md` and editors show them.
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

pub use alarms::{AlarmWebhook, Alarms, Egress};
pub use handshake::{Answer, Condition, Handshake};
pub use provider::{Facts, Provider};
pub use queue::{Acknowledgement, Failures, Keep, Queue, Retry, Sign};
pub use union::{HandshakeOrNone, OnFailure, OneOrMany, Secrets, VerifyOrNone};
pub use verify::{
    DeliveryId, InlineSecret, Locator, Secret, SecretTable, Signature, Timestamp, Verify,
};

mod alarms;
mod handshake;
mod provider;
mod queue;
mod union;
mod verify;

/// The whole config.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// More files with `upstreams` and `routes`, as paths or globs relative to this file. An included file includes nothing.
    pub include: Vec<String>,
    /// Where senders connect.
    pub listen: Vec<Listen>,
    /// The listener for `/livez`, `/readyz` and `/metrics`: nothing secret, no token.
    pub health: Option<Health>,
    /// The listener for `/-/status`, `/-/refusals`, `/-/report` and `/-/reload`.
    pub admin: Option<Admin>,
    /// Proxies in front of the gate, as CIDR, or `unix` for who connects to a unix socket of `listen`: only these may set `X-Forwarded-For`, `-Proto` and `-Host`, or speak the PROXY protocol.
    pub trusted_proxies: Vec<String>,
    /// Bounds of the whole gate.
    pub limits: Option<Limits>,
    /// What happens on SIGTERM.
    pub shutdown: Option<Shutdown>,
    /// Where state is kept over restarts. Without it state is in memory.
    pub store: Option<Store>,
    /// What the gate itself may call out to (alarms): public addresses, unless this says otherwise. `upstreams` are your own word, and exempt.
    pub egress: Option<Egress>,
    /// When alarms are raised, and who is told.
    pub alarms: Option<Alarms>,
    /// What is logged, and how.
    pub log: Option<Log>,
    /// A directory of provider presets of your own, one `NAME.yaml` each, in the grammar of the built-in ones. A name that is built in is refused.
    pub providers: Option<String>,
    /// The apps behind the gate, by name.
    pub upstreams: BTreeMap<String, Upstream>,
    /// Where webhooks come in. The most specific path wins, whatever the order.
    pub routes: Vec<Route>,
}

/// What an included file may hold.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Included {
    /// More apps behind the gate, by name.
    pub upstreams: BTreeMap<String, Upstream>,
    /// More routes.
    pub routes: Vec<Route>,
}

/// One listener.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// `HOST:PORT`, for example `0.0.0.0:8080`, or `unix:/path/to.sock` (mode 0660).
    pub address: Option<String>,
    /// Whether each connection begins with a header of the PROXY protocol, version 1 or 2 (default false). Only `trusted_proxies` may connect then.
    pub proxy_protocol: Option<bool>,
    /// Speaks TLS (1.2, 1.3; HTTP/2 by ALPN).
    pub tls: Option<Tls>,
}

/// The gate's side of TLS: `certificate` and `key`, or a list of `certificates`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// A PEM file with the certificate and its chain.
    pub certificate: Option<String>,
    /// A PEM file with the key.
    pub key: Option<String>,
    /// Several certificates: the sender gets the one that has the name it asks for (SNI), else the first.
    pub certificates: Vec<Certificate>,
    /// A PEM file with the CAs that sign the certificates of senders. Their names can stand in the `allow` of a route.
    pub client_ca: Option<String>,
    /// `required` (default with `client_ca`), or `optional`: who shows no certificate is let in as well.
    pub client_auth: Option<String>,
}

/// A certificate and its key.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Certificate {
    /// A PEM file with the certificate and its chain.
    pub certificate: Option<String>,
    /// A PEM file with the key.
    pub key: Option<String>,
}

/// The health listener.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Health {
    /// `HOST:PORT`, for example `0.0.0.0:9091`.
    pub address: Option<String>,
}

/// The admin listener.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// `HOST:PORT`, or `unix:/path/to.sock` (mode 0660).
    pub address: Option<String>,
    /// The bearer token that changes need on loopback, and everything needs elsewhere. Made beside the store if it is not given.
    pub token: Option<Secret>,
    /// Bearer tokens for those who look and act beside it, each with a name that stands with what is done by it.
    pub tokens: Vec<AdminToken>,
}

/// A bearer token with a name: exactly one of `env`, `file`, `insecure_inline`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdminToken {
    /// Whose it is: `[a-z0-9][a-z0-9-]{0,62}`.
    pub name: Option<String>,
    /// The environment variable that holds it.
    pub env: Option<String>,
    /// The file that holds it; read again when it changes.
    pub file: Option<String>,
    /// The token itself. Whoever reads the config reads it.
    pub insecure_inline: Option<InlineSecret>,
    /// What it is good for: `read`, `act` or both (default `[read]`).
    pub allow: Vec<String>,
}

/// Bounds of the whole gate.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// How many bytes of bodies may be held at once (default 64MiB). What does not fit is refused with 503. A body that takes its
    /// time counts with the buffers that it fills, 128 KiB at most. Before it is verified, one client
    /// (where its address is its own) holds at most a quarter of it and a route half, but always one body of the size the route allows.
    pub in_flight_bytes: Option<String>,
    /// How many refusals a second one client may cause before it is slowed down with 429 (default 50/s, burst ten times that).
    pub refused_per_client: Option<String>,
    /// How long a head may take to arrive, from accept or from its first byte on (default 5s).
    pub header_timeout: Option<String>,
    /// How long a connection may wait between two requests (default 60s).
    pub idle_timeout: Option<String>,
    /// How large a head may be (default 32KiB).
    pub header_bytes: Option<String>,
    /// How long a body may take to arrive (default 10s). One that comes slower than 32 KiB a second is cut after 2 seconds.
    pub body_timeout: Option<String>,
    /// How many connections may be open (default 10000).
    pub connections: Option<u32>,
    /// How many connections one client may have open (default 1000).
    pub connections_per_client: Option<u32>,
}

/// What happens on SIGTERM.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Shutdown {
    /// How long the gateway says that it is not ready and still accepts (default 5s). Load balancers go on sending until they notice.
    /// `/readyz` speaks of the gateway alone and never asks an upstream: while your app is down, the gateway still answers, queues and spills.
    /// Your app must outlive this delay: in Kubernetes give it `preStop: { sleep: { seconds: … } }` of at least this delay and 5 s.
    pub delay: Option<String>,
    /// How long requests in flight may take after that (default 25s). The gateway leaves as soon as there are none.
    pub grace: Option<String>,
}

/// Where state is kept.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// A directory of the gate's own, on a local disk.
    pub path: Option<String>,
    /// How many delivery IDs are remembered at most (default 10000000, 32 bytes each).
    pub ledger_entries: Option<u64>,
}

/// What is logged, and how.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `json` (default) or `pretty`.
    pub format: Option<String>,
    /// Which requests get a line: `all` (default), `refused` or `none`. Metrics count them all.
    pub requests: Option<String>,
}

/// An app behind the gate.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Upstream {
    /// `http://HOST:PORT` or `https://HOST[:PORT]`, without a path; or `unix:/path/to.sock`.
    pub url: Option<String>,
    /// How long a connection may take (default 1s).
    pub connect_timeout: Option<String>,
    /// How long the whole exchange may take (default: what the route's provider waits, less one second; else 15s).
    pub timeout: Option<String>,
    /// How long an idle connection is kept (default 4s; keep it below the app's own).
    pub idle_timeout: Option<String>,
    /// A PEM file with the CA that signs the app's certificate. Without it, the system's.
    pub ca: Option<String>,
    /// A PEM file with the certificate, and its chain, that the gate shows an app that asks for one.
    pub certificate: Option<String>,
    /// A PEM file with the key of `certificate`.
    pub key: Option<String>,
    /// `original` (default: the app sees the sender's Host) or `upstream` (the app sees the host of `url`; behind a unix socket `localhost`).
    pub host: Option<String>,
    /// When the gate stops trying for a while.
    pub breaker: Option<Breaker>,
}

/// When the gate stops trying an upstream for a while.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Breaker {
    /// How many failures in a row open it: to connect, for all routes of the upstream; to answer in time, for one route (default 5; 0: never).
    pub failures: Option<u32>,
    /// How long it stays open before a probe is let through (default 5s).
    pub open: Option<String>,
}

/// One webhook endpoint.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Route {
    /// How logs, metrics and the ledger call it: `[a-z0-9][a-z0-9-]{0,62}`.
    pub name: Option<String>,
    /// Names it had before, the oldest first, so that its remembered delivery IDs stay its own.
    pub previously: Vec<String>,
    /// Only requests for this host: exact, or `*.example.com`.
    pub host: Option<String>,
    /// The path, with parameters `/{name}` and a last `/{*rest}`.
    pub path: Option<String>,
    /// The methods it takes (default POST; with `pass` all but CONNECT and TRACE).
    pub methods: Vec<String>,
    /// The URL that senders use, without query, where the signature covers it: `https://hooks.example.com/webhooks/x`.
    pub public_url: Option<String>,
    /// How large a body may be (default: what the provider sends, else 5MiB; with `pass` without bound).
    pub max_body: Option<String>,
    /// Only these clients: networks as CIDR, or `subject:NAME`, a name in the certificate that the client shows (see `client_ca`). One match is enough.
    pub allow: Vec<String>,
    /// How senders prove who they are, or `none`.
    pub verify: Option<VerifyOrNone>,
    /// The status for requests that are not authentic, 400 to 599 (default: what the preset says, else 401).
    pub refused_status: Option<u16>,
    /// The body of that answer: `json` (the status in words and the request ID), or `empty` (default: what the preset says, else `json`).
    pub refused_body: Option<String>,
    /// How the provider tests the endpoint, where the gate answers (default: what the preset says), or `none`: then the app must.
    pub handshake: Option<HandshakeOrNone>,
    /// How often: one limit or a list.
    pub rate_limit: Option<OneOrMany<RateLimit>>,
    /// Drops deliveries that were handed on before.
    pub dedupe: Option<Dedupe>,
    /// Passes on within the request.
    pub forward: Option<Forward>,
    /// Acknowledges and delivers later.
    pub queue: Option<Queue>,
    /// Streams other traffic of the app through, unverified. `verify` and what builds on it do not go with it.
    pub pass: Option<Pass>,
    /// `enforce` (default), or `observe`: verify, count and log what would be refused, and let it in as `Hookgate-Verified: false`.
    pub mode: Option<String>,
    /// When a route that observes begins to enforce, by itself: a date (its first second in UTC) or RFC 3339. `mode: observe` needs it.
    pub until: Option<String>,
    /// How long what is kept of its deliveries is kept: with `queue`, and with `forward` that has `record` or `on_failure: queue`.
    pub keep: Option<Keep>,
}

/// How often.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RateLimit {
    /// `COUNT/UNIT`, for example `100/s`, `30/m`, `1000/h`.
    pub rate: Option<String>,
    /// How many may come at once (default: the count of `rate`).
    pub burst: Option<u32>,
    /// Who shares it: `client_ip`, `route` (default), `header:NAME` or `json:/pointer`. On a route with `queue`, `route` refuses nobody: it is the `rate` of the queue, and there is no limit by value.
    pub key: Option<String>,
}

/// Drops deliveries that were handed on before.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Dedupe {
    /// How long an ID is remembered (default: as long as the provider retries, at least 24h; 10s where the body alone tells deliveries apart and the preset does not say that bodies never repeat).
    pub window: Option<String>,
    /// `id` (default), or `content`: the signed body alone. Two events with the same bytes then count as one.
    pub by: Option<String>,
    /// `route` (default), or `secret`: the same ID under another secret is another delivery, for two senders that share one URL. Each secret then needs a name.
    pub per: Option<String>,
}

/// Passes on within the request.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Forward {
    /// A name under `upstreams`.
    pub upstream: Option<String>,
    /// The path at the app (default: the sender's), with the route's parameters: `/hooks/{account}`.
    pub path: Option<String>,
    /// `keep` or `drop` the query (default: keep where the signature covers it, else drop).
    pub query: Option<String>,
    /// Whether the app gets the header that is itself the secret (token, basic). Default false.
    pub keep_token: Option<bool>,
    /// `fail` (default), or `queue`: a delivery that the app cannot take is acknowledged and waits in the queue. Needs `store.path`.
    pub on_failure: Option<OnFailure>,
    /// The answer to a delivery that goes into the queue, and to a duplicate.
    pub answer: Option<Acknowledgement>,
    /// How long the app may take before a delivery goes into the queue (default: the whole time it has).
    pub budget: Option<String>,
    /// What is kept of deliveries that do not go into the queue: `all`, `failures` or `none` (default). Needs `store.path`.
    pub record: Option<String>,
    /// When a delivery that went into the queue is tried again.
    pub retry: Option<Retry>,
    /// How often those in the queue are tried, by each gate (default 20/s).
    pub rate: Option<String>,
    /// How many of them may be tried at once after a pause (default: the count of `rate`).
    pub burst: Option<u32>,
    /// How many of them are tried at the same time, by each gate (default 4).
    pub concurrency: Option<u32>,
    /// `header:NAME` or `json:/pointer`: those in the queue with the same value there go out one after the other. New ones do not wait for them.
    pub fifo: Option<String>,
    /// As under `queue`, for what is handed on later than within its request: out of the queue, or replayed.
    pub resign: Option<bool>,
    /// Signs what is handed on in the gate's own name.
    pub sign: Option<Sign>,
}

/// Streams other traffic of the app through, unverified.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Pass {
    /// A name under `upstreams`.
    pub upstream: Option<String>,
    /// How long the app may take from the end of the request to the head of its answer (default: what the upstream says, else 60s).
    pub timeout: Option<String>,
    /// How long nothing may come from either side, WebSockets and server-sent events included (default 5m).
    pub idle_timeout: Option<String>,
}
