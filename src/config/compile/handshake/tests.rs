use std::path::Path;

use super::*;
use crate::clock::{Clock as _, Dates, FrozenClock};
use crate::config::compile::verify;
use crate::config::presets::Catalogue;
use crate::config::secret::Loader;
use crate::verify::{Encoding, SecretSet, SecretText};

/// What a block under `handshake:` of a route comes to; the errors and warnings as `message`.
fn compiled(written: &str, provider: &str) -> (Handshakes, Vec<String>) {
    let preset = Catalogue::built_in().get(provider);
    let mut problems = Diagnostics::default();
    let block = file::Verify {
        provider: Some(provider.to_owned()),
        ..file::Verify::default()
    };
    let shape = preset.as_ref().map(|preset| {
        verify::compile(
            &block,
            Some(&preset.provider),
            &Place::root(0),
            &mut problems,
        )
        .unwrap()
    });
    let text = SecretText {
        name: "a".into(),
        text: b"user:secret".to_vec().into(),
        encodings: Some(vec![Encoding::Utf8]),
        not_before: None,
        expires: None,
    };
    let verifier = shape.map(|shape| {
        let set = SecretSet::list(
            shape.secret_kind(),
            shape.secret_encodings(),
            shape.secret_suffix(),
            &[text],
        )
        .unwrap();
        shape.with_secrets(set, None)
    });
    let now = FrozenClock::at_unix(1_767_225_600).now();
    let mut cx = Context {
        problems,
        loader: Loader::new(Path::new("."), &|_| None, None, now, Dates::at(now.wall)),
        catalogue: Catalogue::built_in(),
        certificates: Vec::new(),
        asks_for_certificates: false,
        has_store: false,
        mounts: &[],
    };
    let written = (!written.is_empty()).then(|| serde_yaml::from_str(written).unwrap());
    let made = handshakes(
        written,
        preset.as_deref(),
        verifier.as_ref(),
        &Place::root(0),
        &mut cx,
    );
    (
        made,
        cx.problems
            .list
            .into_iter()
            .map(|one| one.message)
            .collect(),
    )
}

#[track_caller]
fn wrong(written: &str, provider: &str, message: &str) {
    let (_, told) = compiled(written, provider);
    assert!(told.iter().any(|told| told == message), "{told:?}");
}

#[test]
fn the_preset_says_it_unless_the_route_does() {
    assert_eq!(compiled("", "dropbox").0.0.len(), 1);
    assert_eq!(compiled("", "azure-event-grid-is-no-such").0.0.len(), 0);
    assert_eq!(compiled("none", "dropbox").0.0.len(), 0);
    let (own, told) = compiled(
        "{ method: GET, token: { query: other }, answer: { json: { c: \"{token}\" } } }",
        "dropbox",
    );
    assert_eq!(
        own.0
            .iter()
            .map(|one| one.token.clone().unwrap().0)
            .collect::<Vec<_>>(),
        [Locator::Query("other".to_owned())]
    );
    assert_eq!(told, [""; 0]);
}

#[test]
fn a_second_secret_is_asked_for_where_it_is_due() {
    let (made, told) = compiled("", "meta");
    assert_eq!((made.0.len(), told.len()), (0, 1));
    assert!(
        told[0].contains("with a second secret, and the route has none"),
        "{told:?}"
    );
    assert_eq!(compiled("none", "meta").1, [""; 0]);
    let (made, told) = compiled("{ verify_token: { insecure_inline: a-token } }", "meta");
    assert_eq!((made.0.len(), told), (1, Vec::new()));
    wrong(
        "{ verify_token: { insecure_inline: a-token } }",
        "dropbox",
        "no handshake of this route carries a second secret",
    );
    wrong("{}", "github", "this says nothing");
}

#[test]
fn a_handshake_neither_swallows_deliveries_nor_signs_one() {
    let token = "token: { query: t }";
    for (written, message) in [
        (
            "{ method: PUT, token: { query: t } }",
            "no handshake has this method",
        ),
        (
            "{ signed: true, method: GET, token: { query: t } }",
            "a handshake that is signed or stands in the body comes as POST",
        ),
        (
            "{ method: GET, token: { json: /t } }",
            "a handshake that is signed or stands in the body comes as POST",
        ),
        (
            "{ method: GET, answer: { text: ok } }",
            "nothing tells this from a delivery",
        ),
        (
            "{ answer: { text: ok } }",
            "nothing tells this from a delivery",
        ),
        (
            "{ method: HEAD, answer: { text: \"{token}\" } }",
            "there is no token to answer with",
        ),
        (
            "{ token: { query: t, header: X-T } }",
            "say in one way where it stands",
        ),
        (
            "{ token: { query: t }, token_also: \"<\" }",
            "no token may hold this",
        ),
        (
            "{ token: { query: t }, answer: { text: a, json: {} } }",
            "there is one body",
        ),
        (
            "{ token: { query: t }, answer: { text: \"{secret}\" } }",
            "this cannot be filled in",
        ),
        (
            "{ token: { query: t }, answer: { headers: { a b: c } } }",
            "this is not a header",
        ),
        (
            "{ when: { query: a } }",
            "a condition says not what must stand there",
        ),
    ] {
        wrong(written, "github", message);
    }
    let mac = format!("{{ {token}, answer: {{ json: {{ m: \"{{mac}}\" }} }} }}");
    assert_eq!(compiled(&mac, "github").1, [""; 0]);
    // time and token alone are signed, not the body
    wrong(
        &mac,
        "mailgun",
        "a token could be the signed content of a delivery",
    );
    wrong(&mac, "brevo", "only the scheme hmac has a MAC");
    wrong(
        "{ signed: true, token: { json: /t } }",
        "no-such",
        "this route verifies nothing",
    );
}

#[test]
fn every_preset_compiles_and_has_a_kind() {
    let mut kinds = Vec::new();
    for preset in Catalogue::built_in()
        .presets()
        .filter(|preset| preset.provider.handshake.is_some() && &*preset.name != "azure-event-grid")
    {
        let written = preset.provider.handshake.as_ref().unwrap().all();
        let guarded = written.iter().any(|one| one.guard.is_some());
        let (made, told) = compiled(
            if guarded {
                "{ verify_token: { insecure_inline: a-token } }"
            } else {
                ""
            },
            &preset.name,
        );
        assert_eq!(
            (made.0.len(), told),
            (written.len(), Vec::new()),
            "{}",
            preset.name
        );
        kinds.extend(written.iter().map(kind));
    }
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(
        kinds,
        [
            "echo_header",
            "echo_json",
            "echo_query",
            "mac_json",
            "mac_query",
            "probe"
        ]
    );
}
