//! The contract of every archive: queries and acts.
use bytes::Bytes;
use std::sync::Arc;

use super::queue::{Both, MS, attempt, dead, delivery, keyed, new, status, take};
use super::{LEASE, WINDOW, key};
use crate::retry::Reason;
use crate::store::archive::{
    Act, ActKind, Filter, Forgetting, Note, Order, Scope, Status, Statuses, UnitsShown, Which,
};
use crate::store::queue::{
    Accept, Accepted, Cause, Dedupe, DeliveryRef, Lane, Next, OnDead, OriginId, Start, TargetId,
};
use crate::store::{ClaimResult, Ownership, Token};

/// Runs everything below.
pub(crate) async fn holds(queue: &dyn Both) {
    page_of_several_origins_is_one_list(queue).await;
    acts_are_done_and_audited(queue).await;
    page_continues_after_the_last(queue).await;
    page_has_what_the_filter_selects(queue).await;
    steps_of_an_act_share_one_audit_row(queue).await;
    notes_of_one_act_share_one_audit_row(queue).await;
    forgotten_id_counts_as_new(queue).await;
    waiting_delivery_is_attempted_now(queue).await;
    erased_undelivered_delivery_counts_as_new(queue).await;
    erasing_spares_the_entry_of_a_later_delivery(queue).await;
}

async fn waiting_delivery_is_attempted_now(queue: &dyn Both) {
    let act = async || {
        let filter = Filter {
            statuses: Statuses::waiting(),
            targets: [TargetId(29)].into(),
            ..Filter::default()
        };
        let which = Which::Found(filter, None);
        let act = Act {
            kind: ActKind::AttemptNow,
            which,
            targets: Arc::default(),
            who: "anna".into(),
            reason: "drain".into(),
            description: None,
            goes_on: None,
        };
        queue.act(Scope::All, &act, 100).await.unwrap().done
    };
    let mut ids = Vec::new();
    for number in 0..3_u8 {
        let mut one = delivery(29, Start::Mine(LEASE));
        // the third waits behind the second
        one.to[0].lane = (number > 0).then_some(Lane([1; 16]));
        ids.push(one.id);
        if let Some(lease) = new(queue.accept(Arc::new(one), Dedupe::None).await.unwrap()).first() {
            let next = if number == 0 {
                Next::RetryIn(LEASE)
            } else {
                Next::Later(LEASE)
            };
            assert_eq!(
                queue
                    .settle(*lease, Some(attempt(503)), next)
                    .await
                    .unwrap(),
                Ownership::Owned
            );
        }
    }
    assert!(take(queue, 29, 9).await.is_empty());
    assert_eq!(act().await, 2);
    let taken = take(queue, 29, 9).await;
    let found: Vec<_> = taken
        .iter()
        .map(|leased| (leased.stored.id, leased.attempts, leased.cause))
        .collect();
    assert_eq!(
        found,
        [(ids[1], 0, Cause::Schedule), (ids[0], 1, Cause::Schedule)],
        "with the budget it had, the first attempt in its turn"
    );
    assert_eq!(
        act().await,
        0,
        "what is being attempted, or waits behind others, is left alone"
    );
}

async fn purge(queue: &dyn Both, id: DeliveryRef) {
    let act = Act {
        kind: ActKind::Purge { waiting: true },
        which: Which::Ids(vec![id]),
        targets: Arc::default(),
        who: "anna".into(),
        reason: "purge".into(),
        description: None,
        goes_on: None,
    };
    assert_eq!(queue.act(Scope::All, &act, 9).await.unwrap().done, 1);
}

/// A key is a duplicate only of a delivery that was delivered, or still exists.
async fn erased_undelivered_delivery_counts_as_new(queue: &dyn Both) {
    let again = async |byte| {
        queue
            .accept(
                Arc::new(delivery(27, Start::Anyone)),
                keyed(byte, OnDead::Keep),
            )
            .await
            .unwrap()
    };
    for (byte, next) in [
        (70, None),
        (71, Some(Next::Dead(Reason::Attempts))),
        (72, Some(Next::Cancelled)),
        (73, Some(Next::Delivered)),
    ] {
        let first = delivery(27, Start::Mine(LEASE));
        let lease = new(queue
            .accept(Arc::new(first.clone()), keyed(byte, OnDead::Keep))
            .await
            .unwrap())
        .remove(0);
        if let Some(next) = next {
            assert_eq!(
                queue.settle(lease, Some(attempt(410)), next).await.unwrap(),
                Ownership::Owned
            );
        }
        purge(queue, first.id).await;
        let delivered = next == Some(Next::Delivered);
        let claimed = queue.claim(key(byte), Token(1), LEASE).await.unwrap();
        assert_eq!(
            claimed,
            if delivered {
                ClaimResult::Committed
            } else {
                ClaimResult::Fresh
            },
            "{next:?}"
        );
        queue.release_soon(key(byte), Token(1));
        let accepted = again(byte).await;
        assert_eq!(
            accepted,
            if delivered {
                Accepted::Duplicate { of: None }
            } else {
                Accepted::New(Vec::new())
            },
            "{next:?}"
        );
    }
}

