//! The gateway: the path of a request from pingora to its response.
//!
//! `edge` speaks pingora, `pipeline` is the spine, `gate` holds the state that outlives a reload, `active_config` ties a config to that
//! state, and `pass` holds what a stream needs after the spine has let it through.
pub mod active_config;
pub mod admin_source;
mod admit;
pub mod alarm_watch;
mod answer;
mod body;
mod boxed;
mod budget;
mod buffer;
mod claim;
mod edge;
mod enqueue;
mod forward;
mod gate;
mod h1_head;
mod h1_response;
mod head;
mod http_server;
mod late;
mod lifecycle;
mod limits;
mod numbers;
mod pass;
mod pipeline;
pub mod reload;
mod reply;
mod response;
mod reverify;
pub mod secret_exchange;
mod secret_watch;
pub mod serve;
mod session;
mod shared_limits;
mod spare;

pub use gate::{CannotRun, Gate};
