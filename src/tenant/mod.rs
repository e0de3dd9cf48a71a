//! Tenants and their endpoints: settings, URLs, secrets, and the rules of an endpoint's health. Pure: no socket, no clock, no store.
pub mod event_id;
mod fields;
pub mod headers;
pub mod seal;
pub mod secret;
mod state;
mod texts;
pub mod url;

pub use fields::{Invalid, unknown_field};
pub use state::EndpointState;
