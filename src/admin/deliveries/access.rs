//! Access to the stored deliveries of a gateway, and the names of their routes.
use std::sync::Arc;

use super::errors::{no_store, unavailable};
use crate::admin::AdminSource;
use crate::admin::answer::Denied;
use crate::replay::{ActiveRoutes, Names, StoreAccess};

/// Returns access to the stored deliveries, unless the gateway has no store on disk.
pub(super) fn store_access(source: &Arc<dyn AdminSource>) -> Result<StoreAccess, Denied> {
    let store = source.store().ok_or_else(no_store)?;
    let source = Arc::clone(source);
    let routes: Arc<dyn ActiveRoutes> = source;
    Ok(StoreAccess { routes, store })
}

/// Reads the names of the numbers in the store.
pub(super) async fn names_of(access: &StoreAccess) -> Result<Names, Denied> {
    Names::of(access).await.map_err(|error| unavailable(&error))
}