async fn erasing_spares_the_entry_of_a_later_delivery(queue: &dyn Both) {
    let (first, second) = (
        dead(queue, 28, keyed(74, OnDead::Keep)).await,
        delivery(28, Start::Anyone),
    );
    let forgetting = Forgetting {
        keys: vec![key(74)],
        who: "anna".into(),
        which: "evt".into(),
        reason: "redo".into(),
    };
    assert_eq!(queue.forget(forgetting).await.unwrap(), 1);
    assert_eq!(
        queue
            .accept(Arc::new(second.clone()), keyed(74, OnDead::Keep))
            .await
            .unwrap(),
        Accepted::New(Vec::new())
    );
    purge(queue, first.id).await;
    let third = queue
        .accept(
            Arc::new(delivery(28, Start::Anyone)),
            keyed(74, OnDead::Keep),
        )
        .await
        .unwrap();
    assert_eq!(
        third,
        Accepted::Duplicate {
            of: Some(second.id)
        }
    );
}

async fn acts_are_done_and_audited(queue: &dyn Both) {
    let act = async |kind, which, step| {
        let act = Act {
            kind,
            which,
            targets: Arc::default(),
            who: "anna".into(),
            reason: "because".into(),
            description: None,
            goes_on: None,
        };
        queue
            .act(Scope::of(OriginId(21)), &act, step)
            .await
            .unwrap()
    };
    let first = dead(queue, 21, Dedupe::None).await;
    let other = dead(queue, 22, Dedupe::None).await;
    let second = delivery(21, Start::Mine(LEASE));
    let lease = new(queue
        .accept(Arc::new(second.clone()), Dedupe::None)
        .await
        .unwrap())
    .remove(0);
    let replay = ActKind::Replay {
        delivered: false,
        cause: Cause::Replay,
    };
    assert_eq!(
        act(replay, Which::Ids(vec![other.id]), 9).await.done,
        0,
        "not its scope"
    );
    let filter = Filter {
        statuses: Statuses::of(&[Status::Dead]),
        targets: [TargetId(21)].into(),
        ..Filter::default()
    };
    assert_eq!(act(replay, Which::Found(filter, None), 9).await.done, 1);
    let replayed = take(queue, 21, 9).await.remove(0);
    assert_eq!(
        (replayed.stored.id, replayed.attempts, replayed.cause),
        (first.id, 0, Cause::Replay)
    );
    assert_eq!(
        queue
            .settle(replayed.lease, Some(attempt(200)), Next::Delivered)
            .await
            .unwrap(),
        Ownership::Owned
    );
    assert_eq!(
        act(replay, Which::Ids(vec![first.id]), 9).await.done,
        0,
        "it was handed on"
    );
    let twice = ActKind::Replay {
        delivered: true,
        cause: Cause::Replay,
    };
    assert_eq!(act(twice, Which::Ids(vec![first.id]), 9).await.done, 1);
    assert_eq!(
        take(queue, 21, 9).await.remove(0).lease.number,
        replayed.lease.number + 1
    );
    let cancelled = act(ActKind::Cancel, Which::Ids(vec![first.id, second.id]), 1).await;
    assert_eq!(
        (cancelled.done, cancelled.next, cancelled.more),
        (1, Some(first.id), true)
    );
    assert_eq!(
        act(ActKind::Cancel, Which::Ids(vec![second.id]), 1)
            .await
            .done,
        1
    );
    assert_eq!(status(queue, second.id).await, [Status::Cancelled]);
    assert_eq!(
        queue
            .settle(lease, Some(attempt(500)), Next::RetryIn(LEASE))
            .await
            .unwrap(),
        Ownership::Lost,
        "it was cancelled over its head"
    );
    assert_eq!(status(queue, second.id).await, [Status::Cancelled]);
    let before = queue.totals().await.unwrap();
    assert_eq!(
        act(
            ActKind::Purge { waiting: true },
            Which::Ids(vec![first.id, second.id]),
            9
        )
        .await
        .done,
        2
    );
    assert_eq!(
        queue
            .get(Scope::All, second.id, UnitsShown::All)
            .await
            .unwrap(),
        None
    );
    let (after, sum) = (
        queue.totals().await.unwrap(),
        |counts: &crate::store::archive::Counts| {
            counts
                .origins
                .iter()
                .find(|(origin, _, _)| *origin == OriginId(21))
                .map(|(_, rows, bytes)| (*rows, *bytes))
                .unwrap()
        },
    );
    assert_eq!(
        (sum(&before).0, sum(&after)),
        (2, (0, 0)),
        "counted to the last byte"
    );
    let audit = queue.audit(1).await.unwrap().remove(0);
    assert_eq!(
        (&*audit.who, &*audit.what, &*audit.reason, audit.done),
        ("anna", "purge", "because", 2)
    );
}

