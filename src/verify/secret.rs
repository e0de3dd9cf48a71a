//! Secrets: from text to key material, and the candidates for a request.
mod candidate;
mod encoding;
mod error;
mod material;
mod set;
mod table;
#[cfg(test)]
mod tests;
mod text;

pub use candidate::Candidate;
pub use encoding::Encoding;
pub use error::SecretError;
pub use material::SecretKind;
pub(super) use material::is_credentials;
pub(super) use set::Candidates;
pub use set::{BadSecret, SecretSet};
pub use table::{KeyedBy, SecretTable, TableMap, is_key};
pub use text::SecretText;
