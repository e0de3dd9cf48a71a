//! A store from its first table to its last.
use rusqlite::{Connection, OptionalExtension as _, params};
use tokio_postgres::types::{ToSql, Type};

use super::copy::copy;
use super::error::TransferError;
use super::journal;
use super::tables::{LEDGER, TABLES};
use super::target::Target;
use super::values::Times;
use crate::store::embedded::sqlite::OpenError;
use crate::store::embedded::stopped::StoppedStore;
use crate::store::postgres::call::{Blob, Text, text};
use crate::store::queue::{FIRST_ENDPOINT, FIRST_TENANT};

/// The kinds of rows of a store, and how many of each there are.
pub type Counts = Vec<(&'static str, u64)>;

/// A parameter of a statement.
type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// The time after the move in which a gateway has to start, so that the ledgers of its routes stay complete. No gateway accepts anything meanwhile.
const CONTINUES: &str = "1 hour";

/// The rows that are counted in a store, by their names. Entries of the ledger count although they have ended.
const COUNTED: [(&str, &str); 11] = [
    ("names of routes", "select count(*) from name"),
    ("deliveries", "select count(*) from delivery"),
    ("units that wait", "select count(*) from due"),
    (
        "dead units",
        "select count(*) from dead where reason is not null",
    ),
    (
        "cancelled units",
        "select count(*) from dead where reason is null",
    ),
    ("attempts", "select count(*) from attempt"),
    (
        IDS,
        "select (select count(*) from ledger) + (select coalesce(sum(length(entries)), 0) / 24 from journal)",
    ),
    ("audit entries", "select count(*) from audit"),
    (
        "tenants",
        "select count(*) from tenant where removed_at is null",
    ),
    (
        "endpoints",
        "select count(*) from endpoint where state <> 6",
    ),
    ("secrets of endpoints", "select count(*) from secret"),
];
/// The name of IDs that are remembered.
const IDS: &str = "delivery IDs";

/// Counts what a store has.
pub(super) fn count(reader: &Connection) -> Result<Counts, TransferError> {
    let mut counts = Counts::new();
    for (name, sql) in COUNTED {
        let count: i64 = reader.query_row(sql, [], |row| row.get(0))?;
        counts.push((name, u64::try_from(count).unwrap_or(0)));
    }
    Ok(counts)
}

/// Writes a store into an empty schema, in the transaction that the target has begun. Returns what it has.
pub(super) async fn write(
    source: &StoppedStore,
    target: &Target,
    progress: &mut dyn FnMut(&str, u64),
) -> Result<Counts, TransferError> {
    let now: i64 = target
        .one("select hookgate.to_us(hookgate.store_time())", &[])
        .await?;
    let times = Times {
        offset: now.saturating_sub(source.now().saturating_mul(1000)),
    };
    let reader = source.reader();
    for table in TABLES {
        let rows = copy(reader, target, table, times, progress).await?;
        if let Some(written) = table.counted {
            check(target, written, rows).await?;
        }
    }
    journal::write(reader, target, times, source.now(), progress).await?;
    copy(reader, target, &LEDGER, times, progress).await?;
    meta(source, target).await?;
    routes(source, target, times).await?;
    for (table, first) in [("tenant", FIRST_TENANT), ("endpoint", FIRST_ENDPOINT)] {
        sequence(reader, target, table, first).await?;
    }
    let ids: i64 = target
        .one("select count(*) from hookgate.ledger", &[])
        .await?;
    let mut counts = count(reader)?;
    for (_, count) in counts.iter_mut().filter(|(name, _)| *name == IDS) {
        *count = u64::try_from(ids).unwrap_or(0);
    }
    Ok(counts)
}

/// Checks that a table has as many rows as were read.
async fn check(target: &Target, table: &str, rows: u64) -> Result<(), TransferError> {
    let sql = format!("select count(*) from hookgate.{table}");
    let found: i64 = target.one(&sql, &[]).await?;
    if u64::try_from(found).is_ok_and(|found| found == rows) {
        return Ok(());
    }
    Err(TransferError::Refused(format!(
        "{rows} rows were read, and table {table} has {found}: nothing was moved"
    )))
}

/// Adopts the hash key, the text by which the key of seals is recognised, and the schedules of targets.
async fn meta(source: &StoppedStore, target: &Target) -> Result<(), TransferError> {
    let put = "insert into hookgate.meta values ($1, $2) on conflict (name) do update set value = excluded.value";
    let check: Option<Vec<u8>> = source
        .reader()
        .query_row(
            "select value from meta where name = 'seal_check'",
            [],
            |row| row.get(0),
        )
        .optional()?;
    let mut values = vec![
        ("hash_key".to_owned(), hex::encode(source.hash_key())),
        // a gateway that read the names before reads them again
        ("names_edition".to_owned(), "1".to_owned()),
    ];
    values.extend(check.map(|check| ("seal_check".to_owned(), hex::encode(check))));
    let mut schedules = source
        .reader()
        .prepare("select name, value from meta where name like 'retry:%'")?;
    let schedules = schedules
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<Vec<(String, String)>, _>>()?;
    values.extend(schedules);
    for (name, value) in values {
        let (name, value) = (text(&name), text(&value));
        let parameters: [Parameter<'_>; 2] = [(&name, Type::TEXT), (&value, Type::TEXT)];
        target.execute(put, &parameters).await?;
    }
    Ok(())
}

/// Writes the routes whose ledgers are complete, as if a gateway had kept them until a while from now.
async fn routes(source: &StoppedStore, target: &Target, times: Times) -> Result<(), TransferError> {
    let complete = source.complete_routes().map_err(OpenError::Store)?;
    let names: Vec<Text> = complete.iter().map(|(name, ..)| text(name)).collect();
    let policies: Vec<Blob> = complete
        .iter()
        .map(|(_, policy, _)| Blob(policy.0.to_vec().into()))
        .collect();
    let since: Vec<i64> = complete
        .iter()
        .map(|(.., since)| times.store(*since))
        .collect();
    let sql = format!(
        "insert into hookgate.kept_route (route, policy, since, seen)
            select x.route, x.policy, hookgate.from_us(x.since), hookgate.store_time() + interval '{CONTINUES}'
            from unnest($1, $2, $3) x(route, policy, since)"
    );
    let parameters: [Parameter<'_>; 3] = [
        (&names, Type::TEXT_ARRAY),
        (&policies, Type::BYTEA_ARRAY),
        (&since, Type::INT8_ARRAY),
    ];
    target.execute(&sql, &parameters).await
}

/// Draws numbers until the next one is behind the last that the directory has given. A role that may draw may not set the sequence, and a transaction
/// that is rolled back gives no number back.
async fn sequence(
    reader: &Connection,
    target: &Target,
    table: &str,
    first: u32,
) -> Result<(), TransferError> {
    let find = "select seq from sqlite_sequence where name = ?1";
    let last: Option<i64> = reader
        .query_row(find, params![table], |row| row.get(0))
        .optional()?;
    let Some(last) = last.filter(|last| *last >= i64::from(first)) else {
        return Ok(());
    };
    let next = format!("select nextval('hookgate.{table}_number')");
    let drawn: i64 = target.one(&next, &[]).await?;
    let draw =
        format!("select count(nextval('hookgate.{table}_number')) from generate_series(1, $1)");
    let more = last.saturating_sub(drawn);
    if more > 0 {
        let parameters: [Parameter<'_>; 1] = [(&more, Type::INT8)];
        target.execute(&draw, &parameters).await?;
    }
    Ok(())
}
