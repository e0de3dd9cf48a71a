//! The journal and the ledger against one map of keys to their ends, over any sequence of changes, maintenance and restarts.
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::accept::{Commit, Unique, accept};
use super::super::act::{self, Entry as AuditEntry};
use super::super::settle::settle;
use super::super::{Directory, ledger};
use super::*;
use crate::retry::Reason;
use crate::store::archive::{ActKind, Scope};
use crate::store::contract::queue::{delivery, new};
use crate::store::queue::{Lease, Next, OnDead, Start};

const MINUTE: i64 = 60_000;
/// The time by which a waiting delivery holds its key at least.
const HOLD: i64 = 360 * MINUTE;
/// Rows that a step of maintenance deletes.
const STEP: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    /// Each key is remembered for some minutes, or erased.
    Save(Vec<(u8, Option<i64>)>),
    MakeRoom {
        key: u8,
    },
    ForgetByPerson {
        key: u8,
    },
    Accept {
        key: u8,
        minutes: i64,
    },
    Settle {
        key: u8,
        is_delivered: bool,
    },
    DeleteDelivery {
        key: u8,
    },
    Purge,
    Prolong,
    Advance {
        minutes: i64,
    },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let (key, minutes) = (|| 0..6_u8, || 1..20_i64);
    prop_oneof![
        8 => prop::collection::vec((key(), prop::option::weighted(0.7, minutes())), 1..6).prop_map(Step::Save),
        2 => key().prop_map(|key| Step::MakeRoom { key }),
        2 => key().prop_map(|key| Step::ForgetByPerson { key }),
        5 => (key(), minutes()).prop_map(|(key, minutes)| Step::Accept { key, minutes }),
        4 => (key(), any::<bool>()).prop_map(|(key, is_delivered)| Step::Settle { key, is_delivered }),
        2 => key().prop_map(|key| Step::DeleteDelivery { key }),
        4 => Just(Step::Purge),
        2 => Just(Step::Prolong),
        5 => minutes().prop_map(|minutes| Step::Advance { minutes }),
        1 => Just(Step::Advance { minutes: 400 }),
        1 => Just(Step::Reopen),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Waits,
    Delivered,
    Dead,
}

/// A key that was committed, and the delivery that it belongs to.
#[derive(Clone, Copy, Debug)]
struct Known {
    end: i64,
    delivery: Option<(Lease, State)>,
}

impl Known {
    fn waits(self) -> bool {
        self.delivery
            .is_some_and(|(_, state)| state == State::Waits)
    }
}

struct Test {
    directory: Directory,
    database: Option<Database>,
    now: i64,
    known: BTreeMap<u8, Known>,
}

fn key_of(number: u8) -> Key {
    Key([number; 16])
}

