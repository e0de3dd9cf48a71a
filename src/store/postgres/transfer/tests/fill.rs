//! A store with every kind of row.
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::LEASE;
use crate::retry::{Reason, Schedule};
use crate::store::address_book::{AddressBook as _, Endpoint, EndpointState, SecretRow};
use crate::store::archive::{Act, ActKind, Archive as _, Forgetting, Scope, WaitingUnits, Which};
use crate::store::contract::HandClock;
use crate::store::contract::address_book::{LIMIT, add_tenant, audit, endpoint};
use crate::store::contract::events::own;
use crate::store::contract::queue::{attempt, delivery, new};
use crate::store::embedded::Embedded;
use crate::store::names::{Kind, Named};
use crate::store::queue::{
    Accept, Cause, Dedupe, DeliveryRef, Lane, Lease, NewUnit, Next, OnDead, OriginId, Queue as _,
    Start, TargetId,
};
use crate::store::secret_use::SecretMatches;
use crate::store::{Key, Ledger as _, Store as _, Token};
use crate::tenant::job::JobCursor;
use crate::tenant::seal::{SealKeys, SealedRow};

const WINDOW: Duration = Duration::from_secs(3600);

/// The content that was put into a store.
pub(super) struct Filled {
    pub(super) ids: Vec<DeliveryRef>,
    /// Keys, and whether they are remembered.
    pub(super) keys: Vec<(Key, bool)>,
    /// The key of a delivery that waits still when its window has passed.
    pub(super) past_window: Key,
    pub(super) targets: Vec<TargetId>,
    pub(super) tenants: Vec<OriginId>,
    pub(super) deliveries: u64,
    /// The endpoint that has a job.
    pub(super) with_job: TargetId,
}

pub(super) fn names(names: &[&str]) -> Vec<Named> {
    let route = |name: &&str| Named {
        kind: Kind::Route,
        name: (*name).into(),
        previously: Vec::new(),
    };
    names.iter().map(route).collect()
}

pub(super) fn keys(byte: u8) -> SealKeys {
    let mut bytes = [byte; 32];
    bytes[0] = 0xee;
    SealKeys::parse(STANDARD.encode(bytes).as_bytes(), []).unwrap()
}

fn key(byte: u8) -> Key {
    Key([byte; 16])
}

fn keyed(byte: u8) -> Dedupe {
    Dedupe::Key {
        key: key(byte),
        window: WINDOW,
        dead: OnDead::Revive,
    }
}

struct Filling<'a> {
    store: &'a Embedded,
    clock: &'a HandClock,
    ids: Vec<DeliveryRef>,
}

impl Filling<'_> {
    async fn accept(&mut self, one: Accept, dedupe: Dedupe) -> Vec<Lease> {
        self.clock.advance(Duration::from_millis(10));
        // IDs are ordered by the wall clock of the machine
        tokio::time::sleep(Duration::from_millis(2)).await;
        self.ids.push(one.id);
        new(self.store.accept(Arc::new(one), dedupe).await.unwrap())
    }

    async fn settle(&self, lease: Lease, status: u16, next: Next) {
        self.clock.advance(Duration::from_millis(10));
        let settled = self.store.settle(lease, Some(attempt(status)), next).await;
        settled.unwrap();
    }

    /// Accepts a delivery of a route, and settles its first attempt.
    async fn route(&mut self, number: u32, byte: u8, status: u16, next: Next) {
        let one = Accept {
            delivery_id: Some(format!("id-{byte}").into()),
            event_type: Some("push\0".into()),
            ..delivery(number, Start::Mine(LEASE))
        };
        let leases = self.accept(one, keyed(byte)).await;
        self.settle(leases[0], status, next).await;
    }

    async fn act(&self, kind: ActKind, which: Which, step: u16) -> crate::store::archive::Step {
        self.clock.advance(Duration::from_millis(10));
        let act = Act {
            kind,
            which,
            targets: Arc::default(),
            who: "anna".into(),
            reason: "because\u{1}".into(),
            description: None,
            goes_on: None,
        };
        self.store.act(Scope::All, &act, step).await.unwrap()
    }

    fn last(&self) -> DeliveryRef {
        *self.ids.last().unwrap()
    }
}

