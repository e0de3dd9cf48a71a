//! The contract of every queue.
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use super::{HandClock, LEASE, WINDOW, key};
use crate::retry::{Reason, Schedule};
use crate::store::archive::{Act, ActKind, Archive, Scope, Status, UnitsShown, Which};
use crate::store::names::{Kind, Named};
use crate::store::queue::{
    Accept, Accepted, Attempt, Cause, Dedupe, DeliveryRef, Lane, Lease, LeaseRequest, Leased,
    NewUnit, Next, OnDead, OriginId, Queue, Start, TargetId, Unit,
};
use crate::store::record::{Record, headers};
use crate::store::{ClaimResult, Ownership, Token};

/// A queue that can be looked at.
pub(crate) trait Both: Queue + Archive {}
impl<T: Queue + Archive> Both for T {}

pub(super) const MS: Duration = Duration::from_millis(1);

/// Returns a delivery to one target.
pub(crate) fn delivery(target: u32, start: Start) -> Accept {
    let to = vec![NewUnit {
        target: TargetId(target),
        lane: None,
        start,
        attempts: Vec::new(),
    }];
    let header = (
        Bytes::from_static(b"X-Any"),
        Bytes::from_static(b"\x00\xff"),
    );
    let record = Record {
        target: Bytes::from_static(b"/hook?a"),
        headers: vec![header.clone(), header],
        ..Record::default()
    };
    Accept {
        id: DeliveryRef::draw(),
        origin: OriginId(target),
        delivery_id: None,
        key: None,
        event_type: None,
        to,
        record,
        body: Bytes::from_static(b"{\"a\":1}"),
        versions: Vec::new(),
    }
}

/// Returns an attempt that was answered with a status.
pub(crate) fn attempt(status: u16) -> Attempt {
    Attempt {
        cause: Cause::Schedule,
        started: std::time::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
        took: Duration::from_millis(12),
        connect: Some(MS),
        first_byte: None,
        status: Some(status),
        error: None,
        peer: Some("127.0.0.1:80".into()),
        head: Bytes::from_static(b"\x00"),
        body: Bytes::from_static(b"answer"),
        facts: Bytes::new(),
    }
}

/// Returns the leases of a delivery that is new.
pub(crate) fn new(accepted: Accepted) -> Vec<Lease> {
    let Accepted::New(leases) = accepted else {
        panic!("{accepted:?}")
    };
    leases
}

pub(crate) async fn take(queue: &dyn Both, target: u32, count: u32) -> Vec<Leased> {
    queue
        .lease(&[LeaseRequest::of(TargetId(target), count)], LEASE, 0)
        .await
        .unwrap()
}

pub(crate) async fn status(queue: &dyn Both, id: DeliveryRef) -> Vec<Status> {
    queue
        .get(Scope::All, id, UnitsShown::All)
        .await
        .unwrap()
        .unwrap()
        .units
        .iter()
        .map(|unit| unit.status)
        .collect()
}

pub(super) async fn dead(queue: &dyn Both, target: u32, dedupe: Dedupe) -> Accept {
    let delivery = delivery(target, Start::Mine(LEASE));
    let leases = new(queue
        .accept(Arc::new(delivery.clone()), dedupe)
        .await
        .unwrap());
    assert_eq!(
        queue
            .settle(
                leases[0],
                Some(attempt(410)),
                Next::Dead(Reason::Status(StatusCode::GONE))
            )
            .await
            .unwrap(),
        Ownership::Owned
    );
    delivery
}

pub(super) fn keyed(byte: u8, dead: OnDead) -> Dedupe {
    Dedupe::Key {
        key: key(byte),
        window: WINDOW,
        dead,
    }
}

