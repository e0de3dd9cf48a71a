//! Keyed hashes: key schedules made once, tags compared in constant time.
use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose};
use hmac::{Hmac, KeyInit, Mac as _};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::{Choice, ConstantTimeEq};

/// The longest tag, in bytes.
const MAX_TAG_BYTES: usize = 64;
/// The size of the buffer to decode into, in bytes: base64 is decoded in whole groups.
const BUFFER_BYTES: usize = 96;

/// The hash function of an HMAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC-SHA-1, which some providers still use.
    Sha1,
    /// HMAC-SHA-256.
    Sha256,
    /// HMAC-SHA-512.
    Sha512,
}

impl Algorithm {
    /// The names in the config.
    pub const NAMES: [&'static str; 3] = ["sha1", "sha256", "sha512"];

    /// Returns its name, as people write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA-1",
            Self::Sha256 => "SHA-256",
            Self::Sha512 => "SHA-512",
        }
    }

    /// Returns the length of its tags, in bytes.
    pub(super) const fn tag_bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// Parses the name of an algorithm.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "sha1" => Self::Sha1,
            "sha256" => Self::Sha256,
            "sha512" => Self::Sha512,
            _ => return None,
        })
    }
}

/// A MAC in progress. Before anything is fed it is a key schedule, computed once and cloned for each request.
#[derive(Clone)]
pub(super) enum Mac {
    Sha1(Hmac<Sha1>),
    Sha256(Hmac<Sha256>),
    Sha512(Hmac<Sha512>),
}

impl Mac {
    /// Computes the key schedule. Returns `None` for a key that the hash cannot use; HMAC takes every length.
    pub(super) fn new(algorithm: Algorithm, key: &[u8]) -> Option<Self> {
        match algorithm {
            Algorithm::Sha1 => Hmac::new_from_slice(key).ok().map(Self::Sha1),
            Algorithm::Sha256 => Hmac::new_from_slice(key).ok().map(Self::Sha256),
            Algorithm::Sha512 => Hmac::new_from_slice(key).ok().map(Self::Sha512),
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha1(mac) => mac.update(bytes),
            Self::Sha256(mac) => mac.update(bytes),
            Self::Sha512(mac) => mac.update(bytes),
        }
    }

    pub(super) fn finish(self) -> Tag {
        match self {
            Self::Sha1(mac) => Tag::new(&mac.finalize().into_bytes()),
            Self::Sha256(mac) => Tag::new(&mac.finalize().into_bytes()),
            Self::Sha512(mac) => Tag::new(&mac.finalize().into_bytes()),
        }
    }
}

/// A tag, computed or presented.
#[derive(Clone, Copy)]
pub(super) struct Tag {
    bytes: [u8; MAX_TAG_BYTES],
    /// The number of bytes. A decoded text may be longer than any tag; then it matches none.
    length: usize,
}

impl Tag {
    pub(super) fn new(from: &[u8]) -> Self {
        let mut bytes = [0; MAX_TAG_BYTES];
        for (to, from) in bytes.iter_mut().zip(from) {
            *to = *from;
        }
        Self {
            bytes,
            length: from.len(),
        }
    }

    /// Returns the number of bytes, which may be more than any tag has.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&self.bytes)
    }

    /// Compares both tags in constant time: the time depends on no byte of either. Lengths are not secret.
    pub(super) fn same(&self, other: &Self) -> Choice {
        self.bytes.ct_eq(&other.bytes) & Choice::from(u8::from(self.length == other.length))
    }
}

/// The text form of a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagEncoding {
    /// Hexadecimal, either case.
    Hex,
    /// Standard base64, padded, canonical.
    Base64,
    /// URL-safe base64, padded or not.
    Base64Url,
}

const URL_SAFE: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl TagEncoding {
    /// The names in the config.
    pub const NAMES: [&'static str; 3] = ["hex", "base64", "base64url"];

    /// Returns its name, as people write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hex => "hexadecimal",
            Self::Base64 => "base64",
            Self::Base64Url => "base64url",
        }
    }

    /// Parses the name of an encoding.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "hex" => Self::Hex,
            "base64" => Self::Base64,
            "base64url" => Self::Base64Url,
            _ => return None,
        })
    }

    /// Decodes a tag; `None` if `text` is empty or not in this encoding.
    pub(super) fn decode(self, text: &[u8]) -> Option<Tag> {
        if text.is_empty() {
            return None;
        }
        if text.len() > 2 * MAX_TAG_BYTES {
            return self.decode_long(text);
        }
        let mut room = [0; BUFFER_BYTES];
        let length = match self {
            Self::Hex => {
                let length = text.len() / 2;
                hex::decode_to_slice(text, room.get_mut(..length)?).ok()?;
                length
            }
            Self::Base64 => general_purpose::STANDARD
                .decode_slice(text, &mut room)
                .ok()?,
            Self::Base64Url => URL_SAFE.decode_slice(text, &mut room).ok()?,
        };
        room.get(..length).map(Tag::new)
    }

    /// Decodes a text that is too long for any tag: it only matters whether it is well formed.
    fn decode_long(self, text: &[u8]) -> Option<Tag> {
        let decoded = match self {
            Self::Hex => hex::decode(text).ok(),
            Self::Base64 => general_purpose::STANDARD.decode(text).ok(),
            Self::Base64Url => URL_SAFE.decode(text).ok(),
        };
        decoded.map(|bytes| Tag::new(&bytes))
    }

    pub(super) fn encode(self, tag: &Tag) -> String {
        match self {
            Self::Hex => hex::encode(tag.bytes()),
            Self::Base64 => general_purpose::STANDARD.encode(tag.bytes()),
            Self::Base64Url => general_purpose::URL_SAFE_NO_PAD.encode(tag.bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_canonical() {
        let tag = Tag::new(&[0xfb; 20]);
        for name in TagEncoding::NAMES {
            let encoding = TagEncoding::parse(name).unwrap();
            assert!(
                bool::from(
                    encoding
                        .decode(encoding.encode(&tag).as_bytes())
                        .unwrap()
                        .same(&tag)
                ),
                "{name}"
            );
            assert!(encoding.decode(b"").is_none());
            assert!(encoding.decode(b"!!").is_none());
        }
        assert!(bool::from(
            TagEncoding::Hex
                .decode("FB".repeat(20).as_bytes())
                .unwrap()
                .same(&tag)
        ));
        assert!(TagEncoding::Hex.decode(b"abc").is_none());
        assert!(
            TagEncoding::Base64.decode(b"+w").is_none(),
            "padding is due"
        );
        assert!(TagEncoding::Base64.decode(b"+x==").is_none(), "stray bits");
        assert!(
            TagEncoding::Base64.decode(b"-w==").is_none(),
            "the other alphabet"
        );
        assert!(TagEncoding::Base64Url.decode(b"-w==").is_some());
        assert!(TagEncoding::Base64Url.decode(b"-w").is_some());
        assert!(TagEncoding::Base64Url.decode(b"+w").is_none());
    }

    #[test]
    fn another_length_never_matches() {
        let tag = Tag::new(&[0; 32]);
        for length in [0, 1, 31, 33, 64, 65, 4_096] {
            assert!(
                !bool::from(Tag::new(&vec![0; length]).same(&tag)),
                "{length}"
            );
        }
        let long = TagEncoding::Hex
            .decode("00".repeat(3_000).as_bytes())
            .unwrap();
        assert!(!bool::from(long.same(&Tag::new(&[0; 64]))));
    }
}