async fn page_continues_after_the_last(queue: &dyn Both) {
    let mut ids = Vec::new();
    for number in 0..25_u8 {
        let body = Bytes::from(format!("{{\"customer\":\"c-{number}\"}}"));
        let event_type = Some(if number % 2 == 0 { "even" } else { "odd" }.into());
        let one = Accept {
            body,
            event_type,
            delivery_id: Some(format!("evt_{number}").into()),
            ..delivery(23, Start::Anyone)
        };
        ids.push(one.id);
        new(queue.accept(Arc::new(one), Dedupe::None).await.unwrap());
    }
    let scope = Scope::of(OriginId(23));
    for order in [Order::Newest, Order::Oldest] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = queue
                .page(
                    scope.clone(),
                    &Filter::default(),
                    order,
                    after,
                    7,
                    UnitsShown::All,
                )
                .await
                .unwrap();
            found.extend(page.rows.iter().map(|row| row.id));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        if order == Order::Newest {
            found.reverse();
        }
        assert_eq!(found, ids, "{order:?}");
    }
    let count = async |scope: Scope, filter: Filter| {
        queue
            .page(scope, &filter, Order::Newest, None, 100, UnitsShown::All)
            .await
            .unwrap()
            .rows
            .len()
    };
    assert_eq!(
        count(
            scope.clone(),
            Filter {
                text: Some(b"\"c-7\""[..].into()),
                ..Filter::default()
            }
        )
        .await,
        1
    );
    assert_eq!(
        count(
            scope.clone(),
            Filter {
                event_type: Some("odd".into()),
                ..Filter::default()
            }
        )
        .await,
        12
    );
    let given = |id: &str| Filter {
        delivery_id: Some(id.into()),
        ..Filter::default()
    };
    assert_eq!(count(Scope::All, given("evt_7")).await, 1);
    assert_eq!(count(Scope::of(OriginId(22)), given("evt_7")).await, 0);
    let waiting = Filter {
        statuses: Statuses::of(&[Status::Pending]),
        targets: [TargetId(23)].into(),
        ..Filter::default()
    };
    assert_eq!(count(Scope::All, waiting.clone()).await, 25);
    assert_eq!(count(Scope::of(OriginId(22)), waiting).await, 0);
    let since = Some(ids[10].drawn_at());
    assert!(
        (1..=15).contains(
            &count(
                scope.clone(),
                Filter {
                    since,
                    until: Some(ids[24].drawn_at() + MS),
                    ..Filter::default()
                }
            )
            .await
        ) || ids[10].drawn_at() == ids[9].drawn_at()
    );
    assert_eq!(
        count(
            scope.clone(),
            Filter {
                until: Some(ids[0].drawn_at()),
                ..Filter::default()
            }
        )
        .await,
        0
    );
}

