//! Replays of stored deliveries, and the selections and searches that they share with other actions.
//!
//! A job restarts the selected deliveries one by one, and follows each until its next attempt has ended. Jobs live in memory; the deliveries
//! that they restart are on disk and go on without them.
mod access;
mod duplicate;
mod job;
mod jobs;
mod run;
mod selection;

pub use access::{ActiveRoutes, DeliveryName, LedgerKeys, Names, Policy, StoreAccess};
pub use duplicate::find_duplicate;
pub use job::{Job, ReplayOrder};
pub use jobs::{CannotBegin, Jobs, MAX_RUNNING};
pub use selection::{Search, Selection, Walk, is_waiting};
