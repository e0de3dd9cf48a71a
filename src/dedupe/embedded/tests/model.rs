//! The queue against a model of it: any sequence of accepts, leases, settlements, lapses and restarts.
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::retry::Reason;
use crate::store::archive::{Act, Deed, Scope, Status, Which};
use crate::store::contract::queue::{attempt, delivery, take};
use crate::store::queue::{Accepted, Cause, Dedupe, DeliveryRef, Lease, Next, OnDead, Queue as _, Start};

#[derive(Clone, Debug)]
enum Step {
    Accept { target: u32, key: Option<u8>, start: u8, dead: bool },
    Repeat(prop::sample::Index),
    Take { target: u32, count: u32 },
    Settle { which: prop::sample::Index, next: u8 },
    Advance(u64),
    Act { which: prop::sample::Index, deed: u8 },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        4 => (0..3_u32, prop::option::of(0..4_u8), 0..3_u8, any::<bool>())
            .prop_map(|(target, key, start, dead)| Step::Accept { target, key, start, dead }),
        1 => index().prop_map(Step::Repeat),
        4 => (0..3_u32, 1..4_u32).prop_map(|(target, count)| Step::Take { target, count }),
        5 => (index(), 0..6_u8).prop_map(|(which, next)| Step::Settle { which, next }),
        3 => (1..30_u64).prop_map(Step::Advance),
        1 => (index(), 0..3_u8).prop_map(|(which, deed)| Step::Act { which, deed }),
        1 => Just(Step::Restart),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Waits { run_at: u64, held: bool, tries: u32 },
    Dead,
    Cancelled,
    Delivered,
}

#[derive(Clone, Debug)]
struct One {
    target: u32,
    place: Place,
    lease: u32,
    /// The last lease of which it is on record what it came to.
    known: u32,
    first: Vec<u32>,
    settled: Vec<u32>,
    accept: (crate::store::queue::Accept, Dedupe),
}

#[derive(Default)]
struct Model {
    now: u64,
    all: BTreeMap<DeliveryRef, One>,
    keys: BTreeMap<u8, DeliveryRef>,
    leases: Vec<Lease>,
}

/// In seconds.
const LEASED: u64 = 20;
const RETRY: u64 = 7;

impl Model {
    async fn accept(&mut self, store: &Embedded, target: u32, name: Option<u8>, start: u8, dead: OnDead) {
        let (start, held, run_at) = match start {
            0 => (Start::Mine(LEASE), true, self.now + LEASED),
            1 => (Start::Anyone, false, self.now),
            _ => (Start::In(Duration::from_secs(5)), false, self.now + 5),
        };
        let offered = delivery(target, start);
        let dedupe = name.map_or(Dedupe::None, |name| Dedupe::Key { key: key(u32::from(name)), window: WINDOW * 9, dead });
        let answer = store.accept(Arc::new(offered.clone()), dedupe).await.unwrap();
        if let Some(of) = name.and_then(|name| self.keys.get(&name)).copied()
            && let Some(before) = self.all.get_mut(&of)
        {
            let raised = dead == OnDead::Revive && matches!(before.place, Place::Dead | Place::Cancelled);
            if raised {
                before.place = Place::Waits { run_at: self.now, held: false, tries: 0 };
            }
            assert_eq!(answer, if raised { Accepted::Revived { of } } else { Accepted::Duplicate { of: Some(of) } });
            return;
        }
        if name.is_some_and(|name| self.keys.contains_key(&name)) {
            assert_eq!(answer, Accepted::Duplicate { of: None }, "it was purged");
            return;
        }
        let Accepted::New(leases) = answer else { panic!("{answer:?}") };
        assert_eq!(leases.len(), usize::from(held));
        self.leases.extend(&leases);
        self.keys.extend(name.map(|name| (name, offered.id)));
        let first: Vec<u32> = leases.iter().map(|lease| lease.number).collect();
        let place = Place::Waits { run_at, held, tries: 0 };
        let one = One { target, place, lease: u32::from(held), known: 0, first, settled: Vec::new(), accept: (offered.clone(), dedupe) };
        self.all.insert(offered.id, one);
    }

