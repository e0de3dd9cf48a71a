use proptest::prelude::*;

use super::*;

const ROW: SealedRow = SealedRow::secret(1 << 30, 1);
const NONCE: SealNonce = [9; NONCE_LEN];
/// `text`, sealed for [`ROW`].
const FIXED: &str = "0172f30e20090909090909090909090909d2bf4b0e45575d5bd8845d4b8283a03e390eeb10";

fn key(byte: u8) -> String {
    let mut bytes = [byte; KEY_BYTES];
    bytes[0] = byte.wrapping_add(1);
    STANDARD.encode(bytes)
}

fn keys(current: u8, old: &[u8]) -> SealKeys {
    let old: Vec<String> = old.iter().copied().map(key).collect();
    SealKeys::parse(key(current).as_bytes(), old.iter().map(String::as_bytes)).unwrap()
}

#[test]
fn keys_are_32_random_bytes_as_base64() {
    for (text, due) in [
        (key(1), None),
        (format!("{}\n", key(1)), None),
        (STANDARD.encode([1; 32]), Some(NotAKey::NotRandom)),
        (STANDARD.encode([1; 31]), Some(NotAKey::Length)),
        (STANDARD.encode([1; 33]), Some(NotAKey::Length)),
        (String::new(), Some(NotAKey::Length)),
        ("!".repeat(44), Some(NotAKey::NotBase64)),
        (hex::encode([1; 32]), Some(NotAKey::Length)),
    ] {
        let parsed = SealKeys::parse(text.as_bytes(), []);
        assert_eq!(parsed.err(), due.map(|why| (None, why)), "{text}");
    }
    let good = key(1);
    let wrong = SealKeys::parse(good.as_bytes(), [good.as_bytes(), b"x"]);
    assert_eq!(wrong.err(), Some((Some(1), NotAKey::NotBase64)));
    assert!(
        NotAKey::Length
            .to_string()
            .contains("openssl rand -base64 32")
    );
}

/// Holds the form of stored bytes. The plain values were computed with the `cryptography` package of Python.
#[test]
fn form_is_fixed() {
    let sealed = keys(1, &[]).seal(ROW, NONCE, b"text").unwrap();
    assert_eq!(hex::encode(sealed), FIXED);
}

#[test]
fn old_keys_open_until_all_is_sealed_again() {
    let (before, during, after) = (keys(1, &[]), keys(2, &[1]), keys(2, &[]));
    let sealed = before.seal(ROW, NONCE, b"text").unwrap();
    let opened = during.open(ROW, &sealed).unwrap();
    assert_eq!((&**opened.text, opened.by_current), (&b"text"[..], false));
    assert!(before.is_current(&sealed) && !during.is_current(&sealed));
    assert_eq!(after.open(ROW, &sealed), Err(SealError::UnknownKey));
    let again = during.seal(ROW, NONCE, &opened.text).unwrap();
    assert!(after.open(ROW, &again).unwrap().by_current && during.is_current(&again));
}

#[test]
fn store_recognises_its_key() {
    let sealed = keys(1, &[]).seal_check(NONCE).unwrap();
    assert_eq!(keys(1, &[]).check(&sealed), Ok(true));
    assert_eq!(keys(2, &[1]).check(&sealed), Ok(false));
    assert_eq!(keys(2, &[]).check(&sealed), Err(SealError::UnknownKey));
    let other = keys(1, &[]).seal(SealedRow::CHECK, NONCE, b"x").unwrap();
    assert_eq!(keys(1, &[]).check(&other), Err(SealError::Changed));
}

#[test]
fn nothing_shows_a_key_or_a_text() {
    let keys = keys(0x41, &[0x42]);
    let sealed = keys.seal(ROW, NONCE, b"hunter2").unwrap();
    let shown = format!("{keys:?} {:?}", keys.open(ROW, &sealed).unwrap());
    assert!(!shown.contains("4141") && !shown.contains("hunter2"));
    let other = SealKeys::parse(key(0x41).as_bytes(), []).unwrap();
    assert_ne!(keys, other);
    assert_eq!(keys, keys.clone());
}

#[test]
fn other_forms_are_refused() {
    let sealed = keys(1, &[]).seal(ROW, NONCE, b"").unwrap();
    for length in 0..sealed.len() {
        assert!(
            keys(1, &[]).open(ROW, &sealed[..length]).is_err(),
            "{length}"
        );
    }
    let mut newer = sealed.clone();
    newer[0] = 2;
    assert_eq!(keys(1, &[]).open(ROW, &newer), Err(SealError::Form));
    assert_eq!(keys(1, &[]).open(ROW, &sealed).unwrap().text.len(), 0);
}

fn row() -> impl Strategy<Value = SealedRow> {
    let kind = prop::sample::select(vec![SealKind::Check, SealKind::Secret, SealKind::Headers]);
    (kind, 0..3_u32, any::<u32>(), 0..3_u32).prop_map(|(kind, low, high, n)| {
        let endpoint = if n == 0 { low } else { high };
        SealedRow { kind, endpoint, n }
    })
}

proptest! {
    #[test]
    fn sealed_texts_open(row in row(), nonce in any::<SealNonce>(), text in prop::collection::vec(any::<u8>(), 0..300)) {
        let sealed = keys(1, &[]).seal(row, nonce, &text).unwrap();
        prop_assert_eq!(&**keys(1, &[2]).open(row, &sealed).unwrap().text, &*text);
        prop_assert_eq!(sealed.len(), text.len() + 33);
    }

    #[test]
    fn any_flipped_bit_fails(text in prop::collection::vec(any::<u8>(), 0..40), at in any::<prop::sample::Index>(), bit in 0..8_u32) {
        let mut sealed = keys(1, &[2]).seal(ROW, NONCE, &text).unwrap();
        let at = at.index(sealed.len());
        sealed[at] ^= 1 << bit;
        prop_assert!(keys(1, &[2]).open(ROW, &sealed).is_err());
    }

    #[test]
    fn any_other_row_fails(one in row(), other in row()) {
        let sealed = keys(1, &[]).seal(one, NONCE, b"text").unwrap();
        prop_assert_eq!(keys(1, &[]).open(other, &sealed).is_ok(), one == other);
    }
}
