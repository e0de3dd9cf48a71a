//! The config as it is written in YAML. Nothing is looked up or checked here.
//!
//! Plain structs with optional fields only: `compile` reports missing and conflicting keys, with a better message and a position.
//! The doc comments are the reference: the JSON Schema, `docs/config.md` and editors show them. The first paragraph of a comment is the
//! cell of the table; further paragraphs are notes below the table.
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

pub use alarms::{AlarmWebhook, Alarms, Egress};
pub use handshake::{Answer, Condition, Handshake, HandshakeOrNone};
pub use listen::{Admin, AdminToken, Certificate, Health, Listen, Tls};
pub use outbound::{
    Endpoints, Outbound, OutboundEvents, OutboundKeep, OutboundLimits, OutboundPause,
    OutboundRetry, OutboundSign, OutboundToken,
};
pub use provider::{Facts, Provider};
pub use quarantine::Quarantine;
pub use queue::{
    Acknowledgement, Failures, Forward, Keep, OnFailure, Outgoing, Queue, Retry, Sign,
};
pub use store::{ServerTls, SpoolDirectory, Store, StorePostgres, TextOrSource, TextSource};
pub use union::OneOrMany;
pub use verify::{
    DeliveryId, InlineSecret, Locator, Secret, SecretTable, Secrets, Signature, Timestamp, Verify,
    VerifyOrNone,
};

mod alarms;
mod handshake;
mod listen;
mod outbound;
mod provider;
mod quarantine;
mod queue;
pub mod short_forms;
mod store;
mod union;
mod verify;

/// All keys at the top of the config file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// More files with `upstreams` and `routes`, as paths or globs relative to this file.
    ///
    /// An included file cannot include others. A pattern that matches no file is a warning. A pattern that matches more than 1,000 files
    /// and directories is an error, and so are more than 16 MiB of included files and presets.
    pub include: Vec<String>,
    /// The addresses on which the gateway accepts requests from senders. A gateway that only sends (`outbound`) has none, and no `routes`.
    ///
    /// Changing `listen` needs a restart, except for certificates, which reload.
    pub listen: Vec<Listen>,
    /// The listener for `/livez`, `/readyz` and `/metrics`. It serves no secrets and needs no token.
    pub health: Option<Health>,
    /// The listener for the admin API: status, deliveries, replay, reload. `docs/openapi.json` describes it.
    pub admin: Option<Admin>,
    /// The proxies in front of the gateway, as CIDR networks, or `unix` for the clients of a unix socket of `listen`.
    ///
    /// Only these proxies may set `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host`, or use the PROXY protocol.
    ///
    /// The client of a request is the peer of its connection. If that peer is a trusted proxy, the client is the rightmost address of
    /// `X-Forwarded-For` that is not a trusted proxy; the search stops at an entry that is not an IP address. With the PROXY protocol, the
    /// address in its header is the peer. A request whose head is malformed or too large is recorded
    /// with its peer, since its last `X-Forwarded-For` may not be whole.
    /// Clients are counted by address, IPv6 by /64.
    ///
    /// Clients of a unix socket have the address 0.0.0.0 and share one set of limits. Their statements about other clients are ignored unless
    /// this list contains `unix`.
    pub trusted_proxies: Vec<String>,
    /// Limits for the gateway as a whole.
    pub limits: Option<Limits>,
    /// The behaviour on SIGTERM.
    pub shutdown: Option<Shutdown>,
    /// The storage that survives a restart. Without it, all state is in memory.
    pub store: Option<Store>,
    /// The networks that the gateway itself may connect to, for example for the alarm webhook (default: public addresses only). `upstreams` are exempt.
    pub egress: Option<Egress>,
    /// The thresholds of alarms, and the webhook that receives them.
    pub alarms: Option<Alarms>,
    /// Sending: your app publishes events, and the gateway delivers them to the endpoints of your customers.
    pub outbound: Option<Outbound>,
    /// The format and amount of request logs.
    pub log: Option<Log>,
    /// A directory with your own provider presets, one `NAME.yaml` each, in the format of the built-in ones. The name of a built-in preset is refused.
    pub providers: Option<String>,
    /// The upstreams: the applications that receive the requests, by name.
    pub upstreams: BTreeMap<String, Upstream>,
    /// The routes. The most specific path wins, in whatever order they are written.
    ///
    /// An exact host comes before `*.example.com`, which comes before no host. A literal segment comes before `{name}`, which comes before
    /// `{*rest}`. `/{*rest}` matches `/`, too.
    pub routes: Vec<Route>,
}

