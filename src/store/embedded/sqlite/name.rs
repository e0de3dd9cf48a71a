//! The numbers of the store, and the names that have them.
use std::collections::HashSet;
use std::sync::Arc;

use rusqlite::{Row, params};

use super::look::Reading;
use super::park::park;
use super::writing::Writing;
use crate::store::StoreError;
use crate::store::codes::{of_kind, to_kind};
use crate::store::names::{Kind, Named, NumberRow, Numbers, Owner, assign};
use crate::store::queue::FIRST_TENANT;

/// All numbers; one that a newer version wrote for a kind of its own is left out.
const ALL: &str = "select number, kind, name, owners from name order by number";

fn read(row: &Row<'_>) -> rusqlite::Result<Option<NumberRow>> {
    let Some(kind) = to_kind(row.get(1)?) else {
        return Ok(None);
    };
    let owners: String = row.get(3)?;
    let owners = owners.split_whitespace().map(Owner::parse).collect();
    Ok(Some(NumberRow {
        number: row.get(0)?,
        kind,
        ledger: row.get(2)?,
        owners,
    }))
}

/// Gives the names of a config their numbers. Writes only what changes.
pub(crate) fn numbers(writing: &Writing<'_>, names: &[Named]) -> Result<Vec<Numbers>, StoreError> {
    let before: Vec<NumberRow> = writing.rows(ALL, [], read)?.into_iter().flatten().collect();
    let mut after = before.clone();
    let numbers = assign(&mut after, names);
    if after.iter().any(|row| row.number >= FIRST_TENANT) {
        return Err(StoreError::Unavailable(
            "all numbers of names are used".into(),
        ));
    }
    let put = "insert into name (number, kind, name, owners) values (?1, ?2, ?3, ?4)
        on conflict (number) do update set name = excluded.name, owners = excluded.owners";
    for (at, row) in after.iter().enumerate() {
        if before.get(at) != Some(row) {
            let owners: Vec<String> = row.owners.iter().map(ToString::to_string).collect();
            writing.execute(
                put,
                params![row.number, of_kind(row.kind), row.ledger, owners.join(" ")],
            )?;
        }
    }
    let served: HashSet<u32> = numbers.iter().flat_map(Numbers::all).collect();
    for NumberRow { number, .. } in &after {
        park(writing, *number, served.contains(number))?;
    }
    Ok(numbers)
}

/// Reads every number with its newest name.
pub(crate) fn names(reading: &Reading<'_>) -> Result<Vec<(Kind, u32, Arc<str>)>, StoreError> {
    let rows = reading.rows(ALL, [], read)?.into_iter().flatten();
    Ok(rows
        .map(|row| (row.kind, row.number, Arc::from(row.owner())))
        .collect())
}
