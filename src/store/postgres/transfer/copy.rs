//! Copies a table, a page after the other.
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::error::TransferError;
use super::tables::Table;
use super::target::Target;
use super::values::{Column, Kind, Times};

/// The most rows of a page.
const PAGE_ROWS: usize = 1000;
/// The bytes after which a page ends.
const PAGE_BYTES: usize = 4 << 20;

/// Rows of a table.
struct Page {
    columns: Vec<Column>,
    rows: usize,
    /// The position of the last row.
    last: Vec<Value>,
    /// Whether there may be more.
    more: bool,
}

/// Copies a table. Calls `progress` with the number of rows after each page. Returns how many there are.
///
/// # Errors
/// A row cannot be read, or the server refuses one.
pub(super) async fn copy(
    reader: &Connection,
    target: &Target,
    table: &Table,
    times: Times,
    progress: &mut dyn FnMut(&str, u64),
) -> Result<u64, TransferError> {
    let (mut rows, mut after) = (0, first_position(table));
    loop {
        let page = read(reader, table, &after, times)?;
        if page.rows > 0 {
            let parameters: Vec<_> = page.columns.iter().map(Column::parameter).collect();
            target.execute(table.insert, &parameters).await?;
            rows += u64::try_from(page.rows).unwrap_or(u64::MAX);
            progress(table.name, rows);
        }
        if !page.more {
            return Ok(rows);
        }
        after = page.last;
    }
}

/// Returns the position before all rows.
fn first_position(table: &Table) -> Vec<Value> {
    let first = |kind: &Kind| match kind {
        Kind::Id | Kind::Bytes | Kind::Digest | Kind::Cursor => Value::Blob(Vec::new()),
        Kind::Text => Value::Text(String::new()),
        Kind::Position | Kind::Int | Kind::Small | Kind::Big | Kind::StoreTime | Kind::WallTime => {
            Value::Integer(i64::MIN)
        }
    };
    table.columns.iter().take(table.key).map(first).collect()
}

fn read(
    reader: &Connection,
    table: &Table,
    after: &[Value],
    times: Times,
) -> Result<Page, TransferError> {
    let mut columns: Vec<_> = table.columns.iter().map(|kind| Column::of(*kind)).collect();
    let mut statement = reader.prepare_cached(table.select)?;
    let limit = Value::Integer(i64::try_from(PAGE_ROWS).unwrap_or(i64::MAX));
    let mut found = statement.query(params_from_iter(after.iter().chain([&limit])))?;
    let (mut rows, mut bytes, mut last) = (0, 0, Vec::new());
    while rows < PAGE_ROWS && bytes < PAGE_BYTES {
        let Some(row) = found.next()? else {
            break;
        };
        for (index, (column, kind)) in columns.iter_mut().zip(table.columns).enumerate() {
            if let Some(column) = column {
                bytes += column.push(row.get_ref(index)?, *kind, times)?;
            }
        }
        last = (0..table.key)
            .map(|index| row.get(index))
            .collect::<Result<_, _>>()?;
        rows += 1;
    }
    Ok(Page {
        columns: columns.into_iter().flatten().collect(),
        rows,
        last,
        more: rows == PAGE_ROWS || bytes >= PAGE_BYTES,
    })
}
