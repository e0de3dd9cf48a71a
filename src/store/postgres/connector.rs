//! Connections to a store that this program knows: made when they are needed, and tried again while there is none.
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::sleep;

use super::call::{Call, column};
use super::connection::Connection;
use super::errors::{Fault, NoConnection};
use super::figures::Recorder;
use super::migrate::{OLDEST_SERVER, VERSION, parsed};
use super::options::Options;
use super::reach::{Advice, Reach};
use super::tls::TlsFiles;
use crate::store::StoreError;

/// The state that all connections share.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) options: Options,
    pub(super) files: Arc<TlsFiles>,
    pub(super) reach: Reach,
    pub(super) recorder: Arc<Recorder>,
    /// A connection that was made to find out whether the database can be reached again.
    pub(super) spare: Mutex<Option<Connection>>,
    /// The key of the store that was opened: a connection to another is not used.
    pub(super) hash_key: Mutex<Option<[u8; 16]>>,
    /// The last failure that says something about the store itself.
    pub(super) trouble: Mutex<Option<StoreError>>,
    pub(super) runtime: Handle,
}

impl Connector {
    /// Prepares connections, and makes none.
    pub(super) fn new(options: Options) -> Arc<Self> {
        Arc::new(Self {
            options,
            files: Arc::default(),
            reach: Reach::default(),
            recorder: Arc::default(),
            spare: Mutex::default(),
            hash_key: Mutex::default(),
            trouble: Mutex::default(),
            runtime: Handle::current(),
        })
    }
    /// Returns a connection to a store that this program knows.
    pub(super) async fn connect(self: &Arc<Self>) -> Result<Connection, StoreError> {
        loop {
            if let Some(spare) = self.spare.lock().take().filter(Connection::is_open) {
                return Ok(spare);
            }
            match self.reach.advice(self.options.timeout) {
                Advice::Connect => {}
                Advice::After(pause) => sleep(pause).await,
                Advice::GiveUp(error, begins) => {
                    if begins {
                        drop(self.runtime.spawn(Self::probe(Arc::downgrade(self))));
                    }
                    return Err(error);
                }
            }
            match self.open().await {
                Ok(connection) => {
                    self.reach.is_there();
                    return Ok(connection);
                }
                Err(why) => drop(self.reach.is_away(&why)),
            }
        }
    }

    /// Tries to connect until it can, while others are told at once that they cannot.
    async fn probe(shared: Weak<Self>) {
        let mut pause = Duration::ZERO;
        loop {
            sleep(pause).await;
            let Some(shared) = shared.upgrade() else {
                return;
            };
            match shared.open().await {
                Ok(connection) => {
                    *shared.spare.lock() = Some(connection);
                    shared.reach.is_there();
                    return;
                }
                Err(why) => pause = shared.reach.is_away(&why),
            }
        }
    }

    /// Opens a connection, and verifies that the store is one that this program can use, and the one that was opened.
    pub(super) async fn open(&self) -> Result<Connection, NoConnection> {
        let mut connection = Connection::open(&self.options, &self.files).await?;
        connection.count(self.recorder.open());
        let hash_key = verify(&connection, &self.options).await;
        let hash_key = hash_key.map_err(NoConnection::Unusable)?;
        let known = *self.hash_key.lock().get_or_insert(hash_key);
        if known != hash_key {
            let why = "the database holds another store than before: restart to use it";
            return Err(NoConnection::Unusable(why.to_owned()));
        }
        Ok(connection)
    }
}

/// Verifies that the schema is there, of a version that this program knows, on a server that takes writes.
/// Returns the key with which its ledger keys are hashed.
async fn verify(connection: &Connection, options: &Options) -> Result<[u8; 16], String> {
    let call = Call::look("store_1");
    let rows = connection.exchange(&options.schema, &call, options.timeout);
    let rows = rows.await.map_err(|fault| match fault {
        Fault::Refused(error) => format!(
            "schema {} cannot be used: run `hookgate migrate` ({error})",
            options.schema
        ),
        fault @ (Fault::Again(_) | Fault::Row(_) | Fault::NoDay(_) | Fault::Lost(_)) => {
            fault.into_error().to_string()
        }
    })?;
    let form = || "the schema is of another form: run `hookgate migrate`".to_owned();
    let row = rows.first().ok_or_else(form)?;
    let read = || -> Result<(String, Vec<u8>, bool, i32), StoreError> {
        Ok((
            column(row, 0)?,
            column(row, 1)?,
            column(row, 3)?,
            column(row, 4)?,
        ))
    };
    let (version, hash_key, writable, server) = read().map_err(|_| form())?;
    if parsed(&version).is_none_or(|found| found.0 != VERSION.0 || found.1 < VERSION.1) {
        return Err(format!(
            "schema {} has version {version}, and this program needs {}.{}: run `hookgate migrate`",
            options.schema, VERSION.0, VERSION.1
        ));
    }
    if server < OLDEST_SERVER {
        return Err("the server is older than PostgreSQL 15".to_owned());
    }
    if !writable {
        return Err("the server takes no writes".to_owned());
    }
    <[u8; 16]>::try_from(hash_key.as_slice()).map_err(|_| form())
}
