//! How a gateway reaches its servers.
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::Config;

/// The source of the address, the user and the password of the servers. It is asked at each connect, so that a password that was rotated needs no
/// restart.
pub trait Servers: Send + Sync {
    /// Returns the hosts, the database, the user and the password as they are now.
    ///
    /// # Errors
    /// They cannot be read. The message names no secret.
    fn config(&self) -> Result<Config, Arc<str>>;
}

impl<F: Fn() -> Result<Config, Arc<str>> + Send + Sync> Servers for F {
    fn config(&self) -> Result<Config, Arc<str>> {
        self()
    }
}

/// The options of the store on PostgreSQL.
#[derive(Clone)]
pub struct Options {
    /// The servers.
    pub servers: Arc<dyn Servers>,
    /// The name of the schema, unquoted: `[a-z_][a-z0-9_]{0,40}`.
    pub schema: Arc<str>,
    /// The largest number of connections of this gateway, three at least. They are opened when they are needed.
    pub connections: usize,
    /// The time for one call. Calls with large bodies have longer; claims have an eighth of it.
    pub timeout: Duration,
    /// The encryption of connections over TCP.
    pub tls: Tls,
    /// The number of delivery IDs that this gateway remembers by itself, for the time in which no server answers.
    pub remembered: usize,
}

impl fmt::Debug for Options {
    /// Shows nothing of the servers: their URL may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("schema", &self.schema)
            .field("connections", &self.connections)
            .field("timeout", &self.timeout)
            .field("tls", &self.tls)
            .field("remembered", &self.remembered)
            .finish_non_exhaustive()
    }
}

/// The encryption of connections over TCP. Files are read at each connect; while one cannot be read, its last good text is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Whether servers must prove who they are.
    pub mode: TlsMode,
    /// A file with the certificates of the authorities that are trusted, in PEM. None: those of the system.
    pub ca: Option<PathBuf>,
    /// Files with this gateway's own certificate and its key, in PEM.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// Whether servers must prove who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsMode {
    /// The certificate is one of a trusted authority, for the name that is connected to.
    #[default]
    VerifyFull,
    /// The certificate is one of a trusted authority, for any name.
    VerifyCa,
    /// No encryption.
    Off,
}
