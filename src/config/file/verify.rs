//! The `verify` block and its secrets, as written.
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, Error, MapAccess, SeqAccess};
use serde::{Deserialize, Serialize};

use crate::config::file::union::{Forms, OneOrMany, any_form, any_of};

/// The verification of senders: a provider's preset, a scheme of your own, or a preset with changes.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Verify {
    /// The name of a preset; `hookgate providers list` shows all.
    pub provider: Option<String>,
    /// `hmac`, `token` or `basic`.
    ///
    /// With `token` and `basic`, the header or query parameter that is itself the secret is removed before the upstream gets the request,
    /// unless `keep_token` of the action is true. Such a scheme does not protect the body: anyone who learns the token can send any request.
    pub scheme: Option<String>,
    /// `sha1`, `sha256` or `sha512` (hmac).
    pub algorithm: Option<String>,
    /// The location and format of the signature or token.
    pub signature: Option<Signature>,
    /// The bytes that are signed, as a template (hmac; default `{body}`).
    ///
    /// The placeholders are `{body}`, `{timestamp}`, `{id}`, `{method}`, `{url}`, `{path}`, `{query}`, `{header:NAME}` and
    /// `{json:/pointer}`, with literals between them. `\n` is a line feed.
    pub signed_content: Option<String>,
    /// The reason why two placeholders may follow each other directly in `signed_content`, where a provider signs them this way.
    pub concatenated: Option<String>,
    /// The location and format of the signed time.
    pub timestamp: Option<Timestamp>,
    /// The largest difference between the signed time and now, in both directions (overrides `timestamp.tolerance`).
    pub tolerance: Option<String>,
    /// The location of the delivery ID.
    pub delivery_id: Option<DeliveryId>,
    /// The location of the event type.
    pub event_type: Option<Locator>,
    /// The encoding of the secrets, unless a secret has its own: `utf8` (default), `base64`, `hex`, `whsec` (`whsec_` followed by base64), `whsec_or_utf8`, `nfkd`, `after_colon`. With a list, each is used.
    pub secret_encoding: Option<OneOrMany<String>>,
    /// Text that the provider appends to the secret before it signs.
    pub secret_suffix: Option<String>,
    /// The secrets that are accepted, the newest first, at most 8; or a table of secrets by path parameter or header.
    ///
    /// All secrets that are valid now are checked. Logs and metrics show which one matched by its `name`.
    pub secrets: Option<Secrets>,
}

/// The location and format of the signature or token.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Signature {
    /// The header. `X-Name-{1..9}` means nine headers, any of which may match.
    pub header: Option<OneOrMany<String>>,
    /// The query parameter, instead of a header.
    pub query: Option<String>,
    /// A JSON pointer into the body, instead of a header (hmac).
    pub json: Option<String>,
    /// The required text in front of each signature.
    pub prefix: Option<String>,
    /// The encoding of the signature: `hex`, `base64`, `base64url` (hmac).
    pub encoding: Option<String>,
    /// The exact text between several signatures, or between `key=value` pairs, in one header.
    pub separator: Option<String>,
    /// The key of a signature in a list of `key=value` pairs, such as `v1`. All pairs with this key count.
    pub pair: Option<String>,
    /// Whether the header may occur several times, any of which may match (hmac; default false: two different values are refused).
    pub repeated: Option<bool>,
    /// Headers that must occur once with exactly this value, such as the version of the signature.
    pub expect: Option<BTreeMap<String, String>>,
}

/// The location and format of the signed time.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Timestamp {
    /// A header, or a list of names: the first one that is present counts, and the others must not contradict it.
    pub header: Option<OneOrMany<String>>,
    /// A key among the `key=value` pairs of the signature header.
    pub pair: Option<String>,
    /// An item of the list in the signature header, counted from 0.
    pub item: Option<u32>,
    /// A JSON pointer into the body.
    pub json: Option<String>,
    /// `unix` (10 digits, default), `unix_ms` (13 digits), `rfc3339`, `utc` (RFC 3339 without a zone), or `imf_fixdate` (as in the HTTP header `Date`).
    pub format: Option<String>,
    /// The largest difference between the signed time and now, in both directions (default 5m).
    pub tolerance: Option<String>,
}

/// The location of a value in the request.
#[derive(Debug, Default, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Locator {
    /// A header, or a list of names: the first one that is present counts, and the others must not contradict it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<OneOrMany<String>>,
    /// A JSON pointer into the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json: Option<String>,
    /// A query parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
}

