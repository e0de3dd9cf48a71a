//! The listeners for senders, health and admin, as written.
use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::file::{InlineSecret, Secret};

/// A listener for senders.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// `HOST:PORT`, for example `0.0.0.0:8080`, or `unix:/path/to.sock`.
    ///
    /// A unix socket has mode 0660 and is removed when the gateway stops. A leftover socket is replaced.
    pub address: Option<String>,
    /// Whether each connection begins with a PROXY protocol header, version 1 or 2 (default false). Then only `trusted_proxies` may connect.
    ///
    /// The header comes before TLS. A connection from any other address, or without the header, is closed. For `LOCAL` (version 2) and
    /// `UNKNOWN` (version 1) the address of the connection counts. Additional fields (TLVs, at most 4 KiB) are skipped and their checksums
    /// are not verified.
    pub proxy_protocol: Option<bool>,
    /// The TLS settings (TLS 1.2 and 1.3, HTTP/2 by ALPN). Without them the listener speaks plain HTTP.
    pub tls: Option<Tls>,
}

/// TLS towards senders: `certificate` and `key`, or a list of `certificates`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// A PEM file with the certificate and its chain.
    ///
    /// Certificate files are read again when they change. If they contain no valid pair after a reload, the last good pair stays in use
    /// and is reported as stale; the rest of the config applies. At the start the gateway uses any pair it finds, with a warning.
    /// Open connections keep the certificate they began with. The alarm [`certificate_expiry`](alarms.md) is raised before a certificate ends.
    pub certificate: Option<String>,
    /// A PEM file with the private key.
    pub key: Option<String>,
    /// Several certificates. The sender gets the one for the name that it asks for (SNI), or the first one.
    ///
    /// An exact name (SAN) comes before `*.example.com`. If two certificates have the same name, the first one is used.
    pub certificates: Vec<Certificate>,
    /// A PEM file with the CAs that sign the certificates of senders. The names in those certificates can be used in the `allow` of a route.
    pub client_ca: Option<String>,
    /// `required` (default with `client_ca`), or `optional`: senders without a certificate may connect, too.
    pub client_auth: Option<String>,
}

/// A certificate and its key.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Certificate {
    /// A PEM file with the certificate and its chain.
    pub certificate: Option<String>,
    /// A PEM file with the private key.
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
    /// The bearer token. On loopback only changes need it; elsewhere every request does. If it is not set, the gateway creates one in the store's directory.
    pub token: Option<Secret>,
    /// Additional bearer tokens. The token's name appears in the audit log.
    pub tokens: Vec<AdminToken>,
}

/// A named bearer token: exactly one of `env`, `file`, `insecure_inline`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdminToken {
    /// The name of its owner: `[a-z0-9][a-z0-9-]{0,62}`.
    pub name: Option<String>,
    /// The environment variable that contains the token.
    pub env: Option<String>,
    /// The file that contains the token. It is read again when it changes.
    pub file: Option<String>,
    /// The token itself. Anyone who can read the config can read it.
    pub insecure_inline: Option<InlineSecret>,
    /// The permissions of the token: `read`, `act` or both (default `[read]`).
    pub allow: Vec<String>,
}