/// The keys of an included file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Included {
    /// More upstreams, by name.
    pub upstreams: BTreeMap<String, Upstream>,
    /// More routes.
    pub routes: Vec<Route>,
}

/// Limits for the gateway as a whole.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The memory for request bodies held at the same time (default 64MiB). A request that does not fit is refused with 503.
    ///
    /// A body that arrives slowly also counts the buffers that it fills, 128 KiB at most. Before a request is verified, one client holds at
    /// most a quarter of this memory (where its address is its own) and one route half, but always one body of the size that the route
    /// allows. Pass routes use half of it for responses that senders are slow to read.
    pub in_flight_bytes: Option<String>,
    /// The number of refusals per second that one client may cause before it gets 429 (default 50/s, burst ten times that).
    pub refused_per_client: Option<String>,
    /// The time for a request head to arrive, from accept or from its first byte on (default 5s).
    ///
    /// For the first head of a connection this includes the PROXY header and TLS. `hookgate_connections_refused_total` counts the
    /// connections that were closed before their first request, by reason.
    pub header_timeout: Option<String>,
    /// The time that a connection may be idle between two requests (default 60s).
    pub idle_timeout: Option<String>,
    /// The largest size of a request head (default 32KiB). For HTTP/2, a change needs a restart.
    pub header_bytes: Option<String>,
    /// The time for a body to arrive (default 10s). A body slower than 32 KiB per second is cut off after 2 seconds. Does not apply to pass routes.
    pub body_timeout: Option<String>,
    /// The number of open connections (default 10000).
    pub connections: Option<u32>,
    /// The number of open connections of one client (default 1000). Trusted proxies are exempt.
    pub connections_per_client: Option<u32>,
}

/// The behaviour on SIGTERM.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Shutdown {
    /// The time during which the gateway reports that it is not ready but still accepts requests (default 5s).
    ///
    /// Load balancers keep sending requests until they notice. `/readyz` reports the state of the gateway alone and never asks an upstream:
    /// while your app is down, the gateway still answers, queues and spills. Your app must stay up longer than this delay. In Kubernetes,
    /// give it `preStop: { sleep: { seconds: … } }` of at least this delay plus 5 s.
    pub delay: Option<String>,
    /// The time for requests in flight after that (default 25s). The gateway stops as soon as there are none.
    pub grace: Option<String>,
}

/// The format and amount of request logs.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `json` (default) or `pretty`, for request lines and for the gateway's own messages. A JSON line begins with `ts`, `level` and `msg`.
    ///
    /// Request lines go to stdout. The gateway's own messages go to stderr, at the level in the environment variable `HOOKGATE_LOG`
    /// (default `info`). Messages of libraries appear in neither, because they quote senders.
    pub format: Option<String>,
    /// The requests that are logged: `all` (default), `refused` or `none`. Metrics always count all of them.
    pub requests: Option<String>,
}

/// An upstream: an application that receives requests from the gateway.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Upstream {
    /// `http://HOST:PORT` or `https://HOST[:PORT]`, without a path; or `unix:/path/to.sock`.
    pub url: Option<String>,
    /// The time for a connection to be established (default 1s).
    pub connect_timeout: Option<String>,
    /// The time for the whole exchange (default: one second less than the route's provider waits, else 15s).
    pub timeout: Option<String>,
    /// The time that an idle connection is kept open (default 4s; keep it shorter than the upstream's own).
    pub idle_timeout: Option<String>,
    /// A PEM file with the CA that signs the upstream's certificate (default: the system's CAs).
    pub ca: Option<String>,
    /// A PEM file with the client certificate, and its chain, for an upstream that asks for one.
    pub certificate: Option<String>,
    /// A PEM file with the private key of `certificate`.
    pub key: Option<String>,
    /// The `Host` that the upstream gets: `original` (default: the sender's) or `upstream` (the host of `url`; for a unix socket `localhost`).
    pub host: Option<String>,
    /// The circuit breaker of the upstream.
    pub breaker: Option<Breaker>,
}

