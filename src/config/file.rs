//! What the YAML says, word for word. Nothing is looked up or checked here.
//!
//! Plain structs with optional fields only: "exactly one of" and "must be there" are said by `compile`, with a better message and a place.
//! The doc comments are the reference: the JSON Schema, `docs/config.md` and editors show them.
use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// The listener for `/-/status`, `/-/reload` and `/-/refusals`.
    pub admin: Option<Admin>,
    /// Proxies in front of the gate, as CIDR: only these may set `X-Forwarded-For`, `-Proto` and `-Host`.
    pub trusted_proxies: Vec<String>,
    /// Bounds of the whole gate.
    pub limits: Option<Limits>,
    /// What happens on SIGTERM.
    pub shutdown: Option<Shutdown>,
    /// Where state is kept over restarts. Without it state is in memory.
    pub store: Option<Store>,
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
    /// `HOST:PORT`, for example `0.0.0.0:8080`.
    pub address: Option<String>,
    /// Whether a balancer in front sends the PROXY protocol. Reserved.
    pub proxy_protocol: Option<bool>,
    /// Speaks TLS (1.2, 1.3; HTTP/2 by ALPN) with this certificate.
    pub tls: Option<Tls>,
}

/// A certificate and its key.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
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
    /// `HOST:PORT`, or `unix:/path/to.sock`.
    pub address: Option<String>,
    /// The bearer token that changes need on loopback, and everything needs elsewhere. Made beside the store if it is not given.
    pub token: Option<Secret>,
}

/// Bounds of the whole gate.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// How many bytes of bodies may be held at once (default 64MiB). What does not fit is refused with 503.
    pub in_flight_bytes: Option<String>,
    /// How many refusals a second one client may cause before it is slowed down with 429 (default 50/s, burst ten times that).
    pub refused_per_client: Option<String>,
    /// How long a head may take to arrive (default 5s).
    pub header_timeout: Option<String>,
    /// How large a head may be (default 32KiB).
    pub header_bytes: Option<String>,
    /// How long a body may take to arrive (default 10s).
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
    /// How long the gate says that it is not ready and still accepts (default 5s).
    pub delay: Option<String>,
    /// How long requests in flight may take after that (default 25s). The gate leaves as soon as there are none.
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
    /// `http://HOST:PORT` or `https://HOST[:PORT]`, without a path.
    pub url: Option<String>,
    /// How long a connection may take (default 1s).
    pub connect_timeout: Option<String>,
    /// How long the whole exchange may take (default: what the route's provider waits, less one second; else 15s).
    pub timeout: Option<String>,
    /// How long an idle connection is kept (default 4s; keep it below the app's own).
    pub idle_timeout: Option<String>,
    /// A PEM file with the CA that signs the app's certificate. Without it, the system's.
    pub ca: Option<String>,
    /// `original` (default: the app sees the sender's Host) or `upstream` (the app sees the host of `url`).
    pub host: Option<String>,
    /// When the gate stops trying for a while.
    pub breaker: Option<Breaker>,
}

/// When the gate stops trying an upstream for a while.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Breaker {
    /// How many connect failures and timeouts in a row open it (default 5; 0: never).
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
    /// Names it had before, so that its remembered delivery IDs stay its own.
    pub previously: Vec<String>,
    /// Only requests for this host: exact, or `*.example.com`.
    pub host: Option<String>,
    /// The path, with parameters `/{name}` and a last `/{*rest}`.
    pub path: Option<String>,
    /// The methods it takes (default POST).
    pub methods: Vec<String>,
    /// The URL that senders use, without query, where the signature covers it: `https://hooks.example.com/webhooks/x`.
    pub public_url: Option<String>,
    /// How large a body may be (default: what the provider sends, else 5MiB).
    pub max_body: Option<String>,
    /// Only clients of these networks, as CIDR.
    pub allow: Vec<String>,
    /// How senders prove who they are, or `none`.
    pub verify: Option<VerifyOrNone>,
    /// How often: one limit or a list.
    pub rate_limit: Option<OneOrMany<RateLimit>>,
    /// Drops deliveries that were handed on before.
    pub dedupe: Option<Dedupe>,
    /// Passes on within the request.
    pub forward: Option<Forward>,
    /// Acknowledges and delivers later. Reserved.
    pub queue: Option<Reserved>,
    /// Streams through without verification. Reserved.
    pub pass: Option<Reserved>,
    /// `enforce`. `observe` is reserved.
    pub mode: Option<String>,
}

