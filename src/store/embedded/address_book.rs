//! Tenants and endpoints, on the store of one process.
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use super::Embedded;
use super::archive::FINISHES_WORK;
use super::queue::at_once;
use crate::store::address_book::{
    AddressBook, AddressCounts, AuditEntry, Endpoint, EndpointChange, EndpointName, EndpointState,
    Inactive, Resealed, Saved, SealedRows, Tenant, Unhealthy,
};
use crate::store::embedded::sqlite::accept::{Unique, accept};
use crate::store::embedded::sqlite::act::{Audited, Entry};
use crate::store::embedded::sqlite::batch::WriteOptions;
use crate::store::embedded::sqlite::look::Reading;
use crate::store::embedded::sqlite::writing::{ENDPOINTS, TENANTS, Writing};
use crate::store::embedded::sqlite::{endpoint, endpoint_save, health, sealed, tenant};
use crate::store::queue::{Accept, OriginId, TargetId};
use crate::store::{Answer, StoreError};
use crate::tenant::health::Notified;

impl Embedded {
    /// Reads rows.
    fn look<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reading<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<'_, T> {
        match self.disk() {
            Ok(disk) => disk.reader().read(read),
            Err(error) => at_once(Err(error)),
        }
    }

    /// Reads rows for a person, on the thread that does not serve the worker.
    fn look_up<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reading<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<'_, T> {
        match self.disk() {
            Ok(disk) => disk.archive_reader().read(read),
            Err(error) => at_once(Err(error)),
        }
    }

    /// Changes rows that exist. This is done on a full disk, too: an endpoint can be paused and removed there.
    fn change<T: Send + 'static>(
        &self,
        apply: impl FnMut(&Writing<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<'_, T> {
        match self.disk() {
            Ok(disk) => disk.write(FINISHES_WORK, apply, |_| {}),
            Err(error) => at_once(Err(error)),
        }
    }

    /// Changes rows that exist, which may let units be due.
    fn change_with_event<T: Send + 'static>(
        &self,
        apply: impl FnMut(&Writing<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<'_, T> {
        let shared = Arc::clone(&self.shared);
        match self.disk() {
            Ok(disk) => disk.write(FINISHES_WORK, apply, move |_| shared.work.notify_one()),
            Err(error) => at_once(Err(error)),
        }
    }

    /// Makes new rows of some bytes, if there is room for them.
    fn add<T: Send + 'static>(
        &self,
        bytes: usize,
        apply: impl FnMut(&Writing<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<'_, T> {
        let admitted = self
            .disk()
            .and_then(|disk| Ok((disk, disk.room().admit(bytes)?)));
        let (disk, admitted) = match admitted {
            Ok(admitted) => admitted,
            Err(error) => return at_once(Err(error)),
        };
        let options = WriteOptions {
            bytes,
            ..WriteOptions::default()
        };
        disk.write(options, apply, move |_| drop(admitted))
    }

    /// Adds the time to an audit entry.
    fn audited(&self, audit: Option<AuditEntry>) -> Option<Audited> {
        let AuditEntry {
            who,
            what,
            which,
            reason,
        } = audit?;
        Some(Audited {
            what,
            entry: Entry {
                at: self.wall(),
                who: who.to_string(),
                which: which.to_string(),
                reason: reason.to_string(),
                goes_on: None,
            },
        })
    }
}

/// Returns the bytes of an endpoint's row and secrets.
fn size(endpoint: &Endpoint) -> usize {
    let secrets: usize = endpoint
        .secrets
        .iter()
        .map(|secret| secret.name.len() + secret.sealed.len())
        .sum();
    endpoint.url.len()
        + endpoint.settings.len()
        + endpoint.sealed.as_ref().map_or(0, Bytes::len)
        + secrets
}

