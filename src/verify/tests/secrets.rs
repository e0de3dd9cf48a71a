//! Which secrets count: tokens that are one, candidates over time, tables by key.
use super::*;

#[test]
fn tokens_and_basic_auth_are_verified() {
    let scheme = || Scheme::Token(source("Bearer ", Layout::Whole));
    let gate = verifier(scheme(), None, &[secret("s", KEY)]);
    let verdict = |text: &str| why(&gate, &head("/", &[("x-sig", text.as_bytes())]), b"x");
    assert_eq!(verdict(&format!("Bearer {KEY}")), None);
    assert_eq!(
        verdict(&format!("Bearer {KEY}x")),
        Some(NotAuthentic::SignatureMismatch)
    );
    assert_eq!(verdict("Bearer "), Some(NotAuthentic::SignatureMalformed));
    assert_eq!(verdict(KEY), Some(NotAuthentic::SignatureMalformed));
    assert!(gate.covers().nothing() && gate.covers().to_string() == "nothing");
    let query = at(SourcePlace::Query("token".into()));
    let gate = verifier(Scheme::Token(query), None, &[secret("s", "a b+c")]);
    for (target, want) in [
        ("/x?token=a%20b%2Bc", None),
        ("/x?token=a+b%2bc&y=1", None),
        ("/x?token=a", Some(NotAuthentic::SignatureMismatch)),
        ("/x?token=", Some(NotAuthentic::SignatureMalformed)),
        ("/x", Some(NotAuthentic::SignatureMissing)),
        (
            "/x?token=a%20b%2Bc&token=a%20b%2Bc",
            Some(NotAuthentic::SignatureMalformed),
        ),
    ] {
        assert_eq!(why(&gate, &head(target, &[]), b""), want, "{target}");
    }
    let gate = verifier(Scheme::Basic, None, &[secret("s", "usér:pass:with:colons")]);
    for (text, want) in [
        ("Basic dXPDqXI6cGFzczp3aXRoOmNvbG9ucw==", None),
        ("bAsIc dXPDqXI6cGFzczp3aXRoOmNvbG9ucw==", None),
        (
            "Basic dXPDqXI6cGFzczp3aXRoOmNvbG9ucw",
            Some(NotAuthentic::SignatureMalformed),
        ),
        (
            "Basic dXPDqXI6bm9wZQ==",
            Some(NotAuthentic::SignatureMismatch),
        ),
        ("Basic !!!", Some(NotAuthentic::SignatureMalformed)),
        ("Basic", Some(NotAuthentic::SignatureMalformed)),
        (
            "Bearer dXPDqXI6cGFzczp3aXRoOmNvbG9ucw==",
            Some(NotAuthentic::SignatureMalformed),
        ),
    ] {
        assert_eq!(
            why(
                &gate,
                &head("/", &[("authorization", text.as_bytes())]),
                b""
            ),
            want,
            "{text}"
        );
    }
    assert_eq!(
        why(&gate, &head("/", &[]), b""),
        Some(NotAuthentic::SignatureMissing)
    );
    assert!(SecretSet::list(SecretKind::Basic, &[], None, &[secret("s", "nocolon")]).is_err());
    assert!(SecretSet::list(SecretKind::Token, &[], None, &[secret("s", "")]).is_err());
}

#[test]
fn candidates_count_from_and_until() {
    let at = |seconds: u64| Some(UNIX_EPOCH + Duration::from_secs(seconds));
    let scheme = || keyed("{body}", source("", Layout::Whole), None);
    for (not_before, expires, want) in [
        (None, at(NOW + 1), None),
        (at(NOW), None, None),
        (None, at(NOW), Some(NotAuthentic::SignatureMismatch)),
        (at(NOW + 1), None, Some(NotAuthentic::SignatureMismatch)),
    ] {
        let gate = verifier(
            scheme(),
            None,
            &[SecretText {
                not_before,
                expires,
                ..secret("s", KEY)
            }],
        );
        assert_eq!(
            why(&gate, &head("/", &[("x-sig", mac(b"x").as_bytes())]), b"x"),
            want,
            "{not_before:?} {expires:?}"
        );
    }
}

