//! Tenants and endpoints: the contract, a model of it, restarts, and a disk that fails at each statement.
use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::faults::{Fault, open_faulty};
use super::*;
use crate::store::address_book::{
    AddressBook as _, Endpoint, EndpointName, EndpointState, Resealed, Saved, SealedPart, Tenant,
};
use crate::store::archive::Scope;
use crate::store::contract::address_book::{
    LIMIT, add, add_tenant, audit, endpoint, save, tenant, time,
};
use crate::store::contract::events::event;
use crate::store::queue::{DeliveryRef, FIRST_ENDPOINT, FIRST_TENANT, OriginId, Start, TargetId};
use crate::tenant::Cause;
use crate::tenant::health::{Notified, Streak};

#[tokio::test]
async fn address_book_contract_holds() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    contract::address_book::holds(&open(directory.path(), &clock)).await;
}

#[tokio::test]
async fn store_without_a_disk_has_no_address_book() {
    let store = Embedded::in_memory(10, HandClock::new()).unwrap();
    let one = endpoint(TargetId(FIRST_ENDPOINT), OriginId(FIRST_TENANT), None);
    for error in [
        store.tenants(None, 9).await.unwrap_err(),
        store.tenant("a").await.unwrap_err(),
        store
            .save_tenant(tenant("a"), None, None)
            .await
            .unwrap_err(),
        store.reserve_endpoint().await.unwrap_err(),
        store.save_endpoint(one, None, 9, None).await.unwrap_err(),
        store.inactive(None, 9).await.unwrap_err(),
        store.address_counts().await.unwrap_err(),
        store.seal_check().await.unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    }
}

#[tokio::test]
async fn tenants_and_endpoints_survive_a_restart() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let store = open(directory.path(), &clock);
    let tenant = add_tenant(&store, "acme").await;
    let one = add(&store, tenant.origin, Some("main")).await;
    let reserved = store.reserve_endpoint().await.unwrap();
    store
        .set_seal_check(Bytes::from_static(b"check"))
        .await
        .unwrap();
    let counts = store.address_counts().await.unwrap();
    drop(store);
    let store = open(directory.path(), &clock);
    assert_eq!(store.tenant("acme").await.unwrap(), Some(tenant.clone()));
    let found = store.endpoints(tenant.origin, None, 9).await.unwrap();
    assert_eq!(found, [one]);
    assert_eq!(store.address_counts().await.unwrap(), counts);
    assert_eq!(
        store.seal_check().await.unwrap(),
        Some(Bytes::from_static(b"check"))
    );
    let next = store.reserve_endpoint().await.unwrap();
    assert_eq!(next.0, reserved.0 + 1, "a drawn number is never used again");
    assert_eq!(
        add_tenant(&store, "other").await.origin.0,
        tenant.origin.0 + 1
    );
}

/// A new store in place of a damaged one would lose the secrets of customers, which are nowhere else.
#[tokio::test]
async fn damaged_database_with_a_tenant_is_not_set_aside() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let store = open(directory.path(), &clock);
    add_tenant(&store, "acme").await;
    drop(store);
    std::fs::write(
        directory.path().join("hookgate.db"),
        b"not a database at all, but text long enough to be looked at".repeat(100),
    )
    .unwrap();
    let error = Embedded::open(directory.path(), 10, clock.clone()).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
}

fn failing(target: TargetId, seconds: u64, notified: Notified) -> (TargetId, Streak) {
    let health = Streak {
        since: time(seconds),
        failures: 7,
        hours: 3,
        last: time(seconds + 9000),
        cause: Cause::Status(503),
        first: DeliveryRef::draw().0,
        notified,
    };
    (target, health)
}

