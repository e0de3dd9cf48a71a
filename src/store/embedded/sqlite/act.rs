//! The acts of people on deliveries, each with a row that names the person and the reason.
use std::sync::Arc;

use rusqlite::params;

use super::ended::reopen;
use super::erase::erase;
use super::int;
use super::journal::mark;
use super::lane::WAITS_IN_LANE;
use super::park::target_time;
use super::unit::{Raised, again, end_early, raise, units};
use super::writing::Writing;
use crate::retry::Reason;
use crate::store::address_book::EndpointState;
use crate::store::archive::{ActKind, AuditRow, Scope};
use crate::store::queue::{Cause, DeliveryRef, Lane, OriginId, TargetId, Unit};
use crate::store::{Key, StoreError};
use crate::units::saturating;

/// Acts that are remembered.
const MAX_AUDIT_ROWS: i64 = 10_000;

/// The audit entry of an act.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// In milliseconds of wall time.
    pub(crate) at: i64,
    pub(crate) who: String,
    pub(crate) which: String,
    pub(crate) reason: String,
    /// The row that it adds to.
    pub(crate) goes_on: Option<AuditRow>,
}

/// The audit entry of an act, with the act.
#[derive(Clone, Debug)]
pub(crate) struct Audited {
    pub(crate) what: Arc<str>,
    pub(crate) entry: Entry,
}

impl Audited {
    /// Writes the entry of an act on one thing.
    pub(super) fn note(&self, writing: &Writing<'_>) -> Result<(), StoreError> {
        note(writing, &self.what, &self.entry, 1).map(drop)
    }
}

/// The result of an act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Done {
    /// Deliveries it changed.
    pub(crate) count: u64,
    /// Its row in the audit.
    pub(crate) audit: AuditRow,
    /// Keys whose entries were removed from the ledger.
    pub(crate) forgotten: Vec<Key>,
}

/// Applies an act to deliveries (of these targets, if any are given), and writes the audit entry.
pub(crate) fn act(
    writing: &Writing<'_>,
    scope: &Scope,
    kind: ActKind,
    ids: &[DeliveryRef],
    targets: &[TargetId],
    entry: &Entry,
) -> Result<Done, StoreError> {
    let (count, forgotten) = apply(writing, scope, kind, ids, targets)?;
    Ok(Done {
        count,
        audit: note(writing, word(kind), entry, count)?,
        forgotten,
    })
}

/// Returns an act as the audit has it.
fn word(kind: ActKind) -> &'static str {
    match kind {
        ActKind::Replay { .. } => "replay",
        ActKind::AttemptNow => "attempt_now",
        ActKind::Renew => "renew",
        ActKind::Cancel => "cancel",
        ActKind::MakeDead { .. } => "make_dead",
        ActKind::Add { .. } => "add",
        ActKind::Purge { .. } => "purge",
    }
}

/// Applies an act to deliveries (of these targets, if any are given). Returns how many it changed, and the keys that it removed from the
/// ledger.
pub(super) fn apply(
    writing: &Writing<'_>,
    scope: &Scope,
    kind: ActKind,
    ids: &[DeliveryRef],
    targets: &[TargetId],
) -> Result<(u64, Vec<Key>), StoreError> {
    let (mut count, mut forgotten) = (0, Vec::new());
    let still_paused;
    let mut targets = targets;
    let reason = Reason::Paused;
    if !targets.is_empty() && kind == (ActKind::MakeDead { reason }) {
        still_paused = paused(writing, targets)?;
        targets = &still_paused;
        if targets.is_empty() {
            return Ok((0, forgotten));
        }
    }
    for id in ids {
        let origin: Option<u32> = writing.row(
            "select origin from delivery where id = ?1",
            params![id],
            |row| row.get(0),
        )?;
        let visible = origin.is_some_and(|origin| scope.contains(OriginId(origin)));
        let changed = visible
            && match kind {
                ActKind::Replay { delivered, cause } => {
                    replay(writing, *id, targets, delivered, cause)?
                }
                ActKind::AttemptNow => attempt_now(writing, *id, targets)?,
                ActKind::Renew => renew(writing, *id, targets)?,
                ActKind::Cancel => end_all(writing, *id, targets, None)?,
                ActKind::MakeDead { reason } => end_all(writing, *id, targets, Some(reason))?,
                ActKind::Add { cause, lane } => add(writing, *id, targets, cause, lane)?,
                ActKind::Purge { waiting } if waiting || !waits(writing, *id)? => {
                    let erased = erase(writing, *id)?;
                    forgotten.extend(erased.and_then(|erased| erased.forgotten));
                    erased.is_some()
                }
                ActKind::Purge { .. } => false,
            };
        count += u64::from(changed);
    }
    Ok((count, forgotten))
}

