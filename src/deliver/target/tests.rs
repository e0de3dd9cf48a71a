use tokio::time::timeout;

use super::*;
use crate::clock::{Clock as _, SystemClock};
use crate::store::turns::MEMORY;
use crate::units::Rate;

#[tokio::test]
async fn only_used_slots_wake_the_worker() {
    let memory = Arc::<Memory>::default();
    let target = Arc::new(Target::new(TargetId(1), Arc::clone(&memory)));
    let mut slots = target.reserve(9);
    assert_eq!((slots.len(), target.reserve(9).len()), (1, 0));
    let used = slots.pop().map(|slot| slot.hold(7));
    drop(slots);
    drop(target.reserve(9));
    assert!(timeout(Duration::ZERO, memory.freed()).await.is_err());
    assert_eq!((memory.held(), target.held()), (7, 7));
    drop(used);
    assert_eq!((memory.held(), target.held()), (0, 0));
    assert!(
        timeout(Duration::from_secs(9), memory.freed())
            .await
            .is_ok()
    );
    drop(target.reserve(9));
    assert!(timeout(Duration::ZERO, memory.freed()).await.is_err());
}

#[tokio::test]
async fn freed_memory_wakes_other_targets() {
    let memory = Arc::<Memory>::default();
    let target = Arc::new(Target::new(TargetId(1), Arc::clone(&memory)));
    target.set_backlog(false);
    let slot = target.begin(7, SystemClock.mono());
    assert!(slot.is_some());
    drop(slot);
    assert!(
        timeout(Duration::ZERO, memory.freed()).await.is_err(),
        "no target waits"
    );
    let slot = target.begin(7, SystemClock.mono());
    memory.set_short(true);
    drop(slot);
    assert!(
        timeout(Duration::from_secs(9), memory.freed())
            .await
            .is_ok()
    );
}

#[test]
fn delivery_without_memory_does_not_begin_at_once() {
    let memory = Arc::<Memory>::default();
    let [one, other] = [1, 2].map(|id| Arc::new(Target::new(TargetId(id), Arc::clone(&memory))));
    let begin = |target: &Arc<Target>, bytes| {
        target.set_backlog(false);
        target.begin(bytes, SystemClock.mono())
    };
    let held = begin(&one, MEMORY - 10).unwrap();
    assert!(begin(&other, 11).is_none() && other.has_backlog());
    assert!(begin(&other, 10).is_some());
    drop(held);
    assert!(begin(&other, 11).is_some());
}

/// Events are published faster than an endpoint takes them: those that wait get every second attempt.
#[test]
fn new_events_leave_every_second_attempt_to_those_that_wait() {
    let id = TargetId(crate::store::queue::FIRST_ENDPOINT);
    let target = Arc::new(Target::new(id, Arc::default()));
    let now = SystemClock.mono();
    for _ in 0..3 {
        assert!(target.begin_new(1, now).is_some(), "nothing waits");
    }
    let held = target.begin_new(1, now).unwrap();
    assert!(target.begin_new(1, now).is_none() && target.has_backlog());
    drop(held);
    for _ in 0..3 {
        assert!(target.begin_new(1, now).is_none(), "others come first");
        let waited = target.reserve(1).pop().unwrap().hold(1);
        target.record_turn(Turn::First);
        drop(waited);
        assert!(target.begin_new(1, now).is_some());
    }
    assert!(target.begin_new(1, now).is_none());
    target.set_backlog(false);
    assert!(target.begin_new(1, now).is_some());
}

#[test]
fn ended_attempt_keeps_its_memory_until_its_result_is_saved() {
    let memory = Arc::<Memory>::default();
    let target = Arc::new(Target::new(TargetId(1), Arc::clone(&memory)));
    target.set_backlog(false);
    let slot = target.begin(7, SystemClock.mono()).unwrap();
    assert!(target.reserve(1).is_empty());
    let held = slot.end();
    assert_eq!((target.reserve(1).len(), memory.held()), (1, 7));
    drop(held);
    assert_eq!((memory.held(), target.held()), (0, 0));
}

#[test]
fn token_of_an_attempt_that_does_not_begin_is_given_back() {
    let id = TargetId(crate::store::queue::FIRST_ENDPOINT);
    let target = Arc::new(Target::new(id, Arc::default()));
    let rate = Quota {
        rate: Rate {
            count: std::num::NonZeroU32::MIN,
            per: Duration::from_secs(3600),
        },
        burst: std::num::NonZeroU32::MIN,
    };
    target.follow_endpoint(9, Some(rate));
    let now = SystemClock.mono();
    let take = || {
        target.set_backlog(false);
        target.begin_new(1, now)
    };
    for _ in 0..3 {
        assert!(take().is_some(), "the one before was a duplicate");
    }
    drop(take().unwrap().spend());
    assert!(take().is_none());
}
