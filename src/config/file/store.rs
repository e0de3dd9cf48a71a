//! The keys of `store`.
use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess};

use super::union::{Forms, any_form, any_of};
use super::verify::{InlineSecret, Secret};

/// The storage of the gateway: a directory for one gateway, or PostgreSQL for one or several.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// A directory that only this gateway uses, on a local disk.
    pub path: Option<String>,
    /// A PostgreSQL database that all gateways of a fleet use. Not together with `path`.
    pub postgres: Option<StorePostgres>,
    /// The largest number of delivery IDs that are remembered (default 10000000, 32 bytes each).
    ///
    /// With `postgres`, the database remembers all IDs until their window ends, whatever their number.
    pub ledger_entries: Option<u64>,
    /// With `postgres`, a directory on a local disk that takes deliveries while the database is away. They are handed over when it is back.
    pub spool: Option<SpoolDirectory>,
    /// With `postgres`, the default of `dedupe.on_store_down` on all routes: `pass` or `refuse`.
    pub on_store_down: Option<String>,
    /// The key that seals the secrets of your customers' endpoints: 32 bytes as base64, as created by `openssl rand -base64 32`. `outbound` needs it.
    ///
    /// Keep a copy in another place: without the key, the secrets in the store cannot be read, and every customer needs a new one.
    pub key: Option<Secret>,
    /// Former keys, while the store still has secrets that they seal. The gateway seals them again with `key`; `hookgate doctor` tells when none is left.
    pub old_keys: Vec<Secret>,
}

/// A PostgreSQL database as the store. Gateways with the same database and schema share deliveries and delivery IDs.
///
/// [docs/postgres.md](postgres.md) describes the setup. Changing a key of this block needs a restart. A change of the files that the keys
/// name needs neither a restart nor a reload.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StorePostgres {
    /// The URL of the database: as text if it has no password, else `{ file: … }` or `{ env: … }`. It is read again for each new connection.
    ///
    /// `postgres://USER[:PASSWORD]@HOST[:PORT][,HOST2[:PORT2]]/DATABASE`. With several hosts, the first that takes writes is used. The
    /// directory of a unix socket is written as `?host=/run/postgresql`. `sslmode` (`verify-full`, `verify-ca` or `disable`) and `sslrootcert`
    /// have the meaning that they have for `psql`; `tls` takes precedence. Other parameters have no effect.
    pub url: Option<TextOrSource>,
    /// The password of the role, instead of one in `url`. It is read again for each new connection.
    pub password: Option<TextSource>,
    /// The schema that has the tables: `[a-z_][a-z0-9_]{0,40}` (default `hookgate`).
    pub schema: Option<String>,
    /// The largest number of connections of each gateway, 3 to 100 (default 6).
    ///
    /// One is for claims of delivery IDs, one for searches and maintenance, the others write. They are opened when they are needed.
    pub connections: Option<u32>,
    /// The time for one call, 100ms to 1m (default 2s). The claim of a delivery ID has an eighth of it.
    pub timeout: Option<String>,
    /// The TLS of the connections.
    pub tls: Option<ServerTls>,
    /// The loss that a commit survives: `disk`, `storage` or `standby` (default: none).
    ///
    /// With `standby`, the gateway does not start on a server that waits for no standby, and `hookgate doctor` reports it: such a server
    /// loses acknowledged deliveries with its disk. With `storage`, the database replicates below PostgreSQL, as Amazon RDS Multi-AZ and
    /// Aurora do. With `disk`, losing the server's disk loses deliveries, and that is accepted. If the key is missing, the doctor warns
    /// about a standby for which the server does not wait.
    pub durability: Option<String>,
    /// Whether the gateway creates and upgrades the schema when it starts (default true). With false, only `hookgate migrate` does.
    pub migrate: Option<bool>,
}

/// A directory on a local disk that takes deliveries of routes with `queue` or `on_failure: queue` while the database is away.
///
/// A delivery in it is acknowledged, and is as safe as this disk is. When the database is back, the delivery is handed over to it with the
/// same ID, and delivered by any gateway.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SpoolDirectory {
    /// The directory. Only this gateway uses it.
    pub path: Option<String>,
    /// The largest size, for example `512MiB` (default 1GiB). A delivery that finds no room is refused with 503.
    pub bytes: Option<String>,
}

/// The TLS of connections to PostgreSQL. Connections by a unix socket have none.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ServerTls {
    /// `verify-full` (default): the certificate must be for the name of the host; `verify-ca`: for any name; or `off`.
    pub mode: Option<String>,
    /// A PEM file with the CA that signs the server's certificate (default: the system's CAs).
    pub ca: Option<String>,
    /// A PEM file with the client certificate, and its chain, for a server that asks for one.
    pub certificate: Option<String>,
    /// A PEM file with the private key of `certificate`.
    pub key: Option<String>,
}

/// The place of a secret text that is read when it is needed.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TextSource {
    /// The environment variable that contains it.
    pub env: Option<String>,
    /// The file that contains it. One trailing newline is ignored.
    pub file: Option<String>,
}

/// A text, or the place of one that is secret.
#[derive(Debug, Clone)]
pub enum TextOrSource {
    /// The text. It may contain a secret by mistake.
    Text(InlineSecret),
    /// The place of the text.
    Source(TextSource),
}

impl<'de> Forms<'de> for TextOrSource {
    const EXPECTING: &'static str = "a text, or a block";
    fn text<E: Error>(text: &str) -> Result<Self, E> {
        Ok(Self::Text(InlineSecret(text.to_owned())))
    }
    fn map<A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        TextSource::deserialize(MapAccessDeserializer::new(map)).map(Self::Source)
    }
}

impl<'de> Deserialize<'de> for TextOrSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        any_form(deserializer)
    }
}

impl JsonSchema for TextOrSource {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "TextOrSource".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let text = generator.subschema_for::<String>();
        let block = generator.subschema_for::<TextSource>();
        any_of([text, block])
    }
}