impl AddressBook for Embedded {
    fn tenants(&self, after: Option<Arc<str>>, limit: u16) -> Answer<'_, Vec<Tenant>> {
        self.look_up(move |reading| tenant::tenants(reading, after.as_deref(), limit))
    }

    fn tenant(&self, uid: &str) -> Answer<'_, Option<Tenant>> {
        let uid = uid.to_owned();
        self.look_up(move |reading| tenant::tenant(reading, &uid))
    }

    fn save_tenant(
        &self,
        tenant: Tenant,
        expected: Option<u32>,
        audit: Option<AuditEntry>,
    ) -> Answer<'_, Saved> {
        let (audited, wall) = (self.audited(audit), self.wall());
        let bytes = tenant.uid.len() + tenant.settings.len();
        let save = move |writing: &Writing<'_>| {
            tenant::save(writing, &tenant, expected, audited.as_ref(), wall)
        };
        match expected {
            None => self.add(bytes, save),
            Some(_) => self.change(save),
        }
    }

    fn endpoints(
        &self,
        tenant: OriginId,
        after: Option<TargetId>,
        limit: u16,
    ) -> Answer<'_, Vec<Endpoint>> {
        self.look_up(move |reading| endpoint::endpoints(reading, tenant, after, limit))
    }

    fn endpoint(&self, tenant: OriginId, name: EndpointName) -> Answer<'_, Option<Endpoint>> {
        self.look_up(move |reading| endpoint::endpoint(reading, tenant, &name))
    }

    fn endpoints_of(&self, targets: &[TargetId]) -> Answer<'_, Vec<Endpoint>> {
        let targets = targets.to_vec();
        self.look(move |reading| endpoint::endpoints_of(reading, &targets))
    }

    fn reserve_endpoint(&self) -> Answer<'_, TargetId> {
        self.add(0, endpoint_save::reserve)
    }

    fn save_endpoint(
        &self,
        endpoint: Endpoint,
        expected: Option<u32>,
        limit_of_tenant: u32,
        audit: Option<AuditEntry>,
    ) -> Answer<'_, Saved> {
        let audited = self.audited(audit);
        let bytes = size(&endpoint);
        let save = move |writing: &Writing<'_>| {
            endpoint_save::save(
                writing,
                &endpoint,
                expected,
                limit_of_tenant,
                audited.as_ref(),
            )
        };
        match expected {
            None => self.add(bytes, save),
            Some(_) => self.change(save),
        }
    }

    fn change_endpoint(&self, change: EndpointChange) -> Answer<'_, Saved> {
        let audited = self.audited(change.audit.clone());
        let record = change.notice.as_ref().map(|notice| notice.record.encode());
        self.change_with_event(move |writing| {
            endpoint_save::change(writing, &change, record.as_deref(), audited.as_ref())
        })
    }

    fn inactive(&self, after: Option<TargetId>, limit: u16) -> Answer<'_, Vec<Inactive>> {
        self.look(move |reading| endpoint::inactive(reading, after, limit))
    }

    fn waiting_for_inactive(&self) -> Answer<'_, u64> {
        self.look(endpoint::waiting_for_inactive)
    }

    fn with_jobs(&self, after: Option<TargetId>, limit: u16) -> Answer<'_, Vec<Endpoint>> {
        self.look(move |reading| endpoint::with_jobs(reading, after, limit))
    }

    fn unhealthy(&self, after: Option<TargetId>, limit: u16) -> Answer<'_, Vec<Unhealthy>> {
        self.look(move |reading| endpoint::unhealthy(reading, after, limit))
    }

    fn note_notified(
        &self,
        target: TargetId,
        since: SystemTime,
        notified: Option<Notified>,
        notice: Option<Arc<Accept>>,
    ) -> Answer<'_, bool> {
        let record = notice.as_ref().map(|notice| notice.record.encode());
        self.change_with_event(move |writing| {
            let is_new = health::note_notified(writing, target, since, notified)?;
            if let (true, Some(notice), Some(record)) = (is_new, &notice, &record) {
                accept(writing, notice, record, Unique::Not)?;
            }
            Ok(is_new)
        })
    }

    fn called(&self, numbers: &[u32]) -> Answer<'_, Vec<(u32, Arc<str>)>> {
        let numbers = numbers.to_vec();
        self.look_up(move |reading| endpoint::called(reading, &numbers))
    }

    fn address_counts(&self) -> Answer<'_, AddressCounts> {
        let disk = match self.disk() {
            Ok(disk) => disk,
            Err(error) => return at_once(Err(error)),
        };
        let tally = disk.writes().tally();
        let rows = |kind, number| {
            let (rows, _) = tally.get(&(kind, number)).copied().unwrap_or_default();
            u64::try_from(rows).unwrap_or(0)
        };
        let states = EndpointState::ALL
            .into_iter()
            .filter(|state| *state != EndpointState::Removed);
        let counts = AddressCounts {
            tenants: rows(TENANTS, 0),
            endpoints: states
                .map(|state| {
                    (
                        state,
                        rows(ENDPOINTS, u32::from(endpoint::number_of(state))),
                    )
                })
                .collect(),
        };
        at_once(Ok(counts))
    }

    fn seal_check(&self) -> Answer<'_, Option<Bytes>> {
        self.look(sealed::check)
    }

    fn set_seal_check(&self, sealed: Bytes) -> Answer<'_, ()> {
        self.change(move |writing| sealed::set_check(writing, &sealed))
    }

    fn seals_without(&self, prefix: Bytes) -> Answer<'_, u64> {
        self.look_up(move |reading| sealed::count_without(reading, &prefix))
    }

    fn to_reseal(&self, after: Option<TargetId>, limit: u16) -> Answer<'_, Vec<SealedRows>> {
        self.look(move |reading| sealed::sealed(reading, after, limit))
    }

    fn reseal(&self, target: TargetId, resealed: Vec<Resealed>) -> Answer<'_, u32> {
        self.change(move |writing| sealed::reseal(writing, target, &resealed))
    }
}
