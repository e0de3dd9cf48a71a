use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proptest::prelude::*;

use super::*;
use crate::verify::SigningKey;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// 24 November 2026.
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_500_000)
}

fn names<'e>(entries: impl IntoIterator<Item = &'e SecretEntry>) -> Vec<&'e str> {
    entries.into_iter().map(|entry| &*entry.name).collect()
}

#[test]
fn kinds_have_numbers() {
    for kind in [SecretKind::Standard, SecretKind::Text] {
        assert_eq!(SecretKind::from_number(kind.number()), Some(kind));
    }
    assert_eq!(SecretKind::from_number(0), None);
}

#[test]
fn lengths_and_letters_are_checked() {
    let whsec = |length: usize| format!("whsec_{}", STANDARD.encode(vec![7; length]));
    for (text, due) in [
        (whsec(24), None),
        (whsec(64), None),
        (whsec(23), Some(NotASecret::KeyLength)),
        (whsec(65), Some(NotASecret::KeyLength)),
        (STANDARD.encode([7; 32]), Some(NotASecret::Prefix)),
        ("whsec_!".to_owned(), Some(NotASecret::NotBase64)),
        (whsec(32).replace('=', ""), Some(NotASecret::NotBase64)),
        (
            whsec(32).replace("whsec", "WHSEC"),
            Some(NotASecret::Prefix),
        ),
        (String::new(), Some(NotASecret::Prefix)),
    ] {
        assert_eq!(
            Secret::parse(SecretKind::Standard, &text).err(),
            due,
            "{text}"
        );
    }
    for (text, due) in [
        ("12345678".to_owned(), None),
        ("x".repeat(256), None),
        ("1234567".to_owned(), Some(NotASecret::TextLength)),
        ("x".repeat(257), Some(NotASecret::TextLength)),
        ("1234 5678".to_owned(), Some(NotASecret::Characters)),
        ("1234567é".to_owned(), Some(NotASecret::Characters)),
    ] {
        assert_eq!(Secret::parse(SecretKind::Text, &text).err(), due, "{text}");
    }
}

#[test]
fn nothing_shows_a_secret() {
    for kind in [SecretKind::Standard, SecretKind::Text] {
        let secret = Secret::generate(kind, &[0x41; RANDOM_BYTES]);
        let shown = format!("{secret:?} {:?}", secret.for_signing("one".into()));
        assert!(
            !shown.contains("AAAA") && !shown.contains("4141"),
            "{shown}"
        );
        assert!(shown.contains('…'));
    }
}

#[test]
fn secrets_of_both_kinds_sign() {
    for kind in [SecretKind::Standard, SecretKind::Text] {
        let secret = Secret::generate(kind, &[7; RANDOM_BYTES]);
        let key = SigningKey::new(&secret.for_signing("one".into())).unwrap();
        assert!(key.sign("msg_1", now(), b"{}").is_some());
    }
}

#[test]
fn standard_signs_with_all_live_secrets() {
    let old = first(None, now()).unwrap();
    let rotation = rotate(&[old], None, Signers::All, now(), DAY).unwrap();
    assert_eq!(names(&rotation.entries), ["2026-11", "2026-11-2"]);
    assert_eq!(rotation.signs_from, now());
    assert_eq!(rotation.old_until, Some(now() + DAY));
    let at = |at| names(signing(&rotation.entries, Signers::All, at));
    assert_eq!(at(now()), ["2026-11-2", "2026-11"]);
    assert_eq!(at(now() + DAY - Duration::from_millis(1)).len(), 2);
    assert_eq!(at(now() + DAY), ["2026-11-2"]);
}

#[test]
fn scheme_signs_with_the_old_secret_until_it_ends() {
    let old = first(Some("old"), now()).unwrap();
    let one = rotate(&[old], Some("new"), Signers::Oldest, now(), DAY).unwrap();
    assert_eq!(one.signs_from, now() + DAY);
    let at = |entries: &[SecretEntry], at| names(signing(entries, Signers::Oldest, at)).join(" ");
    assert_eq!(at(&one.entries, now()), "old");
    assert_eq!(at(&one.entries, now() + DAY), "new");
    // a second rotation during the first
    let two = rotate(
        &one.entries,
        Some("newer"),
        Signers::Oldest,
        now() + DAY / 2,
        3 * DAY,
    )
    .unwrap();
    assert_eq!(two.signs_from, now() + DAY / 2 + 3 * DAY);
    assert_eq!(at(&two.entries, now() + DAY / 2), "old");
    assert_eq!(at(&two.entries, now() + DAY), "new");
    assert_eq!(at(&two.entries, two.signs_from), "newer");
    // without an overlap the new one signs at once
    let cut = rotate(
        &two.entries,
        None,
        Signers::Oldest,
        now() + DAY,
        Duration::ZERO,
    )
    .unwrap();
    assert_eq!(cut.signs_from, now() + DAY);
    assert_eq!(at(&cut.entries, now() + DAY), "2026-11");
}

