//! Sealing of customers' secrets before they are stored.
//!
//! A sealed text is a byte for the version, 4 bytes for the ID of the key, 12 bytes of nonce, then the text and the tag of ChaCha20-Poly1305. The row
//! that it belongs to is associated data, so it can be opened in no other row. The key comes by HKDF-SHA256 from `store.key`.
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use zeroize::Zeroizing;

/// The version of the form.
const VERSION: u8 = 1;
/// The bytes of a key ID.
const ID_BYTES: usize = 4;
/// The bytes of `store.key`.
const KEY_BYTES: usize = 32;
/// The text that is sealed to recognise the key of a store.
const CHECK: &[u8] = b"hookgate store key";

/// A nonce. It must be drawn anew for each text, from a generator for secrets.
pub type SealNonce = [u8; NONCE_LEN];

/// The kind of text that is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SealKind {
    /// The constant by which a store recognises its key.
    Check,
    /// A secret of an endpoint.
    Secret,
    /// The values of an endpoint's own headers.
    Headers,
}

/// The row that a sealed text belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SealedRow {
    /// The kind of text.
    pub kind: SealKind,
    /// The number of the endpoint.
    pub endpoint: u32,
    /// The number of the text among those of the kind at the endpoint.
    pub n: u32,
}

impl SealedRow {
    /// The row of the constant.
    pub const CHECK: Self = Self {
        kind: SealKind::Check,
        endpoint: 0,
        n: 0,
    };

    /// Returns the row of a secret.
    pub const fn secret(endpoint: u32, n: u32) -> Self {
        let kind = SealKind::Secret;
        Self { kind, endpoint, n }
    }

    /// Returns the row of the headers of an endpoint.
    pub const fn headers(endpoint: u32) -> Self {
        let (kind, n) = (SealKind::Headers, 0);
        Self { kind, endpoint, n }
    }

    /// Returns the associated data: each row has its own.
    fn associated(self) -> [u8; 10] {
        let kind = match self.kind {
            SealKind::Check => 0,
            SealKind::Secret => 1,
            SealKind::Headers => 2,
        };
        let [e0, e1, e2, e3] = self.endpoint.to_be_bytes();
        let [n0, n1, n2, n3] = self.n.to_be_bytes();
        [VERSION, kind, e0, e1, e2, e3, n0, n1, n2, n3]
    }
}

/// The reason why a text is no key, with the text to write instead. It shows nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAKey {
    /// The text is not base64.
    #[error("the key is not base64; `openssl rand -base64 32` makes one")]
    NotBase64,
    /// The key has another length.
    #[error("the key is not {KEY_BYTES} bytes as base64; `openssl rand -base64 32` makes one")]
    Length,
    /// The key is one byte over and over.
    #[error("the key is not random; `openssl rand -base64 32` makes one")]
    NotRandom,
}

/// The reason why a text cannot be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The text is longer than the cipher can seal.
    #[error("the text is too long to be sealed")]
    TooLong,
    /// The bytes were not sealed by this version.
    #[error("the sealed text has an unknown form: is it from a newer version?")]
    Form,
    /// None of the keys has the ID.
    #[error("the text was sealed with another key than `store.key` and `store.old_keys`")]
    UnknownKey,
    /// The bytes were changed, or belong to another row.
    #[error("the sealed text was changed, or belongs to another row")]
    Changed,
}

/// An opened text.
#[derive(Clone, PartialEq, Eq)]
pub struct Opened {
    /// The text, wiped on drop.
    pub text: Zeroizing<Vec<u8>>,
    /// Whether the current key opened it. Otherwise it should be sealed again.
    pub by_current: bool,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("by_current", &self.by_current)
            .finish_non_exhaustive()
    }
}

/// The keys that seal customers' secrets. `Debug` shows their IDs alone.
#[derive(Clone)]
pub struct SealKeys {
    current: SealKey,
    old: Vec<SealKey>,
}

/// A key with its ID, both derived from a `store.key`.
#[derive(Clone)]
struct SealKey {
    id: [u8; ID_BYTES],
    key: LessSafeKey,
}

/// The length of an ID, for HKDF.
#[derive(Clone, Copy)]
struct IdLength;

impl KeyType for IdLength {
    fn len(&self) -> usize {
        ID_BYTES
    }
}

