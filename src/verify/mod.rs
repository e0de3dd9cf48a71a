//! Decides whether a request is authentic: bytes, a compiled policy and `now` in, a verdict out. No socket, clock or store.
//!
//! The gateway feeds a body while it arrives: [`Verifier::begin`], [`Check::update`], [`Check::finish`]. Everything else has the
//! complete request, and calls [`Verifier::verify_http`] or [`Verifier::verify`], which take the same path.
//!
//! All candidate secrets are compared in constant time, and none is looked at before all are compared.
mod authentic;
mod check;
mod comparison;
mod content;
mod covers;
pub mod handshake;
mod hint;
mod hmac;
mod json;
mod locator;
pub mod probe;
mod scheme;
pub mod secret;
mod secret_locations;
mod shape;
mod signed;
mod source;
pub mod standard;
pub mod stored;
mod timestamp;
mod url;
mod verifier;

#[cfg(test)]
mod tests;

pub use authentic::{Authentic, Cleared, NotAuthentic, Refused, Unverified};
pub use check::{Check, Stale, Verdict};
pub use content::{BadTemplate, PLACEHOLDERS, Part, Template};
pub use covers::Covers;
pub use handshake::{Handshakes, TokenGrammar};
pub use hmac::{Algorithm, TagEncoding};
pub use json::{BadPointer, check_pointer};
pub use locator::{HeaderNames, Locator};
pub use scheme::Scheme;
pub use scheme::mac::HmacScheme;
pub use scheme::signed_time::{SignedTime, TimeAt};
pub use secret::{
    BadSecret, Candidate, Encoding, KeyedBy, SecretError, SecretKind, SecretSet, SecretTable,
    SecretText, TableMap, is_key,
};
pub use secret_locations::SecretLocations;
pub use shape::Shape;
pub use signed::{CannotSign, NotResignable, Signed};
pub use source::{Layout, Source, SourcePlace};
pub use standard::SigningKey;
pub use stored::StoredProof;
pub use timestamp::Format;
pub use verifier::Verifier;
