//! Calls that accept deliveries.
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio_postgres::Row;
use uuid::Uuid;

use super::call::{Blob, Call, Text, column, millis, text};
use super::claims::{blob, form, time_in};
use super::jobs::Kind;
use crate::store::codes::{of_cause, of_reason};
use crate::store::queue::{
    Accept, Attempt, Dedupe, DeliveryRef, Lane, Lease, NewUnit, OnDead, Start, TargetId, Unit,
};
use crate::store::record::{DIGEST, Record};
use crate::store::{Key, StoreError, Token};

/// The longest body of an answer's text that is stored for one attempt is bounded by its maker; this is what a row costs beside its bytes.
const ROW_BYTES: usize = 256;

/// A delivery to be accepted.
#[derive(Clone, Debug)]
pub(super) struct AcceptRow {
    pub(super) delivery: Arc<Accept>,
    pub(super) dedupe: Dedupe,
    /// Its record, encoded.
    pub(super) record: Bytes,
}

impl AcceptRow {
    pub(super) fn new(delivery: Arc<Accept>, dedupe: Dedupe) -> Self {
        let record = encoded(&delivery.record, dedupe);
        Self {
            delivery,
            dedupe,
            record,
        }
    }

    /// Returns the claim that becomes a commit.
    pub(super) fn commit(&self) -> Option<Commit> {
        match self.dedupe {
            Dedupe::None | Dedupe::Own { .. } => None,
            Dedupe::Key { key, window, dead } => Some(Commit {
                key,
                // a repeated call has the same ID, and so the same token
                token: Token(self.delivery.id.0.as_u128()),
                window,
                dead,
            }),
            Dedupe::Claimed {
                key,
                token,
                window,
                dead,
            } => Some(Commit {
                key,
                token,
                window,
                dead,
            }),
        }
    }
}

/// A commit that is made with a delivery.
#[derive(Clone, Copy, Debug)]
pub(super) struct Commit {
    pub(super) key: Key,
    pub(super) token: Token,
    pub(super) window: Duration,
    pub(super) dead: OnDead,
}

/// Encodes the record of a delivery, with the hash by which a repeated call is recognized.
fn encoded(record: &Record, dedupe: Dedupe) -> Bytes {
    match dedupe {
        Dedupe::Own { digest } if record.fact(DIGEST).is_none() => {
            let mut record = record.clone();
            let fact = (Bytes::from_static(DIGEST), Bytes::copy_from_slice(&digest));
            record.facts.push(fact);
            record.encode()
        }
        Dedupe::Own { .. } | Dedupe::None | Dedupe::Key { .. } | Dedupe::Claimed { .. } => {
            record.encode()
        }
    }
}

/// The answer for a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is in the store.
    New(Vec<Lease>),
    /// It is a duplicate of the other.
    Duplicate(Option<DeliveryRef>),
    /// The same, and the other is dead and shall go again.
    Revive(DeliveryRef),
    /// Another holds the key.
    InFlight(Duration),
    /// Things changed at this moment: it has to be said again.
    Again,
    /// The other has its own ID, and means something else.
    Other(DeliveryRef),
}

/// Deliveries that are accepted.
pub(super) struct Accepts;

impl Kind for Accepts {
    type Row = AcceptRow;
    type Answer = Verdict;

    fn keys(row: &AcceptRow) -> Vec<u64> {
        let mut keys = vec![hash(&row.delivery.id)];
        keys.extend(row.commit().map(|commit| hash(&commit.key)));
        if matches!(row.dedupe, Dedupe::Own { .. }) {
            keys.push(hash(&(row.delivery.origin, &row.delivery.delivery_id)));
        }
        keys
    }

    fn bytes(row: &AcceptRow) -> usize {
        let delivery = &row.delivery;
        let attempts = delivery.to.iter().flat_map(|unit| &unit.attempts);
        let versions = delivery.versions.iter().map(|(_, body)| body.len());
        ROW_BYTES
            + row.record.len()
            + delivery.body.len()
            + attempts.map(attempt_bytes).sum::<usize>()
            + versions.sum::<usize>()
    }

    fn day_of(row: &AcceptRow) -> Option<Uuid> {
        Some(row.delivery.id.0)
    }

    fn call(rows: &[Arc<AcceptRow>]) -> Call {
        let call = deliveries(rows);
        let call = units(call, rows);
        let call = attempts(call, rows);
        versions(call, rows)
    }

