//! The reason why a gateway did not start.
use std::error::Error;

use crate::gateway::CannotRun;
use crate::gateway::serve::CannotListen;
use crate::store::StoreError;

/// The reason why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The stop was requested before the store was open.
    #[error("the gateway was stopped while it started")]
    Stopped,
    /// Another process holds the store and did not leave it in time.
    #[error(transparent)]
    StoreHeld(Box<dyn Error + Send + Sync>),
    /// The store cannot be opened.
    #[error(transparent)]
    Open(Box<dyn Error + Send + Sync>),
    /// The gate cannot be built from the config.
    #[error(transparent)]
    Gate(#[from] CannotRun),
    /// An address for senders cannot be bound.
    #[error(transparent)]
    Listen(#[from] CannotListen),
    /// The store does not say which key sealed its secrets.
    #[error("cannot read which key sealed the secrets in the store: {0}")]
    SealCheck(StoreError),
    /// Another key sealed the secrets in the store.
    #[error(
        "`store.key` is not the key that sealed the secrets in the store; write the right one, or add the former key to `store.old_keys`"
    )]
    WrongStoreKey,
    /// A former key sealed some of the secrets in the store, and the config has no former key.
    #[error(
        "{0} secrets of customers are sealed with a former `store.key`; add that key to `store.old_keys` until `hookgate doctor` says that it can be removed. If it is lost, any other key there lets the gateway start; these secrets must be rotated then"
    )]
    OldStoreKey(u64),
    /// The system refused something that the gateway needs.
    #[error("cannot {action}: {cause}")]
    System {
        /// The refused action, which completes "cannot".
        action: String,
        /// The error of the system.
        cause: std::io::Error,
    },
}