/// Runs everything below on an empty queue. Each uses targets and keys of its own.
pub(crate) async fn holds(queue: &dyn Both, clock: &HandClock) {
    names_keep_their_numbers(queue).await;
    accepted_delivery_is_leased_to_its_acceptor(queue).await;
    repeated_accept_gets_the_first_answer(queue).await;
    retry_is_leased_when_it_is_due(queue, clock).await;
    a_lapsed_lease_is_taken_over_and_fenced(queue, clock).await;
    duplicates_are_reported(queue).await;
    accept_turns_a_claim_into_its_commit(queue, clock).await;
    duplicate_revives_a_dead_letter(queue).await;
    queued_delivery_is_remembered_past_its_window(queue, clock).await;
    lanes_keep_their_order(queue, clock).await;
    super::fairness::holds(queue).await;
    new_schedule_applies_to_waiting_deliveries(queue, clock).await;
    parked_time_does_not_count(queue, clock).await;
    earlier_attempts_are_recorded(queue).await;
    super::attempts::holds(queue, clock).await;
    super::archive::holds(queue).await;
    super::events::holds(queue, clock).await;
    super::endpoints::holds(queue, clock).await;
}

/// Looks at every step at all numbers and names, so that nothing that should have stayed can move.
async fn names_keep_their_numbers(queue: &dyn Both) {
    let numbers = async |config: &[(&str, &[&str])]| {
        let named = config.iter().map(|(name, before)| Named {
            kind: Kind::Route,
            name: (*name).into(),
            previously: before.iter().map(|before| (*before).into()).collect(),
        });
        let numbers = queue.numbers(&named.collect::<Vec<_>>()).await.unwrap();
        assert_eq!(numbers.len(), config.len());
        numbers
    };
    let names = async || {
        let mut names = queue.names().await.unwrap();
        names.retain(|(kind, ..)| *kind == Kind::Route);
        names.sort_by_key(|(_, number, _)| *number);
        names
            .into_iter()
            .map(|(_, number, name)| (number, name.to_string()))
            .collect::<Vec<_>>()
    };
    let is = |names: Vec<(u32, String)>, expected: &[(u32, &str)]| {
        assert_eq!(
            names
                .iter()
                .map(|(number, name)| (*number, &**name))
                .collect::<Vec<_>>(),
            expected
        );
    };
    let first = numbers(&[("github", &[]), ("stripe", &[])]).await;
    let (github, stripe) = (first[0].number, first[1].number);
    is(names().await, &[(github, "github"), (stripe, "stripe")]);
    assert_eq!(
        numbers(&[("stripe", &[]), ("github", &[])]).await,
        [first[1].clone(), first[0].clone()],
        "whatever the order"
    );
    // renamed, and a new route under the old name
    assert_eq!(
        numbers(&[("payments", &["nobody", "stripe"]), ("github", &[])]).await,
        [first[1].clone(), first[0].clone()]
    );
    is(names().await, &[(github, "github"), (stripe, "payments")]);
    let both = numbers(&[("payments", &[]), ("stripe", &[])]).await;
    assert_eq!(both[0], first[1]);
    let newer = both[1].number;
    assert!(
        newer > stripe && both[1].others.is_empty() && both[1].ledger != both[0].ledger,
        "{both:?}"
    );
    is(
        names().await,
        &[(github, "github"), (stripe, "payments"), (newer, "stripe")],
    );
    // merged: one route, both numbers
    let merged = numbers(&[("payments", &["stripe"])]).await;
    let mut all: Vec<u32> = merged[0].all().collect();
    all.sort_unstable();
    assert_eq!(all, [stripe, newer]);
    is(
        names().await,
        &[
            (github, "github"),
            (stripe, "payments"),
            (newer, "payments"),
        ],
    );
    assert_eq!(
        numbers(&[("github", &[])]).await,
        [first[0].clone()],
        "gone for a while, and back"
    );
    let alarms = Named {
        kind: Kind::Alarm,
        name: "github".into(),
        previously: Vec::new(),
    };
    assert_ne!(
        queue.numbers(&[alarms]).await.unwrap()[0].number,
        github,
        "of another kind"
    );
}

