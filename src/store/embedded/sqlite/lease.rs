//! Leases due units.
use std::time::Duration;

use rusqlite::params;

use super::attempt::cut_off;
use super::park::target_time;
use super::writing::Writing;
use super::{ms, unsigned};
use crate::store::StoreError;
use crate::store::queue::{Cause, Lane, Lease, LeaseRequest, Subject, Unit};
use crate::store::turns::{self, Share};

/// A leased unit. Its delivery is read afterwards.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LeasedUnit {
    pub(crate) lease: Lease,
    pub(crate) attempts: u32,
    pub(crate) cause: Cause,
    pub(crate) age: Duration,
    /// The time for which it has been due.
    pub(crate) waited: Duration,
    pub(crate) lane: Option<Lane>,
    /// The bytes of its delivery.
    pub(crate) bytes: usize,
    /// The time of the lease before, in milliseconds of wall time, if that lease was never settled.
    pub(crate) unsettled: Option<Option<i64>>,
}

/// Takes due units of each target, in the order of `wanted`, as many as [`turns::take`] lets it begin while all hold `held` bytes in memory.
/// `wall` is the time as it is shown.
pub(crate) fn lease(
    writing: &Writing<'_>,
    requests: &[LeaseRequest],
    lease: Duration,
    held: usize,
    wall: i64,
) -> Result<Vec<LeasedUnit>, StoreError> {
    let (mut taken, mut total) = (Vec::new(), held);
    for request in requests {
        let mut share = Share {
            target: request.held,
            total,
        };
        // the next target may hold less, and begin one still
        if !share.may_begin() {
            continue;
        }
        let (firsts, retries) = longest_due(writing, request)?;
        for unit in turns::take(
            firsts,
            retries,
            request.turn,
            request.count,
            &mut share,
            |taken| taken.bytes,
        ) {
            let Lease {
                unit: Unit { delivery, target },
                number,
                attempt,
                in_lane: _,
            } = unit.lease;
            if let Some(leased_at) = unit.unsettled {
                let before = Lease {
                    number: number.saturating_sub(1),
                    attempt: attempt.saturating_sub(1),
                    ..unit.lease
                };
                cut_off(writing, before, unit.cause, leased_at)?;
            }
            writing.execute(
                "update due set run_at = ?3, lease = ?4, leased = 1, last_attempt = ?5, leased_at = ?6 where id = ?1 and target = ?2",
                params![delivery, target, writing.now.saturating_add(ms(lease)), number, attempt, wall],
            )?;
            taken.push(unit);
        }
        total = share.total;
    }
    Ok(taken)
}

/// The due units of one kind, the longest due first. SQLite joins the tables of a cross join in the order in which they are written.
const DUE: [&str; 2] = [
    "select due.id, due.lease, due.attempt_count, due.cause, due.since, length(delivery.record) + length(delivery.body), due.lane,
        due.last_attempt, due.leased, due.leased_at, due.run_at
        from due cross join delivery on delivery.id = due.id where due.attempt_count = 0 and due.target = ?1 and due.run_at <= ?2
        and (?4 is null or due.id <> ?4) and (?5 is null or due.lane is not ?5) order by due.run_at limit ?3",
    "select due.id, due.lease, due.attempt_count, due.cause, due.since, length(delivery.record) + length(delivery.body), due.lane,
        due.last_attempt, due.leased, due.leased_at, due.run_at
        from due cross join delivery on delivery.id = due.id where due.attempt_count > 0 and due.target = ?1 and due.run_at <= ?2
        and (?4 is null or due.id <> ?4) and (?5 is null or due.lane is not ?5) order by due.run_at limit ?3",
];

/// Returns first attempts and retries that are due. Excepted ones are returned only if there are no others.
fn longest_due(
    writing: &Writing<'_>,
    request: &LeaseRequest,
) -> Result<(Vec<LeasedUnit>, Vec<LeasedUnit>), StoreError> {
    let [firsts, retries] = DUE;
    let of_kind = |sql, except: Option<Subject>| due(writing, sql, request, except);
    let found = (
        of_kind(firsts, request.except)?,
        of_kind(retries, request.except)?,
    );
    if request.except.is_none() || !found.0.is_empty() || !found.1.is_empty() {
        return Ok(found);
    }
    Ok((of_kind(firsts, None)?, of_kind(retries, None)?))
}

fn due(
    writing: &Writing<'_>,
    sql: &str,
    request: &LeaseRequest,
    except: Option<Subject>,
) -> Result<Vec<LeasedUnit>, StoreError> {
    let (id, lane) = (
        except.map(|subject| subject.delivery),
        except.and_then(|subject| subject.lane).map(|lane| lane.0),
    );
    let time = target_time(writing, request.target)?;
    writing.rows(
        sql,
        params![request.target, writing.now, request.count, id, lane],
        |row| {
            let unit = Unit {
                delivery: row.get(0)?,
                target: request.target,
            };
            let (since, run_at): (i64, i64) = (row.get(4)?, row.get(10)?);
            let elapsed =
                |from: i64, to: i64| u64::try_from(to.saturating_sub(from)).unwrap_or_default();
            let (leased, leased_at) = (row.get::<_, bool>(8)?, row.get(9)?);
            let lane = row.get::<_, Option<[u8; 16]>>(6)?.map(Lane);
            Ok(LeasedUnit {
                lease: Lease {
                    unit,
                    number: row.get::<_, u32>(1)?.saturating_add(1),
                    attempt: row.get::<_, u32>(7)?.saturating_add(1),
                    in_lane: lane.is_some(),
                },
                attempts: row.get(2)?,
                cause: row.get(3)?,
                age: Duration::from_millis(elapsed(since, time)),
                waited: Duration::from_millis(elapsed(run_at, writing.now)),
                lane,
                bytes: usize::try_from(unsigned(row, 5)?).unwrap_or(usize::MAX),
                unsettled: leased.then_some(leased_at),
            })
        },
    )
}
