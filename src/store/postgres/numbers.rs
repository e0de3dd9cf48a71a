//! The numbers of names of configs.
use std::collections::HashSet;
use std::sync::Arc;

use tokio_postgres::Row;

use super::Postgres;
use super::accept::int;
use super::call::{Call, Text, column, text};
use super::claims::form;
use super::errors::{MAX_CALLS, contended};
use super::link::Lane;
use crate::store::StoreError;
use crate::store::codes::{of_kind, to_kind};
use crate::store::names::{Kind, Named, NumberRow, Numbers, Owner, assign};
use crate::store::queue::FIRST_TENANT;

/// Gives the names of a config their numbers. Saves what changes, unless another gateway saved meanwhile: then it begins anew.
pub(super) async fn assign_numbers(
    store: &Postgres,
    names: &[Named],
) -> Result<Vec<Numbers>, StoreError> {
    for _ in 0..MAX_CALLS * 3 {
        let (edition, before) = read(store).await?;
        let mut after = before.clone();
        let numbers = assign(&mut after, names);
        if after.iter().any(|row| row.number >= FIRST_TENANT) {
            return Err(StoreError::Unavailable(
                "all numbers of names are used".into(),
            ));
        }
        if save(store, edition, &before, &after, &numbers).await? {
            return Ok(numbers);
        }
    }
    Err(contended())
}

/// Returns every number with its newest name.
pub(super) async fn all_names(store: &Postgres) -> Result<Vec<(Kind, u32, Arc<str>)>, StoreError> {
    let (_, rows) = read(store).await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.kind, row.number, Arc::from(row.owner())))
        .collect())
}

/// Reads all numbers, and the edition of their list. One that a newer version wrote for a kind of its own is left out.
async fn read(store: &Postgres) -> Result<(i64, Vec<NumberRow>), StoreError> {
    let answer = store.link.call(Lane::Looks, Call::look("names_1")).await?;
    let edition = answer.first().ok_or_else(form)?;
    let edition = column(edition, 0)?;
    let mut rows = Vec::new();
    for row in &answer {
        rows.extend(number_row(row)?);
    }
    Ok((edition, rows))
}

fn number_row(row: &Row) -> Result<Option<NumberRow>, StoreError> {
    let Some(number) = column::<Option<i32>>(row, 1)? else {
        return Ok(None);
    };
    let Some(kind) = to_kind(i64::from(column::<i16>(row, 2)?)) else {
        return Ok(None);
    };
    let owners: &str = column(row, 4)?;
    Ok(Some(NumberRow {
        number: u32::try_from(number).map_err(|_| form())?,
        kind,
        ledger: column::<&str>(row, 3)?.into(),
        owners: owners.split_whitespace().map(Owner::parse).collect(),
    }))
}

/// Saves the rows that changed, and which numbers the config has. Returns whether it did: not if another gateway saved since the rows were read.
async fn save(
    store: &Postgres,
    edition: i64,
    before: &[NumberRow],
    after: &[NumberRow],
    numbers: &[Numbers],
) -> Result<bool, StoreError> {
    let changed = after.iter().enumerate();
    let changed: Vec<_> = changed
        .filter(|(place, row)| before.get(*place) != Some(*row))
        .map(|(_, row)| row)
        .collect();
    let owners = |row: &&NumberRow| -> Text {
        let owners: Vec<String> = row.owners.iter().map(ToString::to_string).collect();
        text(&owners.join(" "))
    };
    let kind = |row: &&NumberRow| i16::try_from(of_kind(row.kind)).unwrap_or(i16::MAX);
    let served: HashSet<u32> = numbers.iter().flat_map(Numbers::all).collect();
    let call = Call::write("names_save_1")
        .with(edition)
        .with(
            changed
                .iter()
                .map(|row| int(row.number))
                .collect::<Vec<_>>(),
        )
        .with(changed.iter().map(kind).collect::<Vec<_>>())
        .with(
            changed
                .iter()
                .map(|row| text(&row.ledger))
                .collect::<Vec<_>>(),
        )
        .with(changed.iter().map(owners).collect::<Vec<_>>())
        .with(served.into_iter().map(int).collect::<Vec<_>>());
    let answer = store.link.call(Lane::Writes, call).await?;
    column(answer.first().ok_or_else(form)?, 0)
}
