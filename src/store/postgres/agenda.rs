//! Which targets have work: known from what this gateway does, and found by looking for what others did.
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_postgres::Row;

use super::Postgres;
use super::accept::int;
use super::call::{Call, column};
use super::claims::form;
use super::link::Lane;
use crate::store::StoreError;
use crate::store::agenda::Taken;
use crate::store::queue::{LAST_ENDPOINT, Ready, TargetId};

/// The most endpoints that one call of `ready` returns.
const MAX_READY_ENDPOINTS: usize = 256;
/// Targets that one look finds, at most.
const STEP: i32 = 1024;
/// The most looks in a row. The walk goes on a second later.
const MAX_STEPS: usize = 8;

/// Returns the targets that are due: see [`crate::store::queue::Queue::ready`].
pub(super) async fn ready(
    store: &Postgres,
    after: Option<TargetId>,
    skip: &Arc<HashSet<TargetId>>,
) -> Result<Ready, StoreError> {
    let work = &store.work;
    let now = work.at(store.clock.mono());
    let all = work.look_again.swap(false, Ordering::AcqRel);
    if all {
        *work.scanned.lock() = None;
    }
    if work.agenda().next_scan(now) || all {
        let scanned = scan(store, if all { MAX_STEPS } else { 1 }).await;
        if let Err(error) = scanned {
            work.look_again.fetch_or(all, Ordering::AcqRel);
            return Err(error);
        }
    }
    let taken = work.agenda().take(now, after, MAX_READY_ENDPOINTS, skip);
    let answer = earliest(store, &taken.targets).await;
    if answer.is_err() {
        // a target that cannot be read is due: it is looked at again
        for target in &taken.targets {
            work.agenda().note(*target, now);
        }
    }
    let mut ready = sorted(store, &taken, &answer?)?;
    let now = work.at(store.clock.mono());
    let next = work.agenda().next_after(now);
    ready.next_in = next.map(|next| {
        let wait = u64::try_from(next.saturating_sub(now)).unwrap_or(0);
        Duration::from_millis(wait)
    });
    Ok(ready)
}

/// Sorts targets into those that are due and those that are not, and notes when each is due next.
fn sorted(store: &Postgres, taken: &Taken, answer: &[Row]) -> Result<Ready, StoreError> {
    let now = store.work.at(store.clock.mono());
    let mut due = HashSet::new();
    for row in answer {
        let (target, in_ms) = found(row)?;
        // units that all wait behind others become due by what is done about these
        let Some(in_ms) = in_ms else { continue };
        store.work.agenda().note(target, now.saturating_add(in_ms));
        if in_ms <= 0 {
            due.insert(target);
        }
    }
    let mut ready = Ready {
        more: taken.more,
        ..Ready::default()
    };
    for target in &taken.targets {
        if due.contains(target) {
            ready.targets.push(*target);
        } else if target.is_endpoint() {
            ready.idle.push(*target);
        }
    }
    Ok(ready)
}

/// Asks when the earliest unit of each target is due.
async fn earliest(store: &Postgres, targets: &[TargetId]) -> Result<Vec<Row>, StoreError> {
    if targets.is_empty() {
        return Ok(Vec::new());
    }
    let [firsts, retries] = store.floors.of(targets.iter().copied(), store.clock.mono());
    let numbers: Vec<_> = targets.iter().map(|target| int(target.0)).collect();
    let call = Call::look("ready_of_1")
        .with(numbers)
        .with(firsts)
        .with(retries);
    store.link.call(Lane::Claims, call).await
}

/// Walks over targets that have waiting units, and notes when they are due: other gateways accept and settle, too.
async fn scan(store: &Postgres, steps: usize) -> Result<(), StoreError> {
    for _ in 0..steps {
        let after = store.work.scanned.lock().map_or(-1, |target| int(target.0));
        let call = Call::look("ready_1")
            .with(after)
            .with(int(LAST_ENDPOINT))
            .with(STEP);
        let answer = store.link.call(Lane::Claims, call).await?;
        let now = store.work.at(store.clock.mono());
        let mut last = None;
        for row in &answer {
            let (target, in_ms) = found(row)?;
            last = Some(target);
            if let Some(in_ms) = in_ms {
                store.work.agenda().note(target, now.saturating_add(in_ms));
            }
        }
        let is_end = answer.len() < usize::try_from(STEP).unwrap_or(usize::MAX);
        *store.work.scanned.lock() = if is_end { None } else { last };
        if is_end {
            break;
        }
    }
    Ok(())
}

fn found(row: &Row) -> Result<(TargetId, Option<i64>), StoreError> {
    let target = u32::try_from(column::<i32>(row, 0)?).map_err(|_| form())?;
    Ok((TargetId(target), column(row, 1)?))
}
