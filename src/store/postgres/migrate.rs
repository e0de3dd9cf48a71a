//! Makes the schema in a database, or brings it up to date: in one transaction, and only by additions, so that gateways of the version before go on.
use std::fmt::Write as _;
use std::sync::Arc;

use tokio_postgres::Client;

use super::connection::Connection;
use super::errors::{NoConnection, shown};
use super::options::Options;

/// The version of the schema that this program makes. Another major version is another schema; a minor one adds to it.
pub(super) const VERSION: (u32, u32) = (1, 0);
/// The oldest server that has all that the functions use.
pub(super) const OLDEST_SERVER: i32 = 150_000;
/// The releases, and the version and the hash of the schema of each; `None` if it had none. Gateways of several releases run side by side, so a text that
/// differs from a released one has another version: a gateway leaves the functions of a later version alone.
#[cfg(test)]
const RELEASED: &[(&str, Option<Schema>)] = &[("0.1.0", None)];
/// The version and the hash of a schema.
#[cfg(test)]
type Schema = ((u32, u32), &'static str);
/// The days for which tables are made ahead.
pub(super) const DAYS_AHEAD: i32 = 7;

/// The tables, and the functions in the order in which they are made.
const SCHEMA: &str = include_str!("schema.sql");
const FUNCTIONS: [&str; 16] = [
    include_str!("functions/010_base.sql"),
    include_str!("functions/020_days.sql"),
    include_str!("functions/030_claim.sql"),
    include_str!("functions/040_units.sql"),
    include_str!("functions/050_accept.sql"),
    include_str!("functions/060_settle.sql"),
    include_str!("functions/070_health.sql"),
    include_str!("functions/080_lease.sql"),
    include_str!("functions/090_act.sql"),
    include_str!("functions/100_look.sql"),
    include_str!("functions/110_names.sql"),
    include_str!("functions/120_tenants.sql"),
    include_str!("functions/130_endpoints.sql"),
    include_str!("functions/140_maintenance.sql"),
    include_str!("functions/150_quota.sql"),
    include_str!("functions/160_secrets.sql"),
];

/// The kind of a migration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Migration {
    /// Whether nothing is changed: it is only found out what would be.
    pub dry_run: bool,
    /// A role that gets the rights of a gateway.
    pub grant: Option<String>,
}

impl Migration {
    /// Says what was done, or is to be done: `created …` or `create …`.
    fn says(&self, verb: &str, what: &str) -> String {
        let ending = match verb {
            _ if self.dry_run => "",
            verb if verb.ends_with('e') => "d",
            _ => "ed",
        };
        format!("{verb}{ending} {what}")
    }
}

/// The reason for which the schema was not made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MigrateError {
    /// The server does not allow it, or has a schema or a version that does not fit. Nothing was changed.
    #[error("{0}")]
    Refused(String),
    /// There is no connection to a server.
    #[error(transparent)]
    NoConnection(#[from] NoConnection),
}

/// Makes or upgrades the schema. Returns a line for each thing that was done, or is to be done; nothing if it is up to date.
///
/// # Errors
/// See [`MigrateError`].
pub async fn migrate(
    options: &Options,
    migration: &Migration,
) -> Result<Vec<String>, MigrateError> {
    let connection = Connection::open(options, &Arc::default()).await?;
    let client = connection.client();
    begin(client).await?;
    let done = change(client, &options.schema, migration).await;
    let end = match (&done, migration.dry_run) {
        (Ok(_), false) => "commit",
        (Ok(_), true) | (Err(_), _) => "rollback",
    };
    client.batch_execute(end).await.map_err(refused)?;
    done
}

/// Begins the transaction, and waits until no other process migrates.
async fn begin(client: &Client) -> Result<(), MigrateError> {
    let begin = "begin; set local client_min_messages = error; set local statement_timeout = 0; \
        select pg_advisory_xact_lock(hashtextextended('hookgate.migrate', 0))";
    client.batch_execute(begin).await.map_err(refused)
}

async fn change(
    client: &Client,
    schema: &str,
    migration: &Migration,
) -> Result<Vec<String>, MigrateError> {
    let mut done = Vec::new();
    let quoted = quoted(schema);
    let server: i32 = one(client, "select current_setting('server_version_num')::int").await?;
    if server < OLDEST_SERVER {
        let (major, oldest) = (server / 10_000, OLDEST_SERVER / 10_000);
        return Err(MigrateError::Refused(format!(
            "the server is PostgreSQL {major}: {oldest} or later is needed"
        )));
    }
    let is_there: bool = one(
        client,
        &format!("select to_regclass('{quoted}.meta') is not null"),
    )
    .await?;
    let (before, text) = if is_there {
        let read = |name| {
            format!("select coalesce((select value from {quoted}.meta where name = '{name}'), '')")
        };
        let version: String = one(client, &read("schema")).await?;
        (Some(version), one::<String>(client, &read("sql")).await?)
    } else {
        (None, String::new())
    };
    let now = format!("{}.{}", VERSION.0, VERSION.1);
    if let Some(before) = &before {
        let Some(found) = parsed(before).filter(|found| found.0 == VERSION.0) else {
            return Err(MigrateError::Refused(format!(
                "schema {schema} has version {before}, and this program knows version {}: run the program that made it, or name another schema",
                VERSION.0
            )));
        };
        if found.1 > VERSION.1 {
            return grant(client, &quoted, migration, done).await;
        }
    }
    let hash = text_hash();
    if text != hash {
        let sql = sql(schema, is_there);
        client.batch_execute(&sql).await.map_err(refused)?;
        let version = format!(
            "insert into {quoted}.meta values ('sql', '{hash}'), ('schema', '{now}') on conflict (name) do update set value = excluded.value; \
             revoke execute on all functions in schema {quoted} from public"
        );
        client.batch_execute(&version).await.map_err(refused)?;
        done.push(match before {
            None => migration.says("create", &format!("schema {schema}, version {now}")),
            Some(before) if before == now => migration.says(
                "renew",
                &format!("the functions of schema {schema}, version {now}"),
            ),
            Some(before) => migration.says(
                "upgrade",
                &format!("schema {schema} from version {before} to {now}"),
            ),
        });
    }
    let days: i32 = one(
        client,
        &format!("select {quoted}.days_make_1({DAYS_AHEAD})"),
    )
    .await?;
    if days > 0 {
        done.push(migration.says("create", &format!("{days} tables for the next days")));
    }
    grant(client, &quoted, migration, done).await
}