async fn accepted_delivery_is_leased_to_its_acceptor(queue: &dyn Both) {
    let offered = delivery(10, Start::Mine(LEASE));
    let leases = new(queue
        .accept(Arc::new(offered.clone()), Dedupe::None)
        .await
        .unwrap());
    let unit = Unit {
        delivery: offered.id,
        target: TargetId(10),
    };
    assert_eq!(
        leases,
        [Lease {
            unit,
            number: 1,
            attempt: 1,
            in_lane: false,
        }]
    );
    assert!(take(queue, 10, 9).await.is_empty(), "it is held");
    assert_eq!(status(queue, offered.id).await, [Status::Pending]);
    assert_eq!(
        queue
            .settle(leases[0], Some(attempt(200)), Next::Delivered)
            .await
            .unwrap(),
        Ownership::Owned
    );
    let shown = queue
        .get(Scope::All, offered.id, UnitsShown::All)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (&shown.stored.record, &shown.stored.body),
        (&offered.record, &offered.body)
    );
    assert_eq!(shown.units[0].status, Status::Delivered);
    assert_eq!(
        (
            shown.attempts[0].number,
            shown.attempts[0].late,
            &shown.attempts[0].attempt
        ),
        (1, false, &attempt(200))
    );
    assert_eq!(
        queue
            .get(Scope::of(OriginId(77)), offered.id, UnitsShown::All)
            .await
            .unwrap(),
        None,
        "not its scope"
    );
    assert_eq!(
        queue
            .settle(leases[0], Some(attempt(200)), Next::Delivered)
            .await
            .unwrap(),
        Ownership::Owned,
        "repeated"
    );
}

async fn repeated_accept_gets_the_first_answer(queue: &dyn Both) {
    for dedupe in [Dedupe::None, keyed(50, OnDead::Revive)] {
        let offered = delivery(11, Start::Mine(LEASE));
        let first = new(queue
            .accept(Arc::new(offered.clone()), dedupe)
            .await
            .unwrap());
        assert_eq!(
            new(queue
                .accept(Arc::new(offered.clone()), dedupe)
                .await
                .unwrap()),
            first
        );
        assert_eq!(
            queue
                .settle(first[0], Some(attempt(200)), Next::Delivered)
                .await
                .unwrap(),
            Ownership::Owned
        );
        assert_eq!(
            new(queue
                .accept(Arc::new(offered.clone()), dedupe)
                .await
                .unwrap()),
            [],
            "it is over, and not done again"
        );
    }
}

async fn retry_is_leased_when_it_is_due(queue: &dyn Both, clock: &HandClock) {
    let offered = delivery(12, Start::In(LEASE));
    assert_eq!(
        new(queue
            .accept(Arc::new(offered.clone()), Dedupe::None)
            .await
            .unwrap()),
        []
    );
    assert!(take(queue, 12, 1).await.is_empty(), "not yet");
    clock.advance(LEASE);
    let first = take(queue, 12, 1).await.remove(0);
    assert_eq!(
        (first.lease.number, first.attempts, first.age, first.cause),
        (1, 0, LEASE, Cause::Schedule)
    );
    assert_eq!(first.stored.body, offered.body);
    assert_eq!(
        queue
            .settle(first.lease, Some(attempt(503)), Next::RetryIn(LEASE * 2))
            .await
            .unwrap(),
        Ownership::Owned
    );
    assert_eq!(
        queue
            .settle(first.lease, Some(attempt(503)), Next::RetryIn(LEASE * 2))
            .await
            .unwrap(),
        Ownership::Owned,
        "repeated"
    );
    assert_eq!(status(queue, offered.id).await, [Status::Retrying]);
    clock.advance(LEASE * 2 - MS);
    assert!(take(queue, 12, 1).await.is_empty(), "not yet");
    clock.advance(MS);
    let second = take(queue, 12, 1).await.remove(0);
    assert_eq!(
        (second.lease.number, second.attempts),
        (2, 1),
        "one try, counted once"
    );
    assert_eq!(
        queue
            .settle(second.lease, None, Next::GiveBack)
            .await
            .unwrap(),
        Ownership::Owned
    );
    let third = take(queue, 12, 1).await.remove(0);
    assert_eq!(
        (third.lease.number, third.attempts),
        (3, 1),
        "given back: no try was made"
    );
    assert_eq!(
        queue
            .settle(
                third.lease,
                Some(attempt(500)),
                Next::Dead(Reason::Attempts)
            )
            .await
            .unwrap(),
        Ownership::Owned
    );
    let unit = queue
        .get(Scope::All, offered.id, UnitsShown::All)
        .await
        .unwrap()
        .unwrap()
        .units
        .remove(0);
    assert_eq!(
        (unit.status, unit.attempts, unit.leases, unit.reason),
        (Status::Dead, 2, 3, Some(Reason::Attempts))
    );
    assert_eq!(
        queue
            .settle(
                third.lease,
                Some(attempt(500)),
                Next::Dead(Reason::Attempts)
            )
            .await
            .unwrap(),
        Ownership::Owned,
        "repeated"
    );
    assert_eq!(
        queue
            .settle(first.lease, Some(attempt(503)), Next::Delivered)
            .await
            .unwrap(),
        Ownership::Owned,
        "it was settled, long ago"
    );
    assert_eq!(
        status(queue, offered.id).await,
        [Status::Dead],
        "and that changes nothing"
    );
}