fn put_health(path: &Path, (target, health): &(TargetId, Streak)) {
    let connection = rusqlite::Connection::open(path.join("hookgate.db")).unwrap();
    let put = "insert or replace into health (endpoint, since, failures, hours, last, status, cause, first, notified)
        values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let ms = |at| i64::try_from(crate::clock::unix_ms(at)).unwrap();
    connection
        .execute(
            put,
            rusqlite::params![
                target.0,
                ms(health.since),
                health.failures,
                health.hours,
                ms(health.last),
                health.cause.status(),
                health.cause.stored(),
                health.first.as_bytes(),
                health.notified.number()
            ],
        )
        .unwrap();
}

#[tokio::test]
async fn health_is_read_with_its_endpoint_and_kept_by_a_save() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let store = open(directory.path(), &clock);
    let tenant = add_tenant(&store, "acme").await.origin;
    let mut all = Vec::new();
    for seconds in 0..3 {
        let one = add(&store, tenant, None).await;
        let row = failing(one.target, seconds, Notified::No);
        put_health(directory.path(), &row);
        all.push((one, row.1));
    }
    let unhealthy = async |after| {
        let found = store.unhealthy(after, 2).await.unwrap();
        found
            .into_iter()
            .map(|one| (one.target, one.tenant, one.state, one.health))
            .collect::<Vec<_>>()
    };
    let expected: Vec<_> = all
        .iter()
        .map(|(one, health)| (one.target, tenant, one.state, *health))
        .collect();
    assert_eq!(unhealthy(None).await, expected[..2]);
    assert_eq!(unhealthy(Some(all[1].0.target)).await, expected[2..]);
    let health_of = async |target| {
        let found = store.endpoints_of(&[target]).await.unwrap();
        found.into_iter().next().unwrap().health
    };
    let (one, health) = all.remove(0);
    for (state, edition, left) in [
        (EndpointState::PausedByFailures, 1, Some(health)),
        (EndpointState::Resuming, 2, Some(health)),
        (EndpointState::Active, 3, None),
    ] {
        let changed = Endpoint {
            state,
            health: None,
            ..one.clone()
        };
        assert!(matches!(
            save(&store, &changed, Some(edition)).await,
            Saved::Done { .. }
        ));
        assert_eq!(health_of(one.target).await, left, "{state:?}");
    }
    let (one, _) = all.remove(0);
    let removed = Endpoint {
        state: EndpointState::Removed,
        ..one.clone()
    };
    assert!(matches!(
        save(&store, &removed, Some(1)).await,
        Saved::Done { .. }
    ));
    assert_eq!(health_of(one.target).await, None);
}

#[tokio::test]
async fn notification_is_noted_for_the_failures_it_was_about() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let store = open(directory.path(), &clock);
    let tenant = add_tenant(&store, "acme").await.origin;
    let one = add(&store, tenant, None).await.target;
    put_health(directory.path(), &failing(one, 5, Notified::No));
    let note = async |seconds, notified| {
        let notice = Arc::new(event(
            9,
            9,
            &format!("{seconds} {notified:?}"),
            Start::Anyone,
        ));
        let id = notice.id;
        let noted = store.note_notified(one, time(seconds), notified, Some(notice));
        let is_new = noted.await.unwrap();
        let stored = store.stored(Scope::All, id).await.unwrap();
        assert_eq!(stored.is_some(), is_new, "both or neither");
        let found = store.unhealthy(None, 9).await.unwrap();
        found.first().map(|one| one.health.notified)
    };
    let [no, once, twice, over] = [
        Notified::No,
        Notified::Once,
        Notified::Twice,
        Notified::Over,
    ];
    assert_eq!(note(4, Some(once)).await, Some(no), "those are over");
    assert_eq!(note(5, Some(twice)).await, Some(twice));
    assert_eq!(note(5, Some(once)).await, Some(twice));
    assert_eq!(note(5, None).await, Some(twice), "it did not recover");
    put_health(directory.path(), &failing(one, 5, over));
    assert_eq!(note(5, Some(twice)).await, Some(over));
    assert_eq!(note(4, None).await, Some(over));
    assert_eq!(note(5, None).await, None);
    assert_eq!(note(5, None).await, None, "repeated");
}

