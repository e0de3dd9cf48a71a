//! Tenants and their endpoints: settings, URLs, secrets, and the rules of an endpoint's health. Pure: no socket, no clock, no store.
pub mod cause;
pub mod event_id;
mod fields;
pub mod headers;
pub mod health;
pub mod job;
pub mod message;
pub mod pins;
pub mod seal;
pub mod secret;
pub mod settings;
mod state;
mod texts;
pub mod url;

pub use cause::Cause;
pub use fields::{Invalid, unknown_field};
pub use state::EndpointState;
