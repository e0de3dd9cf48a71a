//! The secrets that sign the events of an endpoint.
mod list;

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::verify::SecretText;

pub use list::{
    FIRST, ListError, MAX_LIVE, MAX_OVERLAP, Rotation, SecretEntry, Signers, end, expired, first,
    rotate, signing,
};

/// The text in front of the base64 of a secret of Standard Webhooks.
const PREFIX: &str = "whsec_";
/// The fewest bytes of such a secret.
const MIN_KEY: usize = 24;
/// The most bytes of such a secret.
const MAX_KEY: usize = 64;
/// The fewest bytes of a secret for a scheme of the config.
const MIN_TEXT: usize = 8;
/// The most bytes of a secret for a scheme of the config.
const MAX_TEXT: usize = 256;
/// The random bytes that a new secret needs.
pub const RANDOM_BYTES: usize = 32;

/// The form of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SecretKind {
    /// A key of Standard Webhooks: `whsec_` and base64.
    Standard,
    /// Any text, for a scheme of the config.
    Text,
}

impl SecretKind {
    /// Returns the number of the kind, as it is sealed.
    const fn number(self) -> u8 {
        match self {
            Self::Standard => 1,
            Self::Text => 2,
        }
    }

    /// Returns the kind with this number.
    const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Standard),
            2 => Some(Self::Text),
            _ => None,
        }
    }
}

/// The reason why a text cannot be a secret, with the text to write instead. It shows nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotASecret {
    /// The prefix is missing.
    #[error(
        "a secret begins with `whsec_`, then {MIN_KEY} to {MAX_KEY} bytes as base64; leave it out and one is made"
    )]
    Prefix,
    /// The rest is not base64.
    #[error("the secret is not base64 after `whsec_`; leave it out and one is made")]
    NotBase64,
    /// The key is too short or too long.
    #[error("a secret has {MIN_KEY} to {MAX_KEY} bytes; leave it out and one is made")]
    KeyLength,
    /// The text is too short or too long.
    #[error(
        "a secret for this scheme has {MIN_TEXT} to {MAX_TEXT} bytes; leave it out and one is made"
    )]
    TextLength,
    /// The text has another character.
    #[error("a secret is printable ASCII without spaces; leave it out and one is made")]
    Characters,
}

/// A secret of an endpoint. `Debug` shows its kind alone, and its bytes are wiped on drop.
#[derive(Clone)]
pub struct Secret {
    kind: SecretKind,
    /// The key, or the text.
    bytes: Zeroizing<Vec<u8>>,
}

impl Secret {
    /// Makes a secret of random bytes, which must come from a generator for secrets.
    pub fn generate(kind: SecretKind, random: &[u8; RANDOM_BYTES]) -> Self {
        let bytes = match kind {
            SecretKind::Standard => random.to_vec(),
            // digits of hexadecimal are a text in every encoding that a scheme can ask for
            SecretKind::Text => hex::encode(random).into_bytes(),
        };
        Self {
            kind,
            bytes: Zeroizing::new(bytes),
        }
    }

    /// Parses a secret that the app chose.
    ///
    /// # Errors
    /// The text cannot be a secret.
    pub fn parse(kind: SecretKind, text: &str) -> Result<Self, NotASecret> {
        let bytes = match kind {
            SecretKind::Standard => {
                let encoded = text.strip_prefix(PREFIX).ok_or(NotASecret::Prefix)?;
                STANDARD
                    .decode(encoded)
                    .map_err(|_| NotASecret::NotBase64)?
            }
            SecretKind::Text => text.as_bytes().to_vec(),
        };
        Self::checked(kind, Zeroizing::new(bytes))
    }

    /// Restores a secret from the bytes that [`Self::to_bytes`] returned.
    ///
    /// # Errors
    /// The bytes are none of a secret.
    pub fn from_bytes(stored: &[u8]) -> Result<Self, NotASecret> {
        let (kind, bytes) = stored.split_first().ok_or(NotASecret::Prefix)?;
        let kind = SecretKind::from_number(*kind).ok_or(NotASecret::Prefix)?;
        Self::checked(kind, Zeroizing::new(bytes.to_vec()))
    }

    /// Returns the secret, if its bytes can be one.
    fn checked(kind: SecretKind, bytes: Zeroizing<Vec<u8>>) -> Result<Self, NotASecret> {
        match kind {
            SecretKind::Standard if !(MIN_KEY..=MAX_KEY).contains(&bytes.len()) => {
                Err(NotASecret::KeyLength)
            }
            SecretKind::Text if !(MIN_TEXT..=MAX_TEXT).contains(&bytes.len()) => {
                Err(NotASecret::TextLength)
            }
            SecretKind::Text if !bytes.iter().all(u8::is_ascii_graphic) => {
                Err(NotASecret::Characters)
            }
            SecretKind::Standard | SecretKind::Text => Ok(Self { kind, bytes }),
        }
    }

    /// Returns the kind.
    pub fn kind(&self) -> SecretKind {
        self.kind
    }

    /// Returns the bytes that are sealed and stored: the kind, then the key or the text.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut stored = Zeroizing::new(Vec::with_capacity(1 + self.bytes.len()));
        stored.push(self.kind.number());
        stored.extend_from_slice(&self.bytes);
        stored
    }

    /// Returns the secret as the customer gets it.
    pub fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(match self.kind {
            SecretKind::Standard => format!("{PREFIX}{}", STANDARD.encode(&*self.bytes)),
            SecretKind::Text => String::from_utf8_lossy(&self.bytes).into_owned(),
        })
    }

    /// Returns the secret as the signing schemes take it.
    pub fn for_signing(&self, name: Arc<str>) -> SecretText {
        SecretText {
            name,
            text: Zeroizing::new(self.text().as_bytes().to_vec()),
            encodings: None,
            not_before: None,
            expires: None,
        }
    }

    /// Returns whether both are the same secret. Takes equally long for all secrets of one length.
    pub fn is_same(&self, other: &Self) -> bool {
        self.kind == other.kind && bool::from(self.bytes.ct_eq(&other.bytes))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({:?}, …)", self.kind)
    }
}

#[cfg(test)]
mod tests;
