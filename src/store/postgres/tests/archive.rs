//! The archive over a server.
use std::sync::Arc;

use super::seed::{Seed, Unit, sow};
use super::*;
use crate::store::archive::{
    Act, ActKind, Archive as _, AttemptsOf, Filter, Order, Page, Scope, Status, Statuses,
    TargetCounts, UnitsShown, WaitingCount, WaitingUnits, Which,
};
use crate::store::contract;
use crate::store::postgres::Postgres;
use crate::store::queue::{Cause, DeliveryRef, FIRST_ENDPOINT, FIRST_TENANT, OriginId, TargetId};

/// Returns all deliveries that match, page by page, and the number of pages.
async fn found(
    store: &Postgres,
    scope: &Scope,
    filter: &Filter,
    order: Order,
    units: UnitsShown,
) -> (Vec<DeliveryRef>, usize) {
    let (mut ids, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = store.page(scope.clone(), filter, order, after, 70, units);
        let Page { rows, next } = page.await.unwrap();
        ids.extend(rows.iter().map(|row| row.id));
        (after, pages) = (next, pages + 1);
        if after.is_none() {
            return (ids, pages);
        }
    }
}

fn act(kind: ActKind, which: Which, targets: &[u32]) -> Act {
    Act {
        kind,
        which,
        targets: targets.iter().copied().map(TargetId).collect(),
        who: "anna".into(),
        reason: "be\0cause".into(),
        description: None,
        goes_on: None,
    }
}

#[tokio::test]
async fn archive_contract_holds() {
    for database in Database::both() {
        contract::archive::holds(&database.open().await).await;
    }
}

#[tokio::test]
async fn contract_of_attempts_holds() {
    for database in Database::both() {
        contract::attempts::holds(&database.open().await, &database.clock).await;
    }
}

#[tokio::test]
async fn contract_of_endpoints_holds() {
    for database in Database::both() {
        contract::endpoints::holds(&database.open().await, &database.clock).await;
    }
}

#[tokio::test]
async fn contract_of_events_holds() {
    for database in Database::both() {
        contract::events::holds(&database.open().await, &database.clock).await;
    }
}

#[tokio::test]
async fn search_goes_on_past_what_one_step_looks_at() {
    let database = Database::new();
    let store = database.open().await;
    let mut seeds = Vec::new();
    for number in 0..1300_u32 {
        let unit = match number % 100 {
            7 => Unit::Dead,
            8 => Unit::Waiting,
            9 => Unit::Cancelled,
            _ => Unit::Delivered,
        };
        let body = format!("{{\"customer\":\"c-{number}\"}}");
        seeds.push(Seed {
            body,
            event_type: if number % 2 == 0 { "even" } else { "odd" },
            ..Seed::of(1 + number % 3, unit)
        });
    }
    sow(&database, &seeds);
    let expected = |wanted: &dyn Fn(usize, &Seed) -> bool| {
        let all = seeds.iter().enumerate();
        let ids = all.filter(|(number, seed)| wanted(*number, seed));
        ids.map(|(_, seed)| seed.id).collect::<Vec<_>>()
    };
    let both = Scope::Origins(Arc::new([OriginId(1), OriginId(2)]));
    let with = |statuses: &[Status]| Filter {
        statuses: Statuses::of(statuses),
        ..Filter::default()
    };
    for (scope, filter, wanted) in [
        (&Scope::All, Filter::default(), expected(&|_, _| true)),
        (
            &both,
            with(&[Status::Dead, Status::Delivered, Status::Retrying]),
            expected(&|_, seed| seed.origin < 3 && seed.unit != Unit::Cancelled),
        ),
        (
            &Scope::All,
            with(&[Status::Cancelled]),
            expected(&|_, seed| seed.unit == Unit::Cancelled),
        ),
        (
            &both,
            Filter {
                targets: [TargetId(1)].into(),
                ..with(&[Status::Retrying])
            },
            expected(&|_, seed| seed.origin == 1 && seed.unit == Unit::Waiting),
        ),
        (
            &both,
            Filter {
                text: Some(b"c-12"[..].into()),
                event_type: Some("even".into()),
                ..Filter::default()
            },
            expected(&|number, seed| {
                seed.origin < 3 && number % 2 == 0 && number.to_string().starts_with("12")
            }),
        ),
    ] {
        for units in [UnitsShown::All, UnitsShown::First(0)] {
            let (mut ids, _) = found(&store, scope, &filter, Order::Newest, units).await;
            ids.reverse();
            assert!(
                ids == wanted,
                "{filter:?}: {} of {}",
                ids.len(),
                wanted.len()
            );
            let (ids, _) = found(&store, scope, &filter, Order::Oldest, units).await;
            assert!(
                ids == wanted,
                "{filter:?}: {} of {}",
                ids.len(),
                wanted.len()
            );
        }
    }
    let totals = store.totals().await.unwrap();
    let origins: Vec<_> = totals
        .origins
        .iter()
        .map(|(of, rows, _)| (of.0, *rows))
        .collect();
    assert_eq!(origins, [(1, 434), (2, 433), (3, 433)]);
    let counts = |number: u32| {
        let of =
            |unit| expected(&|_, seed| seed.origin == number && seed.unit == unit).len() as u64;
        TargetCounts {
            target: TargetId(number),
            waiting: of(Unit::Waiting),
            dead: of(Unit::Dead),
            cancelled: of(Unit::Cancelled),
        }
    };
    assert_eq!(totals.targets, [counts(1), counts(2), counts(3)]);
}