pub(super) async fn fill(store: &Embedded, clock: &HandClock) -> Filled {
    // the time of the directory is not that of the wall
    clock.jump(Duration::from_secs(90));
    let numbers = store
        .numbers(&names(&["old", "gone", "kept"]))
        .await
        .unwrap();
    let (route, gone) = (numbers[0].number, numbers[1].number);
    let mut filling = Filling {
        store,
        clock,
        ids: Vec::new(),
    };
    let all_keys = ledger(store, clock).await;
    store.keep(&[("kept".into(), key(200)), ("new".into(), key(201))]);
    routes(&mut filling, route, gone).await;
    let mut renamed = names(&["new", "kept"]);
    renamed[0].previously = vec!["old".into()];
    renamed.push(Named {
        kind: Kind::Alarm,
        ..renamed[1].clone()
    });
    store.numbers(&renamed).await.unwrap();
    clock.advance(Duration::from_secs(7));
    let schedule = Schedule::fixed([Duration::from_secs(900)], WINDOW * 100).unwrap();
    store.reschedule(TargetId(route), &schedule).await.unwrap();
    let (tenants, endpoints, with_job) = sending(&mut filling).await;
    let mut targets = vec![TargetId(route), TargetId(gone)];
    targets.extend(endpoints);
    Filled {
        // one was purged
        deliveries: u64::try_from(filling.ids.len()).unwrap() - 1,
        ids: filling.ids,
        keys: all_keys,
        past_window: key(6),
        targets,
        tenants,
        with_job,
    }
}

/// IDs without deliveries, and what becomes of the keys of deliveries.
async fn ledger(store: &Embedded, clock: &HandClock) -> Vec<(Key, bool)> {
    for (byte, window) in [
        (101, WINDOW),
        (102, Duration::from_secs(1)),
        (103, WINDOW),
        (104, WINDOW),
    ] {
        store
            .claim(key(byte), Token(u128::from(byte)), LEASE)
            .await
            .unwrap();
        store
            .commit(key(byte), Token(u128::from(byte)), window)
            .await
            .unwrap();
    }
    store.note_soon(key(105), WINDOW);
    // noted for longer, ended and committed again, and claimed without an outcome
    store.note_soon(key(101), WINDOW * 2);
    clock.advance(Duration::from_secs(2));
    store.note_soon(key(102), WINDOW);
    store.claim(key(106), Token(106), LEASE).await.unwrap();
    let forgetting = |keys: &[u8]| Forgetting {
        keys: keys.iter().map(|byte| key(*byte)).collect(),
        who: "anna".into(),
        which: "id".into(),
        reason: "test".into(),
    };
    assert_eq!(store.forget(forgetting(&[103, 104])).await.unwrap(), 2);
    store.note_soon(key(104), WINDOW);
    // of deliveries: retrying, dead, cancelled, delivered, and waiting past its window; purged undelivered, and only recorded
    let remembered = [101, 102, 104, 105, 1, 2, 3, 4, 6].map(|byte| (key(byte), true));
    let forgotten = [103, 106, 5, 7].map(|byte| (key(byte), false));
    remembered.into_iter().chain(forgotten).collect()
}

async fn routes(filling: &mut Filling<'_>, route: u32, gone: u32) {
    let gone_status = http::StatusCode::GONE;
    filling
        .route(route, 1, 503, Next::RetryIn(Duration::from_secs(300)))
        .await;
    filling
        .route(route, 2, 410, Next::Dead(Reason::Status(gone_status)))
        .await;
    filling.route(route, 3, 500, Next::Cancelled).await;
    filling.route(route, 4, 200, Next::Delivered).await;
    filling.route(route, 5, 500, Next::Dead(Reason::Age)).await;
    let purged = filling.last();
    filling
        .act(
            ActKind::Purge { waiting: false },
            Which::Ids(vec![purged]),
            9,
        )
        .await;
    let short = Dedupe::Key {
        key: key(6),
        window: Duration::from_secs(5),
        dead: OnDead::Keep,
    };
    filling.accept(delivery(route, Start::Anyone), short).await;
    // forwarded within its request, and only recorded
    let recorded = Accept {
        key: Some(key(7)),
        to: vec![NewUnit {
            target: TargetId(route),
            lane: None,
            start: Start::Over(None),
            attempts: vec![attempt(500), attempt(200)],
        }],
        ..delivery(route, Start::Anyone)
    };
    filling.accept(recorded, Dedupe::None).await;
    filling
        .accept(
            delivery(gone, Start::In(Duration::from_secs(60))),
            Dedupe::None,
        )
        .await;
    // lanes: the first retries, others are behind it; the first of another is leased when the gateway ends
    for (lane, next) in [
        (1, Some(Next::RetryIn(Duration::from_secs(40)))),
        (1, None),
        (2, None),
        (1, None),
        (2, None),
    ] {
        let mut one = delivery(route, Start::Mine(LEASE));
        one.to[0].lane = Some(Lane([lane; 16]));
        let leases = filling.accept(one, Dedupe::None).await;
        if let Some(next) = next {
            filling.settle(leases[0], 503, next).await;
        }
    }
    // replayed: its numbers go on
    filling
        .route(route, 8, 500, Next::Dead(Reason::Attempts))
        .await;
    let replay = ActKind::Replay {
        delivered: false,
        cause: Cause::Replay,
    };
    filling
        .act(replay, Which::Ids(vec![filling.last()]), 9)
        .await;
}

