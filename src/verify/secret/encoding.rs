//! Encodings of secrets: from text to key bytes.
use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use super::error::SecretError;

/// The encoding of a secret: the way from its text to key bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// The text itself.
    Utf8,
    /// Base64, either alphabet, padded or not.
    Base64,
    /// Hexadecimal.
    Hex,
    /// Base64 after an optional `whsec_` or `v1,whsec_`.
    Whsec,
    /// Base64 after `whsec_` or `v1,whsec_`; without such a prefix the text itself.
    WhsecOrUtf8,
    /// The text in Unicode's NFKD form.
    Nfkd,
    /// The text after the first colon.
    AfterColon,
}

/// Accepts the same texts as the libraries of the providers: without padding, and with bits after the last whole byte, which are dropped.
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::URL_SAFE, LENIENT);

impl Encoding {
    /// The names in the config.
    pub const NAMES: [&'static str; 7] = [
        "utf8",
        "base64",
        "hex",
        "whsec",
        "whsec_or_utf8",
        "nfkd",
        "after_colon",
    ];

    /// Parses the name of an encoding.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "utf8" => Self::Utf8,
            "base64" => Self::Base64,
            "hex" => Self::Hex,
            "whsec" => Self::Whsec,
            "whsec_or_utf8" => Self::WhsecOrUtf8,
            "nfkd" => Self::Nfkd,
            "after_colon" => Self::AfterColon,
            _ => return None,
        })
    }

    /// Decodes `text` to key bytes, followed by `suffix`.
    ///
    /// # Errors
    /// The fault of the text, without showing it. An empty key is always an error.
    pub fn decode(
        self,
        text: &[u8],
        suffix: Option<&str>,
    ) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let mut key = match self {
            Self::Utf8 => Zeroizing::new(text.to_vec()),
            // the prefix is not part of the key, and is base64 only by chance
            Self::Base64 if after_whsec(text).is_some() => {
                return Err(SecretError::HasPrefix);
            }
            Self::Base64 => base64(text)?,
            Self::Hex => Zeroizing::new(hex::decode(text).map_err(|_| SecretError::NotHex)?),
            Self::Whsec => base64(after_whsec(text).unwrap_or(text))?,
            Self::WhsecOrUtf8 => match after_whsec(text) {
                Some(rest) => base64(rest)?,
                None => Zeroizing::new(text.to_vec()),
            },
            Self::Nfkd => {
                let text = std::str::from_utf8(text).map_err(|_| SecretError::NotUtf8)?;
                Zeroizing::new(text.nfkd().collect::<String>().into_bytes())
            }
            Self::AfterColon => {
                let mut halves = text.splitn(2, |byte| *byte == b':').skip(1);
                Zeroizing::new(halves.next().ok_or(SecretError::NoColon)?.to_vec())
            }
        };
        if key.is_empty() {
            return Err(SecretError::Empty);
        }
        key.extend_from_slice(suffix.unwrap_or_default().as_bytes());
        Ok(key)
    }
}

/// Returns the text after `whsec_`, or after `v1,whsec_` as Supabase shows it; `None` without such a prefix.
fn after_whsec(text: &[u8]) -> Option<&[u8]> {
    text.strip_prefix(b"v1,")
        .unwrap_or(text)
        .strip_prefix(b"whsec_")
}

fn base64(text: &[u8]) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let url_safe = text.iter().any(|byte| matches!(byte, b'-' | b'_'));
    let engine = if url_safe { URL_SAFE } else { STANDARD };
    engine
        .decode(text)
        .map(Zeroizing::new)
        .map_err(|_| SecretError::NotBase64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(encoding: Encoding, text: &str) -> Option<Vec<u8>> {
        encoding
            .decode(text.as_bytes(), None)
            .ok()
            .map(|key| key.to_vec())
    }

    /// Checks the last character of `AB` and of `AAB`, whose spare bits Python, Node.js, Go and PHP drop.
    #[test]
    fn spare_bits_of_base64_are_dropped() {
        for (spare, same) in [
            ("AB", "AA"),
            ("AAB", "AAA"),
            ("AB==", "AA=="),
            ("AAB=", "AAA="),
            ("_-", "_w"),
        ] {
            assert_eq!(
                decode(Encoding::Base64, spare),
                decode(Encoding::Base64, same),
                "{spare}"
            );
            for encoding in [Encoding::Whsec, Encoding::WhsecOrUtf8] {
                for prefix in ["whsec_", "v1,whsec_"] {
                    assert!(
                        decode(encoding, &format!("{prefix}{spare}")).is_some(),
                        "{encoding:?} {prefix}{spare}"
                    );
                    assert_eq!(
                        decode(encoding, &format!("{prefix}{spare}")),
                        decode(Encoding::Base64, same),
                        "{encoding:?} {prefix}{spare}"
                    );
                }
            }
        }
    }

    #[test]
    fn text_becomes_key_bytes() {
        assert_eq!(decode(Encoding::Utf8, "whsec_x"), Some(b"whsec_x".to_vec()));
        assert_eq!(decode(Encoding::Base64, "+/8="), Some(vec![0xfb, 0xff]));
        assert_eq!(decode(Encoding::Base64, "-_8"), Some(vec![0xfb, 0xff]));
        assert_eq!(decode(Encoding::Hex, "FBff"), Some(vec![0xfb, 0xff]));
        assert_eq!(
            decode(Encoding::Whsec, "whsec_+/8="),
            Some(vec![0xfb, 0xff])
        );
        assert_eq!(decode(Encoding::Whsec, "+/8="), Some(vec![0xfb, 0xff]));
        assert_eq!(
            decode(Encoding::WhsecOrUtf8, "+/8="),
            Some(b"+/8=".to_vec())
        );
        assert_eq!(
            decode(Encoding::WhsecOrUtf8, "whsec_+/8="),
            Some(vec![0xfb, 0xff])
        );
        assert_eq!(
            decode(Encoding::Whsec, "v1,whsec_+/8="),
            Some(vec![0xfb, 0xff])
        );
        assert_eq!(
            decode(Encoding::WhsecOrUtf8, "v1,whsec_+/8="),
            Some(vec![0xfb, 0xff])
        );
        assert_eq!(
            decode(Encoding::WhsecOrUtf8, "v1,+/8="),
            Some(b"v1,+/8=".to_vec())
        );
        assert_eq!(
            decode(Encoding::Nfkd, "é"),
            Some("e\u{301}".as_bytes().to_vec())
        );
        assert_eq!(
            decode(Encoding::AfterColon, "id:key:more"),
            Some(b"key:more".to_vec())
        );
        assert_eq!(
            Encoding::Utf8.decode(b"a", Some("&b")).unwrap().as_slice(),
            b"a&b"
        );
        for (encoding, text) in [
            (Encoding::Utf8, ""),
            (Encoding::Base64, "!"),
            (Encoding::Hex, "f"),
            (Encoding::Whsec, "whsec_"),
            (Encoding::Whsec, "v1,whsec_"),
            (Encoding::Whsec, "v1,+/8="),
            (Encoding::Whsec, "whsec_A"),
            (Encoding::Base64, "A"),
            (Encoding::Base64, "AA=A"),
            (Encoding::Base64, "whsec_"),
            (Encoding::Base64, "whsec_AAAA"),
            (Encoding::AfterColon, "key"),
            (Encoding::AfterColon, "id:"),
        ] {
            assert_eq!(decode(encoding, text), None, "{encoding:?} {text}");
        }
        for name in Encoding::NAMES {
            assert!(Encoding::parse(name).is_some(), "{name}");
        }
    }
}
