//! The state that the handlers of the admin API share.
use std::sync::Arc;

use axum::extract::FromRef;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::AdminSource;
use crate::replay::Jobs;

/// The maximum number of streams at once, so that other requests find a connection.
const MAX_WATCHERS: usize = 16;

/// The permits of the streams of `/-/tail`.
#[derive(Clone)]
pub(super) struct Watchers(Arc<Semaphore>);

impl Watchers {
    /// Returns a permit for a stream, unless too many are open.
    pub(super) fn enter(self) -> Option<OwnedSemaphorePermit> {
        self.0.try_acquire_owned().ok()
    }
}

impl Default for Watchers {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_WATCHERS)))
    }
}

/// The state of the admin API's router.
#[derive(Clone)]
pub(super) struct Api {
    source: Arc<dyn AdminSource>,
    replays: Arc<Jobs>,
    watchers: Watchers,
}

impl Api {
    /// Makes the state of a gateway that has no replays yet.
    pub(super) fn new(source: Arc<dyn AdminSource>) -> Self {
        Self {
            source,
            replays: Arc::default(),
            watchers: Watchers::default(),
        }
    }
}

impl FromRef<Api> for Arc<dyn AdminSource> {
    fn from_ref(api: &Api) -> Self {
        Self::clone(&api.source)
    }
}

impl FromRef<Api> for Arc<Jobs> {
    fn from_ref(api: &Api) -> Self {
        Self::clone(&api.replays)
    }
}

impl FromRef<Api> for Watchers {
    fn from_ref(api: &Api) -> Self {
        api.watchers.clone()
    }
}
