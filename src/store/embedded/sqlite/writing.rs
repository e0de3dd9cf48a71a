//! The context of a write: one transaction, the time, and the sums that it changes.
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use rusqlite::{Connection, Params, Row, params};

use super::connection::{row, rows, store_error};
use super::marker::Marker;
use crate::store::agenda::Noted;
use crate::store::queue::{DeliveryRef, FIRST_TENANT, TargetId, Unit};
use crate::store::{Key, StoreError};

/// Deliveries of an origin, and their bytes.
pub(crate) const DELIVERIES: i64 = 0;
/// Units that wait for a target, or for the endpoints of a tenant.
pub(crate) const WAITING: i64 = 1;
/// Dead and cancelled units of a target.
pub(crate) const DEAD: i64 = 2;
/// Cancelled units of a target, which are in [`DEAD`] too.
pub(crate) const CANCELLED: i64 = 3;
/// Tenants that are not removed, under the number 0.
pub(crate) const TENANTS: i64 = 4;
/// Endpoints, by the number of their state.
pub(crate) const ENDPOINTS: i64 = 5;

/// The number under which memory has the sums of all tenants.
pub(crate) const ALL_TENANTS: u32 = FIRST_TENANT;

/// By kind and number: rows and bytes. A transaction has the numbers of tenants; what is kept in memory has one sum for all of them.
pub(crate) type Tally = HashMap<(i64, u32), (i64, i64)>;

/// A hook for tests that is called before each statement that writes, and before each commit. Its error becomes the error of the
/// statement.
#[derive(Clone, Default)]
pub struct FaultHook(Option<Arc<dyn Fn() -> Result<(), StoreError> + Send + Sync>>);

impl FaultHook {
    /// Calls `hook`.
    pub fn new(hook: impl Fn() -> Result<(), StoreError> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hook)))
    }

    pub(super) fn call(&self) -> Result<(), StoreError> {
        self.0.as_ref().map_or(Ok(()), |hook| hook())
    }
}

impl fmt::Debug for FaultHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "FaultHook(set)"
        } else {
            "FaultHook"
        })
    }
}

/// One transaction that is being made.
pub(crate) struct Writing<'a> {
    connection: &'a Connection,
    /// The store's time, in milliseconds.
    pub(crate) now: i64,
    tally: RefCell<Tally>,
    noted: RefCell<Noted>,
    /// The notes of units that are due.
    notes: Cell<u32>,
    remembered: RefCell<Vec<(Key, i64)>>,
    /// The origin of the delivery that was asked for last.
    origin: Cell<Option<(DeliveryRef, u32)>>,
    hook: &'a FaultHook,
    marker: &'a Marker,
}

impl<'a> Writing<'a> {
    pub(super) fn new(
        connection: &'a Connection,
        now: i64,
        hook: &'a FaultHook,
        marker: &'a Marker,
    ) -> Self {
        Self {
            connection,
            now,
            tally: RefCell::default(),
            noted: RefCell::default(),
            notes: Cell::default(),
            remembered: RefCell::default(),
            origin: Cell::default(),
            hook,
            marker,
        }
    }

    /// Returns the connection, for one more statement.
    pub(super) fn begin_statement(&self) -> Result<&Connection, StoreError> {
        self.hook.call()?;
        Ok(self.connection)
    }

    /// Runs a statement; how many rows it changed.
    pub(super) fn execute(&self, sql: &str, params: impl Params) -> Result<usize, StoreError> {
        self.begin_statement()?
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(params))
            .map_err(store_error)
    }

    /// Returns the first row of a query, or of a statement with `RETURNING`.
    pub(super) fn row<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        row(self.begin_statement()?, sql, params, read)
    }

    /// Returns all rows of a query.
    pub(super) fn rows<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        rows(self.begin_statement()?, sql, params, read)
    }

    /// Returns the number of the row inserted last.
    pub(super) fn last_row(&self) -> i64 {
        self.connection.last_insert_rowid()
    }

    /// Makes sure that the store says of itself that deliveries lie in it, before one does.
    pub(super) fn ensure_marker(&self) -> Result<(), StoreError> {
        self.marker.put()
    }

    /// Notes that the entry of a key ends at another time from now on, which the ledger in memory has to know.
    pub(super) fn remember(&self, key: Key, until: i64) {
        self.remembered.borrow_mut().push((key, until));
    }

    /// Takes the keys whose entries end at another time, in the order of the changes.
    pub(crate) fn take_remembered(&self) -> Vec<(Key, i64)> {
        self.remembered.take()
    }

    /// Notes that a unit of a target is due at `run_at`, in whatever row it was before. Each statement that inserts a unit, or lets one be due
    /// earlier, is followed by a note.
    pub(super) fn note_due(&self, target: TargetId, run_at: i64) {
        self.notes.set(self.notes.get().saturating_add(1));
        let mut noted = self.noted.borrow_mut();
        let known = noted.entry(target).or_insert(run_at);
        *known = run_at.min(*known);
    }

    /// Returns how often a unit was noted as due so far.
    pub(super) fn notes(&self) -> u32 {
        self.notes.get()
    }

    /// Takes the times that were noted.
    pub(super) fn take_noted(&self) -> Noted {
        self.noted.take()
    }

    /// Returns what this transaction has added to a sum so far.
    pub(super) fn counted(&self, kind: i64, number: u32) -> (i64, i64) {
        self.tally
            .borrow()
            .get(&(kind, number))
            .copied()
            .unwrap_or_default()
    }

    /// Adds to a sum.
    pub(super) fn count(&self, kind: i64, number: u32, rows: i64, bytes: i64) {
        let mut tally = self.tally.borrow_mut();
        let sum = tally.entry((kind, number)).or_default();
        *sum = (sum.0 + rows, sum.1 + bytes);
    }

    /// Adds to a sum of units. A unit of an endpoint counts for its tenant.
    pub(super) fn count_unit(&self, kind: i64, unit: Unit, rows: i64) -> Result<(), StoreError> {
        let number = if unit.target.is_endpoint() {
            self.origin_of(unit.delivery)?
        } else {
            Some(unit.target.0)
        };
        if let Some(number) = number {
            self.count(kind, number, rows, 0);
        }
        Ok(())
    }

    /// Returns the origin of a delivery, if it exists.
    pub(super) fn origin_of(&self, id: DeliveryRef) -> Result<Option<u32>, StoreError> {
        if let Some((_, origin)) = self.origin.get().filter(|(known, _)| *known == id) {
            return Ok(Some(origin));
        }
        let find = "select origin from delivery where id = ?1";
        let origin = self.row(find, params![id], |row| row.get(0))?;
        self.set_origin(id, origin);
        Ok(origin)
    }

    /// Sets the origin of a delivery, so that it need not be read: also of one that is being deleted. None: it is to be read again.
    pub(super) fn set_origin(&self, id: DeliveryRef, origin: Option<u32>) {
        self.origin.set(origin.map(|origin| (id, origin)));
    }

    /// Writes the sums that changed.
    pub(super) fn keep_tally(&self) -> Result<Tally, StoreError> {
        let tally = self.tally.take();
        let keep = "insert into tally (kind, number, rows, bytes) values (?1, ?2, ?3, ?4)
            on conflict (kind, number) do update set rows = rows + excluded.rows, bytes = bytes + excluded.bytes";
        for ((kind, number), (rows, bytes)) in &tally {
            if (*rows, *bytes) != (0, 0) {
                self.execute(keep, params![kind, number, rows, bytes])?;
            }
        }
        Ok(tally)
    }
}
