//! Bearer tokens.
use sha2::{Digest as _, Sha256};

/// A bearer token as its hash. Neither the hash nor the time of a comparison reveals its bytes or length.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl Token {
    /// Hashes a token and wipes its bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Sha256::digest(zeroize::Zeroizing::new(bytes).as_slice()).into())
    }

    /// Returns whether `offered` is the token, in constant time.
    pub fn matches(&self, offered: &[u8]) -> bool {
        subtle::ConstantTimeEq::ct_eq(self.0.as_slice(), Sha256::digest(offered).as_slice()).into()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}
