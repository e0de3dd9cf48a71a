//! Accepts a delivery: writes its row, its units and the commit of its ID in one transaction.
use bytes::Bytes;
use rusqlite::params;

use super::attempt::insert_attempt;
use super::ended::close;
use super::ledger::{self, COMMITTED};
use super::unit::{Dead, Position, Waiting, insert_dead, raise, wait};
use super::writing::{DELIVERIES, Writing};
use super::{int, ms};
use crate::clock::unix_ms;
use crate::store::queue::{
    Accept, Accepted, Cause, DeliveryRef, Lease, NewUnit, OnDead, Start, Unit,
};
use crate::store::record::{DIGEST, Record};
use crate::store::{Key, StoreError};

/// The commit that is written with a delivery.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Commit {
    pub(crate) key: Key,
    /// The time for which it is remembered, in milliseconds.
    pub(crate) window: i64,
    pub(crate) dead: OnDead,
    /// Whether the ledger in memory says already that it is a duplicate.
    pub(crate) known: bool,
}

/// The rule by which a delivery is a duplicate of another.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unique {
    /// None.
    Not,
    /// The entry of its key in the ledger.
    ByKey(Commit),
    /// Its own ID among the deliveries of its origin, and this hash of its meaning.
    ByOwnId([u8; 32]),
}

/// Accepts a delivery. `record` is its record, encoded.
pub(crate) fn accept(
    writing: &Writing<'_>,
    delivery: &Accept,
    record: &[u8],
    unique: Unique,
) -> Result<Accepted, StoreError> {
    let commit = match unique {
        Unique::Not => None,
        Unique::ByKey(commit) => Some(commit),
        Unique::ByOwnId(digest) => {
            if let Some(known) = known_by_own_id(writing, delivery, &digest)? {
                return Ok(known);
            }
            None
        }
    };
    if let Some(commit) = commit
        && (commit.known || !enter(writing, commit, delivery.id)?)
    {
        return duplicate(writing, delivery, commit);
    }
    let key = commit.map(|commit| commit.key).or(delivery.key);
    if !insert(writing, delivery, record, key)? {
        // it may be over by now
        ledger::let_go(writing, delivery.id)?;
        return again(writing, delivery);
    }
    let mut leases = Vec::new();
    for to in &delivery.to {
        leases.extend(begin(writing, delivery, to)?);
    }
    // a delivery with a lease waits
    if leases.is_empty() {
        close(writing, delivery.id)?;
    }
    Ok(Accepted::New(leases))
}

/// Inserts the row of a delivery and its versions. Returns `false` if the row is there already.
fn insert(
    writing: &Writing<'_>,
    delivery: &Accept,
    record: &[u8],
    key: Option<Key>,
) -> Result<bool, StoreError> {
    let insert = "insert or ignore into delivery (id, origin, at, key, delivery_id, event_type, record, body, lane)
        values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let (given, event_type) = (
        delivery.delivery_id.as_deref(),
        delivery.event_type.as_deref(),
    );
    let lane = delivery.to.iter().find_map(|to| to.lane).map(|lane| lane.0);
    let row = params![
        delivery.id,
        delivery.origin.0,
        writing.now,
        key.map(|key| key.0),
        given,
        event_type,
        record,
        &delivery.body[..],
        lane
    ];
    if writing.execute(insert, row)? == 0 {
        return Ok(false);
    }
    let mut bytes = record.len() + delivery.body.len();
    for (version, body) in &delivery.versions {
        let insert = "insert into version (id, version, body) values (?1, ?2, ?3)";
        writing.execute(insert, params![delivery.id, version, &body[..]])?;
        bytes += body.len();
    }
    writing.count(DELIVERIES, delivery.origin.0, 1, int(bytes));
    writing.set_origin(delivery.id, Some(delivery.origin.0));
    Ok(true)
}

/// Returns the answer for a delivery whose own ID another one of its origin has, or it itself; `None` if none has it.
fn known_by_own_id(
    writing: &Writing<'_>,
    delivery: &Accept,
    digest: &[u8; 32],
) -> Result<Option<Accepted>, StoreError> {
    let find = "select id, record from delivery where delivery_id = ?1 and origin = ?2 order by row limit 1";
    let read = |row: &rusqlite::Row<'_>| {
        Ok((
            row.get::<_, DeliveryRef>(0)?,
            Bytes::from(row.get::<_, Vec<u8>>(1)?),
        ))
    };
    let given = delivery.delivery_id.as_deref();
    let Some((of, record)) = writing.row(find, params![given, delivery.origin.0], read)? else {
        return Ok(None);
    };
    if of == delivery.id {
        return again(writing, delivery).map(Some);
    }
    // a record that cannot be read is one of another version of the program: its meaning is not known to be the same
    let record = Record::decode(record).unwrap_or_default();
    let is_same = record
        .fact(DIGEST)
        .is_some_and(|known| known == &digest[..]);
    Ok(Some(if is_same {
        Accepted::Duplicate { of: Some(of) }
    } else {
        Accepted::Other { of }
    }))
}