/// Whichever statement fails, a change is there completely, with its audit entry, or not at all. Repeated, it is there once.
#[tokio::test]
async fn failure_at_any_statement_leaves_one_change_after_the_retry() {
    for error in [StoreError::Full, StoreError::Unavailable("io".into())] {
        let (directory, fault) = (tempfile::tempdir().unwrap(), Arc::<Fault>::default());
        let store = open_faulty(directory.path(), &fault, error);
        let mut failed = 0;
        for step in 0..24_i64 {
            let uid = format!("acme-{step}");
            let before = facts(&store, &uid).await;
            fault.arm(step, 0);
            let first = store.save_tenant(tenant(&uid), None, audit("a")).await;
            fault.arm(i64::MAX, 0);
            failed += unchanged(&store, &uid, &before, &first).await;
            let saved = store.save_tenant(tenant(&uid), None, audit("a")).await;
            let Saved::Done { number, edition: 1 } = saved.unwrap() else {
                panic!("{first:?}")
            };
            assert_eq!(facts(&store, &uid).await.1, before.1 + 1);

            let target = store.reserve_endpoint().await.unwrap();
            let mut one = endpoint(target, OriginId(number), Some("main"));
            for expected in [None, Some(1), Some(2)] {
                let before = facts(&store, &uid).await;
                one.settings = format!("{expected:?}").into();
                one.state = if expected == Some(2) {
                    EndpointState::Removed
                } else {
                    EndpointState::Active
                };
                let call = || store.save_endpoint(one.clone(), expected, LIMIT, audit("b"));
                fault.arm(step, 0);
                let first = call().await;
                fault.arm(i64::MAX, 0);
                failed += unchanged(&store, &uid, &before, &first).await;
                let edition = expected.unwrap_or(0) + 1;
                let done = Saved::Done {
                    number: target.0,
                    edition,
                };
                assert_eq!(call().await.unwrap(), done);
                let after = facts(&store, &uid).await;
                assert_eq!(after.1, before.1 + 1, "one audit entry");
                assert_ne!(after.2, before.2);
            }
        }
        // on a full disk, a change of what exists is made again by the writer
        assert!(failed >= 15, "{failed} of the calls failed");
        drop(store);
        let other = rusqlite::Connection::open(directory.path().join("hookgate.db")).unwrap();
        let check = |sql: &str| {
            other
                .query_row(sql, [], |row| row.get::<_, String>(0))
                .unwrap()
        };
        assert_eq!(check("pragma integrity_check"), "ok");
        assert_eq!(
            check("select 'secrets: ' || count(*) from secret"),
            "secrets: 0",
            "all endpoints were removed"
        );
    }
}

/// The tenant of a name, the number of audit entries, and its endpoints, removed ones too.
type Facts = (Option<Tenant>, usize, Vec<Endpoint>);

async fn facts(store: &Embedded, uid: &str) -> Facts {
    let tenant = store.tenant(uid).await.unwrap();
    let entries = store.audit(10_000).await.unwrap().len();
    let targets: Vec<_> = (FIRST_ENDPOINT..FIRST_ENDPOINT + 60)
        .map(TargetId)
        .collect();
    let mut endpoints = store.endpoints_of(&targets).await.unwrap();
    endpoints.retain(|one| {
        tenant
            .as_ref()
            .is_some_and(|tenant| tenant.origin == one.tenant)
    });
    (tenant, entries, endpoints)
}

/// Checks that a call that failed changed nothing. Returns 1 for one that failed.
async fn unchanged(
    store: &Embedded,
    uid: &str,
    before: &Facts,
    answer: &Result<Saved, StoreError>,
) -> usize {
    if answer.is_ok() {
        return 0;
    }
    assert_eq!(facts(store, uid).await, *before, "nothing half-written");
    1
}

