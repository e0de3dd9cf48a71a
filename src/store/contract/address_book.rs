//! The contract of every address book.
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::store::address_book::{
    AddressBook, AuditEntry, Endpoint, EndpointName, EndpointState, Inactive, Resealed, Saved,
    SealedPart, SecretRow, Tenant,
};
use crate::store::archive::Archive;
use crate::store::queue::{FIRST_TENANT, OriginId, TargetId};

/// An address book whose audit can be read.
pub(crate) trait Book: AddressBook + Archive {}
impl<T: AddressBook + Archive> Book for T {}

/// The largest number of endpoints that the tests let a tenant have, where they are not about it.
pub(crate) const LIMIT: u32 = 100;

/// Returns a time that a store keeps as it is.
pub(crate) fn time(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_800_000_000_123 + seconds * 1000)
}

pub(crate) fn audit(what: &str) -> Option<AuditEntry> {
    Some(AuditEntry {
        who: "office".into(),
        what: what.into(),
        which: "acme".into(),
        reason: "because".into(),
    })
}

/// Returns a tenant that is not saved yet.
pub(crate) fn tenant(uid: &str) -> Tenant {
    Tenant {
        origin: OriginId(0),
        uid: uid.into(),
        created: time(0),
        edition: 0,
        removed: false,
        settings: "{\"name\":\"Acmé\"}".into(),
    }
}

/// Returns an endpoint that is not saved yet, with a secret that has ended and one that has not.
pub(crate) fn endpoint(target: TargetId, tenant: OriginId, uid: Option<&str>) -> Endpoint {
    let secret = |n: u32, ends| SecretRow {
        n,
        name: format!("secret-{n}").into(),
        created: time(u64::from(n)),
        ends,
        sealed: Bytes::from(vec![0, 0xff, u8::try_from(n).unwrap()]),
    };
    Endpoint {
        target,
        id: format!("ep_{}", target.0).into(),
        tenant,
        uid: uid.map(Arc::from),
        edition: 0,
        state: EndpointState::Active,
        since: time(1),
        url: "https://example.com/hooks".into(),
        settings: "{\"types\":[\"*\"]}".into(),
        sealed: Some(Bytes::from_static(b"\x00headers")),
        secrets: vec![secret(1, Some(time(9))), secret(2, None)],
        health: None,
        job: None,
        cursor: None,
    }
}

/// Saves a new tenant, and returns it as it is in the store.
pub(crate) async fn add_tenant(book: &dyn Book, uid: &str) -> Tenant {
    let saved = book
        .save_tenant(tenant(uid), None, audit("tenant.create"))
        .await
        .unwrap();
    let found = book.tenant(uid).await.unwrap().unwrap();
    let number = found.origin.0;
    assert_eq!(saved, Saved::Done { number, edition: 1 });
    assert_eq!(
        found,
        Tenant {
            origin: found.origin,
            edition: 1,
            ..tenant(uid)
        }
    );
    found
}

/// Saves a new endpoint, and returns it as it is in the store.
pub(crate) async fn add(book: &dyn Book, tenant: OriginId, uid: Option<&str>) -> Endpoint {
    let target = book.reserve_endpoint().await.unwrap();
    assert!(target.is_endpoint());
    let new = endpoint(target, tenant, uid);
    let saved = save(book, &new, None).await;
    assert_eq!(
        saved,
        Saved::Done {
            number: target.0,
            edition: 1
        }
    );
    Endpoint { edition: 1, ..new }
}

pub(crate) async fn save(book: &dyn Book, endpoint: &Endpoint, expected: Option<u32>) -> Saved {
    book.save_endpoint(endpoint.clone(), expected, LIMIT, audit("endpoint.change"))
        .await
        .unwrap()
}

async fn by_id(book: &dyn Book, tenant: OriginId, id: &Arc<str>) -> Option<Endpoint> {
    let name = EndpointName::Id(Arc::clone(id));
    book.endpoint(tenant, name).await.unwrap()
}

async fn by_uid(book: &dyn Book, tenant: OriginId, uid: &str) -> Option<Endpoint> {
    let name = EndpointName::Uid(uid.into());
    book.endpoint(tenant, name).await.unwrap()
}

async fn of_tenant(book: &dyn Book, tenant: OriginId) -> Vec<Endpoint> {
    book.endpoints(tenant, None, 500).await.unwrap()
}

