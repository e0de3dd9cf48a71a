//! The connections to the server. A call says which of them it is for, so that none waits behind another kind.
use std::time::Duration;

use tokio::sync::Mutex;
use tokio_postgres::{Client, Config, NoTls, Row};

use super::call::Call;
use crate::store::StoreError;

/// The connection that a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Claims and what else must not stand behind an fsync.
    Claims,
    /// What a caller waits for until it is on the server's disk.
    Writes,
    /// Searches, acts of people, maintenance.
    Looks,
}

/// The connections to the server.
#[derive(Debug)]
pub(super) struct Link {
    config: Config,
    schema: String,
    timeout: Duration,
    claims: Mutex<Option<Client>>,
    writes: Mutex<Option<Client>>,
    looks: Mutex<Option<Client>>,
}

impl Link {
    pub(super) fn new(config: Config, schema: String, timeout: Duration) -> Self {
        Self {
            config,
            schema,
            timeout,
            claims: Mutex::default(),
            writes: Mutex::default(),
            looks: Mutex::default(),
        }
    }

    /// Makes a call, and reads its answer to the end: then what it wrote is committed.
    pub(super) async fn call(&self, lane: Lane, call: Call) -> Result<Vec<Row>, StoreError> {
        let slot = match lane {
            Lane::Claims => &self.claims,
            Lane::Writes => &self.writes,
            Lane::Looks => &self.looks,
        };
        let mut slot = slot.lock().await;
        let client = match slot.take().filter(|client| !client.is_closed()) {
            Some(client) => client,
            None => {
                let (client, connection) = self
                    .config
                    .connect(NoTls)
                    .await
                    .map_err(|_| StoreError::Unavailable("no connection".into()))?;
                tokio::spawn(connection);
                client
            }
        };
        let statement = call.statement(&self.schema);
        let parameters: Vec<_> = call
            .parameters
            .iter()
            .map(|(value, kind)| {
                (
                    &**value as &(dyn tokio_postgres::types::ToSql + Sync),
                    kind.clone(),
                )
            })
            .collect();
        let answer =
            tokio::time::timeout(self.timeout, client.query_typed(&statement, &parameters)).await;
        match answer {
            Ok(Ok(rows)) => {
                *slot = Some(client);
                Ok(rows)
            }
            Ok(Err(error)) if error.code().is_some() => {
                *slot = Some(client);
                Err(StoreError::Unavailable(error.to_string().into()))
            }
            _ if call.writes => Err(StoreError::Unknown("the connection was lost".into())),
            _ => Err(StoreError::Unavailable("the connection was lost".into())),
        }
    }
}
