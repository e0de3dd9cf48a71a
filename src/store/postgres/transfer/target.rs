//! The schema into which a store is moved: one connection, and one transaction.
use std::sync::Arc;

use tokio_postgres::types::{FromSql, ToSql, Type};

use super::error::TransferError;
use crate::store::StoreError;
use crate::store::postgres::connection::Connection;
use crate::store::postgres::errors::{Fault, fault_of};
use crate::store::postgres::migrate::quoted;
use crate::store::postgres::options::Options;
use crate::store::postgres::tls::TlsFiles;

/// The tables that are empty in a schema that no gateway has used, by what is in them.
const EMPTY: [(&str, &str); 9] = [
    ("name", "names of routes"),
    ("delivery", "deliveries"),
    ("due", "waiting units"),
    ("ledger", "delivery IDs"),
    ("kept_route", "routes"),
    ("audit", "audit entries"),
    ("tenant", "tenants"),
    ("endpoint", "endpoints"),
    ("gateway", "running gateways"),
];

/// The end of a transaction.
pub(super) enum Outcome {
    /// It is committed.
    Done,
    /// Nothing was written.
    Failed(TransferError),
    /// The answer was lost.
    Unknown(String),
}

/// A connection to the schema.
pub(super) struct Target {
    connection: Connection,
    /// The name of the schema, as it is written in statements.
    schema: String,
}

impl Target {
    /// Connects.
    ///
    /// # Errors
    /// No server can be reached, or it refuses the login.
    pub(super) async fn open(options: &Options) -> Result<Self, TransferError> {
        Ok(Self {
            connection: Connection::open(options, &Arc::<TlsFiles>::default()).await?,
            schema: quoted(&options.schema),
        })
    }

    /// Runs a statement in which `hookgate.` stands for the schema.
    pub(super) async fn execute(
        &self,
        sql: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<(), TransferError> {
        let client = self.connection.client();
        client.query_typed(&self.named(sql), parameters).await?;
        Ok(())
    }

    /// Returns the one value that a statement gives.
    pub(super) async fn one<T>(
        &self,
        sql: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<T, TransferError>
    where
        T: for<'a> FromSql<'a>,
    {
        let client = self.connection.client();
        let rows = client.query_typed(&self.named(sql), parameters).await?;
        let value = rows.first().and_then(|row| row.try_get(0).ok());
        value
            .ok_or_else(|| TransferError::Refused("the server answered in another form".to_owned()))
    }

    /// Begins the transaction. It takes as long as it has to.
    pub(super) async fn begin(&self) -> Result<(), TransferError> {
        let begin = "begin; set local client_min_messages = error; set local statement_timeout = 0; \
            set local idle_in_transaction_session_timeout = 0; set local lock_timeout = '5s'; set local jit = off; \
            select hookgate.wait_for_disk()";
        let client = self.connection.client();
        client.batch_execute(&self.named(begin)).await?;
        Ok(())
    }

    /// Keeps gateways out: one that starts meanwhile waits, and one that runs misses its heartbeat.
    pub(super) async fn lock(&self) -> Result<(), TransferError> {
        let lock =
            "lock table hookgate.meta, hookgate.name, hookgate.gateway in access exclusive mode";
        self.execute(lock, &[]).await
    }

    /// Checks that the role may write to all tables.
    pub(super) async fn check_rights(&self) -> Result<(), TransferError> {
        let refused: Vec<String> = self
            .one(
                "select coalesce(array_agg(c.relname::text order by c.relname), '{}') from pg_class c
                where c.relnamespace = (select relnamespace from pg_class where oid = 'hookgate.meta'::regclass)
                    and c.relkind in ('r', 'p') and not c.relispartition and not (has_table_privilege(c.oid, 'select') and has_table_privilege(c.oid, 'insert')
                        and has_table_privilege(c.oid, 'update') and has_table_privilege(c.oid, 'delete'))",
                &[],
            )
            .await?;
        if refused.is_empty() {
            return Ok(());
        }
        let tables = refused.join(", ");
        Err(TransferError::Refused(format!(
            "the role of the URL may not write to the schema (tables {tables}): give it the rights by `hookgate migrate --grant ROLE`, as the owner of the schema"
        )))
    }

    /// Checks that no gateway has used the schema.
    pub(super) async fn check_empty(&self) -> Result<(), TransferError> {
        let each: Vec<_> = EMPTY
            .iter()
            .map(|(table, what)| {
                format!("select '{what}' what where exists (select 1 from hookgate.{table})")
            })
            .collect();
        let sql = format!(
            "select coalesce(array_agg(x.what), '{{}}')::text[] from ({}) x",
            each.join(" union all ")
        );
        let found: Vec<String> = self.one(&sql, &[]).await?;
        if found.is_empty() {
            return Ok(());
        }
        let found = found.join(", ");
        Err(TransferError::Refused(format!(
            "the schema is not empty (it has {found}), and a store is moved into an empty one alone: it brings its own numbers and its own key for delivery IDs. \
            Write another `store.postgres.schema`, or drop the schema if nothing in it is needed"
        )))
    }

    /// Returns the key with which ledger keys are hashed.
    pub(super) async fn hash_key(&self) -> Result<[u8; 16], TransferError> {
        let text: String = self
            .one(
                "select value from hookgate.meta where name = 'hash_key'",
                &[],
            )
            .await?;
        let mut key = [0; 16];
        hex::decode_to_slice(text, &mut key).map_err(|_| {
            TransferError::Refused("the schema has another form: run `hookgate migrate`".to_owned())
        })?;
        Ok(key)
    }

    /// Commits.
    pub(super) async fn commit(&self) -> Outcome {
        let client = self.connection.client();
        // else the server would not say that it gave up waiting for its standby
        let commit = "set local client_min_messages = warning; commit";
        match client.batch_execute(commit).await {
            Ok(()) if self.connection.is_open() => Outcome::Done,
            Ok(()) => Outcome::Unknown("the server gave up waiting for its standby".to_owned()),
            // what a pooler or a server that ends says about its connection tells nothing about the commit
            Err(error)
                if self.connection.is_open()
                    && !matches!(fault_of(&error, true), Fault::Lost(StoreError::Unknown(_))) =>
            {
                Outcome::Failed(error.into())
            }
            Err(error) => Outcome::Unknown(TransferError::from(error).to_string()),
        }
    }

    fn named(&self, sql: &str) -> String {
        sql.replace("hookgate.", &format!("{}.", self.schema))
    }
}
