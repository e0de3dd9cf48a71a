//! Tenants and endpoints, on the store of a fleet.
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use tokio_postgres::Row;

use super::Postgres;
use super::call::{Blob, Call, column};
use super::columns::{
    after, bytes, count, first, int, number, numbers, optional_bytes, text, to_optional_text,
    to_text,
};
use super::endpoint::{endpoint, inactive, state, unhealthy, with_endpoint};
use super::endpoint_change::{saved, with_audit};
use super::link::Lane;
use crate::clock::whole_ms;
use crate::store::address_book::{
    AddressBook, AddressCounts, AuditEntry, Endpoint, EndpointChange, EndpointName, EndpointState,
    Inactive, Resealed, Saved, SealedPart, SealedRows, Tenant, Unhealthy,
};
use crate::store::queue::{Accept, OriginId, TargetId};
use crate::store::{Answer, StoreError};
use crate::tenant::health::Notified;

impl Postgres {
    /// Makes a call, and reads all rows of its answer.
    fn list<T: Send + 'static>(
        &self,
        call: Call,
        read: impl Fn(&Row) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<'_, Vec<T>> {
        Box::pin(async move {
            let rows = self.link.call(Lane::Looks, call).await?;
            rows.iter().map(read).collect()
        })
    }

    /// Makes a call, and reads the first row of its answer, if there is one.
    fn find<T: Send + 'static>(
        &self,
        call: Call,
        read: impl Fn(&Row) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<'_, Option<T>> {
        Box::pin(async move {
            let rows = self.link.call(Lane::Looks, call).await?;
            rows.first().map(read).transpose()
        })
    }

    /// Makes a call whose answer has one row.
    fn one<T: Send + 'static>(
        &self,
        call: Call,
        read: impl Fn(&Row) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<'_, T> {
        Box::pin(async move {
            let rows = self.link.call(Lane::Looks, call).await?;
            read(first(&rows)?)
        })
    }
}

/// Reads a tenant.
fn tenant(row: &Row) -> Result<Tenant, StoreError> {
    Ok(Tenant {
        origin: OriginId(number(row, 0)?),
        uid: text(row, 1)?,
        created: column(row, 2)?,
        edition: number(row, 3)?,
        removed: column(row, 4)?,
        settings: text(row, 5)?,
    })
}

/// Puts rows of sealed texts together by endpoint.
fn sealed_rows(rows: &[Row]) -> Result<Vec<SealedRows>, StoreError> {
    let mut all: Vec<SealedRows> = Vec::new();
    for row in rows {
        let target = TargetId(number(row, 0)?);
        let part = match column::<Option<i32>>(row, 1)? {
            None => SealedPart::Headers,
            Some(n) => SealedPart::Secret(u32::try_from(n).unwrap_or(0)),
        };
        let part = (part, bytes(row, 2)?);
        match all.last_mut().filter(|last| last.target == target) {
            Some(last) => last.parts.push(part),
            None => all.push(SealedRows {
                target,
                parts: vec![part],
            }),
        }
    }
    Ok(all)
}

/// Reads the numbers for metrics.
fn address_counts(rows: &[Row]) -> Result<AddressCounts, StoreError> {
    let mut counts = AddressCounts::default();
    let states = EndpointState::ALL.into_iter();
    counts.endpoints = states
        .filter(|state| *state != EndpointState::Removed)
        .map(|state| (state, 0))
        .collect();
    for row in rows {
        if column::<Option<i16>>(row, 0)?.is_none() {
            counts.tenants = count(row, 1)?;
            continue;
        }
        let (of, number) = (state(row, 0)?, count(row, 1)?);
        for (state, counted) in &mut counts.endpoints {
            if *state == of {
                *counted = number;
            }
        }
    }
    Ok(counts)
}

