//! The rules for endpoints of one config generation, and the keys that open their secrets.
use std::sync::Arc;

use crate::config::snapshot::Outbound;
use crate::tenant::seal::SealKeys;

/// The rules for endpoints.
#[derive(Debug)]
pub(crate) struct Rules {
    /// The block `outbound` of the config.
    pub(crate) outbound: Arc<Outbound>,
    /// The keys that seal secrets.
    pub(crate) keys: Arc<SealKeys>,
}