/// Runs everything below. Each uses tenants of its own.
pub(crate) async fn holds(book: &dyn Book) {
    saved_tenants_are_found_and_listed(book).await;
    stale_edition_of_a_tenant_conflicts(book).await;
    removed_tenant_frees_its_name_and_keeps_its_number(book).await;
    saved_endpoint_is_found_with_its_secrets(book).await;
    endpoint_of_another_tenant_is_not_found(book).await;
    names_of_the_app_are_unique_within_a_tenant(book).await;
    limit_of_a_tenant_counts_what_is_not_removed(book).await;
    stale_edition_of_an_endpoint_conflicts(book).await;
    repeated_saves_are_done_once(book).await;
    endpoints_are_listed_by_state_and_job(book).await;
    seals_are_replaced_only_as_they_were_read(book).await;
    changes_are_counted_and_audited(book).await;
}

async fn saved_tenants_are_found_and_listed(book: &dyn Book) {
    assert_eq!(book.tenant("list-b").await.unwrap(), None);
    let mut all = Vec::new();
    for uid in ["list-b", "list-a", "list-c"] {
        all.push(add_tenant(book, uid).await);
    }
    assert!(all.iter().all(|tenant| tenant.origin.is_tenant()));
    assert!(all.is_sorted_by(|one, other| one.origin < other.origin));
    all.sort_by(|one, other| one.uid.cmp(&other.uid));
    let list = async |after: &str, limit| book.tenants(Some(after.into()), limit).await.unwrap();
    assert_eq!(list("list", 2).await, all[..2]);
    assert_eq!(list("list-b", 1).await, all[2..]);
    assert!(list("list-c", 9).await.is_empty());
    let first = book.tenants(None, 1).await.unwrap();
    assert_eq!(first[0].uid, all[0].uid);
    let called = book
        .called(&[all[1].origin.0, 77, FIRST_TENANT + 9999, all[0].origin.0])
        .await
        .unwrap();
    assert_eq!(
        called,
        [
            (all[1].origin.0, "list-b".into()),
            (all[0].origin.0, "list-a".into())
        ]
    );
}

async fn stale_edition_of_a_tenant_conflicts(book: &dyn Book) {
    let one = add_tenant(book, "stale").await;
    add_tenant(book, "stale-other").await;
    let change = async |settings: &str, uid: &str, expected| {
        let changed = Tenant {
            settings: settings.into(),
            uid: uid.into(),
            ..one.clone()
        };
        book.save_tenant(changed, expected, None).await.unwrap()
    };
    let number = one.origin.0;
    let done = Saved::Done { number, edition: 2 };
    assert_eq!(change("{}", "stale", None).await, Saved::Taken);
    assert_eq!(change("{}", "stale", Some(1)).await, done);
    assert_eq!(change("{}", "stale", Some(1)).await, done, "repeated");
    assert_eq!(change("[]", "stale", Some(1)).await, Saved::Conflict);
    assert_eq!(change("[]", "stale", Some(3)).await, Saved::Conflict);
    assert_eq!(change("[]", "stale-other", Some(2)).await, Saved::Taken);
    let found = book.tenant("stale").await.unwrap().unwrap();
    assert_eq!((found.edition, &*found.settings), (2, "{}"));
    let nobody = Tenant {
        origin: OriginId(FIRST_TENANT + 9999),
        ..tenant("nobody")
    };
    let saved = book.save_tenant(nobody, Some(1), None).await.unwrap();
    assert_eq!(saved, Saved::Conflict);
}

async fn removed_tenant_frees_its_name_and_keeps_its_number(book: &dyn Book) {
    let one = add_tenant(book, "removed").await;
    let left = add(book, one.origin, Some("main")).await;
    let removed = Tenant {
        removed: true,
        ..one.clone()
    };
    let done = Saved::Done {
        number: one.origin.0,
        edition: 2,
    };
    for _ in 0..2 {
        let saved = book.save_tenant(removed.clone(), Some(1), audit("tenant.remove"));
        assert_eq!(saved.await.unwrap(), done);
    }
    assert_eq!(book.tenant("removed").await.unwrap(), None);
    let name: Arc<str> = format!("#{}", one.origin.0).into();
    assert_eq!(book.tenant(&name).await.unwrap(), None);
    let called = book.called(&[one.origin.0]).await.unwrap();
    assert_eq!(called, [(one.origin.0, name)]);
    let back = book.save_tenant(one.clone(), Some(2), None).await.unwrap();
    assert_eq!(back, Saved::Conflict, "it does not come back");
    let target = book.reserve_endpoint().await.unwrap();
    let new = endpoint(target, one.origin, None);
    assert_eq!(save(book, &new, None).await, Saved::Conflict);
    // its endpoints are removed afterwards, in steps
    assert!(by_id(book, one.origin, &left.id).await.is_some());
    let ended = Endpoint {
        state: EndpointState::Removed,
        ..left.clone()
    };
    assert!(matches!(
        save(book, &ended, Some(1)).await,
        Saved::Done { .. }
    ));
    let next = add_tenant(book, "removed").await;
    assert!(next.origin > one.origin, "a number is never used again");
    let listed = book.tenants(None, 500).await.unwrap();
    assert!(listed.contains(&next));
    assert!(!listed.iter().any(|tenant| tenant.origin == one.origin));
}

