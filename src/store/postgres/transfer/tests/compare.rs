//! Two stores, compared by all that their traits say.
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::LEASE;
use super::fill::Filled;
use crate::store::address_book::{
    AddressCounts, Endpoint, Inactive, SealedRows, Tenant, Unhealthy,
};
use crate::store::archive::{
    Act, ActKind, AttemptOf, AttemptsOf, Audit, Filter, Order, Page, Row, Scope, Shown, Statuses,
    TargetCounts, TenantCounts, UnitShown, UnitsShown, WaitingPosition, WaitingUnits, Which,
};
use crate::store::contract::HandClock;
use crate::store::contract::queue::take;
use crate::store::names::Kind;
use crate::store::queue::{Accepted, Dedupe, Next};
use crate::store::text::storable;
use crate::store::{Remembered, Store};
use crate::tenant::job::JobCursor;

/// All that a store says.
#[derive(Debug, PartialEq)]
pub(super) struct Everything {
    names: Vec<(Kind, u32, Arc<str>)>,
    pages: Vec<Page>,
    rows: Vec<Row>,
    shown: Vec<Option<Shown>>,
    attempts: Vec<Vec<AttemptOf>>,
    origins: Vec<(crate::store::queue::OriginId, u64, u64)>,
    targets: Vec<TargetCounts>,
    of_tenants: TenantCounts,
    sums: Vec<TenantCounts>,
    audit: Vec<Audit>,
    tenants: Vec<Tenant>,
    endpoints: Vec<Endpoint>,
    inactive: Vec<Inactive>,
    waiting_for_inactive: u64,
    unhealthy: Vec<Unhealthy>,
    called: Vec<(u32, Arc<str>)>,
    address_counts: AddressCounts,
    seals: (Option<Bytes>, Vec<SealedRows>),
    versions: Vec<Option<Bytes>>,
    remembered: Vec<Remembered>,
    matches: Vec<(u64, bool)>,
}

fn stored_text(text: &mut Option<Arc<str>>) {
    *text = text.as_deref().map(|text| storable(text).into());
}

impl Everything {
    pub(super) async fn of(store: &impl Store, filled: &Filled) -> Self {
        let (mut pages, mut shown, mut attempts) = (Vec::new(), Vec::new(), Vec::new());
        for order in [Order::Newest, Order::Oldest] {
            let page = store.page(
                Scope::All,
                &Filter::default(),
                order,
                None,
                100,
                UnitsShown::All,
            );
            pages.push(page.await.unwrap());
        }
        let mut rows = store
            .rows(Scope::All, &filled.ids, UnitsShown::All)
            .await
            .unwrap();
        for row in pages
            .iter_mut()
            .flat_map(|page| &mut page.rows)
            .chain(&mut rows)
        {
            stored_text(&mut row.event_type);
        }
        for id in &filled.ids {
            let mut one = store.get(Scope::All, *id, UnitsShown::All).await.unwrap();
            if let Some(one) = &mut one {
                stored_text(&mut one.stored.event_type);
                one.attempts
                    .sort_by_key(|shown| (shown.target, shown.number));
            }
            shown.push(one);
        }
        let of_deliveries = filled.ids.iter().map(|id| AttemptsOf::Delivery(*id));
        let of_endpoints = filled.targets.iter().filter(|target| target.is_endpoint());
        for of in of_deliveries.chain(of_endpoints.map(|target| AttemptsOf::Endpoint(*target))) {
            let mut found = store
                .attempts(Scope::All, of, None, 100)
                .await
                .unwrap()
                .rows;
            for one in &mut found {
                stored_text(&mut one.event_type);
            }
            attempts.push(found);
        }
        let (mut totals, mut sums) = (store.totals().await.unwrap(), Vec::new());
        totals.origins.sort_unstable();
        totals.targets.sort_unstable_by_key(|counts| counts.target);
        for tenant in &filled.tenants {
            sums.push(store.sums(*tenant).await.unwrap());
        }
        let mut endpoints = store.endpoints_of(&filled.targets).await.unwrap();
        endpoints.extend(store.with_jobs(None, 9).await.unwrap());
        for endpoint in &mut endpoints {
            // it is in the time of its store, see `go_on`
            assert_eq!(
                endpoint.cursor.is_some(),
                endpoint.target == filled.with_job
            );
            endpoint.cursor = None;
        }
        let mut versions = Vec::new();
        for id in &filled.ids {
            versions.push(store.version(*id, 3).await.unwrap());
        }
        let mut remembered = Vec::new();
        for route in ["kept", "new", "absent"] {
            for (key, _) in filled
                .keys
                .iter()
                .filter(|(key, _)| *key != filled.past_window)
            {
                remembered.push(store.recall(route, *key).await.unwrap());
            }
        }
        let secrets = vec![super::fill::matched(0, None)];
        let totals_of_secrets = store.count_matches(secrets).await.unwrap();
        let matches = totals_of_secrets
            .iter()
            .map(|of| {
                (
                    of.count,
                    of.last.is_some_and(|last| last >= Duration::from_secs(3)),
                )
            })
            .collect();
        let numbers: Vec<u32> = filled.targets.iter().map(|target| target.0).collect();
        Self {
            names: store.names().await.unwrap(),
            pages,
            rows,
            shown,
            attempts,
            origins: totals.origins,
            targets: totals.targets,
            of_tenants: totals.tenants,
            sums,
            audit: store.audit(100).await.unwrap(),
            tenants: store.tenants(None, 9).await.unwrap(),
            endpoints,
            inactive: store.inactive(None, 9).await.unwrap(),
            waiting_for_inactive: store.waiting_for_inactive().await.unwrap(),
            unhealthy: store.unhealthy(None, 9).await.unwrap(),
            called: store.called(&numbers).await.unwrap(),
            address_counts: store.address_counts().await.unwrap(),
            seals: (
                store.seal_check().await.unwrap(),
                store.to_reseal(None, 9).await.unwrap(),
            ),
            versions,
            remembered,
            matches,
        }
    }

