//! The config: what is written ([`file`]), what is wrong with it ([`diagnostic`]), what runs ([`snapshot`]).
pub mod diagnostic;
pub mod file;
pub mod marked;
pub mod router;
pub mod snapshot;
pub mod schema;
pub mod shape;
pub mod source;
pub mod compile;
