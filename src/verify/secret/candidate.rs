//! Candidate secrets: turned from text into key material once.
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use subtle::Choice;
use zeroize::Zeroizing;

use super::encoding::Encoding;
use super::error::SecretError;
use super::material::{Material, SecretKind};
use super::text::SecretText;
use crate::clock::Dates;
use crate::verify::hmac::Mac;

/// One of the secrets now accepted.
#[derive(Clone)]
pub struct Candidate {
    name: Arc<str>,
    /// The text as it was loaded. Only the explanation of a refusal reads it: the text may have been meant in another encoding.
    text: Arc<Zeroizing<Vec<u8>>>,
    /// The encodings by which it was read.
    encodings: Arc<[Encoding]>,
    material: Material,
    not_before: Option<SystemTime>,
    expires: Option<SystemTime>,
}

impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Candidate {
    /// Makes the candidates of one secret: one for each encoding that decodes it.
    ///
    /// # Errors
    /// The fault of the text, if no encoding decodes it.
    pub fn make(
        kind: SecretKind,
        defaults: &[Encoding],
        suffix: Option<&str>,
        secret: &SecretText,
    ) -> Result<Vec<Self>, SecretError> {
        let encodings = secret.encodings.as_deref().unwrap_or(defaults);
        let encodings = if encodings.is_empty() {
            &[Encoding::Utf8]
        } else {
            encodings
        };
        let mut made = Vec::with_capacity(encodings.len());
        let mut fault = SecretError::Empty;
        let mut keys: Vec<Zeroizing<Vec<u8>>> = Vec::new();
        let text = Arc::new(secret.text.clone());
        let all: Arc<[Encoding]> = encodings.into();
        for encoding in encodings {
            match encoding.decode(&secret.text, suffix) {
                Ok(key) if keys.contains(&key) => {}
                Ok(key) => {
                    made.push(Self {
                        name: Arc::clone(&secret.name),
                        text: Arc::clone(&text),
                        encodings: Arc::clone(&all),
                        material: kind.material(&key)?,
                        not_before: secret.not_before,
                        expires: secret.expires,
                    });
                    keys.push(key);
                }
                Err(error) => fault = error,
            }
        }
        if made.is_empty() {
            Err(fault)
        } else {
            Ok(made)
        }
    }

    /// Makes the candidates of an entry of a table: always one for each encoding, however many of them decode the text.
    ///
    /// So no key takes longer than another, or than one that is in no table. Decoys, which never match, make up the number.
    ///
    /// # Errors
    /// The fault of the text, if no encoding decodes it.
    pub fn entry(
        kind: SecretKind,
        encodings: &[Encoding],
        suffix: Option<&str>,
        secret: &SecretText,
    ) -> Result<Vec<Self>, SecretError> {
        let mut made = Self::make(kind, encodings, suffix, secret)?;
        made.extend(Self::decoys(kind, encodings).into_iter().skip(made.len()));
        Ok(made)
    }

    /// Makes candidates that never match, one for each encoding.
    pub(super) fn decoys(kind: SecretKind, encodings: &[Encoding]) -> Vec<Self> {
        let text = SecretText {
            name: "decoy".into(),
            text: Zeroizing::new(b"no:body".to_vec()),
            encodings: Some(vec![Encoding::Utf8]),
            not_before: None,
            expires: Some(SystemTime::UNIX_EPOCH),
        };
        let decoy = Self::make(kind, &[], None, &text).unwrap_or_default();
        decoy
            .into_iter()
            .cycle()
            .take(encodings.len().max(1))
            .collect()
    }

    /// Returns its name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Returns whether it is accepted now.
    pub fn active(&self, dates: &Dates) -> bool {
        self.not_before.is_none_or(|from| dates.has_begun(from))
            && self.expires.is_none_or(|until| !dates.has_ended(until))
    }

    /// Returns the text of the secret as it was loaded.
    pub fn text_as_loaded(&self) -> &[u8] {
        &self.text
    }

    /// Returns the encodings by which its text was read.
    pub fn encodings(&self) -> &[Encoding] {
        &self.encodings
    }

    /// Returns the time before which it is not active.
    pub fn not_before(&self) -> Option<SystemTime> {
        self.not_before
    }

    /// Returns the time from which on it is no longer active.
    pub fn expires(&self) -> Option<SystemTime> {
        self.expires
    }

    /// Returns a fresh MAC with its key; `None` if it is not a key.
    pub(in crate::verify) fn mac(&self) -> Option<Mac> {
        self.material.mac()
    }

    /// Compares the digest of its text with `presented`, in constant time.
    pub(in crate::verify) fn is_text(&self, presented: &[u8; 32]) -> Choice {
        self.material.is_text(presented)
    }

    /// Returns the text to present, if it is one.
    pub(in crate::verify) fn text(&self) -> Option<&[u8]> {
        self.material.text_to_present()
    }
}
