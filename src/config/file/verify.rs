//! The `verify` block and its secrets, as written.
use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::file::{OneOrMany, Secrets};

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
    pub delivery_id: Option<DeliveryId>,
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
    /// A JSON pointer into the body, instead of a header (hmac).
    pub json: Option<String>,
    /// What stands before each signature, and must.
    pub prefix: Option<String>,
    /// `hex`, `base64`, `base64url` (hmac).
    pub encoding: Option<String>,
    /// What separates several signatures in one header, or the `key=value` pairs: exactly this text.
    pub separator: Option<String>,
    /// The key of a signature in a list of `key=value` pairs, such as `v1`; all that have it count.
    pub pair: Option<String>,
    /// Whether the header may stand there several times; any may match (hmac; default false: twice with different values is refused).
    pub repeated: Option<bool>,
    /// Headers that must be there once and say exactly this, such as the signature's version.
    pub expect: Option<BTreeMap<String, String>>,
}

/// Where the signed time stands.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Timestamp {
    /// A header, or a list of its names: the first that is there counts, and no other may contradict it.
    pub header: Option<OneOrMany<String>>,
    /// A key among the `key=value` pairs of the signature header.
    pub pair: Option<String>,
    /// A place in the list of the signature header, counted from 0.
    pub item: Option<u32>,
    /// A JSON pointer into the body.
    pub json: Option<String>,
    /// `unix` (10 digits, default), `unix_ms` (13 digits), `rfc3339`, `utc` (RFC 3339 without a zone), or `imf_fixdate` (as in the `Date` header of HTTP).
    pub format: Option<String>,
    /// How far it may be from now, either way (default 5m).
    pub tolerance: Option<String>,
}

/// Where a fact of the request stands.
#[derive(Debug, Default, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Locator {
    /// A header, or a list of its names: the first that is there counts, and no other may contradict it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<OneOrMany<String>>,
    /// A JSON pointer into the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json: Option<String>,
    /// A query parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
}

/// Where the delivery ID stands.
#[derive(Debug, Default, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeliveryId {
    /// A header, or a list of its names: the first that is there counts, and no other may contradict it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<OneOrMany<String>>,
    /// A JSON pointer into the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json: Option<String>,
    /// A query parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Whether two different deliveries can have the same ID (default false). Duplicates are then known by ID and body together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub with_body: Option<bool>,
}

impl DeliveryId {
    /// Returns where it stands.
    pub fn locator(&self) -> Locator {
        Locator {
            header: self.header.clone(),
            json: self.json.clone(),
            query: self.query.clone(),
        }
    }
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