async fn saved_endpoint_is_found_with_its_secrets(book: &dyn Book) {
    let tenant = add_tenant(book, "found").await.origin;
    let (one, other) = (
        add(book, tenant, Some("main")).await,
        add(book, tenant, None).await,
    );
    assert!(other.target > one.target);
    assert_eq!(by_id(book, tenant, &one.id).await.as_ref(), Some(&one));
    assert_eq!(by_uid(book, tenant, "main").await.as_ref(), Some(&one));
    assert_eq!(by_uid(book, tenant, "").await, None);
    assert_eq!(of_tenant(book, tenant).await, [one.clone(), other.clone()]);
    let page = book.endpoints(tenant, Some(one.target), 1).await.unwrap();
    assert_eq!(page, std::slice::from_ref(&other));
    let mut changed = Endpoint {
        uid: None,
        url: "https://example.org/".into(),
        sealed: None,
        job: Some("{\"kind\":\"resume\"}".into()),
        cursor: Some(Bytes::from_static(b"\x00\x01")),
        state: EndpointState::Resuming,
        ..one.clone()
    };
    // in any order
    changed.secrets = vec![
        SecretRow {
            n: 3,
            ..one.secrets[0].clone()
        },
        one.secrets[1].clone(),
    ];
    let done = Saved::Done {
        number: one.target.0,
        edition: 2,
    };
    assert_eq!(save(book, &changed, Some(1)).await, done);
    changed.edition = 2;
    changed.secrets.reverse();
    assert_eq!(by_id(book, tenant, &one.id).await.as_ref(), Some(&changed));
    assert_eq!(by_uid(book, tenant, "main").await, None);
    let missing = TargetId(other.target.0 + 9999);
    let found = book
        .endpoints_of(&[other.target, missing, one.target])
        .await
        .unwrap();
    assert_eq!(found, [other.clone(), changed.clone()]);
    let called = book
        .called(&[one.target.0, missing.0, tenant.0])
        .await
        .unwrap();
    assert_eq!(called, [(one.target.0, one.id), (tenant.0, "found".into())]);
    let text = format!("{changed:?}");
    assert!(
        !text.contains("example.org") && !text.contains("255"),
        "{text}"
    );
}

async fn endpoint_of_another_tenant_is_not_found(book: &dyn Book) {
    let mine = add_tenant(book, "mine").await.origin;
    let other = add_tenant(book, "other").await.origin;
    let one = add(book, mine, Some("main")).await;
    assert_eq!(by_id(book, other, &one.id).await, None);
    assert_eq!(by_uid(book, other, "main").await, None);
    assert!(of_tenant(book, other).await.is_empty());
    let stolen = Endpoint {
        tenant: other,
        ..one.clone()
    };
    assert_eq!(save(book, &stolen, Some(1)).await, Saved::Conflict);
    assert_eq!(save(book, &stolen, None).await, Saved::Conflict);
    // nor under the ID of another's
    let target = book.reserve_endpoint().await.unwrap();
    let same_id = Endpoint {
        id: Arc::clone(&one.id),
        ..endpoint(target, other, None)
    };
    assert_eq!(save(book, &same_id, None).await, Saved::Conflict);
    let no_endpoint = endpoint(TargetId(3), other, None);
    assert_eq!(save(book, &no_endpoint, None).await, Saved::Conflict);
    assert!(of_tenant(book, other).await.is_empty());
    assert_eq!(of_tenant(book, mine).await, [one]);
}

