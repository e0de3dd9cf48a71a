//! The config: from YAML text to the snapshot that runs.
//!
//! [`load()`] reads the files ([`source`]). [`yaml_tree`] parses the text into a tree of values with their positions, and rejects YAML
//! features that a config must not use. [`shape`] compares the tree with the JSON Schema of the types in [`mod@file`], and reports unknown
//! keys and wrong types; [`schema()`] is the same schema with the values that a key allows, for editors. [`mod@file`] holds the result as
//! plain structs, exactly as written. [`compile`] checks the values, resolves names, reads secrets and certificates, and produces the
//! [`snapshot`], in which nothing can be invalid. The steps are separate so that one run reports every error with its position
//! ([`diagnostic`], [`report`]), so that the schema, the reference and the parser cannot differ, and so that the rest of the gateway sees
//! only the snapshot and never a half-checked value.
pub mod compile;
pub mod diagnostic;
pub mod file;
pub mod inputs;
pub mod load;
pub mod presets;
#[cfg(test)]
mod reference;
pub mod report;
pub mod schema;
pub mod secret;
mod secretive;
pub mod shape;
pub mod snapshot;
pub mod sni;
pub mod source;
mod type_schema;
pub mod verifier;
pub mod watch;
pub mod yaml_tree;

pub use load::{Loaded, RefusedConfig, load};
pub use report::{Finding, Report};
pub use schema::schema;
pub use verifier::PresetError;
