//! Events that an app publishes: their types, their catalogue, and the bytes that are sent. Pure: no file is read here.
pub mod catalogue;
pub mod diff;
pub mod document;
pub mod envelope;
mod event_type;
pub mod fields;
pub mod mapping;
pub mod openapi;
pub mod pages;
mod pattern;
mod pointer;
pub mod schema;

pub use event_type::{EventType, NotAType};
pub use pattern::{NotAPattern, Pattern};