/// A route that others were merged into has several numbers: its list is one list, in order.
async fn page_of_several_origins_is_one_list(queue: &dyn Both) {
    let mut ids = Vec::new();
    for number in 0..24 {
        let one = delivery(26 + number % 3, Start::Anyone);
        if number % 3 < 2 {
            ids.push(one.id);
        }
        new(queue.accept(Arc::new(one), Dedupe::None).await.unwrap());
    }
    let waiting = Statuses::of(&[Status::Pending]);
    for (statuses, targets) in [
        (Statuses::default(), Vec::new()),
        (waiting, vec![TargetId(26), TargetId(27)]),
    ] {
        let filter = Filter {
            statuses,
            targets: targets.into(),
            ..Filter::default()
        };
        for order in [Order::Newest, Order::Oldest] {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let scope = Scope::Origins(Arc::new([OriginId(26), OriginId(27)]));
                let page = queue
                    .page(scope, &filter, order, after, 5, UnitsShown::All)
                    .await
                    .unwrap();
                found.extend(page.rows.iter().map(|row| row.id));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            if order == Order::Newest {
                found.reverse();
            }
            assert_eq!(found, ids, "{order:?}");
        }
    }
    for number in 26..29 {
        for leased in take(queue, number, 99).await {
            assert_eq!(
                queue
                    .settle(leased.lease, None, Next::Delivered)
                    .await
                    .unwrap(),
                Ownership::Owned
            );
        }
    }
}

