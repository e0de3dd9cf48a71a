//! The queue against a model of it: any sequence of accepts, claims, leases, settlements, lapses, acts and restarts, with lanes and without.
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::retry::Reason;
use crate::store::archive::{Act, ActKind, Scope, Status, UnitsShown, Which};
use crate::store::contract::queue::{attempt, delivery, take};
use crate::store::queue::{
    Accept, Accepted, CUT_OFF, Cause, Dedupe, DeliveryRef, Lane, Lease, Next, OnDead, Queue as _,
    Start, TargetId,
};

/// A delivery that is offered.
#[derive(Clone, Copy, Debug)]
struct Offer {
    target: u32,
    key: Option<u8>,
    lane: Option<u8>,
    start: u8,
    dead: OnDead,
}

#[derive(Clone, Debug)]
enum Step {
    Accept(Offer),
    Claim {
        key: u8,
    },
    Repeat(prop::sample::Index),
    Take {
        target: u32,
        count: u32,
    },
    Settle {
        which: prop::sample::Index,
        next: u8,
    },
    Advance(u64),
    Act {
        which: prop::sample::Index,
        kind: u8,
    },
    Restart,
}

fn offer() -> impl Strategy<Value = Offer> {
    let dead = prop_oneof![Just(OnDead::Revive), Just(OnDead::Keep)];
    (
        0..3_u32,
        prop::option::of(0..4_u8),
        prop::option::of(0..2_u8),
        0..3_u8,
        dead,
    )
        .prop_map(|(target, key, lane, start, dead)| Offer {
            target,
            key,
            lane,
            start,
            dead,
        })
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        6 => offer().prop_map(Step::Accept),
        1 => (0..4_u8).prop_map(|key| Step::Claim { key }),
        1 => index().prop_map(Step::Repeat),
        4 => (0..3_u32, 1..4_u32).prop_map(|(target, count)| Step::Take { target, count }),
        5 => (index(), 0..6_u8).prop_map(|(which, next)| Step::Settle { which, next }),
        3 => (1..30_u64).prop_map(Step::Advance),
        2 => (index(), 0..8_u8).prop_map(|(which, kind)| Step::Act { which, kind }),
        1 => Just(Step::Restart),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum UnitState {
    /// No time: it waits behind others of its lane.
    Waits {
        run_at: Option<u64>,
        leased: bool,
        attempts: u32,
    },
    Dead,
    Cancelled,
    Delivered,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Recorded {
    CutOff,
    Late,
    InTime,
}

#[derive(Clone, Debug)]
struct One {
    target: u32,
    lane: Option<u8>,
    /// Its place in the lane: the lowest of those that wait goes first.
    seq: u64,
    state: UnitState,
    lease: u32,
    /// The number of its last attempt.
    attempt: u32,
    /// Attempts on record, by lease: their numbers, and what is known of them.
    rows: BTreeMap<u32, (u32, Recorded)>,
    first: Vec<u32>,
    name: Option<u8>,
    accept: (Accept, Dedupe),
}

#[derive(Default)]
struct Model {
    now: u64,
    seq: u64,
    all: BTreeMap<DeliveryRef, One>,
    /// Keys of what was delivered, or is there, and when their windows end.
    keys: BTreeMap<u8, (DeliveryRef, u64)>,
    leases: Vec<Lease>,
}

/// Returns the window of a key in seconds: some end while their deliveries wait.
fn window(name: u8) -> u64 {
    if name < 2 { WINDOW.as_secs() * 9 } else { 10 }
}

/// In seconds.
const LEASED: u64 = 20;
const RETRY: u64 = 7;

impl One {
    /// Its attempt is not settled, and never will be by whoever has it.
    fn cut_off(&mut self) {
        self.rows
            .entry(self.lease)
            .or_insert((self.attempt, Recorded::CutOff));
    }

    /// Records, once, the outcome of an attempt that was considered lost.
    fn record(&mut self, lease: Lease, recorded: Recorded) {
        let row = self
            .rows
            .entry(lease.number)
            .or_insert((lease.attempt, Recorded::CutOff));
        if row.1 == Recorded::CutOff {
            row.1 = recorded;
        }
    }

    /// Returns whether the store knows that this lease settled it.
    fn settled(&self, lease: u32) -> bool {
        let is_dead =
            matches!(self.state, UnitState::Dead | UnitState::Cancelled) && self.lease == lease;
        is_dead
            || self
                .rows
                .get(&lease)
                .is_some_and(|(_, recorded)| *recorded == Recorded::InTime)
    }
}

impl Model {
    /// Returns the delivery that has a key: one that waits, or whose window has not passed.
    fn known(&self, name: u8) -> Option<DeliveryRef> {
        let (of, until) = *self.keys.get(&name)?;
        let waits = self
            .all
            .get(&of)
            .is_some_and(|one| matches!(one.state, UnitState::Waits { .. }));
        (waits || self.now < until).then_some(of)
    }

    /// Returns whether the key of a delivery, if it has one, is still its own.
    fn has_key(&self, id: DeliveryRef) -> bool {
        self.all[&id]
            .name
            .is_none_or(|name| self.known(name) == Some(id))
    }

    /// Returns whether another of its lane waits.
    fn is_behind(&self, target: u32, lane: Option<u8>) -> bool {
        let waits = |one: &One| {
            one.target == target && one.lane == lane && matches!(one.state, UnitState::Waits { .. })
        };
        lane.is_some() && self.all.values().any(waits)
    }

    /// Makes it wait again, as the last of its lane.
    fn raise(&mut self, id: DeliveryRef) {
        self.seq += 1;
        let (target, lane) = (self.all[&id].target, self.all[&id].lane);
        let run_at = (!self.is_behind(target, lane)).then_some(self.now);
        let one = self.all.get_mut(&id).unwrap();
        if one.state == UnitState::Delivered {
            (one.lease, one.attempt) = (
                *one.rows.keys().max().unwrap(),
                one.rows.values().map(|(number, _)| *number).max().unwrap(),
            );
        }
        (one.seq, one.state) = (
            self.seq,
            UnitState::Waits {
                run_at,
                leased: false,
                attempts: 0,
            },
        );
    }

    /// Makes the next of a lane due, if the first left it.
    fn next_of_lane(&mut self, target: u32, lane: Option<u8>) {
        let now = self.now;
        let waits = |one: &&mut One| {
            one.target == target && one.lane == lane && matches!(one.state, UnitState::Waits { .. })
        };
        if lane.is_some()
            && let Some(one) = self
                .all
                .values_mut()
                .filter(waits)
                .min_by_key(|one| one.seq)
            && let UnitState::Waits { run_at, .. } = &mut one.state
        {
            run_at.get_or_insert(now);
        }
    }

    fn leave(&mut self, id: DeliveryRef, state: UnitState) {
        let one = self.all.get_mut(&id).unwrap();
        one.state = state;
        let (target, lane) = (one.target, one.lane);
        self.next_of_lane(target, lane);
    }

    async fn accept(&mut self, store: &Embedded, offer: Offer) {
        let Offer {
            target,
            key: name,
            lane,
            start,
            dead,
        } = offer;
        let (start, run_at) = match start {
            0 => (Start::Mine(LEASE), self.now + LEASED),
            1 => (Start::Anyone, self.now),
            _ => (Start::In(Duration::from_secs(5)), self.now + 5),
        };
        let mut offered = delivery(target, start);
        offered.to[0].lane = lane.map(|lane| Lane([lane; 16]));
        let dedupe = name.map_or(Dedupe::None, |name| Dedupe::Key {
            key: key(u32::from(name)),
            window: Duration::from_secs(window(name)),
            dead,
        });
        let answer = store
            .accept(Arc::new(offered.clone()), dedupe)
            .await
            .unwrap();
        if let Some((name, of)) = name.and_then(|name| Some((name, self.known(name)?))) {
            let Some(before) = self.all.get(&of) else {
                assert_eq!(
                    answer,
                    Accepted::Duplicate { of: None },
                    "it was delivered, and purged"
                );
                return;
            };
            let raised = dead == OnDead::Revive
                && matches!(before.state, UnitState::Dead | UnitState::Cancelled);
            if raised {
                self.raise(of);
                let until = self.now + window(name);
                self.keys
                    .entry(name)
                    .and_modify(|(_, known)| *known = until.max(*known));
            }
            assert_eq!(
                answer,
                if raised {
                    Accepted::Revived { of }
                } else {
                    Accepted::Duplicate { of: Some(of) }
                }
            );
            return;
        }
        let Accepted::New(leases) = answer else {
            panic!("{answer:?}: nothing with that key was delivered, or is there")
        };
        let run_at = (!self.is_behind(target, lane)).then_some(run_at);
        let (mine, leased) = (
            matches!(start, Start::Mine(_)),
            matches!(start, Start::Mine(_)) && run_at.is_some(),
        );
        assert_eq!(leases.len(), usize::from(leased));
        self.leases.extend(&leases);
        self.keys
            .extend(name.map(|name| (name, (offered.id, self.now + window(name)))));
        self.seq += 1;
        let one = One {
            target,
            lane,
            seq: self.seq,
            state: UnitState::Waits {
                run_at,
                leased,
                attempts: 0,
            },
            lease: u32::from(mine),
            attempt: u32::from(leased),
            rows: BTreeMap::new(),
            first: leases.iter().map(|lease| lease.number).collect(),
            name,
            accept: (offered.clone(), dedupe),
        };
        self.all.insert(offered.id, one);
    }

    async fn claim(&self, store: &Embedded, name: u8) {
        let (key, token) = (key(u32::from(name)), Token(u128::MAX));
        let claimed = store.claim(key, token, LEASE).await.unwrap();
        store.release_soon(key, token);
        assert_eq!(
            claimed,
            if self.known(name).is_some() {
                ClaimResult::Committed
            } else {
                ClaimResult::Fresh
            }
        );
    }

    async fn take(&mut self, store: &Embedded, target: u32, count: u32) {
        let taken = take(store, target, count).await;
        let now = self.now;
        let due_at = |one: &One| match one.state {
            UnitState::Waits {
                run_at, attempts, ..
            } => run_at
                .filter(|run_at| one.target == target && *run_at <= now)
                .map(|run_at| (attempts > 0, run_at)),
            UnitState::Dead | UnitState::Cancelled | UnitState::Delivered => None,
        };
        let mut due: Vec<(bool, u64)> = self.all.values().filter_map(due_at).collect();
        due.sort_unstable();
        let (retries, firsts): (Vec<_>, Vec<_>) =
            due.into_iter().partition(|(is_retry, _)| *is_retry);
        let (mut firsts, mut retries) = (firsts.into_iter(), retries.into_iter());
        let in_turn = (0..count).map_while(|state| match state % 2 {
            0 => firsts.next().or_else(|| retries.next()),
            _ => retries.next().or_else(|| firsts.next()),
        });
        let in_turn: Vec<(bool, u64)> = in_turn.collect();
        let got: Vec<(bool, u64)> = taken
            .iter()
            .map(|leased| due_at(&self.all[&leased.stored.id]).expect("it is due"))
            .collect();
        assert_eq!(
            got, in_turn,
            "first attempts and retries in turn, of each the longest due, and of each lane the first"
        );
        for unit in taken {
            let one = self.all.get_mut(&unit.stored.id).unwrap();
            let UnitState::Waits {
                attempts, leased, ..
            } = one.state
            else {
                panic!()
            };
            if leased {
                one.cut_off();
            }
            one.lease += 1;
            one.attempt += 1;
            assert_eq!(
                (unit.lease.number, unit.lease.attempt, unit.attempts),
                (one.lease, one.attempt, attempts)
            );
            one.state = UnitState::Waits {
                run_at: Some(now + LEASED),
                leased: true,
                attempts,
            };
            self.leases.push(unit.lease);
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
        let counts_attempt = !matches!(next, Next::GiveBack | Next::Cancelled);
        let ownership = store
            .settle(lease, counts_attempt.then(|| attempt(500)), next)
            .await
            .unwrap();
        let (id, now) = (lease.unit.delivery, self.now);
        let Some(one) = self.all.get_mut(&id) else {
            assert_eq!(ownership, Ownership::Lost, "it was purged");
            return;
        };
        match one.state {
            UnitState::Waits {
                leased: true,
                attempts,
                ..
            } if one.lease == lease.number => {
                assert_eq!(ownership, Ownership::Owned);
                if counts_attempt {
                    one.rows
                        .insert(lease.number, (lease.attempt, Recorded::InTime));
                } else {
                    one.attempt -= 1;
                }
                let attempts =
                    attempts + u32::from(counts_attempt && !matches!(next, Next::Later(_)));
                let waits = |after| UnitState::Waits {
                    run_at: Some(now + after),
                    leased: false,
                    attempts,
                };
                match next {
                    Next::Delivered => self.leave(id, UnitState::Delivered),
                    Next::Dead(_) => self.leave(id, UnitState::Dead),
                    Next::Cancelled => self.leave(id, UnitState::Cancelled),
                    Next::RetryIn(_) | Next::Later(_) => one.state = waits(RETRY),
                    Next::GiveBack => one.state = waits(0),
                }
            }
            // given back, and nothing since: the same answer again
            UnitState::Waits { leased: false, .. } if one.lease == lease.number => {
                assert_eq!(ownership, Ownership::Owned);
            }
            _ if one.settled(lease.number) => assert_eq!(ownership, Ownership::Owned),
            // nobody has it, and it was delivered: that is its end, whatever was said meanwhile
            UnitState::Waits { leased: false, .. } | UnitState::Dead | UnitState::Cancelled
                if next == Next::Delivered =>
            {
                assert_eq!(ownership, Ownership::Owned);
                one.record(lease, Recorded::InTime);
                self.leave(id, UnitState::Delivered);
            }
            UnitState::Waits { .. }
            | UnitState::Dead
            | UnitState::Cancelled
            | UnitState::Delivered => {
                assert_eq!(ownership, Ownership::Lost);
                if counts_attempt {
                    one.record(lease, Recorded::Late);
                }
            }
        }
    }

    async fn act(&mut self, store: &Embedded, id: DeliveryRef, kind: u8) {
        let replay = |delivered| ActKind::Replay {
            delivered,
            cause: Cause::Replay,
        };
        let purge = |waiting| ActKind::Purge { waiting };
        let kind = [
            replay(false),
            replay(true),
            ActKind::Cancel,
            purge(false),
            purge(true),
            ActKind::AttemptNow,
            ActKind::Renew,
            ActKind::MakeDead {
                reason: Reason::Paused,
            },
        ][usize::from(kind)];
        let act = Act {
            kind,
            which: Which::Ids(vec![id]),
            targets: Arc::default(),
            who: "model".into(),
            reason: String::new().into(),
            description: None,
            goes_on: None,
        };
        store.act(Scope::All, &act, 5).await.unwrap();
        let now = self.now;
        let Some(one) = self.all.get_mut(&id) else {
            return;
        };
        match (kind, one.state) {
            (ActKind::Purge { waiting: false }, UnitState::Waits { .. }) => {}
            (ActKind::Purge { .. }, state) => {
                if state != UnitState::Delivered {
                    self.keys.retain(|_, (of, _)| *of != id);
                }
                self.leave(id, UnitState::Delivered);
                self.all.remove(&id);
            }
            (ActKind::Cancel | ActKind::MakeDead { .. }, UnitState::Waits { leased, .. }) => {
                if leased {
                    one.cut_off();
                }
                one.lease += 1;
                let state = if kind == ActKind::Cancel {
                    UnitState::Cancelled
                } else {
                    UnitState::Dead
                };
                self.leave(id, state);
            }
            (ActKind::Renew, UnitState::Waits { leased, run_at, .. }) => {
                if !leased || run_at.is_some_and(|run_at| run_at <= now) {
                    one.state = UnitState::Waits {
                        run_at: run_at.map(|_| now),
                        leased,
                        attempts: 0,
                    };
                }
            }
            (ActKind::Replay { .. }, UnitState::Dead | UnitState::Cancelled)
            | (
                ActKind::Replay {
                    delivered: true, ..
                },
                UnitState::Delivered,
            ) => {
                self.raise(id);
            }
            (
                ActKind::Replay { .. },
                UnitState::Waits {
                    leased,
                    run_at: Some(run_at),
                    ..
                },
            ) => {
                if !leased || run_at <= now {
                    one.state = UnitState::Waits {
                        run_at: Some(now),
                        leased,
                        attempts: 0,
                    };
                }
            }
            (
                ActKind::AttemptNow,
                UnitState::Waits {
                    leased: false,
                    run_at: Some(run_at),
                    attempts,
                },
            ) => {
                one.state = UnitState::Waits {
                    run_at: Some(run_at.min(now)),
                    leased: false,
                    attempts,
                };
            }
            (
                ActKind::Replay { .. } | ActKind::AttemptNow | ActKind::Renew | ActKind::Add { .. },
                _,
            )
            | (
                ActKind::Cancel | ActKind::MakeDead { .. },
                UnitState::Dead | UnitState::Cancelled | UnitState::Delivered,
            ) => {}
        }
    }

    /// Drops all holders of leases, as a restart does.
    fn restart(&mut self) {
        for one in self.all.values_mut() {
            if let UnitState::Waits {
                leased: true,
                attempts,
                ..
            } = one.state
            {
                one.cut_off();
                let cut_off = one
                    .rows
                    .values()
                    .rev()
                    .take_while(|(_, recorded)| *recorded == Recorded::CutOff)
                    .count();
                let pause = if cut_off < 2 { 0 } else { 1 << (cut_off - 2) };
                one.state = UnitState::Waits {
                    run_at: Some(self.now + pause),
                    leased: false,
                    attempts,
                };
            }
        }
    }

    /// Compares the targets that are due.
    async fn compare_ready(&self, store: &Embedded) {
        let is_due = |state| matches!(state, UnitState::Waits { run_at: Some(run_at), .. } if run_at <= self.now);
        let due = self.all.values().filter(|one| is_due(one.state));
        let due: BTreeSet<_> = due.map(|one| TargetId(one.target)).collect();
        let ready = store.ready(None, &Arc::default()).await.unwrap();
        assert_eq!(ready.targets, due.into_iter().collect::<Vec<_>>());
    }

    async fn compare(&self, store: &Embedded) {
        self.compare_ready(store).await;
        for (id, one) in &self.all {
            let shown = store
                .get(Scope::All, *id, UnitsShown::All)
                .await
                .unwrap()
                .unwrap();
            let rows = shown.attempts.iter().map(|shown| {
                match (shown.late, shown.attempt.error.as_deref()) {
                    (late, Some(CUT_OFF)) => (
                        shown.number,
                        if late {
                            Recorded::Late
                        } else {
                            Recorded::CutOff
                        },
                    ),
                    (late, _) => (
                        shown.number,
                        if late {
                            Recorded::Late
                        } else {
                            Recorded::InTime
                        },
                    ),
                }
            });
            assert_eq!(
                rows.collect::<Vec<_>>(),
                one.rows.values().copied().collect::<Vec<_>>(),
                "{one:?}"
            );
            let unit = shown.units;
            let status = match one.state {
                UnitState::Waits { attempts: 0, .. } => Status::Pending,
                UnitState::Waits { .. } => Status::Retrying,
                UnitState::Dead => Status::Dead,
                UnitState::Cancelled => Status::Cancelled,
                UnitState::Delivered => Status::Delivered,
            };
            assert_eq!(
                unit.first().map(|unit| unit.status),
                Some(status),
                "{one:?}"
            );
        }
        let count =
            |is: fn(&UnitState) -> bool| self.all.values().filter(|one| is(&one.state)).count();
        let counts = store.totals().await.unwrap();
        let sum = |of: fn(&TargetCounts) -> u64| {
            usize::try_from(counts.targets.iter().map(of).sum::<u64>()).unwrap()
        };
        assert_eq!(
            sum(|of| of.waiting),
            count(|state| matches!(state, UnitState::Waits { .. }))
        );
        assert_eq!(
            (sum(|of| of.dead), sum(|of| of.cancelled)),
            (
                count(|state| matches!(state, UnitState::Dead)),
                count(|state| matches!(state, UnitState::Cancelled)),
            )
        );
        for name in 0..4 {
            self.claim(store, name).await;
        }
    }
}

async fn run(steps: Vec<Step>) {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let (mut store, mut model) = (open(directory.path(), &clock), Model::default());
    for step in steps {
        match step {
            Step::Accept(offer) => model.accept(&store, offer).await,
            Step::Claim { key } => model.claim(&store, key).await,
            Step::Repeat(which) => {
                let Some((id, one)) = (!model.all.is_empty())
                    .then(|| which.get(&model.all.iter().collect::<Vec<_>>()).to_owned())
                else {
                    continue;
                };
                // a call is repeated at once
                if !model.has_key(*id) {
                    continue;
                }
                let (offered, dedupe) = one.accept.clone();
                let answer = store.accept(Arc::new(offered), dedupe).await.unwrap();
                let Accepted::New(leases) = answer else {
                    panic!("{answer:?}")
                };
                let leased = matches!(one.state, UnitState::Waits { leased: true, .. })
                    && one.first == [one.lease];
                assert_eq!(leases.len(), usize::from(leased));
            }
            Step::Take { target, count } => model.take(&store, target, count).await,
            Step::Settle { which, next } if !model.leases.is_empty() => {
                model.settle(&store, *which.get(&model.leases), next).await;
            }
            Step::Act { which, kind } if !model.all.is_empty() => {
                let ids: Vec<_> = model.all.keys().copied().collect();
                let id = *which.get(&ids);
                // the entry of one whose window has passed may be gone, and is not made again
                if kind >= 2 || model.has_key(id) {
                    model.act(&store, id, kind).await;
                }
            }
            Step::Settle { .. } | Step::Act { .. } => {}
            Step::Advance(seconds) => {
                clock.advance(Duration::from_secs(seconds));
                model.now += seconds;
                model.compare_ready(&store).await;
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
    fn queue_matches_its_model(steps in prop::collection::vec(step(), 1..50)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run(steps));
    }
}