/// Gives a role the rights of a gateway.
async fn grant(
    client: &Client,
    schema: &str,
    migration: &Migration,
    mut done: Vec<String>,
) -> Result<Vec<String>, MigrateError> {
    let Some(role) = &migration.grant else {
        return Ok(done);
    };
    let to = quoted(role);
    let mut sql = String::new();
    for right in [
        "usage on schema",
        "select, insert, update, delete on all tables in schema",
        "usage on all sequences in schema",
        "execute on all functions in schema",
    ] {
        writeln!(sql, "grant {right} {schema} to {to};").ok();
    }
    writeln!(sql, "alter default privileges in schema {schema} grant select, insert, update, delete on tables to {to};").ok();
    client.batch_execute(&sql).await.map_err(refused)?;
    done.push(migration.says("grant", &format!("the rights of a gateway to role {role}")));
    Ok(done)
}

/// Returns all statements that make the schema, under its name.
pub(super) fn sql(schema: &str, is_there: bool) -> String {
    let name = quoted(schema);
    let create = if is_there {
        String::new()
    } else {
        format!("create schema if not exists {name};\n")
    };
    let all: Vec<_> = std::iter::once(SCHEMA)
        .chain(FUNCTIONS)
        .map(|text| text.replace("hookgate.", &format!("{name}.")))
        .collect();
    create + &all.join("\n")
}

/// Returns a text that is another one for each other schema or function.
fn text_hash() -> String {
    let mut hasher = blake3::Hasher::new();
    for text in std::iter::once(SCHEMA).chain(FUNCTIONS) {
        hasher.update(text.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// Reads a version: major and minor.
pub(super) fn parsed(version: &str) -> Option<(u32, u32)> {
    let (major, minor) = version.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Returns a name as it is written in a statement.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns the one value that a statement gives.
async fn one<T: for<'a> tokio_postgres::types::FromSql<'a>>(
    client: &Client,
    sql: &str,
) -> Result<T, MigrateError> {
    let rows = client.query_typed(sql, &[]).await.map_err(refused)?;
    let value = rows.first().and_then(|row| row.try_get(0).ok());
    value.ok_or_else(|| MigrateError::Refused("the server answered in another form".to_owned()))
}

#[expect(clippy::needless_pass_by_value, reason = "map_err gives the error")]
fn refused(error: tokio_postgres::Error) -> MigrateError {
    if error.as_db_error().is_some() {
        MigrateError::Refused(shown(&error))
    } else {
        NoConnection::Away(shown(&error)).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_of_functions_are_applied_in_order() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/postgres/functions");
        let mut files: Vec<_> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        let texts: Vec<_> = files
            .iter()
            .map(|file| std::fs::read_to_string(file).unwrap())
            .collect();
        assert_eq!(texts, FUNCTIONS);
    }

    /// The releases that a changelog lists: `## 0.1.0 – 2026-12-01`.
    fn releases(changelog: &str) -> Vec<&str> {
        let headings = changelog
            .lines()
            .filter_map(|line| line.strip_prefix("## "));
        let first = headings.filter_map(|heading| heading.split_whitespace().next());
        first
            .map(|name| name.trim_matches(['[', ']']))
            .filter(|name| name.starts_with(|first: char| first.is_ascii_digit()))
            .collect()
    }

    #[test]
    fn text_of_a_released_version_of_the_schema_never_changes() {
        assert_eq!(
            releases("# A\n## Unreleased\n## [0.2.0] – x\n## 0.1.0\n### B\n"),
            ["0.2.0", "0.1.0"]
        );
        let changelog = concat!(env!("CARGO_MANIFEST_DIR"), "/CHANGELOG.md");
        let changelog = std::fs::read_to_string(changelog).unwrap();
        let hash = text_hash();
        for release in releases(&changelog) {
            assert!(
                RELEASED.iter().any(|(name, ..)| *name == release),
                "add (\"{release}\", Some(({VERSION:?}, \"{hash}\"))) to RELEASED"
            );
        }
        for (release, schema) in RELEASED {
            let is_kept = |(version, released): Schema| version != VERSION || released == hash;
            assert!(
                schema.is_none_or(is_kept),
                "the schema differs from that of {release}: raise VERSION, and the version in schema.sql"
            );
        }
    }

    #[test]
    fn version_is_that_of_the_schema() {
        assert!(SCHEMA.contains(&format!("('schema', '{}.{}')", VERSION.0, VERSION.1)));
        assert_eq!(parsed("1.12"), Some((1, 12)));
        assert_eq!(parsed(""), None);
    }
}
