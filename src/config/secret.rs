//! Loads the texts of secrets: from the environment, from files, from the config itself. None of them is ever shown.
mod cache;
mod loader;
mod one;
mod row;
mod table;
#[cfg(test)]
mod tests;
mod text;

pub use cache::{Cache, CompiledCatalogue};
pub use loader::{Env, Loader, Origins};
pub use one::encoding_named;
pub use row::Making;
pub use text::{MAX_BYTES, WEAK_BELOW, check_secret_text, without_line_feed};