/// Returns those of the targets that are still paused: units of others do not end because of a pause.
fn paused(writing: &Writing<'_>, targets: &[TargetId]) -> Result<Vec<TargetId>, StoreError> {
    let find = "select state from endpoint where number = ?1";
    let mut paused = Vec::with_capacity(targets.len());
    for target in targets {
        let state: Option<EndpointState> = writing.row(find, params![target], |row| row.get(0))?;
        if state.is_none_or(EndpointState::is_paused) {
            paused.push(*target);
        }
    }
    Ok(paused)
}

/// Forgets keys, `known` of which memory has, and writes it down; how many there were.
pub(crate) fn forget(
    writing: &Writing<'_>,
    keys: &[Key],
    known: u64,
    entry: &Entry,
) -> Result<u64, StoreError> {
    let mut done = 0;
    for key in keys {
        done += writing.execute("delete from ledger where key = ?1", params![key.0])?;
        mark(writing, *key)?;
    }
    let done = known.max(saturating(done));
    note(writing, "forget", entry, done)?;
    Ok(done)
}

/// Writes down what was done: in a row of its own, or in that of the step before.
pub(crate) fn note(
    writing: &Writing<'_>,
    what: &str,
    entry: &Entry,
    done: u64,
) -> Result<AuditRow, StoreError> {
    let Entry {
        at,
        who,
        which,
        reason,
        goes_on,
    } = entry;
    if let Some(AuditRow(row)) = goes_on
        && writing.execute(
            "update audit set done = done + ?2 where row = ?1",
            params![row, int(done)],
        )? > 0
    {
        return Ok(AuditRow(*row));
    }
    let insert =
        "insert into audit (at, who, what, which, reason, done) values (?1, ?2, ?3, ?4, ?5, ?6)";
    writing.execute(insert, params![at, who, what, which, reason, int(done)])?;
    let row = writing.last_row();
    writing.execute(
        "delete from audit where row <= ?1",
        params![row - MAX_AUDIT_ROWS],
    )?;
    Ok(AuditRow(row))
}

fn waits(writing: &Writing<'_>, id: DeliveryRef) -> Result<bool, StoreError> {
    Ok(writing
        .row(
            "select 1 from due where id = ?1 limit 1",
            params![id],
            |_| Ok(()),
        )?
        .is_some())
}