async fn a_lapsed_lease_is_taken_over_and_fenced(queue: &dyn Both, clock: &HandClock) {
    let offered = delivery(13, Start::Mine(LEASE));
    let old = new(queue
        .accept(Arc::new(offered.clone()), Dedupe::None)
        .await
        .unwrap())
    .remove(0);
    clock.advance(LEASE + MS);
    let newer = take(queue, 13, 5).await.remove(0).lease;
    assert_eq!(newer.number, 2);
    let late = queue.totals().await.unwrap().late;
    for _ in 0..2 {
        assert_eq!(
            queue
                .settle(old, Some(attempt(200)), Next::Delivered)
                .await
                .unwrap(),
            Ownership::Lost
        );
    }
    assert_eq!(
        queue.settle(old, None, Next::Cancelled).await.unwrap(),
        Ownership::Lost
    );
    assert_eq!(
        queue.totals().await.unwrap().late,
        late + 1,
        "recorded once"
    );
    assert_eq!(status(queue, offered.id).await, [Status::Pending]);
    clock.advance(LEASE + MS);
    assert_eq!(
        queue
            .settle(newer, Some(attempt(204)), Next::Delivered)
            .await
            .unwrap(),
        Ownership::Owned,
        "it lapsed, and nobody took it over"
    );
    assert_eq!(
        queue
            .settle(old, Some(attempt(200)), Next::Dead(Reason::Age))
            .await
            .unwrap(),
        Ownership::Lost
    );
    let shown = queue
        .get(Scope::All, offered.id, UnitsShown::All)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(shown.units[0].status, Status::Delivered);
    let attempts: Vec<_> = shown
        .attempts
        .iter()
        .map(|shown| (shown.number, shown.late, shown.attempt.status))
        .collect();
    assert_eq!(attempts, [(1, true, Some(200)), (2, false, Some(204))]);
}

