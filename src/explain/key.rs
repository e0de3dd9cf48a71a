//! Other readings of a secret: what it may have been before it was pasted, and the encodings by which it may be meant.
use std::sync::Arc;
use std::time::SystemTime;

use zeroize::Zeroizing;

use crate::verify::{Candidate, Encoding, Shape};

/// The change that turns a configured secret into the one that the sender signs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretChange {
    /// It has spaces or line ends around it that do not belong to it.
    Spaces,
    /// It is in quotes that do not belong to it.
    Quotes,
    /// It begins with a byte order mark.
    Bom,
    /// The sender's ends with a line feed.
    LineFeed,
    /// Its text is the key itself.
    AsText,
    /// It is base64 of the key.
    AsBase64,
    /// It is hexadecimal of the key.
    AsHex,
    /// Its text after `whsec_` is the key itself.
    WithoutPrefix,
    /// The key is the base64 of its text.
    EncodedBase64,
    /// The key is the hexadecimal of its text.
    EncodedHex,
    /// Its letters are in the other case.
    Case,
}

/// The bytes of a key, or `None` if a text cannot be read so, and the change that leads to them.
type Reading = (Option<SecretChange>, Option<Zeroizing<Vec<u8>>>);

/// The owner of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner<'a> {
    /// The route that refused the request.
    Own,
    /// Another route.
    Other(&'a str),
}

/// A key to try.
pub(super) struct Key<'a> {
    pub(super) bytes: Zeroizing<Vec<u8>>,
    pub(super) owner: Owner<'a>,
    pub(super) name: Arc<str>,
    pub(super) changes: Vec<SecretChange>,
    pub(super) not_before: Option<SystemTime>,
    pub(super) expires: Option<SystemTime>,
}

impl AsRef<[u8]> for Key<'_> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl std::fmt::Debug for Key<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key")
            .field("name", &self.name)
            .field("changes", &self.changes)
            .finish_non_exhaustive()
    }
}

/// The keys to try, none twice.
#[derive(Debug, Default)]
pub(super) struct Keys<'a>(pub(super) Vec<Key<'a>>);

impl<'a> Keys<'a> {
    /// Adds the keys of secrets as their own routes read them, and as this scheme reads secrets.
    pub(super) fn add_configured(
        &mut self,
        owner: Owner<'a>,
        secrets: &[Candidate],
        shape: &Shape,
    ) {
        for secret in secrets {
            for encoding in all_encodings(secret, shape) {
                self.add(
                    owner,
                    secret,
                    Vec::new(),
                    decode(encoding, secret.text_as_loaded(), shape),
                );
            }
        }
    }

    /// Adds the keys of other readings of secrets.
    pub(super) fn add_readings(&mut self, owner: Owner<'a>, secrets: &[Candidate], shape: &Shape) {
        for secret in secrets {
            for (cleaning, text) in cleaned(secret.text_as_loaded()) {
                for (reading, key) in readings(&text, &all_encodings(secret, shape), shape) {
                    let changes = cleaning.into_iter().chain(reading).collect();
                    self.add(owner, secret, changes, key);
                }
            }
        }
    }

    fn add(
        &mut self,
        owner: Owner<'a>,
        secret: &Candidate,
        changes: Vec<SecretChange>,
        bytes: Option<Zeroizing<Vec<u8>>>,
    ) {
        let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) else {
            return;
        };
        // the same bytes under an earlier entry are the simpler explanation
        if self
            .0
            .iter()
            .any(|key| key.bytes == bytes && key.owner == owner)
        {
            return;
        }
        self.0.push(Key {
            bytes,
            owner,
            name: Arc::clone(secret.name()),
            changes,
            not_before: secret.not_before(),
            expires: secret.expires(),
        });
    }
}

/// Returns the encodings by which a secret is read, and those by which a scheme reads secrets that name none.
fn all_encodings(secret: &Candidate, shape: &Shape) -> Vec<Encoding> {
    let of_scheme = match shape.secret_encodings() {
        [] => &[Encoding::Utf8],
        encodings => encodings,
    };
    [secret.encodings(), of_scheme].concat()
}