/// A resealed text and its edition are one change.
#[tokio::test]
async fn failure_while_resealing_changes_nothing() {
    let (directory, fault) = (tempfile::tempdir().unwrap(), Arc::<Fault>::default());
    let store = open_faulty(
        directory.path(),
        &fault,
        StoreError::Unavailable("io".into()),
    );
    let tenant = add_tenant(&store, "acme").await.origin;
    for step in 0..6 {
        let one = add(&store, tenant, None).await;
        let resealed: Vec<_> = [SealedPart::Headers, SealedPart::Secret(1)]
            .into_iter()
            .zip([one.sealed.clone().unwrap(), one.secrets[0].sealed.clone()])
            .map(|(part, before)| Resealed {
                part,
                before,
                after: Bytes::from_static(b"new"),
            })
            .collect();
        fault.arm(step, 0);
        let first = store.reseal(one.target, resealed.clone()).await;
        fault.arm(i64::MAX, 0);
        let name = EndpointName::Id(Arc::clone(&one.id));
        let found = store.endpoint(tenant, name.clone()).await.unwrap().unwrap();
        if first.is_err() {
            assert_eq!(found, one);
            assert_eq!(store.reseal(one.target, resealed).await.unwrap(), 2);
        }
        let found = store.endpoint(tenant, name).await.unwrap().unwrap();
        assert_eq!(found.edition, 2);
        assert_eq!(found.sealed.as_deref(), Some(&b"new"[..]));
    }
}

/// The endpoints that the model lets a tenant have.
const MODEL_LIMIT: u32 = 3;

#[derive(Clone, Debug)]
enum Step {
    AddTenant {
        uid: u8,
    },
    ChangeTenant {
        which: prop::sample::Index,
        stale: Option<i8>,
        uid: u8,
        settings: u8,
        removed: bool,
    },
    AddEndpoint {
        tenant: prop::sample::Index,
        uid: Option<u8>,
    },
    ChangeEndpoint {
        which: prop::sample::Index,
        stale: Option<i8>,
        foreign: bool,
        uid: Option<u8>,
        state: prop::sample::Index,
        secrets: u8,
    },
    Repeat,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    let stale = || prop::option::weighted(0.2, prop_oneof![Just(-1_i8), Just(1)]);
    let uid = || prop::option::of(0..3_u8);
    let change_tenant = (
        index(),
        stale(),
        0..4_u8,
        0..3_u8,
        prop::bool::weighted(0.15),
    )
        .prop_map(
            |(which, stale, uid, settings, removed)| Step::ChangeTenant {
                which,
                stale,
                uid,
                settings,
                removed,
            },
        );
    let change_endpoint = (
        index(),
        stale(),
        prop::bool::weighted(0.1),
        uid(),
        index(),
        0..4_u8,
    )
        .prop_map(
            |(which, stale, foreign, uid, state, secrets)| Step::ChangeEndpoint {
                which,
                stale,
                foreign,
                uid,
                state,
                secrets,
            },
        );
    prop_oneof![
        2 => (0..4_u8).prop_map(|uid| Step::AddTenant { uid }),
        2 => change_tenant,
        4 => (index(), uid()).prop_map(|(tenant, uid)| Step::AddEndpoint { tenant, uid }),
        6 => change_endpoint,
        3 => Just(Step::Repeat),
        1 => Just(Step::Restart),
    ]
}

/// A save, and the edition that it expects.
#[derive(Clone)]
#[expect(clippy::large_enum_variant, reason = "a test has few of them")]
enum Save {
    Tenant(Tenant, Option<u32>),
    Endpoint(Endpoint, Option<u32>),
}

impl Save {
    async fn call(&self, store: &Embedded) -> Saved {
        match self.clone() {
            Self::Tenant(tenant, expected) => store.save_tenant(tenant, expected, None).await,
            Self::Endpoint(endpoint, expected) => {
                store
                    .save_endpoint(endpoint, expected, MODEL_LIMIT, None)
                    .await
            }
        }
        .unwrap()
    }
}

