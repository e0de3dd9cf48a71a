//! Observes the gateway every few seconds, and queues the alarms that are raised or resolved. `alarm` decides, and `deliver` sends them.
use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::Gate;
use crate::alarm::{Change, Detector, Observation, RouteObservation, SendingObservation};
use crate::clock::{Dates, rfc3339, tick};
use crate::config::snapshot::{Snapshot, WebhookRoute};
use crate::deliver::alarm;
use crate::mount::Space;
use crate::store::StoreError;
use crate::store::address_book::EndpointState;
use crate::store::drift::Drift;
use crate::store::queue::{Accept, Dedupe, DeliveryRef, Lane, TargetId};

/// The time from the beginning of one observation to that of the next.
const INTERVAL: Duration = Duration::from_secs(2);
/// The most changes that wait for the store. The oldest are dropped first.
const MAX_WAITING: usize = 256;

/// Watches until the gateway exits. `set_aside` describes what was done with a damaged store at the start.
pub async fn watch(gate: Arc<Gate>, set_aside: Option<String>) {
    let mut leaving = gate.lifecycle.activity.leaving();
    let mut detector = Detector::new(gate.clock.mono());
    let (mut waiting, mut refused) = (VecDeque::new(), false);
    let mut drift = Drift::new(gate.clock.now());
    while !*leaving.borrow_and_update() {
        gate.follow_wall_clock(&mut drift, gate.clock.now());
        let snapshot = gate.snapshot();
        let observation = observe(&gate, &snapshot, set_aside.clone()).await;
        let changes = detector.step(&observation, &snapshot.alarms.policy, gate.clock.now());
        gate.telemetry.alarmed(&changes, detector.raised());
        if snapshot.alarms.webhook.is_some() {
            waiting.extend(
                changes
                    .iter()
                    .map(|change| (DeliveryRef::draw(), event(change))),
            );
            send(&gate, &mut waiting, &mut refused).await;
        }
        tokio::select! {
            () = tick(INTERVAL) => {}
            _ = leaving.changed() => {}
        }
    }
}

/// Observes the gateway now.
async fn observe(gate: &Gate, snapshot: &Snapshot, set_aside: Option<String>) -> Observation {
    let (counts, names) = gate.counts();
    let mut dead: HashMap<&Arc<str>, u64> = HashMap::new();
    for (name, more) in counts
        .targets
        .iter()
        .filter_map(|of| Some((names.get(&of.target)?, of.dead)))
    {
        *dead.entry(name).or_default() += more;
    }
    let route = |webhook: &Arc<WebhookRoute>| {
        let sums = gate.telemetry.sums(&webhook.name);
        RouteObservation {
            name: Arc::clone(&webhook.name),
            verified: sums.verified,
            unverified: sums.unverified,
            succeeded: sums.succeeded,
            failed: sums.failed,
            authentic_of_hour: sums.authentic_of_hour,
            duplicates_of_hour: sums.duplicates_of_hour,
            deaths: sums.deaths,
            dead: dead.get(&webhook.name).copied().unwrap_or(0),
            disables_after: webhook.disables_after,
        }
    };
    let disk = match snapshot.store.engine.directory().map(Path::to_owned) {
        // a disk that does not answer must not block a worker thread
        Some(path) => tokio::task::spawn_blocking(move || Space::of(&path))
            .await
            .ok()
            .flatten(),
        None => None,
    };
    let health = gate.store.health();
    Observation {
        routes: snapshot.webhooks.iter().map(route).collect(),
        disk,
        store_bytes: counts.used,
        parked: gate.parked(),
        failing: health.trouble.map(|trouble| trouble.to_string()),
        set_aside,
        clock_jump: health.clock_jump,
        out_of_files: gate.lifecycle.connections.out_of_files(),
        certificates: certificates(snapshot, &gate.dates(gate.clock.mono())),
        unresolved: gate
            .clients()
            .iter()
            .filter_map(|client| Some((Arc::clone(&client.policy().name), client.check_name()?)))
            .collect(),
        sending: sending(gate),
    }
}

/// Observes sending, if the config sends.
fn sending(gate: &Gate) -> Option<SendingObservation> {
    gate.worker.endpoints().rules()?;
    let sending = gate.worker.sending()?;
    let paused = sending.addresses.endpoints.iter().filter(|(state, _)| {
        matches!(
            state,
            EndpointState::PausedByFailures | EndpointState::PausedByGone
        )
    });
    Some(SendingObservation {
        paused: paused.map(|(_, count)| count).sum(),
        pauses: sending.pauses,
        oldest_due: sending.oldest_due,
    })
}

