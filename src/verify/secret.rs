//! Candidate secrets: turned from text into key material once.
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use super::encoding::Encoding;
use super::hmac::{Algorithm, Mac};
use super::scheme::SecretKind;
use crate::clock::Dates;

mod set;
mod table;

pub(super) use set::Candidates;
pub use set::{BadSecret, SecretSet};
pub use table::{KeyedBy, SecretTable, TableMap, is_key};

/// The reason why the text of a secret cannot be used. It shows nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// There is no text.
    #[error("the secret is empty")]
    Empty,
    /// The text is not base64.
    #[error("the secret is not base64")]
    NotBase64,
    /// The text is not hexadecimal.
    #[error("the secret is not hexadecimal")]
    NotHex,
    /// The text is not UTF-8.
    #[error("the secret is not UTF-8")]
    NotUtf8,
    /// The text has a prefix that is no part of the key.
    #[error("the secret begins with whsec_: its encoding is `whsec`")]
    HasPrefix,
    /// The text has no colon, and the key is behind the first one.
    #[error("the secret has no colon; the provider signs with the text after the colon")]
    NoColon,
    /// The text is not a user and a password.
    #[error("write the secret as `user:password`")]
    NotCredentials,
    /// The algorithm takes no key of this length.
    #[error("the secret has a length that the algorithm cannot use")]
    Length,
}

impl From<SecretError> for String {
    fn from(error: SecretError) -> Self {
        error.to_string()
    }
}

/// A secret as it was loaded: text, not yet a key.
#[derive(Clone)]
pub struct SecretText {
    /// Its name in logs and metrics.
    pub name: Arc<str>,
    /// The text, wiped on drop.
    pub text: Zeroizing<Vec<u8>>,
    /// The encodings of this secret, instead of the scheme's. Each that decodes the text makes a candidate.
    pub encodings: Option<Vec<Encoding>>,
    /// The time before which it is not active.
    pub not_before: Option<SystemTime>,
    /// The time from which on it is no longer active.
    pub expires: Option<SystemTime>,
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretText")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// One of the secrets now accepted.
#[derive(Clone)]
pub struct Candidate {
    name: Arc<str>,
    material: Material,
    not_before: Option<SystemTime>,
    expires: Option<SystemTime>,
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
        for encoding in encodings {
            match encoding.decode(&secret.text, suffix) {
                Ok(key) if keys.contains(&key) => {}
                Ok(key) => {
                    made.push(Self {
                        name: Arc::clone(&secret.name),
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
    fn decoys(kind: SecretKind, encodings: &[Encoding]) -> Vec<Self> {
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

    /// Returns the time from which on it is no longer active.
    pub fn expires(&self) -> Option<SystemTime> {
        self.expires
    }

    /// Returns a fresh MAC with its key; `None` if it is not a key.
    pub(super) fn mac(&self) -> Option<Mac> {
        match &self.material.0 {
            Form::Key(mac) => Some((**mac).clone()),
            Form::Text { .. } => None,
        }
    }

    /// Compares the digest of its text with `presented`, in constant time.
    pub(super) fn is_text(&self, presented: &[u8; 32]) -> Choice {
        match &self.material.0 {
            Form::Key(_) => Choice::from(0),
            Form::Text { digest, .. } => digest.ct_eq(presented),
        }
    }

    /// Returns the text to present, if it is one.
    pub(super) fn text(&self) -> Option<&[u8]> {
        match &self.material.0 {
            Form::Key(_) => None,
            Form::Text { text, .. } => Some(text),
        }
    }
}

impl Material {
    /// Makes a key schedule of a secret.
    pub(super) fn key(algorithm: Algorithm, key: &[u8]) -> Result<Self, SecretError> {
        let mac = Mac::new(algorithm, key).ok_or(SecretError::Length)?;
        Ok(Self(Form::Key(Box::new(mac))))
    }

    /// Makes a text of a secret that is presented unchanged.
    pub(super) fn text(text: &[u8]) -> Self {
        Self(Form::Text {
            digest: Sha256::digest(text).into(),
            text: Zeroizing::new(text.to_vec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_shows_the_secret() {
        let text = SecretText {
            name: "new".into(),
            text: Zeroizing::new(b"s3cret".to_vec()),
            encodings: None,
            not_before: None,
            expires: None,
        };
        let set =
            SecretSet::list(SecretKind::Token, &[], None, std::slice::from_ref(&text)).unwrap();
        let shown = format!("{text:?} {set:?}");
        assert!(
            shown.contains("new") && !shown.contains("s3cret") && !shown.contains("115, 51"),
            "{shown}"
        );
    }

    #[test]
    fn one_entry_of_a_table_changes_alone() {
        let table = SecretTable::default();
        let entry = |text: &str| -> Arc<[Candidate]> {
            let text = SecretText {
                name: "k".into(),
                text: Zeroizing::new(text.as_bytes().to_vec()),
                encodings: None,
                not_before: None,
                expires: None,
            };
            Candidate::make(SecretKind::Token, &[], None, &text)
                .unwrap()
                .into()
        };
        table.set("a", Some(&entry("1")));
        table.set("b", Some(&entry("2")));
        let kept = table.get("a").unwrap();
        table.set("b", None);
        assert!(Arc::ptr_eq(&kept, &table.get("a").unwrap()));
        assert!(table.get("b").is_none() && table.len() == 1);
        assert!(!is_key("") && !is_key("a/b") && !is_key(&"a".repeat(129)) && is_key("A-z_9"));
    }
}
