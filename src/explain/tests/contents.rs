//! Bodies, URLs and times that are not those that were signed.
use std::time::Duration;

use super::golden::{BODY, Golden, SECRETS, Tally, goldens, now, providers};
use crate::clock::{Clock as _, FrozenClock};
use crate::explain::{BodyChange, Cause};
use crate::request::RequestHead;
use crate::verify::Verifier;

#[test]
fn rewritten_body_is_named() {
    let mut tally = Tally::default();
    let changed: serde_json::Value = serde_json::from_str(BODY).unwrap();
    let pretty = serde_json::to_string_pretty(&changed).unwrap();
    let python = BODY
        .replace("\",\"", "\", \"")
        .replace("\":", "\": ")
        .replace(",\"", ", \"")
        .replace("true,", "true, ");
    let bodies = [
        (
            "body with spaces after commas and colons",
            python.into_bytes(),
        ),
        (
            "body with escaped slashes",
            BODY.replace('/', "\\/").into_bytes(),
        ),
        ("body in ASCII", BODY.replace('ë', "\\u00eb").into_bytes()),
        (
            "body with a line feed behind it",
            format!("{BODY}\n").into_bytes(),
        ),
        (
            "body with CR LF behind it",
            format!("{BODY}\r\n").into_bytes(),
        ),
        (
            "body with a byte order mark",
            format!("\u{feff}{BODY}").into_bytes(),
        ),
        ("indented body", pretty.into_bytes()),
        ("empty body", Vec::new()),
    ];
    for golden in goldens()
        .into_iter()
        .filter(|golden| golden.shape.covers().body)
    {
        for (hypothesis, body) in &bodies {
            let mangled = Golden {
                body: body.clone(),
                ..golden.clone()
            };
            let finding = mangled.ask(&golden.own(), &[], &[]);
            let is_named = matches!(
                finding.causes.first(),
                Some(Cause::Body(_) | Cause::Rewritten(_))
            );
            tally.count(hypothesis, &golden, &finding, is_named);
        }
        let mut compressed = Vec::new();
        let mut gzip =
            flate2::read::GzEncoder::new(BODY.as_bytes(), flate2::Compression::default());
        std::io::Read::read_to_end(&mut gzip, &mut compressed).unwrap();
        let mangled = Golden {
            body: compressed,
            ..golden.clone()
        };
        let finding = mangled.ask(&golden.own(), &[], &[]);
        let is_named = matches!(
            finding.causes.first(),
            Some(Cause::Body(BodyChange::Decompressed))
        );
        tally.count("body compressed on its way", &golden, &finding, is_named);
    }
    for (name, shape) in providers().iter().filter(|(_, shape)| shape.covers().body) {
        // the sender writes other spellings than that in which the body arrives
        for (hypothesis, signed) in [
            (
                "compact body that was indented before",
                serde_json::to_string_pretty(&changed).unwrap(),
            ),
            (
                "keys that were in alphabetical order",
                serde_json::to_string(&changed).unwrap(),
            ),
        ] {
            let Some(golden) = Golden::new(name, shape, "/in", &signed) else {
                continue;
            };
            let mangled = Golden {
                body: BODY.replace("12.50", "12.5").into_bytes(),
                ..golden.clone()
            };
            let finding = mangled.ask(&golden.own(), &[], &[]);
            let is_named = matches!(
                finding.causes.first(),
                Some(Cause::Body(BodyChange::Json { .. }))
            );
            tally.count(hypothesis, &golden, &finding, is_named);
        }
    }
    tally.check();
}

#[test]
fn another_url_is_named() {
    let mut tally = Tally::default();
    for golden in goldens()
        .into_iter()
        .filter(|golden| golden.shape.covers_address())
    {
        let target = String::from_utf8(golden.head.target.to_vec()).unwrap();
        let with = |change: &dyn Fn(&mut RequestHead)| {
            let mut mangled = golden.clone();
            change(&mut mangled.head);
            mangled
        };
        let mangled = [
            ("http in place of https", with(&|head| head.tls = false)),
            (
                "port in the URL",
                with(&|head| head.authority.push_str(":8443")),
            ),
            (
                "slash at the end of the path",
                with(&|head| head.target = target.replacen('?', "/?", 1).into()),
            ),
            (
                "part before the path",
                with(&|head| head.target = format!("/internal{target}").into()),
            ),
            (
                "query in another order",
                with(&|head| head.target = target.replacen("a=1&b=2", "b=2&a=1", 1).into()),
            ),
        ];
        for (hypothesis, mangled) in mangled {
            let finding = mangled.ask(&golden.own(), &[], &[]);
            let is_named = matches!(finding.causes.first(), Some(Cause::Address(_)));
            tally.count(hypothesis, &golden, &finding, is_named);
        }
    }
    tally.check();
}

#[test]
fn wrong_clock_is_named() {
    let mut tally = Tally::default();
    for golden in goldens()
        .into_iter()
        .filter(|golden| golden.own().tolerance().is_some())
    {
        let day = Duration::from_secs(3 * 86_400);
        for (hypothesis, wall) in [
            ("old request", now().wall + day),
            ("clock of the sender ahead", now().wall - day),
        ] {
            let finding = golden.ask_at(&golden.own(), &[], &[], FrozenClock(wall).now());
            let is_named = matches!(finding.causes.first(), Some(Cause::Clock { .. }));
            tally.count(hypothesis, &golden, &finding, is_named);
        }
    }
    tally.check();
}

#[test]
fn deep_or_growing_body_is_given_up() {
    let golden = Golden::new(
        &"github".into(),
        Verifier::from_preset("github", SECRETS[0].as_bytes())
            .unwrap()
            .shape(),
        "/in",
        BODY,
    )
    .unwrap();
    let deep = ["[".repeat(200_000), "]".repeat(200_000)].concat();
    let wide = format!(
        "{}{}1{}",
        "[".repeat(120),
        "1,".repeat(5_000),
        "]".repeat(120)
    );
    for body in [deep, wide] {
        let mangled = Golden {
            body: body.into_bytes(),
            ..golden.clone()
        };
        let finding = mangled.ask(&golden.own(), &[], &[]);
        assert!(!finding.is_proven, "{:?}", finding.causes);
    }
}