impl SealKeys {
    /// Parses the texts of `store.key` and `store.old_keys`.
    ///
    /// # Errors
    /// The fault of the first text that is no key, and its place: `None` for the current key, else its index among the old ones.
    pub fn parse<'t>(
        current: &[u8],
        old: impl IntoIterator<Item = &'t [u8]>,
    ) -> Result<Self, (Option<usize>, NotAKey)> {
        let current = SealKey::parse(current).map_err(|why| (None, why))?;
        let old = old.into_iter().enumerate();
        let old = old.map(|(index, text)| SealKey::parse(text).map_err(|why| (Some(index), why)));
        let old = old.collect::<Result<Vec<_>, _>>()?;
        Ok(Self { current, old })
    }

    /// Seals a text for a row with the current key.
    ///
    /// # Errors
    /// The text is too long.
    pub fn seal(
        &self,
        row: SealedRow,
        nonce: SealNonce,
        text: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        let mut within = Zeroizing::new(text.to_vec());
        let tag = self
            .current
            .key
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(row.associated()),
                &mut within,
            )
            .map_err(|_| SealError::TooLong)?;
        let parts = [
            &[VERSION][..],
            &self.current.id,
            &nonce,
            &within,
            tag.as_ref(),
        ];
        Ok(parts.concat())
    }

    /// Opens the text of a row.
    ///
    /// # Errors
    /// No key opens it there.
    pub fn open(&self, row: SealedRow, sealed: &[u8]) -> Result<Opened, SealError> {
        let rest = sealed.strip_prefix(&[VERSION]).ok_or(SealError::Form)?;
        let (id, rest) = rest
            .split_first_chunk::<ID_BYTES>()
            .ok_or(SealError::Form)?;
        let (nonce, rest) = rest.split_first_chunk().ok_or(SealError::Form)?;
        let keys = std::iter::once(&self.current).chain(&self.old);
        let mut error = SealError::UnknownKey;
        for (place, key) in keys.enumerate().filter(|(_, key)| key.id == *id) {
            let mut within = Zeroizing::new(rest.to_vec());
            let opened = key.key.open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(row.associated()),
                &mut within,
            );
            if let Ok(text) = opened {
                return Ok(Opened {
                    text: Zeroizing::new(text.to_vec()),
                    by_current: place == 0,
                });
            }
            error = SealError::Changed;
        }
        Err(error)
    }

    /// Seals the constant by which a store recognises its key.
    ///
    /// # Errors
    /// None: the constant is short.
    pub fn seal_check(&self, nonce: SealNonce) -> Result<Vec<u8>, SealError> {
        self.seal(SealedRow::CHECK, nonce, CHECK)
    }

    /// Checks the constant that a store has. Returns whether the current key sealed it.
    ///
    /// # Errors
    /// None of the keys belongs to the store.
    pub fn check(&self, sealed: &[u8]) -> Result<bool, SealError> {
        let opened = self.open(SealedRow::CHECK, sealed)?;
        if *opened.text == CHECK {
            Ok(opened.by_current)
        } else {
            Err(SealError::Changed)
        }
    }

    /// Returns whether the current key sealed a text, as far as its ID says, without opening it.
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        sealed.starts_with(&self.current_prefix())
    }

    /// Returns the first bytes of each text that the current key seals: version and ID.
    pub fn current_prefix(&self) -> [u8; 1 + ID_BYTES] {
        let [a, b, c, d] = self.current.id;
        [VERSION, a, b, c, d]
    }

    /// Returns whether there are former keys.
    pub fn has_old(&self) -> bool {
        !self.old.is_empty()
    }
}

impl PartialEq for SealKeys {
    /// Compares the IDs, which are derived from the keys.
    fn eq(&self, other: &Self) -> bool {
        let ids = |keys: &Self| -> Vec<_> { keys.old.iter().map(|key| key.id).collect() };
        self.current.id == other.current.id && ids(self) == ids(other)
    }
}

impl Eq for SealKeys {}

impl fmt::Debug for SealKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(std::iter::once(&self.current).chain(&self.old))
            .finish()
    }
}

impl SealKey {
    /// Parses 32 bytes of base64, and derives the key and its ID from them.
    fn parse(text: &[u8]) -> Result<Self, NotAKey> {
        let bytes = STANDARD
            .decode(text.trim_ascii())
            .map(Zeroizing::new)
            .map_err(|_| NotAKey::NotBase64)?;
        if bytes.len() != KEY_BYTES {
            return Err(NotAKey::Length);
        }
        if bytes.iter().all(|byte| bytes.first() == Some(byte)) {
            return Err(NotAKey::NotRandom);
        }
        Self::derive(&bytes).ok_or(NotAKey::Length)
    }

    /// Derives a key. `None` cannot happen: both lengths are short enough for HKDF.
    fn derive(bytes: &[u8]) -> Option<Self> {
        let secret: Prk = Salt::new(HKDF_SHA256, &[]).extract(bytes);
        let key: UnboundKey = secret.expand(&[b"seal"], &CHACHA20_POLY1305).ok()?.into();
        let mut id = [0; ID_BYTES];
        secret
            .expand(&[b"seal key id"], IdLength)
            .and_then(|okm| okm.fill(&mut id))
            .ok()?;
        Some(Self {
            id,
            key: LessSafeKey::new(key),
        })
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealKey({}, …)", hex::encode(self.id))
    }
}

#[cfg(test)]
mod tests;
