//! The fingerprints by which matches of secrets are counted.
use crate::store::Key;

/// Returns the fingerprint of a secret of a route, by which its matches are counted. Another value under the same name has another one, but for one in
/// 65,536: so few bits of the value count that the fingerprint of a store which falls into other hands confirms no guess.
pub fn secret_key(hash_key: &[u8; 16], route: &str, name: &str, text: &[u8]) -> Key {
    let key = blake3::derive_key("hookgate matches of secrets v1", hash_key);
    let mut value = [0; 2];
    let mut of_value = blake3::Hasher::new_keyed(&key);
    of_value.update(text).finalize_xof().fill(&mut value);
    let mut hasher = blake3::Hasher::new_keyed(&key);
    for part in [route.as_bytes(), name.as_bytes(), &value] {
        let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
        hasher.update(&length.to_be_bytes()).update(part);
    }
    let mut fingerprint = [0; 16];
    hasher.finalize_xof().fill(&mut fingerprint);
    Key(fingerprint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_counts_and_none_can_move_to_its_neighbour() {
        let of = |route, name, text: &str| secret_key(&[7; 16], route, name, text.as_bytes());
        let one = of("github", "new", "a-secret");
        assert_eq!(one, of("github", "new", "a-secret"));
        for other in [
            of("github", "new", "a-secret "),
            of("github", "old", "a-secret"),
            of("stripe", "new", "a-secret"),
            of("githubn", "ew", "a-secret"),
            of("github", "newa", "-secret"),
            secret_key(&[8; 16], "github", "new", b"a-secret"),
        ] {
            assert_ne!(one, other);
        }
    }
}
