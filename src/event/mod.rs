//! Events that an app publishes: their types, their catalogue, and the bytes that are sent. Pure: no file is read here.
pub mod document;
pub mod envelope;
mod event_type;
pub mod mapping;
mod pattern;
mod pointer;

pub use event_type::{EventType, NotAType};
pub use pattern::{NotAPattern, Pattern};
