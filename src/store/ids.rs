//! The numbers of origins and targets, and the IDs of deliveries.
use std::fmt;
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use crate::clock::unix_ms;

/// The first number of a tenant. Names of the config have numbers below.
pub const FIRST_TENANT: u32 = 1 << 29;
/// The first number of an endpoint. Tenants have numbers below.
pub const FIRST_ENDPOINT: u32 = 1 << 30;
/// The last number of an endpoint.
pub const LAST_ENDPOINT: u32 = (1 << 31) - 1;

/// The origin of a delivery: an inbound route, or the tenant that an event belongs to. Numbers stand for names that may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OriginId(pub u32);

impl OriginId {
    /// Returns whether it is the number of a tenant.
    pub fn is_tenant(self) -> bool {
        (FIRST_TENANT..FIRST_ENDPOINT).contains(&self.0)
    }
}

/// The target of a delivery: for an inbound route, the same route; for an event, an endpoint of its tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetId(pub u32);

impl TargetId {
    /// Returns whether it is the number of an endpoint.
    pub fn is_endpoint(self) -> bool {
        (FIRST_ENDPOINT..=LAST_ENDPOINT).contains(&self.0)
    }
}

/// The ID of an accepted delivery: a UUIDv7 drawn by the caller before its first call, so that it is time order and page cursor in one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryRef(pub Uuid);

impl DeliveryRef {
    /// Draws a new ID, of the present or a little later. Two IDs of one process are in the order in which they were drawn.
    pub fn draw() -> Self {
        Self(Uuid::now_v7())
    }

    /// Returns the first ID that can be of `at`.
    pub fn first_of(at: SystemTime) -> Self {
        Self(Uuid::from_u128(
            (u128::from(unix_ms(at)) & 0xffff_ffff_ffff) << 80,
        ))
    }

    /// Returns the time at which it was drawn, in wall time.
    pub fn drawn_at(self) -> SystemTime {
        let ms = u64::try_from(self.0.as_u128() >> 80).unwrap_or(0);
        SystemTime::UNIX_EPOCH + Duration::from_millis(ms)
    }
}

impl fmt::Debug for DeliveryRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for DeliveryRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