    fn answers(rows: &[Arc<AcceptRow>], answer: Vec<Row>) -> Result<Vec<Verdict>, StoreError> {
        let mut all: Vec<Option<Verdict>> = vec![None; rows.len()];
        for row in &answer {
            let ord: i32 = column(row, 0)?;
            let place = usize::try_from(ord).ok().and_then(|ord| ord.checked_sub(1));
            let place = place.ok_or_else(form)?;
            let (Some(slot), Some(accepted)) = (all.get_mut(place), rows.get(place)) else {
                return Err(form());
            };
            let verdict = verdict(row, &accepted.delivery)?;
            match (slot, verdict) {
                // a row for each lease
                (Some(Verdict::New(leases)), Verdict::New(more)) => leases.extend(more),
                (slot, verdict) => *slot = Some(verdict),
            }
        }
        all.into_iter()
            .map(|verdict| verdict.ok_or_else(form))
            .collect()
    }
}

/// Returns a hash by which rows of a batch are compared.
pub(super) fn hash(value: &impl std::hash::Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn verdict(row: &Row, delivery: &Accept) -> Result<Verdict, StoreError> {
    let other = column::<Option<Uuid>>(row, 2)?.map(DeliveryRef);
    Ok(match column::<i32>(row, 1)? {
        0 => Verdict::New(lease(row, delivery)?.into_iter().collect()),
        1 => Verdict::Duplicate(other),
        2 => Verdict::Revive(other.ok_or_else(form)?),
        3 => Verdict::InFlight(time_in(row, 3)?.unwrap_or_default()),
        4 => Verdict::Again,
        5 => Verdict::Other(other.ok_or_else(form)?),
        _ => return Err(form()),
    })
}

fn lease(row: &Row, delivery: &Accept) -> Result<Option<Lease>, StoreError> {
    let Some(target) = column::<Option<i32>>(row, 4)? else {
        return Ok(None);
    };
    let number = |column: Option<i32>| column.and_then(|n| u32::try_from(n).ok()).ok_or_else(form);
    let target = TargetId(number(Some(target))?);
    let unit = delivery.to.iter().find(|unit| unit.target == target);
    Ok(Some(Lease {
        unit: Unit {
            delivery: delivery.id,
            target,
        },
        number: number(column(row, 5)?)?,
        attempt: number(column(row, 6)?)?,
        in_lane: unit.is_some_and(|unit| unit.lane.is_some()),
    }))
}

/// Returns a number as an int of SQL.
pub(super) fn int(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// Returns the position of a row or a unit, from 1 on.
fn ord(place: usize) -> i32 {
    i32::try_from(place).map_or(i32::MAX, |place| place.saturating_add(1))
}

/// Adds the parameters that each delivery has one of.
fn deliveries(rows: &[Arc<AcceptRow>]) -> Call {
    let commits: Vec<_> = rows.iter().map(|row| row.commit()).collect();
    let key = |commit: &Option<Commit>| commit.map(|commit| blob(commit.key));
    let token = |(commit, row): (&Option<Commit>, &Arc<AcceptRow>)| {
        let token = commit.map(|commit| Uuid::from_u128(commit.token.0));
        token.unwrap_or(row.delivery.id.0)
    };
    let window = |commit: &Option<Commit>| commit.map(|commit| millis(commit.window));
    let revives =
        |commit: &Option<Commit>| commit.is_some_and(|commit| commit.dead == OnDead::Revive);
    let digest = |row: &Arc<AcceptRow>| match row.dedupe {
        Dedupe::Own { digest } => Some(Blob(Bytes::copy_from_slice(&digest))),
        Dedupe::None | Dedupe::Key { .. } | Dedupe::Claimed { .. } => None,
    };
    let shared = |value: &Option<Arc<str>>| value.as_deref().map(text);
    let each = |row: &Arc<AcceptRow>| Arc::clone(&row.delivery);
    let all: Vec<_> = rows.iter().map(each).collect();
    let known = |one: &Arc<Accept>| one.key.map(blob);
    Call::write("accept_1")
        .with(commits.iter().map(key).collect::<Vec<_>>())
        .with(commits.iter().zip(rows).map(token).collect::<Vec<_>>())
        .with(commits.iter().map(window).collect::<Vec<_>>())
        .with(commits.iter().map(revives).collect::<Vec<_>>())
        .with(rows.iter().map(digest).collect::<Vec<_>>())
        .with(all.iter().map(|one| one.id.0).collect::<Vec<_>>())
        .with(all.iter().map(|one| int(one.origin.0)).collect::<Vec<_>>())
        .with(all.iter().map(known).collect::<Vec<_>>())
        .with(
            all.iter()
                .map(|one| shared(&one.delivery_id))
                .collect::<Vec<_>>(),
        )
        .with(
            all.iter()
                .map(|one| shared(&one.event_type))
                .collect::<Vec<_>>(),
        )
        .with(
            rows.iter()
                .map(|row| Blob(row.record.clone()))
                .collect::<Vec<_>>(),
        )
        .with(
            all.iter()
                .map(|one| Blob(one.body.clone()))
                .collect::<Vec<_>>(),
        )
}

/// Adds the units.
fn units(call: Call, rows: &[Arc<AcceptRow>]) -> Call {
    let units: Vec<(i32, &NewUnit)> = rows
        .iter()
        .enumerate()
        .flat_map(|(place, row)| row.delivery.to.iter().map(move |unit| (ord(place), unit)))
        .collect();
    let lane = |lane: Lane| Blob(Bytes::copy_from_slice(&lane.0));
    let starts: Vec<_> = units.iter().map(|(_, unit)| start(unit.start)).collect();
    let attempts = |unit: &NewUnit| i32::try_from(unit.attempts.len()).unwrap_or(i32::MAX);
    call.with(units.iter().map(|(of, _)| *of).collect::<Vec<_>>())
        .with(
            units
                .iter()
                .map(|(_, unit)| int(unit.target.0))
                .collect::<Vec<_>>(),
        )
        .with(
            units
                .iter()
                .map(|(_, unit)| unit.lane.map(lane))
                .collect::<Vec<_>>(),
        )
        .with(starts.iter().map(|start| start.0).collect::<Vec<_>>())
        .with(starts.iter().map(|start| start.1).collect::<Vec<_>>())
        .with(starts.iter().map(|start| start.2).collect::<Vec<_>>())
        .with(
            units
                .iter()
                .map(|(_, unit)| attempts(unit))
                .collect::<Vec<_>>(),
        )
}

/// Returns the kind of a start, its time and its reason.
fn start(start: Start) -> (i16, i64, Option<i32>) {
    match start {
        Start::Mine(lease) => (0, millis(lease), None),
        Start::Anyone => (1, 0, None),
        Start::In(delay) => (1, millis(delay), None),
        Start::Over(None) => (2, 0, None),
        Start::Over(Some(reason)) => (3, 0, i32::try_from(of_reason(reason)).ok()),
        Start::Cancelled => (3, 0, None),
    }
}

/// Adds the attempts that were made before.
fn attempts(call: Call, rows: &[Arc<AcceptRow>]) -> Call {
    let (mut of, mut targets, mut numbers, mut made) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (place, row) in rows.iter().enumerate() {
        for unit in &row.delivery.to {
            for (number, attempt) in (1..).zip(&unit.attempts) {
                of.push(ord(place));
                targets.push(int(unit.target.0));
                numbers.push(number);
                made.push(Some(attempt));
            }
        }
    }
    with_attempts(call.with(of).with(targets).with(numbers), &made)
}

/// Adds the bodies in other versions.
fn versions(call: Call, rows: &[Arc<AcceptRow>]) -> Call {
    let all: Vec<_> = rows
        .iter()
        .enumerate()
        .flat_map(|(place, row)| {
            row.delivery
                .versions
                .iter()
                .map(move |one| (ord(place), one))
        })
        .collect();
    let body = |body: &Bytes| Blob(body.clone());
    call.with(all.iter().map(|(of, _)| *of).collect::<Vec<_>>())
        .with(
            all.iter()
                .map(|(_, one)| i32::from(one.0))
                .collect::<Vec<_>>(),
        )
        .with(all.iter().map(|(_, one)| body(&one.1)).collect::<Vec<_>>())
}

/// Adds the columns of attempts, from their causes to their facts. Where none was made, they are empty.
pub(super) fn with_attempts(call: Call, made: &[Option<&Attempt>]) -> Call {
    fn each<T>(made: &[Option<&Attempt>], value: impl Fn(&Attempt) -> Option<T>) -> Vec<Option<T>> {
        made.iter().map(|one| one.and_then(&value)).collect()
    }
    let cause = |one: &Attempt| i16::try_from(of_cause(one.cause)).ok();
    let bytes = |bytes: &Bytes| Some(Blob(bytes.clone()));
    let word = |word: &Option<Arc<str>>| word.as_deref().map(text);
    call.with(each(made, cause))
        .with(each::<SystemTime>(made, |one| Some(one.started)))
        .with(each(made, |one| Some(millis(one.took))))
        .with(each(made, |one| one.connect.map(millis)))
        .with(each(made, |one| one.first_byte.map(millis)))
        .with(each(made, |one| one.status.map(i32::from)))
        .with(each::<Text>(made, |one| word(&one.error)))
        .with(each::<Text>(made, |one| word(&one.peer)))
        .with(each(made, |one| bytes(&one.head)))
        .with(each(made, |one| bytes(&one.body)))
        .with(each(made, |one| bytes(&one.facts)))
}

/// Returns the bytes that an attempt sends.
pub(super) fn attempt_bytes(attempt: &Attempt) -> usize {
    ROW_BYTES + attempt.head.len() + attempt.body.len() + attempt.facts.len()
}
