//! Deletes deliveries that are kept no longer, in small steps between which other writes get the disk.
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::destination::Destinations;
use super::worker::Worker;
use crate::clock::tick;
use crate::config::snapshot::Keep;
use crate::store::archive::{Counts, Retention, Whose};
use crate::store::queue::{OriginId, TargetId};

/// The time from the beginning of one sweep to that of the next.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// The wait between two steps of one sweep, in which other writes get the disk.
const STEP_INTERVAL: Duration = Duration::from_millis(20);
/// The deliveries deleted in one step, which takes some milliseconds.
const DELIVERIES_PER_STEP: u16 = 200;
/// The most steps of one sweep.
const STEPS_PER_SWEEP: u32 = 20;

/// The sweeps from one count of a store that gateways share to the next: each of them counts.
const SWEEPS_PER_COUNT_IF_SHARED: u32 = 5;
/// The sweeps from one observation of sending to the next: it looks at every endpoint that has something due.
const SWEEPS_PER_OBSERVATION: u32 = 5;

/// Sweeps until the process leaves. Each sweep also makes retries follow a new config, and counts what the store holds.
pub async fn sweep(worker: Arc<Worker>) {
    let mut leaving = worker.activity.leaving();
    let (mut generation, mut sweeps) = (0, 0_u32);
    let sweeps_per_count = if worker.store.nature().shared {
        SWEEPS_PER_COUNT_IF_SHARED
    } else {
        1
    };
    while !*leaving.borrow_and_update() {
        let destinations = worker.destinations();
        if destinations.generation != generation && reschedule(&worker, &destinations).await {
            generation = destinations.generation;
        }
        let mut keep = retentions(&destinations, &worker.counts());
        keep.extend(of_tenants(&worker));
        delete_expired(&worker, &keep).await;
        if sweeps.is_multiple_of(sweeps_per_count)
            && let Ok(counts) = worker.store.totals().await
        {
            worker.set_counts(counts);
        }
        if sweeps.is_multiple_of(SWEEPS_PER_OBSERVATION)
            && let Ok(sending) = worker.observe_sending().await
        {
            worker.set_sending(sending);
        }
        sweeps = sweeps.wrapping_add(1);
        tokio::select! {
            () = tick(SWEEP_INTERVAL) => {}
            _ = leaving.changed() => {}
        }
    }
}

/// Deletes what `retentions` let go, as far as one sweep gets.
async fn delete_expired(worker: &Worker, retentions: &[Retention]) {
    if retentions.is_empty() {
        return;
    }
    for _ in 0..STEPS_PER_SWEEP {
        match worker.store.sweep(retentions, DELIVERIES_PER_STEP).await {
            Ok(step) if step.more => sleep(STEP_INTERVAL).await,
            Ok(_) => break,
            Err(error) => {
                tracing::debug!(%error, "cannot delete expired deliveries; the next sweep repeats it");
                break;
            }
        }
    }
}

/// Makes waiting retries follow the schedules of the present config. Returns whether all do; otherwise the next sweep repeats it.
async fn reschedule(worker: &Worker, destinations: &Destinations) -> bool {
    for app in &destinations.apps {
        for number in app.numbers() {
            let schedule = &app.webhook().deliver.schedule;
            if let Err(error) = worker.store.reschedule(*number, schedule).await {
                tracing::debug!(%error, route = &*app.webhook().name, "cannot reschedule the retries of a route; the next sweep repeats it");
                return false;
            }
        }
    }
    true
}

/// Returns how long events are kept now. While the config does not send, nothing is deleted.
fn of_tenants(worker: &Worker) -> Option<Retention> {
    let Keep { age, dead, bytes } = worker.endpoints().rules()?.outbound.keep;
    Some(Retention {
        whose: Whose::Tenants,
        age,
        dead,
        bytes,
    })
}

/// Returns how long each route's deliveries are kept now. Deliveries of a route that is gone are kept for the default time.
fn retentions(destinations: &Destinations, counts: &Counts) -> Vec<Retention> {
    let of = |origin, keep: Keep| Retention {
        whose: Whose::One(origin),
        age: keep.age,
        dead: keep.dead,
        bytes: keep.bytes,
    };
    let stored = |id: TargetId| {
        counts
            .origins
            .iter()
            .find(|(origin, ..)| origin.0 == id.0)
            .map_or(0, |(_, _, bytes)| *bytes)
    };
    let of_apps = destinations.apps.iter().flat_map(|app| {
        let (own, keep) = (app.target().id(), app.webhook().keep);
        app.numbers().iter().map(move |id| {
            // deliveries of a route that was merged into this one get the room that its own leave
            let others = if own == *id { 0 } else { stored(own) };
            let bytes = keep.bytes.map(|bytes| bytes.saturating_sub(others));
            of(OriginId(id.0), Keep { bytes, ..keep })
        })
    });
    let mut all: HashMap<Whose, Retention> = of_apps.map(|keep| (keep.whose, keep)).collect();
    for (origin, _, _) in &counts.origins {
        all.entry(Whose::One(*origin))
            .or_insert_with(|| of(*origin, Keep::DEFAULT));
    }
    all.into_values().collect()
}
