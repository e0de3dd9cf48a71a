//! hookgate: a webhook gateway that runs as a sidecar.
pub mod clock;
pub mod config;
pub mod delivery;
pub mod limit;
pub mod provider;
pub mod refusal;
pub mod request;
pub mod store;
pub mod units;
pub mod verify;
