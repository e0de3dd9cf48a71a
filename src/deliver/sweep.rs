//! Deletes what need not be kept any longer, in small steps that hold up nobody.
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::config::snapshot::Keep;
use crate::gateway::Gate;
use crate::store::archive::Retention;
use crate::store::queue::{OriginId, TargetId};

/// Between two sweeps.
const EVERY: Duration = Duration::from_secs(1);
/// Between two steps of one sweep: the disk is for those who wait.
const BREATH: Duration = Duration::from_millis(20);
/// Deliveries deleted in one step: some milliseconds.
const STEP: u16 = 200;
/// Steps of one sweep.
const STEPS: u32 = 20;

/// Sweeps until the gate leaves.
pub async fn sweep(gate: Arc<Gate>) {
    let mut leaving = gate.lifecycle.leaving.subscribe();
    let mut generation = 0;
    while !*leaving.borrow_and_update() {
        follow(&gate, &mut generation).await;
        let keep = retentions(&gate);
        for _ in 0..if keep.is_empty() { 0 } else { STEPS } {
            match gate.store.sweep(&keep, STEP).await {
                Ok(step) if step.more => sleep(BREATH).await,
                Ok(_) => break,
                Err(error) => {
                    tracing::debug!(%error, "nothing is swept");
                    break;
                }
            }
        }
        if let Ok(counts) = gate.store.totals().await {
            gate.deliverer.counts.store(Arc::new(counts));
        }
        tokio::select! {
            () = sleep(EVERY) => {}
            _ = leaving.changed() => {}
        }
    }
}

/// Has what waits follow the schedules of a new config generation. What fails is done again by the next sweep.
async fn follow(gate: &Gate, generation: &mut u64) {
    let live = gate.live.load_full();
    if live.snapshot.generation == *generation {
        return;
    }
    let durable = live.hooks().filter(|route| route.target.is_some());
    let numbers: Vec<_> = durable
        .flat_map(|route| route.owns.iter().map(|id| (Arc::clone(route), *id)))
        .collect();
    for (route, id) in numbers {
        if let Err(error) = gate
            .store
            .reschedule(id, &route.hook.deliver.schedule)
            .await
        {
            tracing::debug!(%error, route = &*route.hook.name, "what waits does not follow the schedule of its route yet");
            return;
        }
    }
    *generation = live.snapshot.generation;
}

/// How long each route's deliveries are kept now; those of a route that is gone, as long as nobody says otherwise.
fn retentions(gate: &Gate) -> Vec<Retention> {
    let live = gate.live.load();
    let of = |origin, keep: Keep| Retention {
        origin,
        age: keep.age,
        dead: keep.dead,
        bytes: keep.bytes,
    };
    let counts = gate.deliverer.counts.load();
    let stored = |id: TargetId| {
        counts
            .origins
            .iter()
            .find(|(origin, ..)| origin.0 == id.0)
            .map_or(0, |(_, _, bytes)| *bytes)
    };
    let hooks = live.hooks().flat_map(|route| {
        let own = route.target.as_ref().map(|target| target.id());
        route.owns.iter().map(move |id| {
            // what was merged into a route has the room that the route itself leaves
            let others = own.filter(|own| own != id).map_or(0, stored);
            let bytes = route
                .hook
                .keep
                .bytes
                .map(|bytes| bytes.saturating_sub(others));
            of(
                OriginId(id.0),
                Keep {
                    bytes,
                    ..route.hook.keep
                },
            )
        })
    });
    let mut all: HashMap<OriginId, Retention> = hooks.map(|keep| (keep.origin, keep)).collect();
    for (origin, _, _) in &counts.origins {
        all.entry(*origin)
            .or_insert_with(|| of(*origin, Keep::DEFAULT));
    }
    all.into_values().collect()
}