async fn duplicates_are_reported(queue: &dyn Both) {
    let first = delivery(14, Start::Anyone);
    assert_eq!(
        new(queue
            .accept(Arc::new(first.clone()), keyed(51, OnDead::Revive))
            .await
            .unwrap()),
        []
    );
    for dead in [OnDead::Revive, OnDead::Keep] {
        let second = queue
            .accept(Arc::new(delivery(14, Start::Anyone)), keyed(51, dead))
            .await
            .unwrap();
        assert_eq!(second, Accepted::Duplicate { of: Some(first.id) });
    }
    assert_eq!(
        queue.claim(key(51), Token(9), LEASE).await.unwrap(),
        ClaimResult::Committed
    );
    // handed on within its request: there is no row of it
    assert_eq!(
        queue.claim(key(52), Token(1), LEASE).await.unwrap(),
        ClaimResult::Fresh
    );
    let held = queue
        .accept(
            Arc::new(delivery(14, Start::Anyone)),
            keyed(52, OnDead::Revive),
        )
        .await
        .unwrap();
    assert_eq!(held, Accepted::InFlight { lapses_in: LEASE });
    assert_eq!(
        queue.commit(key(52), Token(1), WINDOW).await.unwrap(),
        Ownership::Owned
    );
    assert_eq!(
        queue
            .accept(
                Arc::new(delivery(14, Start::Anyone)),
                keyed(52, OnDead::Revive)
            )
            .await
            .unwrap(),
        Accepted::Duplicate { of: None }
    );
    assert_eq!(take(queue, 14, 9).await.len(), 1);
}

async fn accept_turns_a_claim_into_its_commit(queue: &dyn Both, clock: &HandClock) {
    let held = |token| Dedupe::Claimed {
        key: key(53),
        token: Token(token),
        window: WINDOW,
        dead: OnDead::Revive,
    };
    assert_eq!(
        queue.claim(key(53), Token(1), LEASE).await.unwrap(),
        ClaimResult::Fresh
    );
    clock.advance(LEASE + MS);
    assert_eq!(
        queue.claim(key(53), Token(2), LEASE).await.unwrap(),
        ClaimResult::Fresh,
        "taken over"
    );
    assert_eq!(
        queue
            .accept(Arc::new(delivery(15, Start::Anyone)), held(1))
            .await
            .unwrap(),
        Accepted::InFlight { lapses_in: LEASE }
    );
    let accepted = delivery(15, Start::Anyone);
    new(queue
        .accept(Arc::new(accepted.clone()), held(2))
        .await
        .unwrap());
    assert_eq!(
        queue.claim(key(53), Token(3), LEASE).await.unwrap(),
        ClaimResult::Committed
    );
    assert_eq!(
        queue.commit(key(53), Token(2), WINDOW).await.unwrap(),
        Ownership::Owned,
        "it is"
    );
    assert_eq!(
        queue
            .accept(Arc::new(delivery(15, Start::Anyone)), held(1))
            .await
            .unwrap(),
        Accepted::Duplicate {
            of: Some(accepted.id)
        }
    );
    assert_eq!(take(queue, 15, 9).await.len(), 1);
}

async fn duplicate_revives_a_dead_letter(queue: &dyn Both) {
    let first = dead(queue, 16, keyed(54, OnDead::Revive)).await;
    let again = |dead| queue.accept(Arc::new(delivery(16, Start::Mine(LEASE))), keyed(54, dead));
    assert_eq!(
        again(OnDead::Keep).await.unwrap(),
        Accepted::Duplicate { of: Some(first.id) }
    );
    assert_eq!(
        again(OnDead::Revive).await.unwrap(),
        Accepted::Revived { of: first.id }
    );
    assert_eq!(
        again(OnDead::Revive).await.unwrap(),
        Accepted::Duplicate { of: Some(first.id) }
    );
    let revived = take(queue, 16, 9).await.remove(0);
    assert_eq!(
        (
            revived.stored.id,
            revived.attempts,
            revived.cause,
            revived.age
        ),
        (first.id, 0, Cause::Replay, Duration::ZERO)
    );
    assert_eq!(revived.lease.number, 2, "the number goes on");
    assert_eq!(
        queue
            .settle(revived.lease, Some(attempt(200)), Next::Delivered)
            .await
            .unwrap(),
        Ownership::Owned
    );
    assert_eq!(
        again(OnDead::Revive).await.unwrap(),
        Accepted::Duplicate { of: Some(first.id) }
    );
}

