//! Tenants and their endpoints, with secrets and health: what deliveries of a config's routes do not have. The store keeps rows, and opens no
//! seal.
//!
//! A tenant is the origin of its events, an endpoint a target. A row is changed by compare-and-swap: read it, compute the new one, save it with
//! the edition that was read. A number is never used again; a removed row stays, so that old deliveries can say where they went.
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use super::Answer;
use super::archive::ActKind;
use super::queue::{Accept, DeliveryRef, OriginId, TargetId};
use crate::clock::whole_ms;
pub use crate::tenant::EndpointState;
use crate::tenant::health::{Notified, Streak};

/// A customer of the app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Its number as the origin of its events. A new tenant gets one from the store, whatever this says.
    pub origin: OriginId,
    /// The app's name of it. A removed tenant has `#` and its number, so that its name is free again.
    pub uid: Arc<str>,
    /// The time at which it was made, in whole milliseconds.
    pub created: SystemTime,
    /// The number of its changes. Saving sets it.
    pub edition: u32,
    /// Whether it was removed. This cannot be undone.
    pub removed: bool,
    /// Its settings as JSON.
    pub settings: Arc<str>,
}

/// A URL of a tenant to which its events are sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its number as a target, from [`AddressBook::reserve_endpoint`].
    pub target: TargetId,
    /// Its ID, `ep_…`: unique over all tenants.
    pub id: Arc<str>,
    /// The tenant.
    pub tenant: OriginId,
    /// The app's name of it, unique within the tenant. A removed endpoint has none.
    pub uid: Option<Arc<str>>,
    /// The number of its changes. Saving sets it.
    pub edition: u32,
    /// The state.
    pub state: EndpointState,
    /// The time since which it has the state, in whole milliseconds.
    pub since: SystemTime,
    /// The URL.
    pub url: Arc<str>,
    /// Its settings as JSON.
    pub settings: Arc<str>,
    /// Its own headers, sealed.
    pub sealed: Option<Bytes>,
    /// Its secrets, by number.
    pub secrets: Vec<SecretRow>,
    /// How it fails; none if its last attempt succeeded. Saving leaves this alone, see [`AddressBook::save_endpoint`].
    pub health: Option<Streak>,
    /// The last job on its events, as JSON.
    pub job: Option<Arc<str>>,
    /// The position of the job; none if it is over.
    pub cursor: Option<Bytes>,
}

/// URL, settings and job may hold what a customer keeps to itself; seals are shown by nobody.
impl Endpoint {
    /// Returns the row as every store keeps it: with whole milliseconds, secrets in their order, without its health, which is a row of its own,
    /// and without the parts that a removed endpoint does not keep.
    pub(crate) fn as_stored(&self) -> Self {
        let mut stored = Self {
            since: whole_ms(self.since),
            health: None,
            ..self.clone()
        };
        if stored.state == EndpointState::Removed {
            stored.uid = None;
            stored.sealed = None;
            stored.secrets.clear();
            stored.job = None;
            stored.cursor = None;
        }
        for secret in &mut stored.secrets {
            secret.created = whole_ms(secret.created);
            secret.ends = secret.ends.map(whole_ms);
        }
        stored.secrets.sort_by_key(|secret| secret.n);
        stored
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("target", &self.target)
            .field("id", &self.id)
            .field("tenant", &self.tenant)
            .field("edition", &self.edition)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// A secret of an endpoint.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretRow {
    /// Its number within the endpoint.
    pub n: u32,
    /// Its name.
    pub name: Arc<str>,
    /// The time at which it was made, in whole milliseconds.
    pub created: SystemTime,
    /// The time at which it ends, in whole milliseconds, if it does.
    pub ends: Option<SystemTime>,
    /// The secret, sealed.
    pub sealed: Bytes,
}

impl std::fmt::Debug for SecretRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretRow")
            .field("n", &self.n)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The name of an endpoint within its tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointName {
    /// Its ID.
    Id(Arc<str>),
    /// The app's name of it.
    Uid(Arc<str>),
}

/// The audit entry of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// The person: the name of a token.
    pub who: Arc<str>,
    /// The act.
    pub what: Arc<str>,
    /// To what, as text.
    pub which: Arc<str>,
    /// The reason, in words.
    pub reason: Arc<str>,
}