/// Returns what is wrong with the certificates of the config.
fn certificates(snapshot: &Snapshot, dates: &Dates) -> Option<String> {
    let troubles: Vec<String> = snapshot
        .certificates
        .iter()
        .filter_map(|one| one.trouble(dates))
        .collect();
    (!troubles.is_empty()).then(|| troubles.join("; "))
}

/// A change of an alarm that waits for the store.
struct Event {
    kind: &'static str,
    at: std::time::SystemTime,
    body: Bytes,
    /// The lane of the alarm, so that its changes are sent in order.
    lane: Lane,
}

/// Returns the event of a change.
fn event(change: &Change) -> Event {
    #[derive(Serialize)]
    struct Body<'a> {
        r#type: &'a str,
        timestamp: String,
        data: Data<'a>,
    }
    #[derive(Serialize)]
    struct Data<'a> {
        code: &'a str,
        route: Option<&'a str>,
        since: String,
        message: &'a str,
    }
    let Change { alarm, at, .. } = change;
    let data = Data {
        code: alarm.code.code(),
        route: alarm.route.as_deref(),
        since: rfc3339(alarm.since),
        message: &alarm.text,
    };
    let body = Body {
        r#type: change.event_type(),
        timestamp: rfc3339(*at),
        data,
    };
    let body = serde_json::to_vec(&body).unwrap_or_default();
    Event {
        kind: change.event_type(),
        at: *at,
        body: body.into(),
        lane: lane(alarm.code.code(), alarm.route.as_deref()),
    }
}

/// Returns the lane of an alarm: of its code and its route.
fn lane(code: &str, route: Option<&str>) -> Lane {
    let digest: [u8; 32] = Sha256::digest(format!("{code} {}", route.unwrap_or_default())).into();
    let mut lane = [0; 16];
    lane.iter_mut()
        .zip(digest)
        .for_each(|(to, byte)| *to = byte);
    Lane(lane)
}

/// Puts on the disk what waits for that, the oldest first, as far as it takes them.
async fn send(gate: &Gate, waiting: &mut VecDeque<(DeliveryRef, Event)>, refused: &mut bool) {
    let target = gate.worker.alarm_target();
    while let (Some((id, event)), Some(target)) = (waiting.front(), target) {
        if let Err(error) = accept(gate, *id, event, target).await {
            if !std::mem::replace(refused, true) {
                tracing::warn!(%error, "alarms cannot be stored; they are stored later");
            }
            break;
        }
        if std::mem::replace(refused, false) {
            tracing::info!("alarms can be stored again");
        }
        waiting.pop_front();
    }
    while waiting.len() > MAX_WAITING {
        waiting.pop_front();
        tracing::error!("an alarm was dropped: too many wait for the store");
    }
}

async fn accept(
    gate: &Gate,
    id: DeliveryRef,
    event: &Event,
    target: TargetId,
) -> Result<(), StoreError> {
    gate.store
        .accept(Arc::new(delivery(id, event, target)), Dedupe::None)
        .await
        .map(drop)
}

/// Returns an alarm as the store takes it.
fn delivery(id: DeliveryRef, event: &Event, target: TargetId) -> Accept {
    let Event {
        kind,
        at,
        body,
        lane,
    } = event;
    alarm(id, target, kind, *at, body.clone(), *lane)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alarm::{Alarm, Code};

    #[test]
    fn changes_of_one_alarm_share_a_lane() {
        let change = |code, route: Option<&str>, raised| {
            let alarm = Alarm {
                code,
                route: route.map(Arc::from),
                since: std::time::UNIX_EPOCH,
                text: String::new(),
                ending: false,
            };
            let event = event(&Change {
                alarm,
                at: std::time::UNIX_EPOCH,
                raised,
            });
            delivery(DeliveryRef::draw(), &event, TargetId(1)).to[0].lane
        };
        let raised = change(Code::StoreLarge, Some("a"), true);
        assert!(raised.is_some());
        assert_eq!(change(Code::StoreLarge, Some("a"), false), raised);
        for other in [
            change(Code::StoreLarge, Some("b"), true),
            change(Code::StoreLarge, None, true),
            change(Code::ClockJump, Some("a"), true),
        ] {
            assert_ne!(other, raised);
        }
    }
}