    /// Fails with the first part that differs.
    pub(super) fn same_as(&self, other: &Self) {
        assert_eq!(self.names, other.names);
        assert_eq!(self.rows, other.rows);
        assert_eq!(self.pages, other.pages);
        for (one, other) in self.shown.iter().zip(&other.shown) {
            assert_eq!(one, other);
        }
        for (one, other) in self.attempts.iter().zip(&other.attempts) {
            assert_eq!(one, other);
        }
        assert_eq!(self.origins, other.origins);
        assert_eq!(self.targets, other.targets);
        assert_eq!(self.audit, other.audit);
        assert_eq!(self.remembered, other.remembered);
        assert_eq!(self, other);
        assert_eq!(self.matches, [(5, true)]);
        // there is something of each
        assert!(!self.inactive.is_empty() && !self.unhealthy.is_empty());
        assert!(
            self.remembered
                .iter()
                .any(|known| known.complete_for.is_some())
        );
        assert!(self.versions.iter().any(Option::is_some));
        assert!(self.of_tenants.waiting > 0 && self.of_tenants.dead > 0);
    }
}

/// Lets both stores deliver what waits: in the same order, at the same times, with the same numbers. Then sends an event again that both know.
pub(super) async fn settle_alike(
    before: &impl Store,
    after: &impl Store,
    filled: &Filled,
    clock: &HandClock,
) {
    let events = before
        .rows(Scope::All, &filled.ids, UnitsShown::All)
        .await
        .unwrap();
    let is_waiting = |unit: &UnitShown| Statuses::waiting().contains(unit.status);
    let waiting = events
        .iter()
        .flat_map(|row| &row.units)
        .filter(|unit| is_waiting(unit))
        .count();
    let known = events
        .iter()
        .find(|row| row.delivery_id.as_deref() == Some("e-3"))
        .unwrap();
    let mut again =
        crate::store::contract::events::event(0, 0, "e-3", crate::store::queue::Start::Anyone);
    again.origin = known.origin;
    let duplicate = Accepted::Duplicate { of: Some(known.id) };
    for (meaning, expected) in [(1, duplicate), (2, Accepted::Other { of: known.id })] {
        let dedupe = Dedupe::Own {
            digest: [meaning; 32],
        };
        assert_eq!(
            before
                .accept(Arc::new(again.clone()), dedupe)
                .await
                .unwrap(),
            expected
        );
        assert_eq!(
            after.accept(Arc::new(again.clone()), dedupe).await.unwrap(),
            expected
        );
    }
    let gone_on = [go_on(before, filled).await, go_on(after, filled).await];
    assert!(gone_on[0] > 0 && gone_on[0] == gone_on[1], "{gone_on:?}");
    let mut delivered = 0;
    for _ in 0..14 {
        for target in &filled.targets {
            let (mut ours, mut theirs) = (
                take(before, target.0, 9).await,
                take(after, target.0, 9).await,
            );
            for leased in ours.iter_mut().chain(&mut theirs) {
                // each engine knows how much of it is in memory
                leased.bytes = 0;
                let mut stored = (*leased.stored).clone();
                stored_text(&mut stored.event_type);
                leased.stored = Arc::new(stored);
            }
            assert_eq!(ours, theirs, "{target:?}");
            for leased in ours {
                for owned in [
                    before.settle(leased.lease, None, Next::Delivered).await,
                    after.settle(leased.lease, None, Next::Delivered).await,
                ] {
                    owned.unwrap();
                }
                delivered += 1;
            }
        }
        clock.advance(Duration::from_secs(30));
        assert!(LEASE < Duration::from_secs(30));
    }
    assert!(
        delivered == waiting && waiting > 10,
        "{delivered} of {waiting}"
    );
}

/// Goes on with the job of an endpoint. Returns how many deliveries it changed.
async fn go_on(store: &impl Store, filled: &Filled) -> u64 {
    let endpoints = store.endpoints_of(&[filled.with_job]).await.unwrap();
    let cursor = JobCursor::from_bytes(endpoints[0].cursor.as_ref().unwrap()).unwrap();
    let after = WaitingPosition::from_bytes(&cursor.after);
    assert!(cursor.phase == 1 && after.is_some());
    let act = Act {
        kind: ActKind::Renew,
        which: Which::Waiting(WaitingUnits {
            target: filled.with_job,
            until: None,
            after,
        }),
        targets: Arc::default(),
        who: "anna".into(),
        reason: "go on".into(),
        description: None,
        goes_on: None,
    };
    store.act(Scope::All, &act, 100).await.unwrap().done
}
