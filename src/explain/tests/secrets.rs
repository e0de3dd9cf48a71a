//! Secrets that are spelled, read or dated in another way, or belong to another route.
use std::time::Duration;

use super::golden::{BODY, Golden, SECRETS, Tally, goldens, now, text, verifier};
use crate::explain::{Cause, Finding, SecretChange, Subject};
use crate::verify::{Encoding, SecretText, Verifier};

fn is_secret(finding: &Finding, wanted: SecretChange) -> bool {
    matches!(finding.causes.first(), Some(Cause::Secret { changes, .. }) if changes.contains(&wanted))
}

#[test]
fn secret_in_another_spelling_is_named() {
    let mut tally = Tally::default();
    for golden in goldens() {
        let secret = golden.secret;
        let configured = [
            (
                "a line feed after the secret",
                format!("{secret}\n"),
                SecretChange::Spaces,
            ),
            (
                "a space before the secret",
                format!(" {secret}"),
                SecretChange::Spaces,
            ),
            (
                "a written `\\n` after the secret",
                format!("{secret}\\n"),
                SecretChange::Spaces,
            ),
            (
                "quotes around the secret",
                format!("\"{secret}\""),
                SecretChange::Quotes,
            ),
            (
                "a byte order mark before the secret",
                format!("\u{feff}{secret}"),
                SecretChange::Bom,
            ),
        ];
        for (hypothesis, configured, wanted) in configured {
            // an encoding that refuses the text is an error of the config
            if let Some(wrong) = verifier(&golden.shape, &[text(configured.as_bytes())], None) {
                let finding = golden.ask(&wrong, &[], &[]);
                tally.count(hypothesis, &golden, &finding, is_secret(&finding, wanted));
            }
        }
        // the sender reads the secret in another way
        for (hypothesis, encoding, wanted) in [
            ("secret used as text", Encoding::Utf8, SecretChange::AsText),
            (
                "secret decoded from base64",
                Encoding::Whsec,
                SecretChange::AsBase64,
            ),
            (
                "secret decoded from hexadecimal",
                Encoding::Hex,
                SecretChange::AsHex,
            ),
        ] {
            if golden.shape.algorithm().is_none()
                || golden.shape.secret_encodings().contains(&encoding)
            {
                continue;
            }
            let sender = SecretText {
                encodings: Some(vec![encoding]),
                ..text(secret.as_bytes())
            };
            let Some(sender) = verifier(&golden.shape, &[sender], None) else {
                continue;
            };
            let Some(mangled) = golden.clone().signed_by(&sender, now().wall) else {
                continue;
            };
            let finding = mangled.ask(&golden.own(), &[], &[]);
            tally.count(hypothesis, &golden, &finding, is_secret(&finding, wanted));
        }
    }
    tally.check();
}

#[test]
fn another_secret_is_named() {
    let mut tally = Tally::default();
    for golden in goldens() {
        let right = text(golden.secret.as_bytes());
        let other = golden
            .secret
            .replace('C', "D")
            .replace('3', "4")
            .replace('k', "l");
        let Some(wrong) = verifier(&golden.shape, &[text(other.as_bytes())], None) else {
            continue;
        };
        let own = golden.own();
        let others = [Subject {
            name: "labs",
            verifier: &own,
        }];
        let finding = golden.ask(&wrong, &others, &[]);
        let is_named =
            matches!(&finding.causes[..], [Cause::OtherRoute { route, .. }] if &**route == "labs");
        tally.count("secret of another route", &golden, &finding, is_named);

        let hour = Duration::from_secs(3600);
        let expired = SecretText {
            expires: Some(now().wall - hour),
            ..right.clone()
        };
        let expired = verifier(&golden.shape, &[expired], None).unwrap();
        let finding = golden.ask(&expired, &[], &[]);
        let is_named = matches!(finding.causes.first(), Some(Cause::Expired { .. }));
        tally.count("expired secret", &golden, &finding, is_named);

        let early = SecretText {
            not_before: Some(now().wall + hour),
            ..right
        };
        let early = verifier(&golden.shape, &[early], None).unwrap();
        let finding = golden.ask(&early, &[], &[]);
        let is_named = matches!(finding.causes.first(), Some(Cause::NotYetActive { .. }));
        tally.count("secret that is not yet active", &golden, &finding, is_named);
    }
    tally.check();
}

#[test]
fn explanation_never_shows_a_secret() {
    for golden in goldens() {
        let wrong = verifier(
            &golden.shape,
            &[text(format!("{}\n", golden.secret).as_bytes())],
            None,
        );
        let Some(wrong) = wrong else { continue };
        let finding = golden.ask(&wrong, &[], &[]);
        let words: Vec<String> = finding
            .causes
            .iter()
            .flat_map(|cause| [cause.title(), cause.advice("route"), format!("{cause:?}")])
            .collect();
        assert!(!words.join("\n").contains(golden.secret), "{}", golden.name);
    }
}

#[test]
fn secret_with_an_encoding_of_its_own_is_read_by_it() {
    let made = Verifier::from_preset("github", SECRETS[1].as_bytes()).unwrap();
    let shape = made.shape();
    let secret = SecretText {
        encodings: Some(vec![Encoding::Hex]),
        expires: Some(now().wall - Duration::from_secs(60)),
        ..text(SECRETS[1].as_bytes())
    };
    let sender = SecretText {
        expires: None,
        ..secret.clone()
    };
    let sender = verifier(shape, &[sender], None).unwrap();
    let golden = Golden::new(&"github".into(), shape, "/in", BODY).unwrap();
    let signed = golden.signed_by(&sender, now().wall).unwrap();
    let finding = signed.ask(&verifier(shape, &[secret], None).unwrap(), &[], &[]);
    assert!(
        matches!(&finding.causes[..], [Cause::Expired { .. }]),
        "{:?}",
        finding.causes
    );
}