async fn queued_delivery_is_remembered_past_its_window(queue: &dyn Both, clock: &HandClock) {
    let first = delivery(17, Start::In(WINDOW * 3));
    new(queue
        .accept(Arc::new(first.clone()), keyed(55, OnDead::Revive))
        .await
        .unwrap());
    clock.advance(WINDOW * 2);
    let second = queue
        .accept(
            Arc::new(delivery(17, Start::Anyone)),
            keyed(55, OnDead::Revive),
        )
        .await
        .unwrap();
    assert_eq!(second, Accepted::Duplicate { of: Some(first.id) });
    assert_eq!(
        queue.claim(key(55), Token(1), LEASE).await.unwrap(),
        ClaimResult::Committed
    );
}

async fn lanes_keep_their_order(queue: &dyn Both, clock: &HandClock) {
    let mut ids = Vec::new();
    let mut births = Vec::new();
    for lane in [1, 1, 1, 2] {
        let mut delivery = delivery(18, Start::Mine(LEASE));
        delivery.to[0].lane = Some(Lane([lane; 16]));
        ids.push(delivery.id);
        births.extend(new(queue
            .accept(Arc::new(delivery), Dedupe::None)
            .await
            .unwrap()));
    }
    assert_eq!(
        births
            .iter()
            .map(|lease| lease.unit.delivery)
            .collect::<Vec<_>>(),
        [ids[0], ids[3]],
        "the first of each lane"
    );
    assert!(births.iter().all(|lease| lease.in_lane));
    assert_eq!(
        queue
            .settle(births[0], Some(attempt(500)), Next::RetryIn(LEASE))
            .await
            .unwrap(),
        Ownership::Owned
    );
    assert!(
        take(queue, 18, 9).await.is_empty(),
        "those behind wait for the first, however long that waits"
    );
    clock.advance(LEASE);
    let leased = take(queue, 18, 9).await;
    assert!(
        leased.iter().any(|leased| leased.stored.id == ids[0])
            && leased.iter().all(|leased| leased.stored.id != ids[1])
    );
    let first = leased
        .iter()
        .find(|leased| leased.stored.id == ids[0])
        .unwrap()
        .lease;
    assert!(first.in_lane);
    assert_eq!(
        queue
            .settle(first, Some(attempt(200)), Next::Delivered)
            .await
            .unwrap(),
        Ownership::Owned
    );
    // the second is cancelled before its turn ends: the third follows
    let cancel = Act {
        kind: ActKind::Cancel,
        which: Which::Ids(vec![ids[1]]),
        targets: Arc::default(),
        who: "t".into(),
        reason: "lane".into(),
        description: None,
        goes_on: None,
    };
    assert_eq!(queue.act(Scope::All, &cancel, 10).await.unwrap().done, 1);
    let leased = take(queue, 18, 9).await;
    assert_eq!(
        leased
            .iter()
            .map(|leased| leased.stored.id)
            .collect::<Vec<_>>(),
        [ids[2]]
    );
    assert_eq!(
        queue
            .settle(leased[0].lease, Some(attempt(200)), Next::Delivered)
            .await
            .unwrap(),
        Ownership::Owned
    );
}