/// The circuit breaker of an upstream.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Breaker {
    /// The number of failures in a row that open it (default 5; 0 disables it).
    ///
    /// A failure to connect counts for all routes of the upstream, a timeout for one route.
    pub failures: Option<u32>,
    /// The time that it stays open before it lets a probe through (default 5s).
    pub open: Option<String>,
}

/// A route: requests to one path, and what happens to them.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Route {
    /// The name of the route in logs, metrics and the store: `[a-z0-9][a-z0-9-]{0,62}`.
    pub name: Option<String>,
    /// The earlier names of the route, the oldest first. It keeps the delivery IDs that are remembered under them.
    pub previously: Vec<String>,
    /// The host of the requests: exact, or `*.example.com` (default: any host).
    pub host: Option<String>,
    /// The path, with parameters `/{name}` and `/{*rest}` at the end. Any other `*` is an error.
    ///
    /// A parameter is one raw segment. A segment that decodes to contain `/`, `\` or NUL, or that is `.` or `..`, does not match.
    ///
    /// Each path parameter must be covered by the signature or select the secret. Otherwise a request that is signed for one path would be
    /// valid for another. `{path}` in `signed_content` covers all parameters, and so does `{url}` without `public_url`, as long as a
    /// literal separates it from its neighbours. If a parameter is not covered, write two routes with literal paths.
    pub path: Option<String>,
    /// The methods that the route accepts (default POST; with `pass` all but CONNECT and TRACE).
    pub methods: Vec<String>,
    /// The URL that senders use, without a query, where the signature covers it: `https://hooks.example.com/webhooks/x`.
    pub public_url: Option<String>,
    /// The largest size of a body (default: what the provider sends, else 5MiB; with `pass` unlimited).
    pub max_body: Option<String>,
    /// The clients that may use the route: networks as CIDR, or `subject:NAME` for a name in the client's certificate (default: all). One match is enough.
    ///
    /// `subject:NAME` is compared exactly with the common name and with each DNS, URI and email name of the certificate that the connection
    /// has presented and `client_ca` has signed. A certificate is checked when the connection is made. Neither its end nor a new
    /// `client_ca` closes an open connection.
    pub allow: Vec<String>,
    /// The verification of senders, or `none`.
    pub verify: Option<VerifyOrNone>,
    /// The status for requests that are not authentic, 400 to 599 (default: as the preset says, else 401).
    ///
    /// All requests of a route that are not authentic get the same response. A request signed with a wrong secret gets it, too, so presets
    /// only use a status after which the provider retries. `check` warns about any other status.
    pub refused_status: Option<u16>,
    /// The body of that response: `json` (the status text and the request ID) or `empty` (default: as the preset says, else `json`).
    pub refused_body: Option<String>,
    /// The test of the endpoint by the provider, which the gateway answers (default: as the preset says), or `none`: your app answers it.
    ///
    /// The gateway answers handshakes whatever the `methods` of the route are. [docs/providers.md](providers.md#the-handshake) says what is
    /// answered, and to whom.
    pub handshake: Option<HandshakeOrNone>,
    /// One rate limit, or a list of them.
    pub rate_limit: Option<OneOrMany<RateLimit>>,
    /// The detection of duplicates.
    pub dedupe: Option<Dedupe>,
    /// Forwards deliveries within the request.
    pub forward: Option<Forward>,
    /// Stores and acknowledges deliveries, and delivers them later.
    pub queue: Option<Queue>,
    /// Streams other traffic to the upstream, unverified. `verify` and the keys that depend on it cannot be used with it.
    pub pass: Option<Pass>,
    /// `enforce` (default), or `observe`: verify requests, log and count what would be refused, and forward it with `Hookgate-Verified: false`.
    ///
    /// Everything that an observing route forwards has `Hookgate-Verified: false` and no other `Hookgate-` header. It claims no delivery ID
    /// and answers no duplicates, so no app can come to rely on a proof that is not enforced. `max_body`, `rate_limit`, `allow`, `methods` and
    /// handshakes work as usual. `hookgate report` shows what would be refused, and `hookgate status` which secrets match.
    pub mode: Option<String>,
    /// The time when an observing route begins to enforce, without a reload: a date (its first second in UTC) or RFC 3339. Required with `mode: observe`.
    pub until: Option<String>,
    /// The retention of stored deliveries: with `queue`, and with `forward` that has `record` or `on_failure: queue`.
    pub keep: Option<Keep>,
    /// Keeps requests that are refused as not authentic for a while, so that they can be explained, and released once the secret is right.
    pub quarantine: Option<Quarantine>,
}

