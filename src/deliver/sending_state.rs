//! The state of sending, as status, metrics and alarms show it.
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::store::address_book::AddressCounts;

/// The state of sending, as of the last sweep.
#[derive(Clone, Debug, Default)]
pub(crate) struct SendingState {
    /// Tenants and endpoints.
    pub(crate) addresses: AddressCounts,
    /// The pauses that the gateway made since it was started.
    pub(crate) pauses: u64,
    /// The time for which the oldest event of a healthy endpoint has been due. Neither its own settings nor its failures hold it up.
    pub(crate) oldest_due: Option<Duration>,
    /// Endpoints that fail, the one that failed first before the others. There may be more of them.
    pub(crate) failing: Vec<FailingEndpoint>,
    /// The number of others that fail, as far as they were counted.
    pub(crate) more_failing: usize,
}

/// An endpoint that fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FailingEndpoint {
    /// Its ID.
    pub(crate) id: Arc<str>,
    /// The app's name of it.
    pub(crate) uid: Option<Arc<str>>,
    /// The app's name of its tenant.
    pub(crate) tenant: Arc<str>,
    /// Its state.
    pub(crate) state: &'static str,
    /// The time of the first failure since its last success.
    pub(crate) since: SystemTime,
    /// The failures since then.
    pub(crate) failures: u32,
    /// The last failure in words.
    pub(crate) message: String,
}
