//! Every delivery once: claim, then commit or release. The embedded ledger and queue, and the guard that holds a claim.
pub mod claim;
pub mod fallback;
pub mod key;
pub mod late;
pub mod secret_key;