/// The rows by number, removed ones too.
#[derive(Default)]
struct Model {
    tenants: BTreeMap<u32, Tenant>,
    endpoints: BTreeMap<u32, Endpoint>,
    last: Option<(Save, Saved)>,
}

fn named(uid: u8) -> Arc<str> {
    format!("name-{uid}").into()
}

impl Model {
    fn live(&self, tenant: OriginId) -> Vec<&Endpoint> {
        let live = |one: &&Endpoint| one.tenant == tenant && one.state != EndpointState::Removed;
        self.endpoints.values().filter(live).collect()
    }

    fn save_tenant(&mut self, new: &Tenant, expected: Option<u32>) -> Saved {
        let same_name = self.tenants.values().find(|one| one.uid == new.uid);
        let Some(expected) = expected else {
            if let Some(found) = same_name {
                let is_same = found.edition == 1 && found.settings == new.settings;
                return if is_same {
                    done(found.origin.0, 1)
                } else {
                    Saved::Taken
                };
            }
            let number = FIRST_TENANT + u32::try_from(self.tenants.len()).unwrap();
            let made = Tenant {
                origin: OriginId(number),
                edition: 1,
                ..new.clone()
            };
            self.tenants.insert(number, made);
            return done(number, 1);
        };
        let number = new.origin.0;
        let found = &self.tenants[&number];
        let mut wanted = Tenant {
            edition: expected + 1,
            ..new.clone()
        };
        if wanted.removed {
            wanted.uid = format!("#{number}").into();
        }
        if *found != wanted {
            if found.edition != expected || found.removed {
                return Saved::Conflict;
            }
            if !wanted.removed && same_name.is_some_and(|one| one.origin != wanted.origin) {
                return Saved::Taken;
            }
        }
        self.tenants.insert(number, wanted);
        done(number, expected + 1)
    }

    fn save_endpoint(&mut self, new: &Endpoint, expected: Option<u32>) -> Saved {
        let found = self.endpoints.get(&new.target.0);
        let mut wanted = Endpoint {
            edition: expected.unwrap_or(0) + 1,
            ..new.clone()
        };
        if wanted.state == EndpointState::Removed {
            wanted = Endpoint {
                uid: None,
                sealed: None,
                secrets: Vec::new(),
                ..wanted
            };
        }
        if found != Some(&wanted) {
            let is_known = match (found, expected) {
                (None, None) => !self.tenants[&new.tenant.0].removed,
                (Some(found), Some(expected)) => {
                    found.edition == expected
                        && found.tenant == new.tenant
                        && found.state != EndpointState::Removed
                }
                _ => false,
            };
            let live = self.live(new.tenant);
            let is_other = |one: &&Endpoint| one.uid == wanted.uid && one.target != new.target;
            if !is_known {
                return Saved::Conflict;
            }
            if wanted.uid.is_some() && live.iter().any(is_other) {
                return Saved::Taken;
            }
            if expected.is_none() && live.len() >= MODEL_LIMIT as usize {
                return Saved::Full;
            }
        }
        let answer = done(wanted.target.0, wanted.edition);
        self.endpoints.insert(wanted.target.0, wanted);
        answer
    }

