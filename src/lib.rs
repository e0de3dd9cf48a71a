//! hookgate: a webhook gateway that runs as a sidecar.
//!
//! # Verify one request
//!
//! The verification of the gateway is usable without it. A [`Verifier`] compares all signatures in constant time:
//!
//! ```
//! use std::time::SystemTime;
//! use hookgate::verify::Verifier;
//!
//! let github = Verifier::from_preset("github", b"It's a Secret to Everybody")?;
//! let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
//! let request = http::Request::post("https://hooks.example.com/github")
//!     .header("X-Hub-Signature-256", signature)
//!     .body("Hello, World!")?;
//! let authentic = github.verify_http(request, SystemTime::now())?;
//! assert_eq!(authentic.received().body.bytes(), "Hello, World!");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The body must be the bytes as received. If the provider signs a time, it may be at most the tolerance of the preset away from the
//! second argument, usually 300 seconds. A [`NotAuthentic`] says why a request is refused; answer 401, and do not tell the sender.
//!
//! # Inside
//!
//! A request goes through one function, `gateway::pipeline::run`: find the route, admit, read the body, verify, claim the delivery ID,
//! forward, settle. `docs/architecture.md` lists what each module holds and which it may import.
//!
//! [`NotAuthentic`]: verify::NotAuthentic
//! [`Verifier`]: verify::Verifier
#![cfg_attr(
    test,
    allow(clippy::too_many_lines, reason = "a test may hold a long table")
)]

// -- leaves: pure; bytes and `now` in, a value out --
pub mod activity;
pub mod address;
pub mod arriving;
pub mod clock;
pub mod delivery;
pub mod event;
pub mod explain;
pub mod headers;
pub mod mount;
pub mod postgres_url;
pub mod random;
pub mod refusal;
pub mod request;
pub mod retry;
pub mod route;
pub mod tenant;
pub mod units;
pub mod verify;

// -- state: outlives a request; takes `now` --
pub mod alarm;
pub mod api;
pub mod cache;
pub mod dedupe;
pub mod limit;
pub mod queue;
pub mod replay;
pub mod store;
pub mod telemetry;

// -- config: from the YAML to what runs --
pub mod config;

// -- edges: sockets, pingora --
pub mod admin;
pub mod deliver;
pub mod gateway;
pub mod listener;
pub mod outbound;
pub mod quarantine;
pub mod upstream;
pub mod web;

// -- top: the whole gateway, and its commands --
pub mod app;
pub mod cli;