async fn page_has_what_the_filter_selects(queue: &dyn Both) {
    let scope = Scope::of(OriginId(24));
    let pending = delivery(24, Start::Anyone);
    let retrying = delivery(24, Start::Mine(LEASE));
    let lease = new(queue
        .accept(Arc::new(retrying.clone()), Dedupe::None)
        .await
        .unwrap())
    .remove(0);
    assert_eq!(
        queue
            .settle(lease, Some(attempt(503)), Next::RetryIn(LEASE))
            .await
            .unwrap(),
        Ownership::Owned
    );
    new(queue
        .accept(Arc::new(pending.clone()), Dedupe::None)
        .await
        .unwrap());
    let dead = dead(queue, 24, Dedupe::None).await;
    let delivered = delivery(24, Start::Mine(LEASE));
    let lease = new(queue
        .accept(Arc::new(delivered.clone()), Dedupe::None)
        .await
        .unwrap())
    .remove(0);
    assert_eq!(
        queue
            .settle(lease, Some(attempt(204)), Next::Delivered)
            .await
            .unwrap(),
        Ownership::Owned
    );
    let found = async |statuses: &[Status], gone: &[u32], parked| {
        let gone = gone.iter().map(|target| TargetId(*target)).collect();
        let filter = Filter {
            statuses: Statuses::of(statuses),
            gone,
            parked,
            ..Filter::default()
        };
        let page = queue
            .page(
                scope.clone(),
                &filter,
                Order::Oldest,
                None,
                100,
                UnitsShown::All,
            )
            .await
            .unwrap();
        page.rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(found(&[], &[], false).await.len(), 4);
    assert_eq!(found(&[Status::Pending], &[], false).await, [pending.id]);
    assert_eq!(found(&[Status::Retrying], &[], false).await, [retrying.id]);
    assert_eq!(
        found(&[Status::Dead, Status::Cancelled], &[], false).await,
        [dead.id]
    );
    assert_eq!(
        found(&[Status::Delivered], &[], false).await,
        [delivered.id]
    );
    assert_eq!(
        found(&[Status::Dead, Status::Delivered], &[], false).await,
        [dead.id, delivered.id]
    );
    assert_eq!(
        found(&[Status::Retrying, Status::Dead], &[], false).await,
        [retrying.id, dead.id]
    );
    assert_eq!(
        found(
            &[Status::Pending, Status::Retrying, Status::Dead],
            &[24],
            false
        )
        .await,
        [dead.id],
        "what is parked is not pending"
    );
    let mut parked = vec![pending.id, retrying.id];
    parked.sort_unstable();
    assert_eq!(found(&[], &[24], true).await, parked);
    assert_eq!(found(&[], &[23], true).await, []);
    assert_eq!(found(&[Status::Delivered], &[24], true).await.len(), 3);
    let rows = queue
        .rows(
            scope,
            &[delivered.id, DeliveryRef::draw(), pending.id],
            UnitsShown::All,
        )
        .await
        .unwrap();
    assert_eq!(
        rows.iter().map(|row| row.id).collect::<Vec<_>>(),
        [delivered.id, pending.id]
    );
    assert_eq!(
        queue
            .rows(Scope::of(OriginId(23)), &[pending.id], UnitsShown::All)
            .await
            .unwrap(),
        []
    );
    let last = rows[0].units[0].last.clone().unwrap();
    assert_eq!(
        (
            last.number,
            last.status,
            last.error,
            last.took,
            last.started
        ),
        (1, Some(204), None, attempt(1).took, attempt(1).started)
    );
    assert_eq!(rows[1].units[0].last, None);
}

async fn steps_of_an_act_share_one_audit_row(queue: &dyn Both) {
    let waits = delivery(25, Start::Anyone);
    new(queue
        .accept(Arc::new(waits.clone()), Dedupe::None)
        .await
        .unwrap());
    let (one, other) = (
        dead(queue, 25, Dedupe::None).await,
        dead(queue, 25, Dedupe::None).await,
    );
    let mut act = Act {
        kind: ActKind::Purge { waiting: false },
        which: Which::Ids(vec![one.id, waits.id]),
        targets: Arc::default(),
        who: "ben".into(),
        reason: "steps".into(),
        description: None,
        goes_on: None,
    };
    let first = queue.act(Scope::All, &act, 9).await.unwrap();
    assert_eq!(first.done, 1, "what waits stays, unless it is said");
    act.which = Which::Ids(vec![other.id]);
    act.goes_on = first.audit;
    let second = queue.act(Scope::All, &act, 9).await.unwrap();
    assert_eq!((second.done, second.audit), (1, first.audit));
    let audit = queue.audit(9).await.unwrap();
    assert_eq!(
        audit
            .iter()
            .filter(|row| &*row.who == "ben")
            .map(|row| row.done)
            .collect::<Vec<_>>(),
        [2]
    );
    assert_eq!(status(queue, waits.id).await, [Status::Pending]);
    act.kind = ActKind::Purge { waiting: true };
    act.which = Which::Ids(vec![waits.id]);
    assert_eq!(queue.act(Scope::All, &act, 9).await.unwrap().done, 1);
}

async fn notes_of_one_act_share_one_audit_row(queue: &dyn Both) {
    let mut note = Note {
        who: "anna".into(),
        what: "reverify",
        which: "route acme".into(),
        reason: "the secret was wrong".into(),
        done: 0,
        goes_on: None,
    };
    let row = queue.note(note.clone()).await.unwrap();
    (note.done, note.goes_on) = (3, Some(row));
    assert_eq!(queue.note(note).await.unwrap(), row);
    let audit = queue.audit(1).await.unwrap().remove(0);
    assert_eq!(
        (
            &*audit.who,
            &*audit.what,
            &*audit.which,
            &*audit.reason,
            audit.done
        ),
        ("anna", "reverify", "route acme", "the secret was wrong", 3)
    );
}

async fn forgotten_id_counts_as_new(queue: &dyn Both) {
    let forget = async |keys: &[u8]| {
        let keys = keys.iter().map(|byte| key(*byte)).collect();
        queue
            .forget(Forgetting {
                keys,
                who: "anna".into(),
                which: "evt".into(),
                reason: "redo".into(),
            })
            .await
            .unwrap()
    };
    let first = delivery(26, Start::Anyone);
    new(queue
        .accept(Arc::new(first), keyed(60, OnDead::Revive))
        .await
        .unwrap());
    assert_eq!(
        queue.claim(key(60), Token(1), LEASE).await.unwrap(),
        ClaimResult::Committed
    );
    assert_eq!(forget(&[60]).await, 1, "though it waits");
    let second = delivery(26, Start::Anyone);
    new(queue
        .accept(Arc::new(second), keyed(60, OnDead::Revive))
        .await
        .unwrap());
    assert_eq!(
        queue.claim(key(60), Token(1), LEASE).await.unwrap(),
        ClaimResult::Committed
    );
    // one that only the ledger knows
    assert_eq!(
        queue.claim(key(61), Token(1), LEASE).await.unwrap(),
        ClaimResult::Fresh
    );
    assert_eq!(forget(&[61]).await, 0);
    assert_eq!(
        queue.commit(key(61), Token(1), WINDOW).await.unwrap(),
        Ownership::Owned,
        "what is in flight is left alone"
    );
    assert_eq!(forget(&[61, 62]).await, 1);
    assert_eq!(
        queue.claim(key(61), Token(2), LEASE).await.unwrap(),
        ClaimResult::Fresh
    );
    queue.release_soon(key(61), Token(2));
    let audit = queue.audit(1).await.unwrap().remove(0);
    assert_eq!(
        (&*audit.who, &*audit.what, &*audit.which, audit.done),
        ("anna", "forget", "evt", 1)
    );
}