/// A place in the grammar kept for a later version; `check` refuses it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub struct Reserved {}

/// How often.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RateLimit {
    /// `COUNT/UNIT`, for example `100/s`, `30/m`, `1000/h`.
    pub rate: Option<String>,
    /// How many may come at once (default: the count of `rate`).
    pub burst: Option<u32>,
    /// Who shares it: `client_ip`, `route` (default), `header:NAME` or `json:/pointer`.
    pub key: Option<String>,
}

/// Drops deliveries that were handed on before.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Dedupe {
    /// How long an ID is remembered (default: as long as the provider retries, at least 24h).
    pub window: Option<String>,
    /// `id` (default), or `content`: the signed body alone. Two honest deliveries with the same bytes then count as one.
    pub by: Option<String>,
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
    /// `fail` (default). Spilling into the queue is reserved.
    pub on_failure: Option<String>,
}

/// How senders prove who they are: a provider's preset, a scheme of your own, or a preset with changes.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Verify {
    /// The name of a preset: `hookgate providers list`.
    pub provider: Option<String>,
    /// `hmac`, `token` or `basic`.
    pub scheme: Option<String>,
    /// `sha1`, `sha256` or `sha512` (hmac).
    pub algorithm: Option<String>,
    /// Where the signature or token stands, and how it is written.
    pub signature: Option<Signature>,
    /// The bytes that are signed, as a template of `{body}`, `{timestamp}`, `{id}`, `{method}`, `{url}`, `{path}`, `{query}`, `{header:NAME}`, `{json:/pointer}` and literals (hmac; default `{body}`). `\n` is a line feed.
    pub signed_content: Option<String>,
    /// Why two variable parts stand side by side in `signed_content`, where a provider signs them so.
    pub concatenated: Option<String>,
    /// Where the signed time stands.
    pub timestamp: Option<Timestamp>,
    /// How far the signed time may be from now, either way (overrides `timestamp.tolerance`).
    pub tolerance: Option<String>,
    /// Where the delivery ID stands.
    pub delivery_id: Option<Locator>,
    /// Where the event type stands.
    pub event_type: Option<Locator>,
    /// How the secret text becomes key bytes, unless a secret says its own: `utf8` (default), `base64`, `hex`, `whsec` (`whsec_` and base64), `whsec_or_utf8`, `nfkd`, `after_colon`; a list tries each.
    pub secret_encoding: Option<OneOrMany<String>>,
    /// Text that the provider appends to the secret before it signs.
    pub secret_suffix: Option<String>,
    /// The secrets now accepted, newest first, at most 8; or a table by path parameter or header.
    pub secrets: Option<Secrets>,
}

/// Where the signature or token stands, and how it is written.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Signature {
    /// The header. `X-Name-{1..9}` means nine headers; any of them may match.
    pub header: Option<OneOrMany<String>>,
    /// The query parameter, instead of a header.
    pub query: Option<String>,
    /// What stands before each signature, and must.
    pub prefix: Option<String>,
    /// `hex`, `base64`, `base64url` (hmac).
    pub encoding: Option<String>,
    /// What separates several signatures in one header, or the `key=value` pairs: exactly this text.
    pub separator: Option<String>,
    /// The key of a signature in a list of `key=value` pairs, such as `v1`; all that have it count.
    pub pair: Option<String>,
}

