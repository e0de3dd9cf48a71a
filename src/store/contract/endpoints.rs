//! The contract of what is done to the units of one endpoint, and of what is shown of them.
use std::collections::HashSet;
use std::sync::Arc;

use super::events::{event, own};
use super::queue::{Both, MS, attempt, new, take};
use super::{HandClock, LEASE, WINDOW};
use crate::retry::Reason;
use crate::store::Ownership;
use crate::store::archive::{
    Act, ActKind, AttemptsOf, Filter, Order, Scope, Status, Statuses, TenantCounts, UnitsShown,
    WaitingPosition, WaitingUnits, Which,
};
use crate::store::queue::{
    Accept, Cause, DeliveryRef, FIRST_ENDPOINT, FIRST_TENANT, Lane, NewUnit, Next, OriginId, Start,
    TargetId,
};

/// Runs everything below on a queue. Each test has tenants and endpoints of its own.
pub(crate) async fn holds(queue: &dyn Both, clock: &HandClock) {
    units_of_an_event_are_shown_in_part(queue).await;
    attempts_are_listed_newest_first(queue).await;
    id_is_found_among_the_deliveries_of_one_tenant(queue).await;
    units_of_endpoints_count_for_their_tenant(queue).await;
    endpoints_that_cannot_begin_are_left_out(queue, clock).await;
    waiting_units_are_renewed_in_steps(queue, clock).await;
    waiting_units_of_an_earlier_time_end_in_steps(queue, clock).await;
    missing_unit_is_added_once(queue).await;
}

/// Returns an event for several endpoints.
fn fan_out(tenant: u32, endpoints: std::ops::Range<u32>, id: &str) -> Accept {
    let to = endpoints.map(|number| NewUnit {
        target: TargetId(FIRST_ENDPOINT + number),
        lane: None,
        start: Start::Anyone,
        attempts: Vec::new(),
    });
    Accept {
        to: to.collect(),
        ..event(tenant, 0, id, Start::Anyone)
    }
}

async fn accept(queue: &dyn Both, accept: &Accept) -> DeliveryRef {
    new(queue
        .accept(Arc::new(accept.clone()), own(1))
        .await
        .unwrap());
    accept.id
}

/// Leases a unit of an endpoint, and settles it after an attempt.
async fn settle_one(queue: &dyn Both, endpoint: u32, status: u16, next: Next) {
    let leased = take(queue, FIRST_ENDPOINT + endpoint, 1).await;
    let settled = queue.settle(leased[0].lease, Some(attempt(status)), next);
    assert_eq!(settled.await.unwrap(), Ownership::Owned);
}

fn act(kind: ActKind, which: Which) -> Act {
    Act {
        kind,
        which,
        targets: Arc::default(),
        who: "anna".into(),
        reason: "test".into(),
        description: None,
        goes_on: None,
    }
}

/// Does an act on what waits for an endpoint, in steps of two. Returns how many deliveries it changed.
async fn walk(
    queue: &dyn Both,
    kind: ActKind,
    endpoint: u32,
    until: Option<std::time::SystemTime>,
) -> u64 {
    let (mut done, mut after) = (0, None);
    loop {
        let units = WaitingUnits {
            target: TargetId(FIRST_ENDPOINT + endpoint),
            until,
            after,
        };
        let step = queue
            .act(Scope::All, &act(kind, Which::Waiting(units)), 2)
            .await
            .unwrap();
        done += step.done;
        after = step.position.map(|position| {
            let bytes = position.to_bytes();
            WaitingPosition::from_bytes(&bytes).unwrap()
        });
        assert_eq!(step.more, after.is_some());
        assert_eq!(after, step.position);
        if !step.more {
            return done;
        }
    }
}