/// A shorter schedule shortens waits, but not one that the upstream asked for. A longer one changes nothing, nor does the same one again.
async fn new_schedule_applies_to_waiting_deliveries(queue: &dyn Both, clock: &HandClock) {
    let fixed = |wait: Duration| Schedule::fixed([wait], WINDOW * 100).unwrap();
    let target = TargetId(9504);
    let mut ids = Vec::new();
    for asked in [false, true] {
        let one = delivery(target.0, Start::Anyone);
        ids.push(one.id);
        new(queue.accept(Arc::new(one), Dedupe::None).await.unwrap());
        let leased = take(queue, target.0, 1).await.remove(0);
        let pairs = [(
            Bytes::from_static(b"Retry-After"),
            Bytes::from_static(b"7200"),
        )];
        let head = if asked {
            headers(&pairs.to_vec())
        } else {
            Bytes::new()
        };
        let attempt = Attempt {
            head,
            ..attempt(503)
        };
        assert_eq!(
            queue
                .settle(leased.lease, Some(attempt), Next::RetryIn(WINDOW * 2))
                .await
                .unwrap(),
            Ownership::Owned
        );
    }
    let due = async || {
        let leased = take(queue, target.0, 9).await;
        for leased in &leased {
            assert_eq!(
                queue
                    .settle(leased.lease, None, Next::GiveBack)
                    .await
                    .unwrap(),
                Ownership::Owned
            );
        }
        leased
            .iter()
            .map(|leased| leased.stored.id)
            .collect::<Vec<_>>()
    };
    queue.reschedule(target, &fixed(WINDOW * 3)).await.unwrap();
    queue.reschedule(target, &fixed(LEASE)).await.unwrap();
    clock.advance(LEASE - MS);
    assert!(due().await.is_empty());
    queue.reschedule(target, &fixed(LEASE)).await.unwrap();
    clock.advance(MS);
    assert_eq!(
        due().await,
        [ids[0]],
        "and the same schedule again does not begin the wait anew"
    );
    queue
        .reschedule(target, &fixed(LEASE).with_max_retry_after(LEASE * 2))
        .await
        .unwrap();
    clock.advance(LEASE * 2);
    assert_eq!(due().await, [ids[0], ids[1]]);
}

/// While no route of the config has a number, its waiting deliveries grow no older.
async fn parked_time_does_not_count(queue: &dyn Both, clock: &HandClock) {
    let config = async |names: &[&str]| {
        let named = |name: &&str| Named {
            kind: Kind::Route,
            name: (*name).into(),
            previously: Vec::new(),
        };
        queue
            .numbers(&names.iter().map(named).collect::<Vec<_>>())
            .await
            .unwrap()
    };
    let target = config(&["comes-and-goes"]).await[0].number;
    new(queue
        .accept(Arc::new(delivery(target, Start::Anyone)), Dedupe::None)
        .await
        .unwrap());
    clock.advance(LEASE);
    for _ in 0..2 {
        config(&["another"]).await;
        clock.advance(WINDOW);
        config(&["another"]).await;
        clock.advance(WINDOW);
    }
    new(queue
        .accept(Arc::new(delivery(target, Start::Anyone)), Dedupe::None)
        .await
        .unwrap());
    clock.advance(WINDOW);
    config(&["comes-and-goes"]).await;
    clock.advance(LEASE);
    let ages: Vec<_> = take(queue, target, 9)
        .await
        .iter()
        .map(|leased| leased.age)
        .collect();
    assert_eq!(ages, [LEASE * 2, LEASE]);
}

async fn earlier_attempts_are_recorded(queue: &dyn Both) {
    let mut spilled = delivery(20, Start::Anyone);
    spilled.to[0].attempts = vec![attempt(502), attempt(503)];
    new(queue
        .accept(Arc::new(spilled.clone()), Dedupe::None)
        .await
        .unwrap());
    let leased = take(queue, 20, 1).await.remove(0);
    assert_eq!((leased.attempts, leased.lease.number), (2, 3));
    assert_eq!(
        queue
            .settle(leased.lease, Some(attempt(200)), Next::Delivered)
            .await
            .unwrap(),
        Ownership::Owned
    );
    assert_eq!(
        queue
            .get(Scope::All, spilled.id, UnitsShown::All)
            .await
            .unwrap()
            .unwrap()
            .attempts
            .len(),
        3
    );
    for (over, expected) in [
        (None, Status::Delivered),
        (Some(Reason::Status(StatusCode::BAD_REQUEST)), Status::Dead),
    ] {
        let mut recorded = delivery(20, Start::Over(over));
        recorded.to[0].attempts = vec![attempt(200)];
        new(queue
            .accept(Arc::new(recorded.clone()), Dedupe::None)
            .await
            .unwrap());
        assert_eq!(status(queue, recorded.id).await, [expected]);
    }
    assert!(take(queue, 20, 9).await.is_empty());
}