/// Checks that requests of a known account cost as much as those of an unknown one, however many encodings decode its secret.
#[test]
fn every_key_of_a_table_has_as_many_candidates() {
    let encodings = [Encoding::Utf8, Encoding::Base64];
    let kind = SecretKind::Hmac(Algorithm::Sha256);
    let table = SecretTable::default();
    for (key, text) in [("one", "no base 64!"), ("both", "bm8gYmFzZSA2NCE=")] {
        table.set(
            key,
            Some(
                &Candidate::entry(kind, &encodings, None, &secret(key, text))
                    .unwrap()
                    .into(),
            ),
        );
    }
    let set = SecretSet::table(kind, &encodings, KeyedBy::Param("account".into()), table);
    for key in ["one", "both", "nobody", "no key"] {
        let found = set.find(
            &head("/", &[]),
            &Params(vec![("account".into(), key.into())]),
        );
        assert_eq!(found.list().len(), 2, "{key}");
    }
    let shape = Shape::new(
        keyed("{body}", source("", Layout::Whole), None),
        None,
        None,
        Vec::new(),
        None,
    );
    let gate = shape.with_secrets(set, None);
    for (key, text, authentic) in [
        ("one", "no base 64!", true),
        ("one", "no:body", false),
        ("both", "no base 64!", true),
        ("nobody", "no:body", false),
    ] {
        let signature = mac_with(text, b"x");
        let received = Received {
            head: head("/", &[("x-sig", signature.as_bytes())]),
            body: Bytes::from_static(b"x").into(),
        };
        let verdict = gate.verify(
            received,
            &Params(vec![("account".into(), key.into())]),
            now(),
        );
        assert_eq!(verdict.is_ok(), authentic, "{key} {text}");
    }
}

#[test]
fn table_selects_the_secret_by_key() {
    let gate_by = |by: KeyedBy| {
        let shape = Shape::new(
            keyed("{body}", source("", Layout::Whole), None),
            None,
            None,
            Vec::new(),
            None,
        );
        let table = SecretTable::default();
        for (key, text) in [("acme", KEY), ("other", "another secret")] {
            table.set(
                key,
                Some(
                    &Candidate::make(shape.secret_kind(), &[], None, &secret(key, text))
                        .unwrap()
                        .into(),
                ),
            );
        }
        table.set("broken", Some(&Vec::new().into()));
        let set = SecretSet::table(shape.secret_kind(), &[], by, table);
        shape.with_secrets(set, None)
    };
    let signature = mac(b"x");
    let signed = [("x-sig", signature.as_bytes())];
    let gate = gate_by(KeyedBy::Param("account".into()));
    let authentic = judge(&gate, &head("/", &signed), b"x").unwrap();
    assert_eq!(
        (&**authentic.secret(), authentic.account()),
        ("acme", Some("acme"))
    );
    let gate = gate_by(KeyedBy::Param("nobody".into()));
    assert_eq!(
        why(&gate, &head("/", &signed), b"x"),
        Some(NotAuthentic::SignatureMismatch)
    );
    let decoy = mac_with("no:body", b"x");
    assert_eq!(
        why(&gate, &head("/", &[("x-sig", decoy.as_bytes())]), b"x"),
        Some(NotAuthentic::SignatureMismatch)
    );
    let gate = gate_by(KeyedBy::Header("x-key".parse().unwrap()));
    for (key, want) in [
        ("acme", None),
        ("other", Some(NotAuthentic::SignatureMismatch)),
        ("broken", Some(NotAuthentic::SignatureMismatch)),
        ("a/b", Some(NotAuthentic::SignatureMismatch)),
    ] {
        assert_eq!(
            why(
                &gate,
                &head("/", &[signed[0], ("x-key", key.as_bytes())]),
                b"x"
            ),
            want,
            "{key}"
        );
    }
    for (key, text) in [("acme", KEY), ("other", "another secret")] {
        let signature = mac_with(text, b"x");
        let authentic = judge(
            &gate,
            &head(
                "/",
                &[("x-sig", signature.as_bytes()), ("x-key", key.as_bytes())],
            ),
            b"x",
        )
        .unwrap();
        assert_eq!(
            authentic.account(),
            Some(key),
            "the account is the key, whatever the secret is called"
        );
    }
    assert_eq!(
        why(
            &gate,
            &head("/", &[signed[0], ("x-key", b"acme"), ("x-key", b"other")]),
            b"x"
        ),
        Some(NotAuthentic::SignatureMalformed)
    );
    assert_eq!(
        why(
            &gate,
            &head("/", &[signed[0], ("x-key", b"acme"), ("x-key", b"acme")]),
            b"x"
        ),
        None
    );
}
