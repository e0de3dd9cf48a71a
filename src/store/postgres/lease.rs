//! Leases of due units.
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio_postgres::Row;
use uuid::Uuid;

use super::accept::int;
use super::call::{Blob, Call, column, millis};
use super::claims::{form, time_in};
use crate::store::codes::to_cause;
use crate::store::queue::{
    DeliveryRef, Lane, Lease, LeaseRequest, Leased, OriginId, Stored, TargetId, Unit,
};
use crate::store::record::Record;
use crate::store::turns::{MEMORY, Turn};
use crate::store::{Key, StoreError};

/// The time by which a floor lies below the last unit that was leased: clocks of servers differ, and units are accepted in any order.
const MARGIN: Duration = Duration::from_secs(5);
/// The time after which all floors are dropped.
const KEEP: Duration = Duration::from_secs(10);

/// The times below which no unit of a target is due, of first attempts and of retries. While another transaction is open for long, units that were
/// settled still lie at the low end of the indexes: with a floor they are not read again and again.
#[derive(Debug, Default)]
pub(super) struct Floors(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The time at which all floors were dropped.
    since: Option<Instant>,
    floors: HashMap<TargetId, [Option<SystemTime>; 2]>,
}

impl Floors {
    /// Returns the floors of targets: those of first attempts, and those of retries.
    pub(super) fn of(
        &self,
        targets: impl Iterator<Item = TargetId>,
        now: Instant,
    ) -> [Vec<Option<SystemTime>>; 2] {
        let mut known = self.0.lock();
        if known.since.is_none_or(|since| now >= since + KEEP) {
            (known.since, known.floors) = (Some(now), HashMap::new());
        }
        let mut all = [Vec::new(), Vec::new()];
        for target in targets {
            let of_target = known.floors.get(&target).copied().unwrap_or_default();
            for (all, floor) in all.iter_mut().zip(of_target) {
                all.push(floor);
            }
        }
        all
    }

    /// Notes that a unit was leased that was due since then: it was the longest due.
    fn raise(&self, target: TargetId, turn: Turn, due_at: SystemTime) {
        let Some(floor) = due_at.checked_sub(MARGIN) else {
            return;
        };
        let mut known = self.0.lock();
        let [first, retry] = known.floors.entry(target).or_default();
        let of_kind = match turn {
            Turn::First => first,
            Turn::Retry => retry,
        };
        *of_kind = (*of_kind).max(Some(floor));
    }
}

/// Returns the call that leases units for these requests.
pub(super) fn call(
    requests: &[LeaseRequest],
    lease: Duration,
    held: usize,
    [firsts, retries]: [Vec<Option<SystemTime>>; 2],
) -> Call {
    fn big(bytes: usize) -> i64 {
        i64::try_from(bytes).unwrap_or(i64::MAX)
    }
    let turn = |request: &LeaseRequest| match request.turn {
        Turn::First => 0_i16,
        Turn::Retry => 1,
    };
    let id = |request: &LeaseRequest| request.except.map(|except| except.delivery.0);
    let lane = |request: &LeaseRequest| {
        let lane = request.except.and_then(|except| except.lane);
        lane.map(|lane| Blob(Bytes::copy_from_slice(&lane.0)))
    };
    let all = requests.iter();
    Call::write("lease_1")
        .with(all.clone().map(|one| int(one.target.0)).collect::<Vec<_>>())
        .with(all.clone().map(|one| int(one.count)).collect::<Vec<_>>())
        .with(all.clone().map(|one| big(one.held)).collect::<Vec<_>>())
        .with(all.clone().map(turn).collect::<Vec<_>>())
        .with(all.clone().map(id).collect::<Vec<_>>())
        .with(all.map(lane).collect::<Vec<_>>())
        .with(firsts)
        .with(retries)
        .with(millis(lease))
        .with(big(held))
        .with(big(MEMORY))
}

/// The units that one call leased.
#[derive(Debug, Default)]
pub(super) struct LeasedUnits {
    pub(super) leased: Vec<Leased>,
    /// Leases of deliveries whose records cannot be read.
    pub(super) unreadable: Vec<Lease>,
}

/// Reads the answer. Raises the floors of targets whose requests except nothing.
pub(super) fn read(
    answer: &[Row],
    requests: &[LeaseRequest],
    floors: &Floors,
) -> Result<LeasedUnits, StoreError> {
    let mut units = LeasedUnits::default();
    let mut stored: HashMap<DeliveryRef, Option<Arc<Stored>>> = HashMap::new();
    for row in answer {
        let lease = lease(row)?;
        let Unit { delivery, target } = lease.unit;
        let is_whole = |one: &LeaseRequest| one.target == target && one.except.is_none();
        if requests.iter().any(is_whole) {
            let turn = if column(row, 11)? {
                Turn::Retry
            } else {
                Turn::First
            };
            floors.raise(target, turn, column(row, 10)?);
        }
        let one = match stored.get(&delivery) {
            Some(known) => known.clone(),
            None => {
                let read = stored_in(row, delivery)?.map(Arc::new);
                stored.insert(delivery, read.clone());
                read
            }
        };
        let Some(one) = one else {
            units.unreadable.push(lease);
            continue;
        };
        units.leased.push(Leased {
            lease,
            attempts: number(row, 4)?,
            cause: to_cause(i64::from(column::<i16>(row, 5)?)),
            age: time_in(row, 6)?.unwrap_or_default(),
            waited: time_in(row, 7)?.unwrap_or_default(),
            lane: lane(row)?,
            bytes: usize::try_from(column::<i64>(row, 9)?).unwrap_or(usize::MAX),
            stored: one,
        });
    }
    Ok(units)
}

fn number(row: &Row, index: usize) -> Result<u32, StoreError> {
    u32::try_from(column::<i32>(row, index)?).map_err(|_| form())
}

fn lane(row: &Row) -> Result<Option<Lane>, StoreError> {
    let lane: Option<&[u8]> = column(row, 8)?;
    lane.map(|lane| lane.try_into().map(Lane).map_err(|_| form()))
        .transpose()
}

fn lease(row: &Row) -> Result<Lease, StoreError> {
    Ok(Lease {
        unit: Unit {
            delivery: DeliveryRef(column::<Uuid>(row, 1)?),
            target: TargetId(number(row, 0)?),
        },
        number: number(row, 2)?,
        attempt: number(row, 3)?,
        in_lane: lane(row)?.is_some(),
    })
}

/// Reads the delivery of a row. Returns none for one whose record cannot be read, and logs it.
fn stored_in(row: &Row, id: DeliveryRef) -> Result<Option<Stored>, StoreError> {
    let bytes = |index| -> Result<Bytes, StoreError> {
        Ok(Bytes::copy_from_slice(column::<&[u8]>(row, index)?))
    };
    let word = |index| -> Result<Option<Arc<str>>, StoreError> {
        Ok(column::<Option<&str>>(row, index)?.map(Arc::from))
    };
    let key: Option<&[u8]> = column(row, 13)?;
    let key = key.map(|key| key.try_into().map(Key).map_err(|_| form()));
    let record = match Record::decode(bytes(16)?) {
        Ok(record) => record,
        Err(error) => {
            tracing::error!(delivery = %id, %error, "a stored delivery cannot be read");
            return Ok(None);
        }
    };
    Ok(Some(Stored {
        id,
        origin: OriginId(number(row, 12)?),
        key: key.transpose()?,
        delivery_id: word(14)?,
        event_type: word(15)?,
        record,
        body: bytes(17)?,
    }))
}