async fn names_of_the_app_are_unique_within_a_tenant(book: &dyn Book) {
    let tenants = [
        add_tenant(book, "unique-1").await.origin,
        add_tenant(book, "unique-2").await.origin,
    ];
    for tenant in tenants {
        let one = add(book, tenant, Some("main")).await;
        let two = add(book, tenant, None).await;
        let target = book.reserve_endpoint().await.unwrap();
        let same = endpoint(target, tenant, Some("main"));
        assert_eq!(save(book, &same, None).await, Saved::Taken);
        let renamed = Endpoint {
            uid: Some("main".into()),
            ..two
        };
        assert_eq!(save(book, &renamed, Some(1)).await, Saved::Taken);
        let removed = Endpoint {
            state: EndpointState::Removed,
            ..one
        };
        assert!(matches!(
            save(book, &removed, Some(1)).await,
            Saved::Done { .. }
        ));
        assert!(matches!(
            save(book, &renamed, Some(1)).await,
            Saved::Done { .. }
        ));
    }
}

async fn limit_of_a_tenant_counts_what_is_not_removed(book: &dyn Book) {
    let tenant = add_tenant(book, "limit").await.origin;
    let one = add(book, tenant, None).await;
    let target = book.reserve_endpoint().await.unwrap();
    let new = endpoint(target, tenant, None);
    let add_with = async |limit| book.save_endpoint(new.clone(), None, limit, None).await;
    assert_eq!(add_with(1).await.unwrap(), Saved::Full);
    let changed = Endpoint {
        state: EndpointState::Paused,
        ..one.clone()
    };
    let saved = book.save_endpoint(changed, Some(1), 0, None).await.unwrap();
    assert!(
        matches!(saved, Saved::Done { .. }),
        "a lower limit stops no change"
    );
    let removed = Endpoint {
        state: EndpointState::Removed,
        job: Some("{}".into()),
        ..one.clone()
    };
    assert!(matches!(
        save(book, &removed, Some(2)).await,
        Saved::Done { .. }
    ));
    assert!(matches!(add_with(1).await.unwrap(), Saved::Done { .. }));
    assert_eq!(by_id(book, tenant, &one.id).await, None);
    let [kept] = &book.endpoints_of(&[one.target]).await.unwrap()[..] else {
        panic!("a removed endpoint keeps its row");
    };
    assert_eq!(kept.state, EndpointState::Removed);
    assert!(kept.secrets.is_empty() && kept.sealed.is_none() && kept.job.is_none());
    let back = Endpoint {
        edition: 3,
        ..one.clone()
    };
    assert_eq!(save(book, &back, Some(3)).await, Saved::Conflict);
    let next = add(book, tenant, None).await;
    assert!(next.target > target && target > one.target);
}

async fn stale_edition_of_an_endpoint_conflicts(book: &dyn Book) {
    let tenant = add_tenant(book, "editions").await.origin;
    let one = add(book, tenant, None).await;
    let with = |url: &str| Endpoint {
        url: url.into(),
        ..one.clone()
    };
    // two that read the same row
    let done = Saved::Done {
        number: one.target.0,
        edition: 2,
    };
    assert_eq!(save(book, &with("https://a.example/"), Some(1)).await, done);
    assert_eq!(
        save(book, &with("https://b.example/"), Some(1)).await,
        Saved::Conflict
    );
    assert_eq!(
        save(book, &with("https://b.example/"), None).await,
        Saved::Conflict
    );
    let secrets_changed = Endpoint {
        secrets: one.secrets[..1].to_vec(),
        ..with("https://a.example/")
    };
    assert_eq!(
        save(book, &secrets_changed, Some(1)).await,
        Saved::Conflict,
        "the row is the same, the secrets are not"
    );
    let found = by_id(book, tenant, &one.id).await.unwrap();
    assert_eq!((found.edition, &*found.url), (2, "https://a.example/"));
    let missing = TargetId(one.target.0 + 9999);
    let nobody = endpoint(missing, tenant, None);
    assert_eq!(save(book, &nobody, Some(1)).await, Saved::Conflict);
}

async fn audited(book: &dyn Book, what: &str) -> usize {
    let entries = book.audit(10_000).await.unwrap();
    entries.iter().filter(|entry| &*entry.what == what).count()
}

