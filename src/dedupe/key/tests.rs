//! Checks that different parts give different keys, and that keys on disk stay what they are.
use std::hash::Hasher as _;

use proptest::prelude::*;
use siphasher::sip128::Hasher128 as _;

use super::*;

/// Everything that a key is made of: purpose, route, parameters, account, value.
#[derive(Clone, Debug, PartialEq)]
struct Owned {
    purpose: u8,
    route: String,
    params: Vec<(String, String)>,
    account: Option<String>,
    value: [Option<Vec<u8>>; 2],
}

/// Draws short scopes of few letters, the tags of kinds among them, so that parts that could be confused are drawn often.
fn owned() -> impl Strategy<Value = Owned> {
    let text = || "[LFANVX\0]{0,3}";
    let bytes = || {
        prop::option::of(prop::collection::vec(
            prop::sample::select(vec![0, 1, b'I', b'D', b'N', b'A']),
            0..12,
        ))
    };
    let params = prop::collection::vec((text(), text()), 0..3);
    (
        prop::sample::select(vec![b'L', b'F', b'R', b'S']),
        text(),
        params,
        prop::option::of(text()),
        [bytes(), bytes()],
    )
        .prop_map(|(purpose, route, params, account, value)| Owned {
            purpose,
            route,
            params,
            account,
            value,
        })
}

fn params(params: &[(String, String)]) -> Params {
    Params(
        params
            .iter()
            .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
            .collect(),
    )
}

impl Owned {
    fn with<T>(&self, then: impl FnOnce(Scope<'_>, u8, &[(u8, Option<&[u8]>)]) -> T) -> T {
        let params = params(&self.params);
        let scope = Scope::named(&self.route, &params, self.account.as_deref());
        then(
            scope,
            self.purpose,
            &[
                (b'I', self.value[0].as_deref()),
                (b'D', self.value[1].as_deref()),
            ],
        )
    }

    fn frames(&self) -> Vec<u8> {
        let mut frames = Vec::new();
        self.with(|scope, purpose, value| {
            scope.frame(purpose, value, |bytes| frames.extend_from_slice(bytes));
        });
        frames
    }
}

/// Reads frames back: two different lists cannot have written what is read back unambiguously.
fn parse(mut frames: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut parts = Vec::new();
    while let Some((kind, rest)) = frames.split_first() {
        let (length, rest) = rest.split_at(8);
        let (bytes, rest) =
            rest.split_at(usize::try_from(u64::from_be_bytes(length.try_into().unwrap())).unwrap());
        parts.push((*kind, bytes.to_vec()));
        frames = rest;
    }
    parts
}

proptest! {
    #[test]
    fn different_parts_give_different_frames(left in owned(), right in owned()) {
        prop_assert_eq!(left == right, left.frames() == right.frames());
        let keys = [&left, &right].map(|owned| owned.with(|scope, purpose, value| scope.key(&[7; 16], purpose, value)));
        prop_assert_eq!(left == right, keys[0] == keys[1]);
    }

    #[test]
    fn frames_round_trip(owned in owned()) {
        let Owned { purpose, route, params, account, value: [id, digest] } = owned.clone();
        let mut expected = vec![(purpose, route.into_bytes())];
        for (name, value) in params {
            expected.extend([(b'N', name.into_bytes()), (b'V', value.into_bytes())]);
        }
        expected.extend(account.map(|account| (b'A', account.into_bytes())));
        expected.extend(id.map(|id| (b'I', id)));
        expected.extend(digest.map(|digest| (b'D', digest)));
        prop_assert_eq!(parse(&owned.frames()), expected);
        // ledgers on disk have keys that were hashed part by part
        let mut parts = SipHasher24::new_with_key(&[7; 16]);
        owned.frames().chunks(9).for_each(|part| parts.write(part));
        let key = owned.with(|scope, purpose, value| scope.key(&[7; 16], purpose, value));
        prop_assert_eq!(key.0, parts.finish128().as_bytes());
    }

    /// Two scopes share no key of any purpose, whatever the value; a sender's key alone does not depend on the parameters.
    #[test]
    fn scopes_share_no_key(left in owned(), right in owned(), value in "[A-Z]{0,4}") {
        let all = |owned: &Owned| {
            owned.with(|scope, _, _| {
                let id = Identity { id: Some(value.as_bytes()), ..Identity::default() };
                let content = Identity { digest: Some(BodyKey::of(&[7; 16]).digest(value.as_bytes())), ..Identity::default() };
                let (lane, bucket) = (scope.lane(&[7; 16], &value).0, scope.bucket(&[7; 16], Some(&value)));
                (scope.ledger_key(&[7; 16], id), scope.ledger_key(&[7; 16], content), lane, bucket)
            })
        };
        let same = (&left.route, &left.params, &left.account) == (&right.route, &right.params, &right.account);
        let (left_keys, right_keys) = (all(&left), all(&right));
        prop_assert_eq!(same, left_keys.0 == right_keys.0);
        prop_assert_eq!(same, left_keys.1 == right_keys.1);
        prop_assert_eq!(same, left_keys.2 == right_keys.2);
        prop_assert_eq!(same, left_keys.3 == right_keys.3);
        prop_assert_ne!(left_keys.0, left_keys.1);
        prop_assert_ne!(left_keys.0.0, left_keys.2);
        let sender = |owned: &Owned| owned.with(|scope, _, _| scope.sender(&[7; 16]));
        prop_assert_eq!((&left.route, &left.account) == (&right.route, &right.account), sender(&left) == sender(&right));
    }
}

#[test]
fn body_digest_ignores_chunks_and_differs_by_store() {
    let (key, body) = (BodyKey::of(&[7; 16]), [5; 3000]);
    let mut pieces = key.begin();
    body.chunks(700).for_each(|piece| pieces.update(piece));
    assert_eq!(pieces.finish(), key.digest(&body));
    assert_ne!(BodyKey::of(&[8; 16]).digest(&body), key.digest(&body));
    assert_ne!(key.digest(b""), key.digest(b"\0"));
    assert!(!format!("{key:?}").contains(", "), "the key is not shown");
}

#[test]
fn no_id_is_not_an_empty_id_and_the_hash_key_counts() {
    let params = Params::default();
    let of = |hash_key, id| {
        Scope::named("github", &params, None).ledger_key(
            &[hash_key; 16],
            Identity {
                id,
                ..Identity::default()
            },
        )
    };
    assert_ne!(of(1, None), of(1, Some(b"")));
    assert_ne!(of(1, Some(b"x")), of(2, Some(b"x")));
    assert_eq!(of(1, Some(b"x")), of(1, Some(b"x")));
}