impl Test {
    fn write<T>(&mut self, write: impl FnOnce(&Writing<'_>) -> Result<T, StoreError>) -> T {
        let database = self.database.as_mut().unwrap();
        database.transaction(self.now, write).unwrap().0
    }

    /// Returns the time until each key ends, as a restart reads it.
    fn loaded(&self) -> BTreeMap<u8, i64> {
        let mut loaded = BTreeMap::new();
        let each = |key: Key, left: Option<Duration>| match left {
            None => drop(loaded.remove(&key.0[0])),
            Some(left) => {
                let left = i64::try_from(left.as_millis()).unwrap();
                let known = loaded.entry(key.0[0]).or_insert(left);
                *known = left.max(*known);
            }
        };
        self.database
            .as_ref()
            .unwrap()
            .load(self.now, each)
            .unwrap();
        loaded
    }

    fn expected(&self) -> BTreeMap<u8, i64> {
        let left = |known: &Known| (known.end - self.now).max(if known.waits() { HOLD } else { 0 });
        let all = self.known.iter().map(|(key, known)| (*key, left(known)));
        all.filter(|(_, left)| *left > 0).collect()
    }

    fn run(&mut self, step: &Step) {
        let now = self.now;
        match *step {
            Step::Save(ref changes) => self.save(changes),
            Step::MakeRoom { key } => self.make_room(key),
            Step::ForgetByPerson { key } => {
                self.write(|writing| act::forget(writing, &[key_of(key)], 0, &audit()));
                self.known.remove(&key);
            }
            // memory lets only a key that it does not have get here
            Step::Accept { key, minutes } if !self.expected().contains_key(&key) => {
                let (one, window) = (
                    delivery(1, Start::Mine(Duration::from_secs(1))),
                    minutes * MINUTE,
                );
                let commit = Commit {
                    key: key_of(key),
                    window,
                    dead: OnDead::Keep,
                    known: false,
                };
                let record = one.record.encode();
                let accepted =
                    self.write(|writing| accept(writing, &one, &record, Unique::ByKey(commit)));
                let known = Known {
                    end: now + window,
                    delivery: Some((new(accepted).remove(0), State::Waits)),
                };
                self.known.insert(key, known);
            }
            Step::Settle { key, is_delivered } => {
                let Some(Known {
                    delivery: Some((lease, state @ State::Waits)),
                    ..
                }) = self.known.get_mut(&key)
                else {
                    return;
                };
                let lease = *lease;
                let (next, after) = if is_delivered {
                    (Next::Delivered, State::Delivered)
                } else {
                    (Next::Dead(Reason::Age), State::Dead)
                };
                *state = after;
                self.write(|writing| settle(writing, lease, None, true, next, 0));
            }
            Step::DeleteDelivery { key } => {
                let Some(Known {
                    delivery: Some((lease, state)),
                    ..
                }) = self.known.get(&key).copied()
                else {
                    return;
                };
                let (kind, ids) = (ActKind::Purge { waiting: true }, [lease.unit.delivery]);
                self.write(|writing| act::act(writing, &Scope::All, kind, &ids, &[], &audit()));
                if state == State::Delivered {
                    self.known.get_mut(&key).unwrap().delivery = None;
                } else {
                    self.known.remove(&key);
                }
            }
            Step::Purge => {
                self.purge();
            }
            Step::Prolong => {
                let first = (i64::MIN, [0; 16]);
                self.write(|writing| ledger::prolong(writing, first, now + MINUTE, 500));
            }
            Step::Advance { minutes } => self.now += minutes * MINUTE,
            Step::Reopen => {
                self.database = None;
                self.database = Some(Database::open(&self.directory, [2; 16]).unwrap());
            }
            Step::Accept { .. } => {}
        }
    }

    fn save(&mut self, changes: &[(u8, Option<i64>)]) {
        let mut saved = Vec::new();
        for (key, minutes) in changes {
            let Some(minutes) = minutes else {
                saved.push(Change::Erase(key_of(*key)));
                self.known
                    .retain(|other, known| other != key || known.delivery.is_some());
                continue;
            };
            let end = self.now + minutes * MINUTE;
            saved.push(Change::Remember(key_of(*key), end));
            let known = self.known.entry(*key).or_insert(Known {
                end,
                delivery: None,
            });
            known.end = known.end.max(end);
            if !known.waits() {
                known.delivery = None;
            }
        }
        self.write(|writing| save(writing, &saved));
    }

    /// Forgets a key to make room. One that does not belong to a waiting delivery may go, and none comes back.
    fn make_room(&mut self, key: u8) {
        let before = self.expected();
        self.write(|writing| save(writing, &[Change::Forget(key_of(key))]));
        let after = self.loaded();
        let gone = before.keys().filter(|key| !after.contains_key(key));
        let gone: Vec<_> = gone.copied().collect();
        assert!(gone.len() <= 1, "{gone:?}");
        for key in before.keys().filter(|key| !gone.contains(key)) {
            // of two entries of a key, the first may have been the longer one
            let known = self.known.get_mut(key).unwrap();
            assert!(after[key] <= before[key]);
            if !known.waits() {
                known.end = self.now + after[key];
            }
        }
        for key in gone {
            let known = self.known.remove(&key).unwrap();
            assert!(!known.waits(), "{key} belongs to a delivery that waits");
        }
    }

    fn purge(&mut self) -> usize {
        self.write(|writing| Ok(ledger::purge(writing, STEP)? + purge(writing, STEP)?.0))
    }

    fn rows(&self) -> i64 {
        let count = "select (select count(*) from journal) + (select count(*) from ledger)";
        let connection = &self.database.as_ref().unwrap().connection;
        connection.query_row(count, [], |row| row.get(0)).unwrap()
    }
}

fn audit() -> AuditEntry {
    AuditEntry {
        at: 0,
        who: "model".into(),
        which: String::new(),
        reason: String::new(),
        goes_on: None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 300, ..ProptestConfig::default() })]

    #[test]
    fn loaded_keys_match_a_model(steps in prop::collection::vec(step(), 1..80)) {
        let held = tempfile::tempdir().unwrap();
        let directory = Directory::hold(held.path()).unwrap();
        let database = Some(Database::open(&directory, [1; 16]).unwrap());
        let mut test = Test { directory, database, now: 0, known: BTreeMap::new() };
        for step in &steps {
            test.run(step);
            prop_assert_eq!(test.loaded(), test.expected(), "after {:?}", step);
        }
        // marks end, too
        for key in 0..6 {
            test.run(&Step::Settle { key, is_delivered: true });
        }
        test.run(&Step::Advance { minutes: 400 });
        while test.purge() > 0 {}
        let waiting: i64 = test.database.as_ref().unwrap().connection
            .query_row("select count(distinct id) from due", [], |row| row.get(0)).unwrap();
        prop_assert!(test.rows() <= waiting, "{} rows are left", test.rows());
    }
}

