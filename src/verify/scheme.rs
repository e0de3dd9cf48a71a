//! The schemes: families of authentication, one file each.
pub(super) mod basic;
pub(super) mod mac;
pub(super) mod token;

use super::source::Source;
use mac::HmacScheme;

/// A family of authentication.
#[derive(Clone, Debug)]
pub enum Scheme {
    /// A keyed hash over signed content.
    Hmac(HmacScheme),
    /// A token that is itself the secret.
    Token(Source),
    /// `Authorization: Basic`.
    Basic,
}