    async fn take(&mut self, store: &Embedded, target: u32, count: u32) {
        let taken = take(store, target, count).await;
        let now = self.now;
        let run_at = |one: &One| match one.place {
            Place::Waits { run_at, .. } => (one.target == target && run_at <= now).then_some(run_at),
            Place::Dead | Place::Cancelled | Place::Delivered => None,
        };
        let mut due: Vec<u64> = self.all.values().filter_map(run_at).collect();
        due.sort_unstable();
        due.truncate(usize::try_from(count).unwrap());
        let got: Vec<u64> = taken.iter().map(|leased| run_at(&self.all[&leased.stored.id]).expect("it is due")).collect();
        assert_eq!(got, due, "the longest due");
        for leased in taken {
            let one = self.all.get_mut(&leased.stored.id).unwrap();
            one.lease += 1;
            let Place::Waits { tries, .. } = one.place else { panic!() };
            assert_eq!((leased.lease.number, leased.tries), (one.lease, tries));
            one.place = Place::Waits { run_at: now + LEASED, held: true, tries };
            self.leases.push(leased.lease);
        }
    }

    async fn settle(&mut self, store: &Embedded, lease: Lease, next: u8) {
        let next = match next {
            0 => Next::Delivered,
            1 => Next::RetryIn(Duration::from_secs(RETRY)),
            2 => Next::Dead(Reason::Attempts),
            3 => Next::GiveBack,
            4 => Next::Later(Duration::from_secs(RETRY)),
            _ => Next::Cancelled,
        };
        let tried = !matches!(next, Next::GiveBack | Next::Cancelled);
        let held = store.settle(lease, tried.then(|| attempt(500)), next).await.unwrap();
        let Some(one) = self.all.get_mut(&lease.unit.delivery) else {
            assert_eq!(held, Held::Lost, "it was purged");
            return;
        };
        let given_back = matches!(one.place, Place::Waits { held: false, .. }) && one.lease == lease.number;
        if tried && !given_back {
            one.known = one.known.max(lease.number);
        }
        match one.place {
            Place::Waits { held: true, tries, .. } if one.lease == lease.number => {
                assert_eq!(held, Held::Yes);
                let tries = tries + u32::from(tried && !matches!(next, Next::Later(_)));
                one.place = match next {
                    Next::Delivered => Place::Delivered,
                    Next::RetryIn(_) | Next::Later(_) => Place::Waits { run_at: self.now + RETRY, held: false, tries },
                    Next::GiveBack => Place::Waits { run_at: self.now, held: false, tries },
                    Next::Dead(_) => Place::Dead,
                    Next::Cancelled => Place::Cancelled,
                };
                one.settled.extend((tried || !matches!(next, Next::GiveBack)).then_some(lease.number));
            }
            // given back, and nothing since: the same answer again
            Place::Waits { held: false, .. } if one.lease == lease.number => assert_eq!(held, Held::Yes),
            // a cancellation without a try leaves no trace once the unit goes again
            Place::Waits { .. } | Place::Dead | Place::Cancelled | Place::Delivered => {
                if !one.settled.contains(&lease.number) {
                    assert_eq!(held, Held::Lost);
                }
            }
        }
    }

    async fn act(&mut self, store: &Embedded, id: DeliveryRef, deed: u8) {
        let replay = Deed::Replay { delivered: false, cause: Cause::Replay };
        let deed = [replay, Deed::Cancel, Deed::Purge { waiting: true }][usize::from(deed)];
        let act = Act {
            deed,
            which: Which::Ids(vec![id]),
            target: None,
            who: "model".into(),
            reason: String::new().into(),
            said: None,
            goes_on: None,
        };
        store.act(Scope::All, &act, 5).await.unwrap();
        let now = self.now;
        let Some(one) = self.all.get_mut(&id) else { return };
        match (deed, one.place) {
            (Deed::Purge { .. }, _) => drop(self.all.remove(&id)),
            (Deed::Cancel, Place::Waits { .. }) => {
                one.place = Place::Cancelled;
                one.lease += 1;
            }
            (Deed::Replay { .. }, Place::Dead | Place::Cancelled) => one.place = Place::Waits { run_at: now, held: false, tries: 0 },
            (Deed::Replay { .. }, Place::Waits { held, run_at, .. }) => {
                if !held || run_at <= now {
                    one.place = Place::Waits { run_at: now, held, tries: 0 };
                }
            }
            (Deed::Replay { .. }, Place::Delivered) | (Deed::Cancel, Place::Dead | Place::Cancelled | Place::Delivered) => {}
        }
    }