/// The result of saving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    /// It is on the disk.
    Done {
        /// Its number.
        number: u32,
        /// Its edition now.
        edition: u32,
    },
    /// The row is not, or no longer, as the caller knows it: another changed or removed it, or its tenant was removed.
    Conflict,
    /// Another has the app's name.
    Taken,
    /// The tenant has as many endpoints as it may have.
    Full,
}

/// A change of an endpoint that exists, with what belongs to it: all of it is done, or nothing.
#[derive(Clone, Debug)]
pub struct EndpointChange {
    /// The row after the change.
    pub endpoint: Endpoint,
    /// The edition of the row before.
    pub expected: u32,
    /// The time since which the endpoint must still fail; none if the change does not depend on it.
    pub failing_since: Option<SystemTime>,
    /// Acts on events of its tenant, as far as they have units for it.
    pub acts: Vec<(ActKind, Vec<DeliveryRef>)>,
    /// A notification of the app.
    pub notice: Option<Arc<Accept>>,
    /// The audit entry.
    pub audit: Option<AuditEntry>,
}

/// An endpoint to which nothing is delivered now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inactive {
    /// The endpoint.
    pub target: TargetId,
    /// Its state, neither [`EndpointState::Active`] nor [`EndpointState::Removed`].
    pub state: EndpointState,
    /// The time since which it has the state.
    pub since: SystemTime,
}

/// An endpoint whose last attempt failed, or of whose recovery the app was not notified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unhealthy {
    /// The endpoint.
    pub target: TargetId,
    /// Its tenant.
    pub tenant: OriginId,
    /// Its state.
    pub state: EndpointState,
    /// Its failures.
    pub health: Streak,
}

/// A sealed text of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SealedPart {
    /// Its own headers.
    Headers,
    /// The secret of this number.
    Secret(u32),
}

/// The sealed texts of an endpoint.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedRows {
    /// The endpoint.
    pub target: TargetId,
    /// The texts: headers first, then the secrets by number.
    pub parts: Vec<(SealedPart, Bytes)>,
}

impl std::fmt::Debug for SealedRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedRows")
            .field("target", &self.target)
            .field("parts", &self.parts.len())
            .finish()
    }
}

/// A sealed text that was sealed again.
#[derive(Clone, PartialEq, Eq)]
pub struct Resealed {
    /// The text.
    pub part: SealedPart,
    /// The seal that was read.
    pub before: Bytes,
    /// The seal in its place.
    pub after: Bytes,
}

impl std::fmt::Debug for Resealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resealed")
            .field("part", &self.part)
            .finish_non_exhaustive()
    }
}

/// Numbers for metrics. They are maintained, not counted at each call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressCounts {
    /// Tenants that are not removed.
    pub tenants: u64,
    /// Endpoints by state, in the order of [`EndpointState::ALL`], without removed ones.
    pub endpoints: Vec<(EndpointState, u64)>,
}

/// The rows of tenants and endpoints.
///
/// Every call may be repeated: a save whose row is already what it would make is done, and writes no second audit entry. A call about one
/// tenant's endpoint names the tenant, and finds nothing of another. Lists are in the order of their cursor; one that is shorter than `limit`
/// is the last.
pub trait AddressBook: Send + Sync {
    /// Returns tenants by their app's names, in the order of their bytes, after one.
    fn tenants(&self, after: Option<Arc<str>>, limit: u16) -> Answer<'_, Vec<Tenant>>;
    /// Returns the tenant with a name of the app.
    fn tenant(&self, uid: &str) -> Answer<'_, Option<Tenant>>;
    /// Makes a tenant (`expected` is none, its number is given by the store), or replaces the row of which the caller read this edition.
    fn save_tenant(
        &self,
        tenant: Tenant,
        expected: Option<u32>,
        audit: Option<AuditEntry>,
    ) -> Answer<'_, Saved>;