async fn repeated_saves_are_done_once(book: &dyn Book) {
    let mut one = tenant("repeated");
    let mut saved = Vec::new();
    for _ in 0..3 {
        saved.push(
            book.save_tenant(one.clone(), None, audit("repeat.tenant"))
                .await
                .unwrap(),
        );
    }
    let Saved::Done { number, edition: 1 } = saved[0] else {
        panic!("{saved:?}")
    };
    assert_eq!(saved, [saved[0]; 3]);
    assert_eq!(audited(book, "repeat.tenant").await, 1);
    one.origin = OriginId(number);
    let target = book.reserve_endpoint().await.unwrap();
    let mut endpoint = endpoint(target, one.origin, Some("main"));
    // a time of the system is finer than what is kept
    endpoint.since += Duration::from_nanos(1234);
    for expected in [None, Some(1), Some(2)] {
        endpoint.settings = format!("{{\"rate\":{expected:?}}}").into();
        let edition = expected.unwrap_or(0) + 1;
        for _ in 0..3 {
            let saved = book
                .save_endpoint(endpoint.clone(), expected, 1, audit("repeat.endpoint"))
                .await
                .unwrap();
            let number = target.0;
            assert_eq!(saved, Saved::Done { number, edition });
        }
    }
    assert_eq!(audited(book, "repeat.endpoint").await, 3);
    let first = Endpoint {
        settings: "{\"rate\":None}".into(),
        ..endpoint
    };
    assert_eq!(
        save(book, &first, None).await,
        Saved::Conflict,
        "others changed it since"
    );
}

async fn endpoints_are_listed_by_state_and_job(book: &dyn Book) {
    let tenant = add_tenant(book, "states").await.origin;
    let mut inactive = Vec::new();
    let mut with_jobs = Vec::new();
    let first = book.reserve_endpoint().await.unwrap();
    for (at, state) in EndpointState::ALL.into_iter().enumerate() {
        let one = add(book, tenant, None).await;
        let changed = Endpoint {
            state,
            since: time(50),
            job: Some("{}".into()),
            cursor: (at % 2 == 0).then(|| Bytes::from_static(b"0")),
            ..one
        };
        let target = changed.target;
        assert!(matches!(
            save(book, &changed, Some(1)).await,
            Saved::Done { .. }
        ));
        if !matches!(state, EndpointState::Active | EndpointState::Removed) {
            inactive.push(Inactive {
                target,
                state,
                since: time(50),
            });
        }
        if at % 2 == 0 && state != EndpointState::Removed {
            with_jobs.push(target);
        }
    }
    let page = |after: TargetId, limit| book.inactive(Some(after), limit);
    assert_eq!(page(first, 500).await.unwrap(), inactive);
    assert_eq!(page(first, 2).await.unwrap(), inactive[..2]);
    assert_eq!(
        page(inactive[1].target, 500).await.unwrap(),
        inactive[2..],
        "from a cursor on"
    );
    let all = book.inactive(None, 500).await.unwrap();
    assert!(all.ends_with(&inactive));
    let jobs = book.with_jobs(Some(first), 500).await.unwrap();
    let found: Vec<_> = jobs.iter().map(|one| one.target).collect();
    assert_eq!(found, with_jobs);
    assert!(jobs.iter().all(|one| one.secrets.len() == 2));
    assert!(
        book.unhealthy(Some(first), 500).await.unwrap().is_empty(),
        "no attempt failed"
    );
}