#[tokio::test]
async fn step_reads_a_bounded_number_of_units() {
    let database = Database::new();
    let store = database.open().await;
    let tenant = OriginId(FIRST_TENANT + 4);
    let events: Vec<_> = (0..9)
        .map(|_| Seed {
            targets: (FIRST_ENDPOINT + 1, 3000),
            ..Seed::of(tenant.0, Unit::Waiting)
        })
        .collect();
    sow(&database, &events);
    let (scope, filter) = (Scope::of(tenant), Filter::default());
    let ids: Vec<_> = events.iter().map(|event| event.id).collect();
    let order = Order::Oldest;
    let whole = found(&store, &scope, &filter, order, UnitsShown::All).await;
    assert_eq!(whole, (ids.clone(), 2), "each step reads 20,000 units");
    let page = store.page(scope.clone(), &filter, order, None, 1, UnitsShown::First(2));
    let row = page.await.unwrap().rows.remove(0);
    let shown: Vec<_> = row.units.iter().map(|unit| unit.target.0).collect();
    assert_eq!(shown, [FIRST_ENDPOINT + 1, FIRST_ENDPOINT + 2]);
    assert!(
        row.units
            .iter()
            .all(|unit| unit.status == Status::Retrying && unit.last.is_some())
    );
    let one = UnitsShown::Of(TargetId(FIRST_ENDPOINT + 3000));
    let shown = store
        .get(scope.clone(), ids[0], one)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((shown.units.len(), shown.attempts.len()), (1, 1));
    let all = store
        .rows(scope.clone(), &ids[..2], UnitsShown::All)
        .await
        .unwrap();
    assert!(all.iter().all(|row| row.units.len() == 3000));
    assert!(
        store
            .get(Scope::of(OriginId(1)), ids[0], one)
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        store
            .stored(Scope::of(OriginId(1)), ids[0])
            .await
            .unwrap()
            .is_none()
    );
    let stored = store.stored(scope.clone(), ids[0]).await.unwrap().unwrap();
    assert_eq!((stored.origin, &*stored.body), (tenant, &b"{}"[..]));
    let sums = store.sums(tenant).await.unwrap();
    assert_eq!((sums.deliveries, sums.waiting, sums.dead), (9, 27_000, 0));
    let waiting = WaitingCount {
        target: TargetId(FIRST_ENDPOINT + 7),
        since: None,
        until: None,
        only_new: false,
        most: 5,
    };
    assert_eq!(store.count_waiting(waiting).await.unwrap(), 5);
    let all = WaitingCount {
        most: 50,
        ..waiting
    };
    assert_eq!(store.count_waiting(all).await.unwrap(), 9);
    let new = WaitingCount {
        only_new: true,
        ..all
    };
    assert_eq!(store.count_waiting(new).await.unwrap(), 0);
}

#[tokio::test]
async fn attempts_of_a_delivery_are_listed_in_pieces() {
    let database = Database::new();
    let store = database.open().await;
    let one = Seed {
        targets: (1, 5),
        ..Seed::of(1, Unit::Dead)
    };
    sow(&database, std::slice::from_ref(&one));
    let of = AttemptsOf::Delivery(one.id);
    let (mut targets, mut before) = (Vec::new(), None);
    loop {
        let page = store.attempts(Scope::All, of, before, 2).await.unwrap();
        assert!(page.rows.len() <= 2);
        targets.extend(page.rows.iter().map(|row| row.shown.target.0));
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    targets.sort_unstable();
    assert_eq!(targets, [1, 2, 3, 4, 5]);
    let page = store
        .attempts(Scope::of(OriginId(2)), of, None, 9)
        .await
        .unwrap();
    assert!(page.rows.is_empty(), "not of its scope");
}

#[tokio::test]
async fn act_goes_on_over_steps_with_one_audit_row() {
    let database = Database::new();
    let store = database.open().await;
    let dead: Vec<_> = (0..25).map(|_| Seed::of(1, Unit::Dead)).collect();
    sow(&database, &dead);
    let replay = ActKind::Replay {
        delivered: false,
        cause: Cause::Replay,
    };
    let filter = Filter {
        statuses: Statuses::of(&[Status::Dead]),
        ..Filter::default()
    };
    let mut one = act(replay, Which::Found(filter.clone(), None), &[1]);
    let mut done = 0;
    loop {
        let step = store.act(Scope::of(OriginId(1)), &one, 10).await.unwrap();
        done += step.done;
        one.goes_on = step.audit;
        let Some(next) = step.next else { break };
        one.which = Which::Found(filter.clone(), Some(next));
    }
    assert_eq!(done, 25);
    let audit = store.audit(9).await.unwrap();
    let read: Vec<_> = audit
        .iter()
        .map(|row| (&*row.what, &*row.reason, row.done))
        .collect();
    assert_eq!(read, [("replay", "be\u{fffd}cause", 25)]);
    // those that wait now, but not those that come meanwhile
    database.clock.advance(Duration::from_millis(5));
    let mut units = WaitingUnits {
        target: TargetId(1),
        until: None,
        after: None,
    };
    let (mut cancelled, mut steps) = (0, 0);
    loop {
        let one = act(ActKind::Cancel, Which::Waiting(units.clone()), &[]);
        let step = store.act(Scope::All, &one, 10).await.unwrap();
        if steps == 0 {
            database.clock.advance(Duration::from_millis(5));
            sow(&database, &[Seed::of(1, Unit::Waiting)]);
        }
        (cancelled, steps) = (cancelled + step.done, steps + 1);
        units.after = step.position;
        if units.after.is_none() {
            break;
        }
    }
    assert_eq!(cancelled, 25);
    assert_eq!(store.totals().await.unwrap().targets[0].waiting, 1);
}
