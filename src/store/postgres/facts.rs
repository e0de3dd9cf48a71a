//! The facts of a server that an operator has to know, read once over a connection of their own.
use std::sync::Arc;
use std::time::SystemTime;

use tokio_postgres::{Client, Row};

use super::connection::Connection;
use super::errors::{NoConnection, shown};
use super::migrate::{OLDEST_SERVER, VERSION, parsed};
use super::options::Options;
use crate::clock::{Clock as _, SystemClock};

/// The facts of a server and of the schema in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The version of the server: 150018 is 15.18.
    pub server: i32,
    /// The version of the schema; `None` if there is none that the role may read.
    pub schema: Option<String>,
    /// Whether the server takes writes.
    pub is_writable: bool,
    /// The days after today, without a gap, for which there are tables.
    pub days_ahead: i64,
    /// Whether commits wait for a standby.
    pub waits_for_standby: bool,
    /// The standbys that are attached.
    pub standbys: i64,
    /// The `synchronous_commit` of the role.
    pub synchronous_commit: String,
    /// Whether two transactions were served by two processes of the server: a pooler stands between.
    pub has_pooler: bool,
    /// The milliseconds by which the server's clock is ahead of this machine's.
    pub clock_ahead_ms: i64,
    /// The connections that the server takes.
    pub max_connections: i64,
    /// The gateways that were seen in the last minute.
    pub gateways: i64,
    /// Whether the role may do everything on the server.
    pub is_superuser: bool,
    /// Whether the role owns the schema.
    pub owns_schema: bool,
    /// Whether the role may create schemas in the database.
    pub may_create: bool,
    /// Whether there is a schema of that name.
    pub has_schema: bool,
}

/// The schema as a gateway finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// The gateway can use it.
    Usable,
    /// There is none, or it is older than the functions that the gateway calls.
    ToMigrate,
    /// Another major version of the program made it.
    OtherMajor,
}

impl Facts {
    /// Returns whether the server is of a version that this program can use.
    pub fn is_recent(&self) -> bool {
        self.server >= OLDEST_SERVER
    }

    /// Returns whether this program can use the schema.
    pub fn fit(&self) -> Fit {
        let Some(schema) = &self.schema else {
            return Fit::ToMigrate;
        };
        match parsed(schema) {
            Some((major, _)) if major != VERSION.0 => Fit::OtherMajor,
            Some((_, minor)) if minor >= VERSION.1 => Fit::Usable,
            Some(_) => Fit::ToMigrate,
            None => Fit::OtherMajor,
        }
    }

    /// Returns the version of the schema that this program makes.
    pub fn own_version() -> String {
        format!("{}.{}", VERSION.0, VERSION.1)
    }
}

/// Reads the facts of the server that is reached first.
///
/// # Errors
/// There is no connection to a server, or it does not answer.
pub async fn facts(options: &Options) -> Result<Facts, NoConnection> {
    let connection = Connection::open(options, &Arc::default()).await?;
    let read = read(connection.client(), &options.schema);
    let read = tokio::time::timeout(options.timeout, read).await;
    match read {
        Ok(read) => read.map_err(NoConnection::Unusable),
        Err(_) => Err(NoConnection::Away(
            "the server did not answer in time".to_owned(),
        )),
    }
}

async fn read(client: &Client, schema: &str) -> Result<Facts, String> {
    let asked = SystemClock.now().wall;
    let row = one(client, SERVER).await?;
    let answered = SystemClock.now().wall;
    let process: i32 = value(&row, 0)?;
    let at: SystemTime = value(&row, 8)?;
    let named = |sql: &str| sql.replace("$schema", &format!("\"{schema}\""));
    let is_there = one(client, &named(IS_THERE)).await?;
    let (version, days_ahead, gateways, other): (Option<String>, _, _, i32) =
        if value(&is_there, 0)? {
            let row = one(client, &named(SCHEMA)).await?;
            (
                value(&row, 0)?,
                value(&row, 1)?,
                value(&row, 2)?,
                value(&row, 3)?,
            )
        } else {
            (None, 0, 0, value(&is_there, 1)?)
        };
    Ok(Facts {
        server: value(&row, 1)?,
        schema: version,
        is_writable: value(&row, 2)?,
        days_ahead,
        waits_for_standby: value(&row, 3)?,
        standbys: value(&row, 4)?,
        synchronous_commit: value(&row, 5)?,
        has_pooler: other != process,
        clock_ahead_ms: ahead(at, asked, answered),
        max_connections: value(&row, 6)?,
        gateways,
        is_superuser: value(&row, 7)?,
        owns_schema: value(&is_there, 2)?,
        may_create: value(&is_there, 3)?,
        has_schema: value(&is_there, 4)?,
    })
}

/// The question to the server about itself. The first column is its process.
const SERVER: &str = "select pg_backend_pid(), current_setting('server_version_num')::int,
    not pg_is_in_recovery() and current_setting('default_transaction_read_only') = 'off',
    current_setting('synchronous_standby_names') <> '', (select count(*) from pg_stat_replication),
    current_setting('synchronous_commit'), current_setting('max_connections')::bigint,
    (select rolsuper from pg_roles where rolname = current_user), clock_timestamp()";

/// Whether there is a schema that the role may use, and the process that said so: behind a pooler it may be another one. Then the rights of the role.
const IS_THERE: &str = "select case when has_schema_privilege(to_regnamespace('$schema'), 'usage')
    then to_regclass('$schema.meta') is not null else false end, pg_backend_pid(),
    coalesce((select pg_has_role(nspowner, 'member') from pg_namespace where oid = to_regnamespace('$schema')), false),
    has_database_privilege(current_database(), 'create'), to_regnamespace('$schema') is not null";

/// The question to the schema. Its name consists of letters, digits and `_`, so it needs no escapes.
const SCHEMA: &str = "select (select value from $schema.meta where name = 'schema'),
    (select coalesce(min(n) filter (where to_regclass('$schema.delivery_' || to_char(($schema.store_time() at time zone 'UTC')::date + n,
        'YYYYMMDD')) is null), 31) - 1 from generate_series(1, 30) n)::bigint,
    (select count(*) from $schema.gateway where seen > $schema.store_time() - interval '60 s'),
    pg_backend_pid()";

/// Returns the milliseconds by which the server's clock is ahead, beyond what the way of the answer explains.
fn ahead(at: SystemTime, asked: SystemTime, answered: SystemTime) -> i64 {
    let milliseconds = |later: SystemTime, earlier: SystemTime| {
        let apart = later.duration_since(earlier).unwrap_or_default();
        i64::try_from(apart.as_millis()).unwrap_or(i64::MAX)
    };
    if at > answered {
        milliseconds(at, answered)
    } else {
        -milliseconds(asked, at)
    }
}

async fn one(client: &Client, sql: &str) -> Result<Row, String> {
    let rows = client
        .query_typed(sql, &[])
        .await
        .map_err(|error| shown(&error))?;
    rows.into_iter()
        .next()
        .ok_or_else(|| "the server answered in another form".to_owned())
}

fn value<'a, T: tokio_postgres::types::FromSql<'a>>(row: &'a Row, at: usize) -> Result<T, String> {
    row.try_get(at)
        .map_err(|_| "the server answered in another form".to_owned())
}
