//! The config: what is written ([`file`]), what is wrong with it ([`diagnostic`]), what runs ([`snapshot`]).
pub mod diagnostic;
pub mod file;
pub mod marked;
pub mod router;
pub mod snapshot;
pub mod schema;
pub mod shape;
pub mod source;
pub mod report;
pub mod compile;
pub mod load;
pub mod secret;

pub use load::{Loaded, Rejected, load};
pub use report::{Finding, Report};
pub use schema::schema;
pub mod watch;
