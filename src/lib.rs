//! hookgate: a webhook gateway that runs as a sidecar.
pub mod clock;
pub mod units;
pub mod request;
pub mod verify;
pub mod refusal;
pub mod delivery;
pub mod limit;
pub mod store;
pub mod config;
pub mod provider;