/// The location of the delivery ID.
#[derive(Debug, Default, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeliveryId {
    /// A header, or a list of names: the first one that is present counts, and the others must not contradict it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<OneOrMany<String>>,
    /// A JSON pointer into the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json: Option<String>,
    /// A query parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Whether two different deliveries can have the same ID (default false). Duplicates are then recognised by ID and body together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub with_body: Option<bool>,
}

impl DeliveryId {
    /// Returns its location.
    pub fn locator(&self) -> Locator {
        Locator {
            header: self.header.clone(),
            json: self.json.clone(),
            query: self.query.clone(),
        }
    }
}

/// A secret: exactly one of `env`, `file`, `insecure_inline`.
///
/// A secret is text. An empty one, one that begins or ends with white space, control or invisible characters, a byte order mark, UTF-16 and
/// binary data are errors. Write a binary key as `base64` or `hex` and set its `encoding`. Quotes around a secret count as part of it,
/// with a warning. After a reload, a file that is missing or contains no such text keeps its last good text and is reported as stale.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Secret {
    /// The name in logs and metrics (default `secret-1`, `secret-2`, …).
    pub name: Option<String>,
    /// The environment variable that contains it.
    pub env: Option<String>,
    /// The file that contains it. It is read again when it changes; one trailing newline is ignored.
    pub file: Option<String>,
    /// The secret itself. Anyone who can read the config can read it.
    pub insecure_inline: Option<InlineSecret>,
    /// The encoding of its text, instead of the preset's.
    pub encoding: Option<String>,
    /// Whether it may contain white space (default false).
    pub allow_whitespace: Option<bool>,
    /// The time before which it is not accepted (RFC 3339).
    pub not_before: Option<String>,
    /// The time from which on it is not accepted (RFC 3339).
    pub expires: Option<String>,
}

/// A table of secrets, selected by a path parameter or a header.
///
/// The key that selects the secret is the account of a delivery. Each account has its own delivery IDs, FIFO lanes and rate limits by value:
/// an ID of one account is new for another. The admin API and `hookgate deliveries show` show the account of a delivery, and
/// `hookgate forget --account` selects one.
///
/// A table has up to 10,000 keys of at most 128 characters `[A-Za-z0-9_-]`. A bad entry disables its key alone, with a warning.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SecretTable {
    /// The key that selects the secret: `{parameter}` of the path, or `header:NAME`.
    pub by: Option<String>,
    /// A directory with one file per key: the name of the file is the key, its text the secret. Names that begin with a dot are ignored.
    pub dir: Option<String>,
    /// A YAML file with a map from key to secret.
    pub file: Option<String>,
    /// The encoding of the secrets, instead of the preset's.
    pub encoding: Option<String>,
}

/// A secret that is written into the config. Neither `Debug` nor a parse error shows it.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct InlineSecret(pub String);

impl fmt::Debug for InlineSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InlineSecret(…)")
    }
}

/// `verify: none`, or a block.
#[derive(Debug, Clone)]
pub enum VerifyOrNone {
    /// The word `none`: requests are not verified.
    None,
    /// A block.
    Block(Box<Verify>),
}

impl<'de> Forms<'de> for VerifyOrNone {
    const EXPECTING: &'static str = "`none` or a block";
    fn text<E: Error>(text: &str) -> Result<Self, E> {
        if text == "none" {
            Ok(Self::None)
        } else {
            Err(E::custom(Self::EXPECTING))
        }
    }
    fn map<A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        Verify::deserialize(MapAccessDeserializer::new(map))
            .map(|block| Self::Block(Box::new(block)))
    }
}

impl<'de> Deserialize<'de> for VerifyOrNone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        any_form(deserializer)
    }
}

impl JsonSchema for VerifyOrNone {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "VerifyOrNone".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let block = generator.subschema_for::<Verify>();
        any_of([json_schema!({ "const": "none" }), block])
    }
}

/// A list of secrets, or a table.
#[derive(Debug, Clone)]
pub enum Secrets {
    /// A list, the newest first.
    List(Vec<Secret>),
    /// A table by key.
    Table(Box<SecretTable>),
}

impl<'de> Forms<'de> for Secrets {
    const EXPECTING: &'static str = "a list of secrets, or a table";
    fn list<A: SeqAccess<'de>>(list: A) -> Result<Self, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(Self::List)
    }
    fn map<A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        SecretTable::deserialize(MapAccessDeserializer::new(map))
            .map(|table| Self::Table(Box::new(table)))
    }
}

impl<'de> Deserialize<'de> for Secrets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        any_form(deserializer)
    }
}

impl JsonSchema for Secrets {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Secrets".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let list = generator.subschema_for::<Vec<Secret>>();
        let table = generator.subschema_for::<SecretTable>();
        any_of([list, table])
    }
}