async fn units_of_an_event_are_shown_in_part(queue: &dyn Both) {
    let id = accept(queue, &fan_out(20, 200..205, "five")).await;
    settle_one(queue, 200, 200, Next::Delivered).await;
    settle_one(queue, 203, 410, Next::Dead(Reason::Attempts)).await;
    let all = [
        (200, Status::Delivered),
        (201, Status::Pending),
        (202, Status::Pending),
        (203, Status::Dead),
        (204, Status::Pending),
    ];
    let scope = Scope::of(OriginId(FIRST_TENANT + 20));
    let dead = Filter {
        statuses: Statuses::of(&[Status::Dead]),
        ..Filter::default()
    };
    let third = TargetId(FIRST_ENDPOINT + 203);
    for (shown, expected) in [
        (UnitsShown::All, all.to_vec()),
        (UnitsShown::First(2), all[..2].to_vec()),
        (UnitsShown::First(9), all.to_vec()),
        (UnitsShown::First(0), Vec::new()),
        (UnitsShown::Of(third), vec![all[3]]),
        (UnitsShown::Of(TargetId(1)), Vec::new()),
    ] {
        let of = |units: &[crate::store::archive::UnitShown]| {
            let units = units
                .iter()
                .map(|unit| (unit.target.0 - FIRST_ENDPOINT, unit.status));
            units.collect::<Vec<_>>()
        };
        let row = queue.rows(scope.clone(), &[id], shown).await.unwrap();
        assert_eq!(of(&row[0].units), expected, "{shown:?}");
        let get = queue.get(scope.clone(), id, shown).await.unwrap().unwrap();
        assert_eq!(of(&get.units), expected, "{shown:?}");
        let attempts = get.attempts.iter().map(|one| one.target);
        let shown_targets: Vec<_> = get.units.iter().map(|unit| unit.target).collect();
        assert!(
            attempts
                .clone()
                .all(|target| shown_targets.contains(&target))
        );
        for filter in [&Filter::default(), &dead] {
            let page = queue
                .page(scope.clone(), filter, Order::Newest, None, 9, shown)
                .await
                .unwrap();
            assert_eq!(of(&page.rows[0].units), expected, "{shown:?}");
        }
    }
    let stored = queue.stored(scope, id).await.unwrap();
    assert_eq!(stored.map(|stored| stored.id), Some(id));
    let other = Scope::of(OriginId(FIRST_TENANT + 21));
    assert_eq!(queue.stored(other, id).await.unwrap(), None);
}