impl AddressBook for Postgres {
    fn tenants(&self, after: Option<Arc<str>>, limit: u16) -> Answer<'_, Vec<Tenant>> {
        let call = Call::look("tenants_1")
            .with(to_optional_text(after.as_deref()))
            .with(i32::from(limit));
        self.list(call, tenant)
    }

    fn tenant(&self, uid: &str) -> Answer<'_, Option<Tenant>> {
        self.find(Call::look("tenant_1").with(to_text(uid)), tenant)
    }

    fn save_tenant(
        &self,
        tenant: Tenant,
        expected: Option<u32>,
        audit: Option<AuditEntry>,
    ) -> Answer<'_, Saved> {
        let call = Call::write("tenant_save_1")
            .with(int(tenant.origin.0))
            .with(to_text(&tenant.uid))
            .with(whole_ms(tenant.created))
            .with(tenant.removed)
            .with(to_text(&tenant.settings))
            .with(expected.map(int));
        self.one(with_audit(call, audit.as_ref()), saved)
    }

    fn endpoints(
        &self,
        tenant: OriginId,
        from: Option<TargetId>,
        limit: u16,
    ) -> Answer<'_, Vec<Endpoint>> {
        let call = Call::look("endpoints_1")
            .with(int(tenant.0))
            .with(after(from))
            .with(i32::from(limit));
        self.list(call, endpoint)
    }

    fn endpoint(&self, tenant: OriginId, name: EndpointName) -> Answer<'_, Option<Endpoint>> {
        let (id, uid) = match &name {
            EndpointName::Id(id) => (Some(to_text(id)), None),
            EndpointName::Uid(uid) => (None, Some(to_text(uid))),
        };
        let call = Call::look("endpoint_1")
            .with(int(tenant.0))
            .with(id)
            .with(uid);
        self.find(call, endpoint)
    }

    fn endpoints_of(&self, targets: &[TargetId]) -> Answer<'_, Vec<Endpoint>> {
        self.list(
            Call::look("endpoints_of_1").with(numbers(targets)),
            endpoint,
        )
    }

    fn reserve_endpoint(&self) -> Answer<'_, TargetId> {
        let read = |row: &Row| number(row, 0).map(TargetId);
        self.one(Call::write("endpoint_reserve_1"), read)
    }

    fn save_endpoint(
        &self,
        endpoint: Endpoint,
        expected: Option<u32>,
        limit_of_tenant: u32,
        audit: Option<AuditEntry>,
    ) -> Answer<'_, Saved> {
        let call = with_endpoint(Call::write("endpoint_save_1"), &endpoint)
            .with(expected.map(int))
            .with(int(limit_of_tenant));
        self.one(with_audit(call, audit.as_ref()), saved)
    }

    fn inactive(&self, from: Option<TargetId>, limit: u16) -> Answer<'_, Vec<Inactive>> {
        let call = Call::look("inactive_1")
            .with(after(from))
            .with(i32::from(limit));
        self.list(call, inactive)
    }

    fn waiting_for_inactive(&self) -> Answer<'_, u64> {
        let read = |row: &Row| count(row, 0);
        self.one(Call::look("waiting_for_inactive_1"), read)
    }

    fn change_endpoint(&self, change: EndpointChange) -> Answer<'_, Saved> {
        Box::pin(self.change_of(change))
    }

    fn with_jobs(&self, from: Option<TargetId>, limit: u16) -> Answer<'_, Vec<Endpoint>> {
        let call = Call::look("with_jobs_1")
            .with(after(from))
            .with(i32::from(limit));
        self.list(call, endpoint)
    }

    fn unhealthy(&self, from: Option<TargetId>, limit: u16) -> Answer<'_, Vec<Unhealthy>> {
        let call = Call::look("unhealthy_1")
            .with(after(from))
            .with(i32::from(limit));
        let found = self.list(call, unhealthy);
        Box::pin(async move { Ok(found.await?.into_iter().flatten().collect()) })
    }

    fn note_notified(
        &self,
        target: TargetId,
        since: SystemTime,
        notified: Option<Notified>,
        notice: Option<Arc<Accept>>,
    ) -> Answer<'_, bool> {
        Box::pin(self.notified(target, since, notified, notice))
    }

    fn called(&self, of: &[u32]) -> Answer<'_, Vec<(u32, Arc<str>)>> {
        let of: Vec<i32> = of.iter().copied().map(int).collect();
        let read = |row: &Row| Ok((number(row, 0)?, text(row, 1)?));
        self.list(Call::look("called_1").with(of), read)
    }

    fn address_counts(&self) -> Answer<'_, AddressCounts> {
        Box::pin(async move {
            let call = Call::look("address_counts_1");
            address_counts(&self.link.call(Lane::Looks, call).await?)
        })
    }

    fn seal_check(&self) -> Answer<'_, Option<Bytes>> {
        let read = |row: &Row| optional_bytes(row, 0);
        self.one(Call::look("seal_check_1"), read)
    }

    fn set_seal_check(&self, sealed: Bytes) -> Answer<'_, ()> {
        self.one(Call::write("seal_check_set_1").with(Blob(sealed)), |_| {
            Ok(())
        })
    }

    fn seals_without(&self, prefix: Bytes) -> Answer<'_, u64> {
        let read = |row: &Row| count(row, 0);
        self.one(Call::look("seals_without_1").with(Blob(prefix)), read)
    }

    fn to_reseal(&self, from: Option<TargetId>, limit: u16) -> Answer<'_, Vec<SealedRows>> {
        let call = Call::look("to_reseal_1")
            .with(after(from))
            .with(i32::from(limit));
        Box::pin(async move { sealed_rows(&self.link.call(Lane::Looks, call).await?) })
    }

    fn reseal(&self, target: TargetId, resealed: Vec<Resealed>) -> Answer<'_, u32> {
        let (mut parts, mut before, mut after) = (Vec::new(), Vec::new(), Vec::new());
        for one in resealed {
            parts.push(match one.part {
                SealedPart::Headers => None,
                SealedPart::Secret(n) => Some(int(n)),
            });
            before.push(Blob(one.before));
            after.push(Blob(one.after));
        }
        let call = Call::write("reseal_1")
            .with(int(target.0))
            .with(parts)
            .with(before)
            .with(after);
        self.one(call, |row| number(row, 0))
    }
}