/// Where the signed time stands.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Timestamp {
    /// A header.
    pub header: Option<String>,
    /// A key among the `key=value` pairs of the signature header.
    pub pair: Option<String>,
    /// A place in the list of the signature header, counted from 0.
    pub item: Option<u32>,
    /// A JSON pointer into the body.
    pub json: Option<String>,
    /// `unix` (10 digits, default), `unix_ms` (13 digits), `rfc3339`, or `utc` (RFC 3339 without a zone).
    pub format: Option<String>,
    /// How far it may be from now, either way (default 5m).
    pub tolerance: Option<String>,
}

/// Where a fact of the request stands.
#[derive(Debug, Default, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Locator {
    /// A header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// A JSON pointer into the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json: Option<String>,
    /// A query parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
}

/// One secret: exactly one of `env`, `file`, `insecure_inline`.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Secret {
    /// How logs and metrics call it (default `secret-1`, `secret-2`, …).
    pub name: Option<String>,
    /// The environment variable that holds it.
    pub env: Option<String>,
    /// The file that holds it; read again when it changes. One line feed at its end is dropped.
    pub file: Option<String>,
    /// The secret itself. Whoever reads the config reads it.
    pub insecure_inline: Option<InlineSecret>,
    /// How its text becomes key bytes, instead of the preset's way.
    pub encoding: Option<String>,
    /// Whether white space inside it is meant.
    pub allow_whitespace: Option<bool>,
    /// Not accepted before this time (RFC 3339).
    pub not_before: Option<String>,
    /// Not accepted from this time on (RFC 3339).
    pub expires: Option<String>,
}

/// A table of secrets, found by a path parameter or a header.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SecretTable {
    /// `{parameter}` of the path, or `header:NAME`.
    pub by: Option<String>,
    /// A directory with one file a key: the file's name is the key, its text the secret.
    pub dir: Option<String>,
    /// One YAML file with a map from key to secret.
    pub file: Option<String>,
    /// How their text becomes key bytes, instead of the preset's way.
    pub encoding: Option<String>,
}

/// A secret written into the config. Neither `Debug` nor a parse error shows it.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct InlineSecret(pub String);

impl fmt::Debug for InlineSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InlineSecret(…)")
    }
}

/// One value, or a list of them.
#[derive(Debug, Clone)]
pub enum OneOrMany<T> {
    /// Written without brackets.
    One(T),
    /// A list.
    Many(Vec<T>),
}

/// `verify: none`, or a block.
#[derive(Debug, Clone)]
pub enum VerifyOrNone {
    /// Said out loud: nothing is verified.
    None,
    /// A block.
    Block(Box<Verify>),
}

/// A list of secrets, or a table.
#[derive(Debug, Clone)]
pub enum Secrets {
    /// Candidates, newest first.
    List(Vec<Secret>),
    /// By key.
    Table(Box<SecretTable>),
}

/// A provider's preset: what a user's `verify` block may say, and facts about the provider.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Provider {
    /// The provider's name as people write it.
    pub title: String,
    /// The block, without `provider` and `secrets`.
    pub verify: Verify,
    /// What is known of the provider.
    pub facts: Facts,
}

/// What is known of a provider beside its signature.
#[derive(Debug, Default, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Facts {
    /// The provider's own page about signatures.
    pub docs: Option<String>,
    /// When it was checked (YYYY-MM-DD).
    pub checked: Option<String>,
    /// `sdk`, `third-party`, `published`, `library`, or `unproven`.
    pub proof: Option<String>,
    /// Who judged the vectors: package and version.
    pub proven_by: Option<String>,
    /// How long the provider waits for an answer.
    pub answer_within: Option<String>,
    /// How long it retries.
    pub retries_for: Option<String>,
    /// The status it wants for success (default 200).
    pub success_status: Option<u16>,
    /// How large its bodies may be.
    pub max_body: Option<String>,
    /// How it tests an endpoint, in words; none: no handshake.
    pub handshake: Option<String>,
    /// What an operator should know.
    pub notes: Option<String>,
}