async fn attempts_are_listed_newest_first(queue: &dyn Both) {
    let target = TargetId(FIRST_ENDPOINT + 210);
    let id = accept(queue, &event(22, 210, "attempts", Start::Anyone)).await;
    for status in [500, 501, 502, 200] {
        let next = if status == 200 {
            Next::Delivered
        } else {
            Next::RetryIn(std::time::Duration::ZERO)
        };
        settle_one(queue, 210, status, next).await;
    }
    let scope = Scope::of(OriginId(FIRST_TENANT + 22));
    for of in [AttemptsOf::Endpoint(target), AttemptsOf::Delivery(id)] {
        let (mut before, mut found) = (None, Vec::new());
        loop {
            let page = queue.attempts(scope.clone(), of, before, 3).await.unwrap();
            assert!(page.rows.len() <= 3);
            for row in &page.rows {
                assert_eq!((row.delivery, row.shown.target), (id, target));
                found.push((row.shown.number, row.shown.attempt.status));
            }
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        let expected = [(4, 200), (3, 502), (2, 501), (1, 500)];
        assert_eq!(
            found,
            expected.map(|(number, status)| (number, Some(status)))
        );
        let other = Scope::of(OriginId(FIRST_TENANT + 20));
        let page = queue.attempts(other, of, None, 9).await.unwrap();
        assert!(page.rows.is_empty());
    }
}

async fn id_is_found_among_the_deliveries_of_one_tenant(queue: &dyn Both) {
    let ids = [23, 24].map(|tenant| event(tenant, 220, "same", Start::Anyone));
    for one in &ids {
        accept(queue, one).await;
    }
    let filter = Filter {
        delivery_id: Some("same".into()),
        ..Filter::default()
    };
    for one in &ids {
        let scope = Scope::of(one.origin);
        let page = queue.page(scope, &filter, Order::Newest, None, 9, UnitsShown::All);
        let found: Vec<_> = page.await.unwrap().rows.iter().map(|row| row.id).collect();
        assert_eq!(found, [one.id]);
    }
    let all = queue.page(Scope::All, &filter, Order::Oldest, None, 9, UnitsShown::All);
    assert_eq!(all.await.unwrap().rows.len(), 2);
}

async fn units_of_endpoints_count_for_their_tenant(queue: &dyn Both) {
    let tenant = OriginId(FIRST_TENANT + 25);
    let before = queue.totals().await.unwrap();
    accept(queue, &fan_out(25, 230..235, "counted")).await;
    settle_one(queue, 230, 200, Next::Delivered).await;
    settle_one(queue, 231, 410, Next::Dead(Reason::Attempts)).await;
    settle_one(queue, 232, 410, Next::Cancelled).await;
    let sums = queue.sums(tenant).await.unwrap();
    assert_eq!((sums.deliveries, sums.waiting, sums.dead), (1, 2, 1));
    let after = queue.totals().await.unwrap();
    assert_eq!(after.origins, before.origins);
    assert_eq!(after.targets, before.targets, "numbers do not grow");
    let difference = TenantCounts {
        deliveries: after.tenants.deliveries - before.tenants.deliveries,
        bytes: after.tenants.bytes - before.tenants.bytes,
        waiting: after.tenants.waiting - before.tenants.waiting,
        dead: after.tenants.dead - before.tenants.dead,
    };
    assert_eq!(difference, sums);
    let found = queue.page(
        Scope::of(tenant),
        &Filter::default(),
        Order::Newest,
        None,
        9,
        UnitsShown::First(0),
    );
    let ids: Vec<_> = found.await.unwrap().rows.iter().map(|row| row.id).collect();
    let purge = act(ActKind::Purge { waiting: true }, Which::Ids(ids));
    assert_eq!(queue.act(Scope::All, &purge, 9).await.unwrap().done, 1);
    assert_eq!(queue.sums(tenant).await.unwrap(), TenantCounts::default());
}

async fn endpoints_that_cannot_begin_are_left_out(queue: &dyn Both, clock: &HandClock) {
    let [first, second] = [240, 241].map(|number| TargetId(FIRST_ENDPOINT + number));
    accept(queue, &fan_out(26, 240..242, "ready")).await;
    let none = Arc::<HashSet<TargetId>>::default();
    let ready = async |skip: &Arc<HashSet<TargetId>>| {
        let ready = queue.ready(None, skip).await.unwrap();
        let ours = ready.targets.iter().copied();
        ours.filter(|target| [first, second].contains(target))
            .collect::<HashSet<_>>()
    };
    let both = HashSet::from([first, second]);
    assert_eq!(ready(&none).await, both);
    assert_eq!(ready(&none).await, both, "until they are leased");
    let paused = Arc::new(HashSet::from([first]));
    assert_eq!(ready(&paused).await, HashSet::from([second]));
    queue.put_off(&[(second, LEASE)]);
    assert_eq!(ready(&paused).await, HashSet::new());
    assert_eq!(ready(&none).await, HashSet::from([first]));
    queue.wake(&[second]);
    assert_eq!(ready(&none).await, both);
    queue.put_off(&[(second, LEASE)]);
    assert!(queue.ready(None, &none).await.unwrap().next_in <= Some(LEASE));
    clock.advance(LEASE);
    assert_eq!(ready(&none).await, both);
    for endpoint in [240, 241] {
        settle_one(queue, endpoint, 200, Next::Delivered).await;
    }
    let last = queue.ready(None, &none).await.unwrap();
    assert_eq!(last.idle.into_iter().collect::<HashSet<_>>(), both);
    assert_eq!(ready(&none).await, HashSet::new());
}

async fn waiting_units_are_renewed_in_steps(queue: &dyn Both, clock: &HandClock) {
    let (laned, lane) = (Lane([9; 16]), 250);
    let mut ids = Vec::new();
    for number in 0..9_u8 {
        let mut one = event(27, lane, &format!("renew-{number}"), Start::Anyone);
        one.to[0].lane = (number >= 6).then_some(laned);
        ids.push(accept(queue, &one).await);
    }
    for leased in take(queue, FIRST_ENDPOINT + lane, 5).await {
        let settled = queue.settle(leased.lease, Some(attempt(500)), Next::RetryIn(WINDOW));
        assert_eq!(settled.await.unwrap(), Ownership::Owned);
    }
    clock.advance(WINDOW / 2);
    let renewed = walk(queue, ActKind::Renew, lane, None).await;
    assert_eq!(renewed, 9);
    let later = accept(queue, &event(27, lane, "renew-later", Start::Anyone)).await;
    let mut order = Vec::new();
    loop {
        let leased = take(queue, FIRST_ENDPOINT + lane, 99).await;
        if leased.is_empty() {
            break;
        }
        for leased in leased {
            assert_eq!(
                (leased.attempts, leased.age),
                (0, std::time::Duration::ZERO)
            );
            order.push(leased.stored.id);
            let settled = queue.settle(leased.lease, Some(attempt(200)), Next::Delivered);
            assert_eq!(settled.await.unwrap(), Ownership::Owned);
        }
    }
    let mut all = ids.clone();
    all.push(later);
    let found: HashSet<_> = order.iter().copied().collect();
    assert_eq!((order.len(), found), (10, all.into_iter().collect()));
    let of_lane: Vec<_> = order.iter().filter(|id| ids[6..].contains(id)).collect();
    assert_eq!(of_lane, ids[6..].iter().collect::<Vec<_>>());
}

async fn waiting_units_of_an_earlier_time_end_in_steps(queue: &dyn Both, clock: &HandClock) {
    for (endpoint, kind, status) in [
        (260, ActKind::Cancel, Status::Cancelled),
        (
            261,
            ActKind::MakeDead {
                reason: Reason::Paused,
            },
            Status::Dead,
        ),
    ] {
        let mut ids = Vec::new();
        for number in 0..6 {
            let id = format!("end-{endpoint}-{number}");
            ids.push(accept(queue, &event(28, endpoint, &id, Start::Anyone)).await);
            // IDs are ordered by the wall clock of the machine
            tokio::time::sleep(MS * 2).await;
        }
        settle_one(queue, endpoint, 500, Next::RetryIn(WINDOW)).await;
        clock.advance(MS);
        let until = ids[4].drawn_at();
        assert_eq!(walk(queue, kind, endpoint, Some(until)).await, 4);
        let rows = queue.rows(Scope::All, &ids, UnitsShown::All).await.unwrap();
        for (at, row) in rows.iter().enumerate() {
            let expected = if at < 4 { status } else { Status::Pending };
            assert_eq!(row.units[0].status, expected, "{at}");
            let reason = (at < 4 && status == Status::Dead).then_some(Reason::Paused);
            assert_eq!(row.units[0].reason, reason);
        }
        assert_eq!(walk(queue, kind, endpoint, None).await, 2);
        assert!(take(queue, FIRST_ENDPOINT + endpoint, 9).await.is_empty());
    }
}

async fn missing_unit_is_added_once(queue: &dyn Both) {
    let id = accept(queue, &event(29, 270, "missing", Start::Anyone)).await;
    settle_one(queue, 270, 200, Next::Delivered).await;
    let targets = [270, 271].map(|number| TargetId(FIRST_ENDPOINT + number));
    let add = Act {
        targets: targets.into(),
        ..act(
            ActKind::Add {
                cause: Cause::Replay,
                lane: None,
            },
            Which::Ids(vec![id]),
        )
    };
    let other = Scope::of(OriginId(FIRST_TENANT + 28));
    assert_eq!(queue.act(other, &add, 9).await.unwrap().done, 0);
    for done in [1, 0] {
        assert_eq!(queue.act(Scope::All, &add, 9).await.unwrap().done, done);
    }
    let leased = take(queue, FIRST_ENDPOINT + 271, 9).await;
    assert_eq!(leased.len(), 1);
    assert_eq!((leased[0].attempts, leased[0].cause), (0, Cause::Replay));
    let settled = queue.settle(leased[0].lease, Some(attempt(500)), Next::Dead(Reason::Age));
    assert_eq!(settled.await.unwrap(), Ownership::Owned);
    // dead units of one endpoint, since a time
    let filter = Filter {
        targets: [targets[1]].into(),
        statuses: Statuses::of(&[Status::Dead]),
        since: Some(id.drawn_at()),
        ..Filter::default()
    };
    let replay = ActKind::Replay {
        delivered: false,
        cause: Cause::Replay,
    };
    for done in [1, 0] {
        let act = act(replay, Which::Found(filter.clone(), None));
        assert_eq!(queue.act(Scope::All, &act, 9).await.unwrap().done, done);
    }
    let leased = take(queue, FIRST_ENDPOINT + 271, 9).await;
    assert_eq!(leased[0].lease.attempt, 2, "numbers of attempts only grow");
}
