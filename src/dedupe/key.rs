//! Keys of the ledger: a keyed 128-bit hash over framed parts.
//!
//! Each part is written as its kind (one byte), its length (eight bytes) and its bytes, so that no two different lists of parts give the same frames,
//! and without the hash key nobody can look for two that meet.
use std::hash::Hasher as _;

use siphasher::sip128::{Hasher128 as _, SipHasher24};

use crate::request::Params;
use crate::store::Key;

/// What makes a delivery the same delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts<'a> {
    /// The name the route's ledger entries are kept under.
    pub ledger: &'a str,
    /// The path parameters: tenants of one route have IDs of their own.
    pub params: &'a Params,
    /// The delivery ID, if the request has one.
    pub id: Option<&'a [u8]>,
    /// The digest of the signed body: where the signature does not cover the ID, where there is none, and where the route dedupes by content.
    pub digest: Option<&'a [u8]>,
}

/// The ledger key of a delivery.
pub fn key_of(hash_key: &[u8; 16], parts: Parts<'_>) -> Key {
    let mut hasher = SipHasher24::new_with_key(hash_key);
    frame(parts, |bytes| hasher.write(bytes));
    Key(hasher.finish128().as_bytes())
}

/// Gives the frames of `parts` to `feed`, piece by piece.
fn frame(parts: Parts<'_>, mut feed: impl FnMut(&[u8])) {
    let Parts { ledger, params, id, digest } = parts;
    let mut part = |kind: u8, bytes: &[u8]| {
        let mut head = [kind; 9];
        for (place, byte) in head.iter_mut().skip(1).zip((bytes.len() as u64).to_be_bytes()) {
            *place = byte;
        }
        feed(&head);
        feed(bytes);
    };
    part(b'L', ledger.as_bytes());
    for (name, value) in &params.0 {
        part(b'N', name.as_bytes());
        part(b'V', value.as_bytes());
    }
    if let Some(id) = id {
        part(b'I', id);
    }
    if let Some(digest) = digest {
        part(b'D', digest);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Owned = (String, Vec<(String, String)>, Option<Vec<u8>>, Option<Vec<u8>>);

    /// Few letters, among them the kinds, and short: what could be confused is drawn often.
    fn owned() -> impl Strategy<Value = Owned> {
        let text = || "[LNVID\0]{0,3}";
        let bytes = || prop::option::of(prop::collection::vec(prop::sample::select(vec![0, 1, b'I', b'D', b'N']), 0..12));
        (text(), prop::collection::vec((text(), text()), 0..3), bytes(), bytes())
    }

    fn with<T>(owned: &Owned, then: impl FnOnce(Parts<'_>) -> T) -> T {
        let (ledger, params, id, digest) = owned;
        let params = Params(params.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect());
        then(Parts { ledger, params: &params, id: id.as_deref(), digest: digest.as_deref() })
    }

    fn frames(owned: &Owned) -> Vec<u8> {
        let mut frames = Vec::new();
        with(owned, |parts| frame(parts, |bytes| frames.extend_from_slice(bytes)));
        frames
    }

    /// Reads frames back: what can be read back unambiguously cannot have been written by two different lists.
    fn parse(mut frames: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut parts = Vec::new();
        while let Some((kind, rest)) = frames.split_first() {
            let (length, rest) = rest.split_at(8);
            let (bytes, rest) = rest.split_at(usize::try_from(u64::from_be_bytes(length.try_into().unwrap())).unwrap());
            parts.push((*kind, bytes.to_vec()));
            frames = rest;
        }
        parts
    }

    proptest! {
        #[test]
        fn different_parts_give_different_frames(left in owned(), right in owned()) {
            prop_assert_eq!(left == right, frames(&left) == frames(&right));
            let keys = [&left, &right].map(|owned| with(owned, |parts| key_of(&[7; 16], parts)));
            prop_assert_eq!(left == right, keys[0] == keys[1]);
        }

        #[test]
        fn frames_can_be_read_back(owned in owned()) {
            let (ledger, params, id, digest) = owned.clone();
            let mut expected = vec![(b'L', ledger.into_bytes())];
            for (name, value) in params {
                expected.extend([(b'N', name.into_bytes()), (b'V', value.into_bytes())]);
            }
            expected.extend(id.map(|id| (b'I', id)));
            expected.extend(digest.map(|digest| (b'D', digest)));
            prop_assert_eq!(parse(&frames(&owned)), expected);
        }
    }

    #[test]
    fn no_id_is_not_an_empty_id_and_the_hash_key_counts() {
        let of = |hash_key, id| key_of(&[hash_key; 16], Parts { ledger: "github", params: &Params::default(), id, digest: None });
        assert_ne!(of(1, None), of(1, Some(b"")));
        assert_ne!(of(1, Some(b"x")), of(2, Some(b"x")));
        assert_eq!(of(1, Some(b"x")), of(1, Some(b"x")));
    }
}