/// Opens a store with `count` random keys.
fn store_with(directory: &Directory, count: u128) -> Database {
    let mut database = Database::open(directory, [1; 16]).unwrap();
    let changes = random_keys(0..count);
    database
        .transaction(0, |writing| save(writing, &changes))
        .unwrap();
    database
}

fn random_keys(numbers: std::ops::Range<u128>) -> Vec<Change> {
    let key = |number: u128| {
        let random = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        Key(random.to_be_bytes())
    };
    numbers
        .map(|number| Change::Remember(key(number), 1000 + i64::try_from(number).unwrap()))
        .collect()
}

/// With an index by key, each key of a batch would change a page of its own.
#[test]
fn batch_of_random_keys_writes_few_pages() {
    let held = tempfile::tempdir().unwrap();
    let directory = Directory::hold(held.path()).unwrap();
    let mut database = store_with(&directory, 20_000);
    database.empty_log();
    let changes = random_keys(20_000..20_300);
    database
        .transaction(0, |writing| save(writing, &changes))
        .unwrap();
    let frames = database.checkpoint().unwrap().log;
    assert!((1..12).contains(&frames), "{frames} pages");
}

/// Version 1 had the rows of the journal in the ledger.
#[test]
fn store_of_schema_1_keeps_its_keys() {
    let held = tempfile::tempdir().unwrap();
    let directory = Directory::hold(held.path()).unwrap();
    let database = Database::open(&directory, [1; 16]).unwrap();
    database
        .connection
        .execute_batch(
            "drop table journal; update meta set value = 1 where name = 'schema';
            insert into ledger (key, state, until) values (zeroblob(16), 1, 5000), (x'01010101010101010101010101010101', 1, 5000)",
        )
        .unwrap();
    drop(database);
    let database = Database::open(&directory, [2; 16]).unwrap();
    assert_eq!(database.hash_key(), [1; 16]);
    let mut test = Test {
        directory,
        database: Some(database),
        now: 1000,
        known: BTreeMap::new(),
    };
    assert_eq!(test.loaded(), BTreeMap::from([(0, 4000), (1, 4000)]));
    let changes = [
        Change::Erase(key_of(0)),
        Change::Remember(key_of(1), 7000),
        Change::Remember(key_of(2), 6000),
    ];
    test.write(|writing| save(writing, &changes));
    test.run(&Step::Reopen);
    assert_eq!(test.loaded(), BTreeMap::from([(1, 6000), (2, 5000)]));
    assert_eq!(test.rows(), 2);
}
