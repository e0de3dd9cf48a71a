//! The config, from what is written to what runs: [`load()`] is the door.
pub mod compile;
pub mod diagnostic;
pub mod file;
pub mod load;
pub mod presets;
pub mod reference;
pub mod report;
pub mod schema;
pub mod secret;
pub mod shape;
pub mod snapshot;
pub mod sni;
pub mod source;
mod verifier;
pub mod watch;
pub mod yaml_tree;

pub use load::{Loaded, Rejected, load};
pub use report::{Finding, Report};
pub use schema::schema;
pub use verifier::PresetError;
