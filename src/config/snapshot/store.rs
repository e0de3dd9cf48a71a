//! The storage of the gateway.
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::tenant::seal::SealKeys;

/// The storage of the gateway. A reload compares it with the one that was opened: any difference needs a restart. Keys are compared by their IDs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// The place of the state.
    pub engine: Engine,
    /// The local disk that takes deliveries while the database is away.
    pub spool: Option<SpoolDirectory>,
    /// The largest number of delivery IDs that are remembered.
    pub ledger_entries: usize,
    /// The keys that seal secrets of endpoints, if the config has one.
    pub keys: Option<Arc<SealKeys>>,
}

impl Store {
    /// Returns the directory of this gateway alone, if it has one: that of the store, or that of the spool beside a shared store.
    pub fn own_directory(&self) -> Option<&Path> {
        let spool = self.spool.as_ref().map(|spool| &*spool.path);
        self.engine.directory().or(spool)
    }
}

/// A directory that takes deliveries while the database is away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolDirectory {
    /// The directory.
    pub path: PathBuf,
    /// The largest size in bytes.
    pub bytes: u64,
}

/// The place where a store keeps its state. It holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The memory of the process: a restart forgets everything.
    Memory,
    /// A directory on a local disk.
    Directory(PathBuf),
    /// A PostgreSQL database that gateways share.
    Postgres(Box<PostgresEngine>),
}

impl Engine {
    /// Returns whether the state outlives the process, so that deliveries can be stored.
    pub fn is_durable(&self) -> bool {
        match self {
            Self::Memory => false,
            Self::Directory(_) | Self::Postgres(_) => true,
        }
    }

    /// Returns the directory, if the state is in one.
    pub fn directory(&self) -> Option<&Path> {
        match self {
            Self::Memory | Self::Postgres(_) => None,
            Self::Directory(path) => Some(path),
        }
    }

    /// Returns the database, if the state is in one.
    pub fn postgres(&self) -> Option<&PostgresEngine> {
        match self {
            Self::Memory | Self::Directory(_) => None,
            Self::Postgres(postgres) => Some(postgres),
        }
    }
}

/// A PostgreSQL database. Secrets are read from their places at each connect, and none is here.
#[derive(Clone, Debug)]
pub struct PostgresEngine {
    /// The place of the URL.
    pub url: TextPlace,
    /// The place of the password, if it is not in the URL.
    pub password: Option<TextPlace>,
    /// The hosts and the database as the URL named them when the config was loaded, without user and password: `db-rw:5432/hooks`.
    pub server: String,
    /// The schema.
    pub schema: String,
    /// The largest number of connections.
    pub connections: usize,
    /// The time for one call.
    pub timeout: Duration,
    /// The TLS of connections over TCP.
    pub tls: PostgresTls,
    /// The loss that a commit survives, if the config says it.
    pub durability: Option<Durability>,
    /// Whether the gateway creates and upgrades the schema.
    pub migrate: bool,
}

impl PartialEq for PostgresEngine {
    /// Leaves out `server`: it is read at each connect, so another one needs no restart.
    fn eq(&self, other: &Self) -> bool {
        // No `..`: a new field must be dealt with here.
        let Self {
            url,
            password,
            server: _,
            schema,
            connections,
            timeout,
            tls,
            durability,
            migrate,
        } = self;
        (url, password, schema) == (&other.url, &other.password, &other.schema)
            && (connections, timeout, tls) == (&other.connections, &other.timeout, &other.tls)
            && (durability, migrate) == (&other.durability, &other.migrate)
    }
}

impl Eq for PostgresEngine {}

/// The place of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextPlace {
    /// The config itself: the text is no secret.
    Written(String),
    /// A file.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
}

/// The TLS of connections to PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresTls {
    /// Whether the server must prove who it is.
    pub mode: PostgresTlsMode,
    /// The file with the trusted CAs; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// The files with the client certificate and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// Whether the server must prove who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostgresTlsMode {
    /// By a certificate of a trusted CA for the name of the host.
    VerifyFull,
    /// By a certificate of a trusted CA for any name.
    VerifyCa,
    /// There is no TLS.
    Off,
}

/// The loss that a commit survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A crash of the server.
    Disk,
    /// The loss of one copy of the server's storage, which is replicated below PostgreSQL.
    Storage,
    /// The loss of the server: a standby has the commit, too.
    Standby,
}
