//! A gateway that sends is killed while an event goes to many endpoints, and while an endpoint is resumed, recovered or removed: it goes on
//! where it was.
//!
//! `HOOKGATE_KILLS` makes these tests longer: each kills a tenth as often, the recovery a fifth.
use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use super::support::gate::wait_at_most;
use super::support::killed::{Killed, kills};
use super::support::queue::waiting;

const PATIENCE: Duration = Duration::from_secs(180);

/// Starts a gateway whose events are attempted for as long as a test lasts.
fn patient(what: &str) -> Killed {
    Killed::new(what, &vec!["200ms"; 500].join(", "), "")
}

#[test]
fn an_event_to_many_endpoints_reaches_each_however_often_the_gateway_is_killed() {
    const ENDPOINTS: usize = 100;
    let mut killed = patient("an event to many endpoints");
    for number in 0..ENDPOINTS {
        killed.endpoint(&format!("/{number}"));
    }
    killed.answer(200);
    let mut known = BTreeSet::new();
    for life in 0..kills(12, 10) {
        known.extend(killed.publish(&format!("life-{life}"), 4));
        killed.kill_within(120);
    }
    wait_at_most(PATIENCE, "all to be sent", || {
        waiting(killed.dir.path()) == 0
    });
    let taken = killed.taken();
    assert_eq!(taken.len(), ENDPOINTS);
    for (path, taken) in taken {
        assert_eq!(taken, known, "{path}");
    }
    killed.finish();
}

#[test]
fn a_resumed_endpoint_gets_all_that_waits_however_often_the_gateway_is_killed() {
    let mut killed = patient("resume all");
    let id = killed.endpoint("/in");
    killed.set(&id, "pause", &json!({}));
    let known = killed.publish("waits", 1_500);
    for _ in 0..kills(15, 10) {
        killed.set(&id, "resume", &json!({ "waiting": "all" }));
        killed.kill_within(60);
        killed.set(&id, "pause", &json!({}));
        killed.kill_within(20);
    }
    killed.answer(200);
    killed.set(&id, "resume", &json!({ "waiting": "all" }));
    killed.kill_within(60);
    wait_at_most(PATIENCE, "all to be sent", || {
        killed.state(&id) == "active" && waiting(killed.dir.path()) == 0
    });
    assert_eq!(killed.taken()["/in"], known);
    killed.finish();
}

#[test]
fn events_that_a_resume_cancels_are_never_sent_however_often_the_gateway_is_killed() {
    let mut killed = patient("resume none");
    let id = killed.endpoint("/in");
    killed.set(&id, "pause", &json!({}));
    killed.publish("cancelled", 1_500);
    killed.answer(200);
    for _ in 0..kills(10, 10) {
        killed.set(&id, "resume", &json!({ "waiting": "none" }));
        killed.kill_within(40);
    }
    wait_at_most(PATIENCE, "the end of the job", || {
        killed.state(&id) == "active" && waiting(killed.dir.path()) == 0
    });
    let known = killed.publish("new", 20);
    wait_at_most(PATIENCE, "the new events", || {
        waiting(killed.dir.path()) == 0
    });
    assert_eq!(killed.taken()["/in"], known);
    killed.finish();
}

#[test]
fn a_removed_endpoint_stays_removed_however_often_the_gateway_is_killed() {
    let mut killed = patient("remove");
    let id = killed.endpoint("/in");
    killed.set(&id, "pause", &json!({}));
    killed.publish("dropped", 1_500);
    killed.answer(200);
    let path = format!("/v1/tenants/acme/endpoints/{id}");
    assert_eq!(killed.api().call("DELETE", &path, None).0, 204);
    for _ in 0..kills(8, 10) {
        killed.kill_within(40);
        assert_eq!(killed.state(&id), "removed");
    }
    wait_at_most(PATIENCE, "the end of the job", || {
        waiting(killed.dir.path()) == 0
    });
    assert_eq!(killed.receiver.count(), 0);
    killed.finish();
}

/// The most attempts to an endpoint at the same time, whose events arrive again after a kill: `concurrency`.
const IN_FLIGHT: u32 = 4;

#[test]
fn a_recovery_sends_each_event_however_often_the_gateway_is_killed() {
    const EVENTS: usize = 160;
    const KILLS_OF_A_RECOVERY: u32 = 8;
    let mut killed = Killed::new("recover", "100ms", "");
    let id = killed.endpoint("/in");
    let mut left = kills(KILLS_OF_A_RECOVERY, 5);
    for round in 0.. {
        let count = left.min(KILLS_OF_A_RECOVERY);
        left -= count;
        if count == 0 {
            break;
        }
        killed.answer(500);
        let known = killed.publish(&format!("round-{round}"), EVENTS);
        wait_at_most(PATIENCE, "the events to be dead", || {
            waiting(killed.dir.path()) == 0
        });
        killed.answer(200);
        let before = killed.receiver.count();
        let recover = json!({ "what": "failed", "since": "2026-01-01T00:00:00Z", "rate": 100 });
        killed.set(&id, "recover", &recover);
        for _ in 0..count {
            killed.kill_within(300);
        }
        wait_at_most(PATIENCE, "the end of the recovery", || {
            killed.shown(&id)["job"]["state"] != "running" && waiting(killed.dir.path()) == 0
        });
        let job = &killed.shown(&id)["job"];
        assert_eq!(
            (&job["kind"], &job["state"], &job["done"], &job["planned"]),
            (
                &json!("recover"),
                &json!("done"),
                &json!(EVENTS),
                &json!(EVENTS)
            ),
            "{job}"
        );
        let arrived = &killed.arrived(before)["/in"];
        assert_eq!(arrived.keys().copied().collect::<BTreeSet<_>>(), known);
        let again: u32 = arrived.values().map(|count| count - 1).sum();
        assert!(again <= count * IN_FLIGHT, "{again} arrived again");
    }
    killed.finish();
}