    /// Returns the endpoints of a tenant by number, after one, without removed ones.
    fn endpoints(
        &self,
        tenant: OriginId,
        after: Option<TargetId>,
        limit: u16,
    ) -> Answer<'_, Vec<Endpoint>>;
    /// Returns an endpoint of a tenant, unless it was removed.
    fn endpoint(&self, tenant: OriginId, name: EndpointName) -> Answer<'_, Option<Endpoint>>;
    /// Returns those of `targets` that exist, removed ones too, in the given order.
    fn endpoints_of(&self, targets: &[TargetId]) -> Answer<'_, Vec<Endpoint>>;
    /// Draws the number of a new endpoint: its secrets are sealed for the number before there is a row. Each call draws another.
    fn reserve_endpoint(&self) -> Answer<'_, TargetId>;
    /// Makes an endpoint (`expected` is none) of a tenant that is not removed, if that has fewer than `limit_of_tenant`; or replaces the row of
    /// which the caller read this edition. The secrets are replaced with it.
    ///
    /// Health is the deliverer's: it is not saved. An endpoint that becomes active, or is removed, has none afterwards. A removed one keeps no
    /// name of the app, headers, secrets and job either.
    ///
    /// `audit` is none for a step of a job, whose beginning has an entry.
    fn save_endpoint(
        &self,
        endpoint: Endpoint,
        expected: Option<u32>,
        limit_of_tenant: u32,
        audit: Option<AuditEntry>,
    ) -> Answer<'_, Saved>;

    /// Returns the endpoints that are neither active nor removed, by number, after one.
    fn inactive(&self, after: Option<TargetId>, limit: u16) -> Answer<'_, Vec<Inactive>>;
    /// Returns the number of units that wait for paused endpoints.
    fn waiting_for_inactive(&self) -> Answer<'_, u64>;
    /// Makes a change of an endpoint. A repeated call changes nothing.
    fn change_endpoint(&self, change: EndpointChange) -> Answer<'_, Saved>;
    /// Returns the endpoints whose job is not over, by number, after one.
    fn with_jobs(&self, after: Option<TargetId>, limit: u16) -> Answer<'_, Vec<Endpoint>>;
    /// Returns the endpoints whose last attempt failed, or that recovered and were not reported, by number, after one.
    fn unhealthy(&self, after: Option<TargetId>, limit: u16) -> Answer<'_, Vec<Unhealthy>>;
    /// Stores a notification of the app about the failures of an endpoint since `since`, and notes that; none: one about their end, and forgets
    /// them. Returns whether that is new: nothing is done if it was noted before, or if other failures began meanwhile.
    fn note_notified(
        &self,
        target: TargetId,
        since: SystemTime,
        notified: Option<Notified>,
        notice: Option<Arc<Accept>>,
    ) -> Answer<'_, bool>;
    /// Returns what those of `numbers` are called that exist: a tenant by its app's name, an endpoint by its ID.
    fn called(&self, numbers: &[u32]) -> Answer<'_, Vec<(u32, Arc<str>)>>;
    /// Returns numbers for metrics.
    fn address_counts(&self) -> Answer<'_, AddressCounts>;

    /// Returns the text by which the key of the seals is recognised.
    fn seal_check(&self) -> Answer<'_, Option<Bytes>>;
    /// Replaces that text.
    fn set_seal_check(&self, sealed: Bytes) -> Answer<'_, ()>;
    /// Returns how many sealed texts of endpoints do not begin with these bytes. It reads all of them.
    fn seals_without(&self, prefix: Bytes) -> Answer<'_, u64>;
    /// Returns the sealed texts of endpoints that have some, by number, after one.
    fn to_reseal(&self, after: Option<TargetId>, limit: u16) -> Answer<'_, Vec<SealedRows>>;
    /// Replaces those of an endpoint's sealed texts that are still as they were read. The edition grows if one was, so that no other change
    /// brings an older seal back. Returns how many were.
    fn reseal(&self, target: TargetId, resealed: Vec<Resealed>) -> Answer<'_, u32>;
}