fn replay(
    writing: &Writing<'_>,
    id: DeliveryRef,
    only: &[TargetId],
    delivered: bool,
    cause: Cause,
) -> Result<bool, StoreError> {
    let mut changed = false;
    for unit in units(writing, "select target from due where id = ?1", id, only)? {
        // a unit that waits behind others of its lane, or is being attempted, stays as it is
        let now = "update due set run_at = ?3, attempt_count = 0, since = ?6, cause = ?4 where id = ?1 and target = ?2 and run_at <> ?5
            and (leased = 0 or run_at <= ?3)";
        writing.note_due(unit.target, writing.now);
        changed |= writing.execute(
            now,
            params![
                id,
                unit.target,
                writing.now,
                cause,
                WAITS_IN_LANE,
                target_time(writing, unit.target)?
            ],
        )? > 0;
    }
    for unit in units(writing, "select target from dead where id = ?1", id, only)? {
        changed |= raise(writing, unit, cause)?;
    }
    if delivered {
        let over = "select distinct target from attempt where id = ?1
            and not exists (select 1 from due where due.id = attempt.id and due.target = attempt.target)";
        for unit in units(writing, over, id, only)? {
            let last = "select max(attempt.lease), max(attempt.number), delivery.lane
                from attempt join delivery on delivery.id = attempt.id where attempt.id = ?1 and attempt.target = ?2";
            let read = |row: &rusqlite::Row<'_>| {
                Ok(Raised {
                    lease: row.get(0)?,
                    attempt: row.get(1)?,
                    lane: row.get::<_, Option<[u8; 16]>>(2)?.map(Lane),
                    cause,
                })
            };
            if let Some(last) = writing.row(last, params![id, unit.target], read)? {
                reopen(writing, id)?;
                again(writing, unit, last)?;
                changed = true;
            }
        }
    }
    Ok(changed)
}

fn attempt_now(
    writing: &Writing<'_>,
    id: DeliveryRef,
    only: &[TargetId],
) -> Result<bool, StoreError> {
    let mut changed = false;
    for unit in units(writing, "select target from due where id = ?1", id, only)? {
        let now = "update due set run_at = ?3 where id = ?1 and target = ?2 and leased = 0 and run_at > ?3 and run_at <> ?4";
        writing.note_due(unit.target, writing.now);
        changed |= writing.execute(now, params![id, unit.target, writing.now, WAITS_IN_LANE])? > 0;
    }
    Ok(changed)
}

/// Gives the units that wait a fresh budget, and lets them be due now.
fn renew(writing: &Writing<'_>, id: DeliveryRef, only: &[TargetId]) -> Result<bool, StoreError> {
    let mut changed = false;
    // a unit that is being attempted stays as it is
    let renew =
        "update due set attempt_count = 0, since = ?4, run_at = iif(run_at = ?5, run_at, ?3)
        where id = ?1 and target = ?2 and (leased = 0 or run_at <= ?3)";
    for unit in units(writing, "select target from due where id = ?1", id, only)? {
        let since = target_time(writing, unit.target)?;
        let row = params![id, unit.target, writing.now, since, WAITS_IN_LANE];
        writing.note_due(unit.target, writing.now);
        changed |= writing.execute(renew, row)? > 0;
    }
    Ok(changed)
}

/// Gives a delivery a unit for each of these targets that it has none for.
fn add(
    writing: &Writing<'_>,
    id: DeliveryRef,
    targets: &[TargetId],
    cause: Cause,
    lane: Option<Lane>,
) -> Result<bool, StoreError> {
    let mut added = false;
    let is_known = "select 1 where exists (select 1 from due where id = ?1 and target = ?2)
        or exists (select 1 from dead where id = ?1 and target = ?2) or exists (select 1 from attempt where id = ?1 and target = ?2)";
    for target in targets {
        let known = writing.row(is_known, params![id, target], |_| Ok(()))?;
        if known.is_some() {
            continue;
        }
        let unit = Unit {
            delivery: id,
            target: *target,
        };
        reopen(writing, id)?;
        let new = Raised {
            lane,
            lease: 0,
            attempt: 0,
            cause,
        };
        again(writing, unit, new)?;
        added = true;
    }
    Ok(added)
}

/// Ends the units that wait: as dead, or cancelled if there is no reason.
fn end_all(
    writing: &Writing<'_>,
    id: DeliveryRef,
    only: &[TargetId],
    reason: Option<Reason>,
) -> Result<bool, StoreError> {
    let mut changed = false;
    for unit in units(writing, "select target from due where id = ?1", id, only)? {
        changed |= end_early(writing, unit, reason)?;
    }
    Ok(changed)
}