/// A rate limit.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RateLimit {
    /// `COUNT/UNIT`, for example `100/s`, `30/m`, `1000/h`.
    pub rate: Option<String>,
    /// The number of requests that may come at once (default: the count of `rate`).
    pub burst: Option<u32>,
    /// The requests that share the limit: `client_ip`, `route` (default), `header:NAME` or `json:/pointer`.
    ///
    /// `client_ip` counts before a request is verified, the others after it. On a route with `queue`, a limit by `route` refuses nothing:
    /// it is the `rate` of the queue. Limits by a value are not possible there.
    pub key: Option<String>,
    /// The requests that are counted together: those of this `gateway` (default), or of the whole `fleet`, which needs `store.postgres`.
    ///
    /// With `fleet`, all gateways that share the store share the limit, see [docs/postgres.md](postgres.md#limits-of-the-whole-fleet).
    pub scope: Option<String>,
}

/// The detection of duplicates: a delivery that was delivered before is acknowledged and not forwarded again.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Dedupe {
    /// The time that a delivery ID is remembered (default: as long as the provider retries, at least 24h).
    ///
    /// While a delivery waits in the queue, an equal one is its duplicate even after the window.
    ///
    /// A delivery without an ID is remembered by its body. Some providers send different events with the same body ("something changed"),
    /// and the second one would be dropped. The default is therefore 10s unless the preset says that bodies never repeat
    /// (`bodies_repeat: no`, see `hookgate providers show NAME`).
    ///
    /// If the preset says that a retry keeps the time of the first attempt, the route also accepts retries that are older than the
    /// tolerance: see [Late retries](#late-retries).
    pub window: Option<String>,
    /// `id` (default), or `content`: the signed body alone. Two events with the same bytes then count as one.
    ///
    /// `content` also stops a captured request that is sent under a new ID, where the signature covers neither the ID nor the time. Without a
    /// `window` it is an error where the provider's bodies repeat, and a warning where that is unknown.
    pub by: Option<String>,
    /// `route` (default), or `secret`: the same ID under another secret is another delivery. Each secret then needs a name.
    ///
    /// Delivery IDs are compared over the whole route. Give two senders that use the same IDs (for example an old and a new API version of
    /// one provider) two URLs, and so two routes. Use `secret` if they must share one URL. In a rotation, a retry that is signed
    /// with the new secret then has another name, counts as new, and reaches the upstream again.
    pub per: Option<String>,
    /// With `store.postgres`, what a route with `forward` does while the store is away: `pass` (default), or `refuse` (default with `by: content`).
    ///
    /// `pass` forwards deliveries with `Hookgate-Dedupe: unavailable`, `refuse` answers 503, so that the provider retries. With `pass`, this gateway still drops duplicates of what it forwarded itself; one of a delivery that another gateway forwarded passes.
    pub on_store_down: Option<String>,
}

/// A pass route: it streams other traffic to the upstream, unverified.
///
/// `host`, `path`, `methods`, `allow`, `max_body`, and `rate_limit` by `client_ip` or `route` can be used with `pass`. Bodies are not held in
/// memory. The upstream gets `Hookgate-Verified: false`. Trailers are dropped, `Date` and `Connection` of a response are the gateway's own,
/// and only `websocket` is upgraded. [docs/headers.md](headers.md) lists every header that is changed.
///
/// A webhook route guards its own path and the path that it forwards to, on every pass route to the same upstream: the same host and port or
/// socket, whatever the upstream's name and the requested host are; all names of this machine's loopback are one. A path that an app could
/// take for a guarded path is refused with 404. A path that decodes to control bytes, is not UTF-8 or begins with `//` is refused with 400.
/// Not covered: apps that route by the query or a header of their own, short names of Windows files, and one app under two host names or ports.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Pass {
    /// The name of an upstream.
    pub upstream: Option<String>,
    /// The time from the end of the request to the head of the response (default: the upstream's `timeout`, else 60s).
    pub timeout: Option<String>,
    /// The time that both sides may be silent, WebSockets and server-sent events included (default 5m).
    pub idle_timeout: Option<String>,
}
