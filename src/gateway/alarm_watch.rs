//! Observes the gateway every few seconds, and queues the alarms that are raised or resolved. `alarm` decides, and `deliver` sends them.
use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::Gate;
use crate::alarm::{
    CLEAR_AFTER, Change, Detector, FleetObservation, Observation, RouteObservation,
    SendingObservation,
};
use crate::clock::{Dates, rfc3339, tick};
use crate::config::snapshot::{Durability, Snapshot, WebhookRoute};
use crate::deliver::alarm;
use crate::mount::Space;
use crate::store::address_book::EndpointState;
use crate::store::drift::Drift;
use crate::store::queue::{Accept, Accepted, Dedupe, DeliveryRef, Lane, OnDead, TargetId};
use crate::store::{Health, Key, Standby, StoreError};

/// The time from the beginning of one observation to that of the next.
const INTERVAL: Duration = Duration::from_secs(2);
/// The length of the spans of time in each of which gateways that share a store send a change of an alarm once. An alarm of one gateway needs longer to
/// change back and forth, so that no change is taken for another.
const SPAN: Duration = CLEAR_AFTER.saturating_sub(Duration::from_secs(60));
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
        gate.quarantine.sweep(gate.dates(gate.clock.mono()).time());
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
    let fleet = gate.store.nature().shared;
    let fleet = fleet.then(|| fleet_of(&health, snapshot));
    Observation {
        routes: snapshot.webhooks.iter().map(route).collect(),
        disk,
        store_bytes: counts.used,
        parked: gate.parked(),
        failing: health
            .trouble
            .filter(|_| health.away.is_none())
            .map(|trouble| trouble.to_string()),
        set_aside,
        clock_jump: health.clock_jump,
        out_of_files: gate.lifecycle.connections.out_of_files(),
        certificates: certificates(snapshot, &gate.dates(gate.clock.mono())),
        unresolved: gate
            .clients()
            .iter()
            .filter_map(|client| Some((Arc::clone(&client.policy().name), client.check_name()?)))
            .collect(),
        fleet,
        sending: sending(gate),
    }
}

/// Observes a store that gateways share.
fn fleet_of(health: &Health, snapshot: &Snapshot) -> FleetObservation {
    let fleet = health.fleet.as_ref();
    let durability = snapshot.store.engine.postgres();
    let durability = durability.and_then(|engine| engine.durability);
    let standby_ignored = match (durability, fleet.map(|fleet| fleet.standby)) {
        (None, Some(Standby::Ignored)) => Some(
            "a standby is attached, and commits do not wait for it: a failover loses acknowledged deliveries",
        ),
        (Some(Durability::Standby), Some(Standby::Ignored | Standby::None)) => {
            Some("`store.postgres.durability` is `standby`, and commits wait for none")
        }
        _ => None,
    };
    let trouble = health.trouble.as_ref().map(ToString::to_string);
    FleetObservation {
        down: health.away.and(trouble),
        standby_ignored,
        days_ahead: fleet.map(|fleet| fleet.days_ahead),
        configs: fleet.map_or(0, |fleet| fleet.hashes),
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
    /// The key by which gateways that share a store send it once; none if each sends its own.
    key: Option<Key>,
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
    let subject = format!(
        "{} {}",
        alarm.code,
        alarm.route.as_deref().unwrap_or_default()
    );
    let since_epoch = at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let span = since_epoch.as_secs() / SPAN.as_secs();
    Event {
        kind: change.event_type(),
        at: *at,
        body: body.into(),
        lane: Lane(hash(&subject)),
        key: alarm
            .code
            .is_of_fleet()
            .then(|| Key(hash(&format!("{} {subject} {span}", change.event_type())))),
    }
}

fn hash(text: &str) -> [u8; 16] {
    let digest: [u8; 32] = Sha256::digest(text).into();
    let mut hash = [0; 16];
    hash.iter_mut()
        .zip(digest)
        .for_each(|(to, byte)| *to = byte);
    hash
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
    let key = event.key.filter(|_| gate.store.nature().shared);
    let dedupe = key.map_or(Dedupe::None, |key| Dedupe::Key {
        key,
        window: SPAN,
        dead: OnDead::Keep,
    });
    let delivery = Arc::new(delivery(id, event, target));
    match gate.store.accept(delivery, dedupe).await? {
        Accepted::InFlight { .. } => Err(StoreError::Unavailable(
            "another gateway stores the same alarm".into(),
        )),
        Accepted::New(_)
        | Accepted::Duplicate { .. }
        | Accepted::Other { .. }
        | Accepted::Revived { .. } => Ok(()),
    }
}

/// Returns an alarm as the store takes it.
fn delivery(id: DeliveryRef, event: &Event, target: TargetId) -> Accept {
    let Event {
        kind,
        at,
        body,
        lane,
        key: _,
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
    /// An alarm that was cleared and raised again is not taken for the one before, however long that waits for its receiver.
    #[test]
    fn changes_that_gateways_see_at_the_same_time_share_a_key() {
        let key = |code, raised, seconds| {
            let at = std::time::UNIX_EPOCH + Duration::from_secs(seconds);
            let alarm = Alarm {
                code,
                route: None,
                since: at,
                text: String::new(),
                ending: false,
            };
            event(&Change { alarm, at, raised }).key
        };
        let first = key(Code::StoreDays, true, 2_401);
        assert!(first.is_some());
        assert_eq!(key(Code::StoreDays, true, 2_409), first);
        for other in [
            key(Code::StoreDays, false, 2_401),
            key(Code::StoreStandbyIgnored, true, 2_401),
            key(Code::StoreDays, true, 2_401 + CLEAR_AFTER.as_secs()),
        ] {
            assert!(other.is_some() && other != first);
        }
        // of the machine, not of the fleet
        assert_eq!(key(Code::ClockJump, true, 2_401), None);
    }
}