fn decode(encoding: Encoding, text: &[u8], shape: &Shape) -> Option<Zeroizing<Vec<u8>>> {
    encoding.decode(text, shape.secret_suffix()).ok()
}

/// Returns the text itself, and without what may have come with it when it was pasted.
fn cleaned(text: &[u8]) -> Vec<(Option<SecretChange>, Zeroizing<Vec<u8>>)> {
    let owned = |text: &[u8]| Zeroizing::new(text.to_vec());
    let mut all = vec![(None, owned(text))];
    let mut add = |change, cleaned: &[u8]| {
        if all.iter().all(|(_, found)| found.as_slice() != cleaned) {
            all.push((Some(change), owned(cleaned)));
        }
    };
    let without_bom = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    add(SecretChange::Bom, without_bom);
    // an editor or a YAML block leaves spaces, an escape that nobody read leaves `\n`
    let mut trimmed = without_bom.trim_ascii();
    while let Some(shorter) = trimmed
        .strip_suffix(b"\\n")
        .or(trimmed.strip_suffix(b"\\r"))
    {
        trimmed = shorter.trim_ascii_end();
    }
    add(SecretChange::Spaces, trimmed);
    for quote in [b"\"".as_slice(), b"'", b"`"] {
        let inner = trimmed
            .strip_prefix(quote)
            .and_then(|rest| rest.strip_suffix(quote));
        if let Some(inner) = inner {
            add(SecretChange::Quotes, inner.trim_ascii());
        }
    }
    for end in [b"\n".as_slice(), b"\r\n", b" "] {
        add(
            SecretChange::LineFeed,
            &Zeroizing::new([text, end].concat()),
        );
    }
    all
}

/// Returns the keys that a text may mean, beginning with that of the scheme.
fn readings(text: &[u8], encodings: &[Encoding], shape: &Shape) -> Vec<Reading> {
    let mut all: Vec<_> = encodings
        .iter()
        .map(|encoding| (None, decode(*encoding, text, shape)))
        .collect();
    if shape.algorithm().is_none() {
        // a token is compared as it is
        return all;
    }
    let after_prefix = text
        .iter()
        .position(|byte| *byte == b'_')
        .and_then(|at| text.get(at + 1..))
        .filter(|_| text.starts_with(b"whsec_") || text.starts_with(b"v1,whsec_"));
    let flipped: Zeroizing<Vec<u8>> = Zeroizing::new(
        text.iter()
            .map(|byte| match byte {
                b'a'..=b'z' => byte.to_ascii_uppercase(),
                _ => byte.to_ascii_lowercase(),
            })
            .collect(),
    );
    let is_hex = text.iter().all(u8::is_ascii_hexdigit);
    let encoded = Zeroizing::new(base64_of(text));
    let more = [
        (SecretChange::AsText, decode(Encoding::Utf8, text, shape)),
        (SecretChange::AsBase64, decode(Encoding::Whsec, text, shape)),
        (SecretChange::AsHex, decode(Encoding::Hex, text, shape)),
        (
            SecretChange::WithoutPrefix,
            after_prefix.and_then(|rest| decode(Encoding::Utf8, rest, shape)),
        ),
        (
            SecretChange::AsHex,
            after_prefix.and_then(|rest| decode(Encoding::Hex, rest, shape)),
        ),
        (
            SecretChange::EncodedBase64,
            decode(Encoding::Utf8, encoded.as_bytes(), shape),
        ),
        (
            SecretChange::EncodedHex,
            decode(
                Encoding::Utf8,
                Zeroizing::new(hex::encode(text)).as_bytes(),
                shape,
            ),
        ),
        (
            SecretChange::Case,
            is_hex
                .then(|| decode(Encoding::Utf8, &flipped, shape))
                .flatten(),
        ),
    ];
    all.extend(more.map(|(change, key)| (Some(change), key)));
    all
}

fn base64_of(text: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}
