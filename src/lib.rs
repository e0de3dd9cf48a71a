//! hookgate: a webhook gateway that runs as a sidecar.
//!
//! A request goes through one function, `gateway::pipeline::run`: find the route, admit, read the body, verify, claim the delivery ID,
//! hand on, settle. `docs/architecture.md` says what each module holds and which it may import.

// -- leaves: pure; bytes and `now` in, a value out --
pub mod activity;
pub mod clock;
pub mod delivery;
pub mod headers;
pub mod mount;
pub mod random;
pub mod refusal;
pub mod request;
pub mod retry;
pub mod route;
pub mod units;
pub mod verify;

// -- state: outlives a request; takes `now` --
pub mod alarm;
pub mod api;
pub mod dedupe;
pub mod limit;
pub mod queue;
pub mod store;
pub mod telemetry;

// -- config: from the YAML to what runs --
pub mod config;

// -- edges: sockets, pingora --
pub mod admin;
pub mod deliver;
pub mod gateway;
pub mod listener;
pub mod upstream;

// -- top: the whole gateway, and its commands --
pub mod app;
pub mod cli;