    /// Makes the save of a step; none if there is nothing to change yet.
    async fn save_of(&self, store: &Embedded, step: &Step) -> Option<Save> {
        let edition =
            |now: u32, stale: &Option<i8>| now.saturating_add_signed(i32::from(stale.unwrap_or(0)));
        let tenants: Vec<_> = self.tenants.values().collect();
        let endpoints: Vec<_> = self.endpoints.values().collect();
        match step {
            Step::AddTenant { uid } => Some(Save::Tenant(tenant(&named(*uid)), None)),
            Step::ChangeTenant {
                which,
                stale,
                uid,
                settings,
                removed,
            } if !tenants.is_empty() => {
                let now = *which.get(&tenants);
                let changed = Tenant {
                    uid: named(*uid),
                    settings: format!("{settings}").into(),
                    removed: *removed,
                    ..now.clone()
                };
                Some(Save::Tenant(changed, Some(edition(now.edition, stale))))
            }
            Step::AddEndpoint { tenant, uid } if !tenants.is_empty() => {
                let target = store.reserve_endpoint().await.unwrap();
                let uid = uid.map(named);
                let new = endpoint(target, tenant.get(&tenants).origin, uid.as_deref());
                Some(Save::Endpoint(new, None))
            }
            Step::ChangeEndpoint {
                which,
                stale,
                foreign,
                uid,
                state,
                secrets,
            } if !endpoints.is_empty() => {
                let now = *which.get(&endpoints);
                let mut changed = endpoint(now.target, now.tenant, uid.map(named).as_deref());
                changed.secrets.truncate(usize::from(*secrets));
                changed.state = *state.get(&EndpointState::ALL);
                if *foreign {
                    changed.tenant = which.get(&tenants).origin;
                }
                Some(Save::Endpoint(changed, Some(edition(now.edition, stale))))
            }
            Step::ChangeTenant { .. }
            | Step::AddEndpoint { .. }
            | Step::ChangeEndpoint { .. }
            | Step::Repeat
            | Step::Restart => None,
        }
    }

    async fn compare(&self, store: &Embedded) {
        let mut live: Vec<_> = self.tenants.values().filter(|one| !one.removed).collect();
        live.sort_by(|one, other| one.uid.cmp(&other.uid));
        let found = store.tenants(None, 100).await.unwrap();
        assert_eq!(found.iter().collect::<Vec<_>>(), live);
        for origin in self.tenants.keys().copied().map(OriginId) {
            let found = store.endpoints(origin, None, 100).await.unwrap();
            assert_eq!(found.iter().collect::<Vec<_>>(), self.live(origin));
        }
        let targets: Vec<_> = self.endpoints.values().map(|one| one.target).collect();
        let found = store.endpoints_of(&targets).await.unwrap();
        assert!(found.iter().eq(self.endpoints.values()), "{found:?}");
        let numbers: Vec<_> = self.tenants.keys().copied().collect();
        let called = store.called(&numbers).await.unwrap();
        let names = self.tenants.iter();
        assert!(
            called
                .iter()
                .map(|(number, name)| (number, name))
                .eq(names.map(|(number, one)| (number, &one.uid)))
        );
        let inactive = store.inactive(None, 100).await.unwrap();
        let expected = self
            .endpoints
            .values()
            .filter(|one| !matches!(one.state, EndpointState::Active | EndpointState::Removed));
        assert!(
            inactive
                .iter()
                .map(|one| (one.target, one.state))
                .eq(expected.map(|one| (one.target, one.state)))
        );
        let counts = store.address_counts().await.unwrap();
        assert_eq!(counts.tenants, live.len() as u64);
        for (state, count) in counts.endpoints {
            let expected = self.endpoints.values().filter(|one| one.state == state);
            assert_eq!(count, expected.count() as u64, "{state:?}");
        }
    }
}

fn done(number: u32, edition: u32) -> Saved {
    Saved::Done { number, edition }
}

async fn run(steps: Vec<Step>) {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let (mut store, mut model) = (open(directory.path(), &clock), Model::default());
    for step in steps {
        if matches!(step, Step::Restart) {
            drop(store);
            store = open(directory.path(), &clock);
        }
        if let (Step::Repeat, Some((save, answer))) = (&step, &model.last) {
            assert_eq!(save.call(&store).await, *answer);
        }
        if let Some(save) = model.save_of(&store, &step).await {
            let expected = match &save {
                Save::Tenant(tenant, expected) => model.save_tenant(tenant, *expected),
                Save::Endpoint(endpoint, expected) => model.save_endpoint(endpoint, *expected),
            };
            let answer = save.call(&store).await;
            assert_eq!(answer, expected);
            model.last = Some((save, answer));
        }
        model.compare(&store).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn address_book_matches_its_model(steps in prop::collection::vec(step(), 1..40)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run(steps));
    }
}