/// Commits the ID, unless the one that has it waits still; whether it did.
fn enter(writing: &Writing<'_>, commit: Commit, id: DeliveryRef) -> Result<bool, StoreError> {
    let enter = "insert into ledger (key, state, delivery, until, ends) values (?1, ?2, ?3, ?4, ?5)
        on conflict (key) do update set state = excluded.state, delivery = excluded.delivery, until = excluded.until, ends = excluded.ends
        where ledger.delivery is null or ledger.delivery = excluded.delivery
            or not exists (select 1 from due where due.id = ledger.delivery)";
    let (until, ends) = ledger::held(writing.now, commit.window);
    let has_entered =
        writing.execute(enter, params![commit.key.0, COMMITTED, id, until, ends])? > 0;
    if has_entered {
        writing.remember(commit.key, until);
    }
    Ok(has_entered)
}

/// Returns the number of attempts that were made before the delivery was accepted.
fn attempts(to: &NewUnit) -> u32 {
    u32::try_from(to.attempts.len()).unwrap_or(u32::MAX)
}

/// Returns the number of a unit's first lease: the attempts that were made before have the numbers before it.
fn first_lease(to: &NewUnit) -> u32 {
    attempts(to) + u32::from(matches!(to.start, Start::Mine(_)))
}

/// Returns the number of the first attempt of an accepted unit.
fn first_attempt(to: &NewUnit) -> u32 {
    attempts(to).saturating_add(1)
}

/// Enters the unit of a new delivery. Returns the lease, if the caller gets it.
fn begin(
    writing: &Writing<'_>,
    delivery: &Accept,
    to: &NewUnit,
) -> Result<Option<Lease>, StoreError> {
    let unit = Unit {
        delivery: delivery.id,
        target: to.target,
    };
    let attempts = attempts(to);
    for (number, attempt) in (1..).zip(&to.attempts) {
        insert_attempt(
            writing,
            Lease {
                unit,
                number,
                attempt: number,
                in_lane: to.lane.is_some(),
            },
            attempt,
            false,
            Some(delivery.origin.0),
        )?;
    }
    let (run_at, leased) = match to.start {
        Start::Mine(lease) => (writing.now.saturating_add(ms(lease)), true),
        Start::Anyone => (writing.now, false),
        Start::In(delay) => (writing.now.saturating_add(ms(delay)), false),
        Start::Over(None) => return Ok(None),
        Start::Over(Some(_)) | Start::Cancelled => {
            let reason = match to.start {
                Start::Over(reason) => reason,
                Start::Cancelled | Start::Mine(_) | Start::Anyone | Start::In(_) => None,
            };
            insert_dead(
                writing,
                unit,
                reason,
                Dead {
                    lane: to.lane,
                    lease: first_lease(to),
                    attempts,
                    attempt: attempts,
                },
            )?;
            return Ok(None);
        }
    };
    let number = first_lease(to);
    let leased_at = leased.then(|| int(unix_ms(delivery.id.drawn_at())));
    let waiting = Waiting {
        unit,
        run_at,
        lane: to.lane,
        lease: number,
        leased,
        attempts,
        attempt: attempts,
        cause: Cause::Schedule,
        leased_at,
    };
    let is_first = wait(writing, &waiting)? == Position::First;
    Ok((leased && is_first).then(|| Lease {
        unit,
        number,
        attempt: first_attempt(to),
        in_lane: to.lane.is_some(),
    }))
}

/// Returns the answer of the first call to a call that is repeated: the leases that nobody has taken over.
fn again(writing: &Writing<'_>, delivery: &Accept) -> Result<Accepted, StoreError> {
    let mut leases = Vec::new();
    for to in delivery
        .to
        .iter()
        .filter(|to| matches!(to.start, Start::Mine(_)))
    {
        let lease = Lease {
            unit: Unit {
                delivery: delivery.id,
                target: to.target,
            },
            number: first_lease(to),
            attempt: first_attempt(to),
            in_lane: to.lane.is_some(),
        };
        let find = "select 1 from due where id = ?1 and target = ?2 and lease = ?3 and leased = 1";
        leases.extend(
            writing.row(find, params![delivery.id, to.target, lease.number], |_| {
                Ok(lease)
            })?,
        );
    }
    Ok(Accepted::New(leases))
}

/// Handles a duplicate: does nothing, or sends the delivery that it duplicates again.
fn duplicate(
    writing: &Writing<'_>,
    delivery: &Accept,
    commit: Commit,
) -> Result<Accepted, StoreError> {
    let entry = "select delivery from ledger where key = ?1";
    let Some(of) = writing
        .row(entry, params![commit.key.0], |row| {
            row.get::<_, Option<DeliveryRef>>(0)
        })?
        .flatten()
    else {
        return Ok(Accepted::Duplicate { of: None });
    };
    if of == delivery.id {
        return again(writing, delivery);
    }
    let mut raised = false;
    if commit.dead == OnDead::Revive {
        for target in writing.rows(
            "select target from dead where id = ?1",
            params![of],
            |row| row.get(0),
        )? {
            raised |= raise(
                writing,
                Unit {
                    delivery: of,
                    target,
                },
                Cause::Replay,
            )?;
        }
    }
    if !raised {
        return Ok(Accepted::Duplicate { of: Some(of) });
    }
    // it is held by now
    let longer = "update ledger set until = max(until, ?2), ends = max(ends, ?2) where key = ?1 returning until";
    let until = writing.row(
        longer,
        params![commit.key.0, writing.now.saturating_add(commit.window)],
        |row| row.get(0),
    )?;
    if let Some(until) = until {
        writing.remember(commit.key, until);
    }
    Ok(Accepted::Revived { of })
}