    /// Whoever leased something is gone.
    fn restart(&mut self) {
        for one in self.all.values_mut() {
            if let Place::Waits { run_at, held: true, tries } = one.place
                && run_at > self.now
            {
                let cut_off = one.lease - one.known;
                let pause = if cut_off < 2 { 0 } else { 1 << (cut_off - 2) };
                one.place = Place::Waits { run_at: self.now + pause, held: false, tries };
            }
        }
    }

    async fn compare(&self, store: &Embedded) {
        for (id, one) in &self.all {
            let unit = store.get(Scope::All, *id).await.unwrap().unwrap().units;
            let status = match one.place {
                Place::Waits { tries: 0, .. } => Status::Pending,
                Place::Waits { .. } => Status::Retrying,
                Place::Dead => Status::Dead,
                Place::Cancelled => Status::Cancelled,
                Place::Delivered => Status::Delivered,
            };
            assert_eq!(unit.first().map(|unit| unit.status), Some(status), "{one:?}");
        }
        let count = |is: fn(&Place) -> bool| self.all.values().filter(|one| is(&one.place)).count();
        let counts = store.totals().await.unwrap();
        let sum = |of: fn(&(crate::store::queue::TargetId, u64, u64)) -> u64| {
            usize::try_from(counts.targets.iter().map(of).sum::<u64>()).unwrap()
        };
        assert_eq!(sum(|(_, waiting, _)| *waiting), count(|place| matches!(place, Place::Waits { .. })));
        assert_eq!(sum(|(_, _, dead)| *dead), count(|place| matches!(place, Place::Dead | Place::Cancelled)));
    }
}

async fn run(steps: Vec<Step>) {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let (mut store, mut model) = (open(directory.path(), &clock), Model::default());
    for step in steps {
        match step {
            Step::Accept { target, key, start, dead } => {
                model.accept(&store, target, key, start, if dead { OnDead::Revive } else { OnDead::Keep }).await;
            }
            Step::Repeat(which) => {
                let Some((_, one)) = (!model.all.is_empty()).then(|| which.get(&model.all.iter().collect::<Vec<_>>()).to_owned()) else {
                    continue;
                };
                let (offered, dedupe) = one.accept.clone();
                let answer = store.accept(Arc::new(offered), dedupe).await.unwrap();
                let Accepted::New(leases) = answer else { panic!("{answer:?}") };
                let held = matches!(one.place, Place::Waits { held: true, .. }) && one.first == [one.lease];
                assert_eq!(leases.len(), usize::from(held));
            }
            Step::Take { target, count } => model.take(&store, target, count).await,
            Step::Settle { which, next } if !model.leases.is_empty() => model.settle(&store, *which.get(&model.leases), next).await,
            Step::Act { which, deed } if !model.all.is_empty() => {
                let ids: Vec<_> = model.all.keys().copied().collect();
                model.act(&store, *which.get(&ids), deed).await;
            }
            Step::Settle { .. } | Step::Act { .. } => {}
            Step::Advance(seconds) => {
                clock.advance(Duration::from_secs(seconds));
                model.now += seconds;
            }
            Step::Restart => {
                drop(store);
                store = open(directory.path(), &clock);
                model.restart();
            }
        }
    }
    model.compare(&store).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_does_what_the_model_says(steps in prop::collection::vec(step(), 1..50)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run(steps));
    }
}