async fn seals_are_replaced_only_as_they_were_read(book: &dyn Book) {
    assert_eq!(book.seal_check().await.unwrap(), None);
    for text in [&b"\x00first"[..], b"second"] {
        let text = Bytes::from_static(text);
        book.set_seal_check(text.clone()).await.unwrap();
        assert_eq!(book.seal_check().await.unwrap(), Some(text));
    }
    let tenant = add_tenant(book, "seals").await.origin;
    let before = book.reserve_endpoint().await.unwrap();
    let one = add(book, tenant, None).await;
    let bare = Endpoint {
        sealed: None,
        secrets: Vec::new(),
        ..add(book, tenant, None).await
    };
    assert!(matches!(
        save(book, &bare, Some(1)).await,
        Saved::Done { .. }
    ));
    let last = add(book, tenant, None).await;
    let read = book.to_reseal(Some(before), 500).await.unwrap();
    let targets: Vec<_> = read.iter().map(|rows| rows.target).collect();
    assert_eq!(targets, [one.target, last.target]);
    let parts: Vec<_> = read[0].parts.iter().map(|(part, _)| *part).collect();
    assert_eq!(
        parts,
        [
            SealedPart::Headers,
            SealedPart::Secret(1),
            SealedPart::Secret(2)
        ]
    );
    assert_eq!(read[0].parts[1].1, one.secrets[0].sealed);
    let resealed = |read: &[(SealedPart, Bytes)]| {
        let reseal = |(part, before): &(SealedPart, Bytes)| Resealed {
            part: *part,
            before: before.clone(),
            after: [b"new ", &before[..]].concat().into(),
        };
        read.iter().map(reseal).collect::<Vec<_>>()
    };
    let without = async |prefix: &'static [u8]| {
        let count = book.seals_without(Bytes::from_static(prefix));
        count.await.unwrap()
    };
    let (before, none) = (without(b"new").await, without(b"").await);
    assert_eq!(none, 0);
    let all = resealed(&read[0].parts);
    assert_eq!(book.reseal(one.target, all.clone()).await.unwrap(), 3);
    assert_eq!(book.reseal(one.target, all).await.unwrap(), 0, "repeated");
    assert_eq!(without(b"new").await, before - 3);
    let found = by_id(book, tenant, &one.id).await.unwrap();
    assert_eq!(found.edition, 2);
    assert_eq!(&found.sealed.unwrap()[..], b"new \x00headers");
    assert_eq!(&found.secrets[1].sealed[..], b"new \x00\xff\x02");
    let stale = Endpoint {
        url: "https://example.org/".into(),
        ..one
    };
    assert_eq!(
        save(book, &stale, Some(1)).await,
        Saved::Conflict,
        "it would bring the old seals back"
    );
    let mut changed = last.clone();
    changed.secrets[0].sealed = Bytes::from_static(b"rotated");
    assert!(matches!(
        save(book, &changed, Some(1)).await,
        Saved::Done { .. }
    ));
    let late = resealed(&read[1].parts);
    assert_eq!(book.reseal(last.target, late).await.unwrap(), 2);
    let found = by_id(book, tenant, &last.id).await.unwrap();
    assert_eq!(&found.secrets[0].sealed[..], b"rotated");
}

async fn changes_are_counted_and_audited(book: &dyn Book) {
    let count = async || {
        let counts = book.address_counts().await.unwrap();
        let of = |wanted| {
            let found = counts.endpoints.iter().find(|(state, _)| *state == wanted);
            found.map_or(0, |(_, count)| *count)
        };
        (
            counts.tenants,
            of(EndpointState::Active),
            of(EndpointState::Paused),
            of(EndpointState::Removed),
        )
    };
    let (tenants, active, paused, _) = count().await;
    let one = add_tenant(book, "counted").await;
    let mut endpoint = add(book, one.origin, None).await;
    assert_eq!(count().await, (tenants + 1, active + 1, paused, 0));
    for (state, edition, expected) in [
        (
            EndpointState::Paused,
            1,
            (tenants + 1, active, paused + 1, 0),
        ),
        (
            EndpointState::Paused,
            2,
            (tenants + 1, active, paused + 1, 0),
        ),
        (
            EndpointState::Active,
            3,
            (tenants + 1, active + 1, paused, 0),
        ),
        (EndpointState::Removed, 4, (tenants + 1, active, paused, 0)),
    ] {
        endpoint.state = state;
        endpoint.settings = format!("{{\"edition\":{edition}}}").into();
        assert!(matches!(
            save(book, &endpoint, Some(edition)).await,
            Saved::Done { .. }
        ));
        assert_eq!(count().await, expected);
        assert_eq!(save(book, &endpoint, Some(9)).await, Saved::Conflict);
        assert_eq!(count().await, expected);
    }
    let totals = book.totals().await.unwrap();
    assert!(
        totals.targets.iter().all(|counts| counts.target.0 > 9),
        "no state is taken for a target: {:?}",
        totals.targets
    );
    let removed = Tenant {
        removed: true,
        ..one
    };
    let saved = book.save_tenant(removed, Some(1), audit("counted.remove"));
    assert!(matches!(saved.await.unwrap(), Saved::Done { .. }));
    assert_eq!(count().await, (tenants, active, paused, 0));
    let entries = book.audit(1).await.unwrap();
    let [entry] = &entries[..] else {
        panic!("{entries:?}")
    };
    assert_eq!(
        (
            &*entry.who,
            &*entry.what,
            &*entry.which,
            &*entry.reason,
            entry.done
        ),
        ("office", "counted.remove", "acme", "because", 1)
    );
}