/// Returns an endpoint whose secrets a real key seals.
fn sealed(target: TargetId, tenant: OriginId, uid: &str) -> Endpoint {
    let seal = |row: SealedRow| {
        let nonce = [u8::try_from(row.n).unwrap(); 12];
        Bytes::from(keys(1).seal(row, nonce, b"whsec").unwrap())
    };
    let new = endpoint(target, tenant, Some(uid));
    Endpoint {
        sealed: Some(seal(SealedRow::headers(target.0))),
        secrets: new
            .secrets
            .iter()
            .map(|secret| SecretRow {
                sealed: seal(SealedRow::secret(target.0, secret.n)),
                ..secret.clone()
            })
            .collect(),
        ..new
    }
}

/// Returns matches of the one secret that has any.
pub(super) fn matched(count: u64, last: Option<Duration>) -> SecretMatches {
    SecretMatches {
        key: Key([9; 16]),
        count,
        last,
    }
}

async fn sending(filling: &mut Filling<'_>) -> (Vec<OriginId>, Vec<TargetId>, TargetId) {
    let store = filling.store;
    let secrets = vec![matched(5, Some(Duration::from_secs(3)))];
    store.count_matches(secrets).await.unwrap();
    let check = keys(1).seal_check([3; 12]).unwrap();
    store.set_seal_check(check.into()).await.unwrap();
    let (acme, other) = (
        add_tenant(store, "acme").await,
        add_tenant(store, "Other").await,
    );
    let mut removed = other.clone();
    removed.removed = true;
    store
        .save_tenant(removed, Some(1), audit("tenant.remove"))
        .await
        .unwrap();
    let mut endpoints = Vec::new();
    for uid in ["one", "two", "three"] {
        let target = store.reserve_endpoint().await.unwrap();
        let new = sealed(target, acme.origin, uid);
        store
            .save_endpoint(new.clone(), None, LIMIT, audit("endpoint.create"))
            .await
            .unwrap();
        endpoints.push(Endpoint { edition: 1, ..new });
    }
    // a number that no row has
    store.reserve_endpoint().await.unwrap();
    let [one, two, three] = [0, 1, 2].map(|at| endpoints[at].target);
    let event = |id: &str, targets: &[(TargetId, Option<u8>)], start| Accept {
        origin: acme.origin,
        delivery_id: Some(id.into()),
        to: targets
            .iter()
            .map(|(target, lane)| NewUnit {
                target: *target,
                lane: lane.map(|lane| Lane([lane; 16])),
                start,
                attempts: Vec::new(),
            })
            .collect(),
        versions: vec![
            (1, Bytes::from_static(b"older")),
            (3, Bytes::from_static(b"newer")),
        ],
        ..delivery(1, start)
    };
    for (id, targets, statuses) in [
        ("e-1", &[(one, None), (two, None)][..], &[503, 200][..]),
        // in a lane that waits for the unit before
        ("e-2", &[(one, Some(9)), (two, None)], &[410, 410]),
        ("e-3", &[(three, None)], &[]),
        ("e-4", &[(three, None)], &[]),
        ("e-5", &[(three, None)], &[]),
    ] {
        let start = if statuses.is_empty() {
            Start::Anyone
        } else {
            Start::Mine(LEASE)
        };
        let leases = filling.accept(event(id, targets, start), own(1)).await;
        for (lease, status) in leases.into_iter().zip(statuses) {
            let next = match status {
                200 => Next::Delivered,
                503 => Next::RetryIn(Duration::from_secs(120)),
                _ => Next::Dead(Reason::Removed),
            };
            filling.settle(lease, *status, next).await;
        }
    }
    let which = Which::Waiting(WaitingUnits {
        target: three,
        until: None,
        after: None,
    });
    let step = filling.act(ActKind::Renew, which, 2).await;
    let cursor = JobCursor {
        phase: 1,
        after: step.position.unwrap().to_bytes().to_vec(),
    };
    let with_job = Endpoint {
        state: EndpointState::Paused,
        job: Some("{\"work\":\"a job\"}".into()),
        cursor: Some(cursor.to_bytes().into()),
        ..endpoints[2].clone()
    };
    store
        .save_endpoint(with_job, Some(1), LIMIT, audit("endpoint.pause"))
        .await
        .unwrap();
    let gone = Endpoint {
        state: EndpointState::Removed,
        ..endpoints[1].clone()
    };
    store
        .save_endpoint(gone, Some(1), LIMIT, audit("endpoint.remove"))
        .await
        .unwrap();
    (
        vec![acme.origin, other.origin],
        vec![one, two, three],
        three,
    )
}
