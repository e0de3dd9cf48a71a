//! The API by which an app sends: it publishes events, and manages tenants and endpoints (`/v1/…`).
//!
//! Every request has a bearer token of `outbound.tokens`. A tenant is named in the path and looked up first; everything after that is asked of
//! the store within that tenant, so one tenant's IDs mean nothing in another's path.
mod access;
mod attempts;
mod endpoint_body;
mod endpoints;
mod events;
mod faults;
mod listing;
mod pause;
mod publish;
mod secrets;
mod shown;
mod state;
mod table;
mod tenants;

pub use access::AppTokens;
pub use state::Api;
pub use table::{BOUNDS, document, router};