#[test]
fn faults_of_a_list_say_what_to_do() {
    let old = first(Some("a"), now()).unwrap();
    let add = |entries: &[SecretEntry], name: &str, overlap| {
        rotate(entries, Some(name), Signers::All, now(), overlap)
    };
    let entries = [old];
    assert_eq!(
        add(&entries, "b", MAX_OVERLAP + Duration::from_secs(1)),
        Err(ListError::Overlap)
    );
    assert_eq!(add(&entries, "a", DAY), Err(ListError::Taken));
    assert_eq!(add(&entries, "a b", DAY), Err(ListError::Name));
    assert_eq!(add(&entries, "", DAY), Err(ListError::Name));
    let mut many = entries.to_vec();
    for name in ["b", "c", "d", "e"] {
        many = add(&many, name, DAY).unwrap().entries;
    }
    assert_eq!(add(&many, "f", DAY), Err(ListError::TooMany));
    assert_eq!(end(&many, "e", now()), Err(ListError::Last));
    assert_eq!(end(&many, "x", now()), Err(ListError::Missing));
    let fewer = end(&many, "a", now()).unwrap();
    assert_eq!(
        names(signing(&fewer, Signers::All, now())),
        ["e", "d", "c", "b"]
    );
    assert_eq!(end(&fewer, "a", now()), Err(ListError::Missing));
    assert_eq!(expired(&fewer, now()), [1]);
    assert_eq!(expired(&many, now() + DAY), [1, 2, 3, 4]);
    assert!(add(&fewer, "f", DAY).is_ok());
}

proptest! {
    #[test]
    fn secrets_survive_text_and_store(key in prop::collection::vec(any::<u8>(), MIN_KEY..=MAX_KEY), text in "[!-~]{8,256}") {
        for (kind, bytes) in [(SecretKind::Standard, key), (SecretKind::Text, text.into_bytes())] {
            let secret = Secret::checked(kind, Zeroizing::new(bytes)).unwrap();
            prop_assert!(Secret::parse(kind, &secret.text()).unwrap().is_same(&secret));
            let stored = secret.to_bytes();
            prop_assert!(Secret::from_bytes(&stored).unwrap().is_same(&secret));
            prop_assert!(!Secret::from_bytes(&stored[1..]).is_ok_and(|other| other.is_same(&secret)));
        }
    }

    /// However a list is rotated and cut, somebody signs at each moment, and nothing that has ended does.
    #[test]
    fn some_secret_signs_at_each_moment(steps in prop::collection::vec((0..10_u64, 0..=7_u64, any::<bool>()), 1..12), standard in any::<bool>(), look in 0..2_000_u64) {
        let signers = if standard { Signers::All } else { Signers::Oldest };
        let mut at = now();
        let mut entries = vec![first(None, at).unwrap()];
        for (hours, days, ends) in steps {
            at += Duration::from_secs(3600 * hours);
            let oldest = entries.iter().find(|entry| entry.is_live(at)).unwrap().name.clone();
            if ends {
                entries = end(&entries, &oldest, at).unwrap_or(entries);
            } else if let Ok(rotation) = rotate(&entries, None, signers, at, DAY * u32::try_from(days).unwrap()) {
                let added = rotation.added().unwrap();
                prop_assert_eq!(added.n, rotation.n);
                let signs = |at| signing(&rotation.entries, signers, at).iter().any(|entry| entry.n == rotation.n);
                prop_assert!(signs(rotation.signs_from));
                prop_assert!(rotation.signs_from == at || !signs(rotation.signs_from - Duration::from_millis(1)));
                entries = rotation.entries;
            }
            let moment = at + Duration::from_secs(600 * look);
            let signing = signing(&entries, signers, moment);
            prop_assert!(!signing.is_empty() && signing.len() <= MAX_LIVE);
            prop_assert!(signing.iter().all(|entry| entry.is_live(moment)));
            prop_assert!(signing.is_sorted_by(|newer, older| newer.n > older.n));
            let gone = expired(&entries, at);
            entries.retain(|entry| !gone.contains(&entry.n));
        }
    }
}
