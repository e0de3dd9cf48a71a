//! A secret, prepared for comparison.
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use super::error::SecretError;
use crate::verify::hmac::{Algorithm, Mac};

/// The form in which a scheme compares a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretKind {
    /// A key schedule.
    Hmac(Algorithm),
    /// A text that is presented unchanged.
    Token,
    /// `user:password`.
    Basic,
}

/// A secret, prepared for comparison.
#[derive(Clone)]
pub(super) struct Material(Form);

#[derive(Clone)]
enum Form {
    Key(Box<Mac>),
    /// Compared by digest, so that the time reveals neither content nor length. The text itself is for signing.
    Text {
        digest: [u8; 32],
        text: Zeroizing<Vec<u8>>,
    },
}

impl SecretKind {
    /// Prepares the bytes of a secret for comparison.
    pub(super) fn material(self, key: &[u8]) -> Result<Material, SecretError> {
        match self {
            Self::Hmac(algorithm) => Material::key(algorithm, key),
            Self::Token => Ok(Material::text(key)),
            Self::Basic if is_credentials(key) => Ok(Material::text(key)),
            Self::Basic => Err(SecretError::NotCredentials),
        }
    }
}

impl Material {
    /// Makes a key schedule of a secret.
    fn key(algorithm: Algorithm, key: &[u8]) -> Result<Self, SecretError> {
        let mac = Mac::new(algorithm, key).ok_or(SecretError::Length)?;
        Ok(Self(Form::Key(Box::new(mac))))
    }

    /// Makes a text of a secret that is presented unchanged.
    fn text(text: &[u8]) -> Self {
        Self(Form::Text {
            digest: Sha256::digest(text).into(),
            text: Zeroizing::new(text.to_vec()),
        })
    }

    /// Returns a fresh MAC with its key; `None` if it is not a key.
    pub(super) fn mac(&self) -> Option<Mac> {
        match &self.0 {
            Form::Key(mac) => Some((**mac).clone()),
            Form::Text { .. } => None,
        }
    }

    /// Compares the digest of its text with `presented`, in constant time.
    pub(super) fn is_text(&self, presented: &[u8; 32]) -> Choice {
        match &self.0 {
            Form::Key(_) => Choice::from(0),
            Form::Text { digest, .. } => digest.ct_eq(presented),
        }
    }

    /// Returns the text to present, if it is one.
    pub(super) fn text_to_present(&self) -> Option<&[u8]> {
        match &self.0 {
            Form::Key(_) => None,
            Form::Text { text, .. } => Some(text),
        }
    }
}

/// Returns whether this is `user:password`, of which at least one is not empty. The first colon ends the user.
pub(in crate::verify) fn is_credentials(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok() && text.contains(&b':') && text != b":"
}
