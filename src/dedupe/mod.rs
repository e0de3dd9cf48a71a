//! Every delivery once: claim, then commit or release. The embedded ledger, its journal, and the guard that holds a claim.
pub mod claim;
pub mod embedded;
mod journal;
pub mod key;
pub mod memory;
