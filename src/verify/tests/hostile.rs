//! Attempts of a sender without the secret: other names, other spellings, other places.
use super::*;

use NotAuthentic::{
    SignatureMalformed, SignatureMismatch, SignatureMissing, TimestampMalformed, TimestampMissing,
};

fn names(names: &[&str]) -> HeaderNames {
    HeaderNames::new(
        names
            .iter()
            .map(|name| name.parse().unwrap())
            .collect::<Vec<HeaderName>>(),
    )
}

fn two_families() -> Verifier {
    let time = unix(TimeAt::Header(names(&[
        "svix-timestamp",
        "webhook-timestamp",
    ])));
    let scheme = keyed(
        "{id}.{timestamp}.{body}",
        at(headers(&["svix-signature", "webhook-signature"])),
        time,
    );
    verifier(
        scheme,
        Some(Locator::Header(names(&["svix-id", "webhook-id"]))),
        &[secret("s", KEY)],
    )
}

#[test]
fn either_name_counts_and_none_may_contradict_the_other() {
    let gate = two_families();
    let tag = mac(format!("m1.{NOW}.x").as_bytes());
    let (tag, time) = (tag.as_bytes(), NOW.to_string());
    let (time, later) = (time.as_bytes(), (NOW + 1).to_string());
    let (id, sig, stamp) = (
        ("svix-id", &b"m1"[..]),
        ("svix-signature", tag),
        ("svix-timestamp", time),
    );
    let (id2, sig2, stamp2) = (
        ("webhook-id", &b"m1"[..]),
        ("webhook-signature", tag),
        ("webhook-timestamp", time),
    );
    for (headers, want) in [
        (vec![id, sig, stamp], None),
        (vec![id2, sig2, stamp2], None),
        (vec![id, sig2, stamp], None),
        (vec![id, sig, stamp, id2, sig2, stamp2], None),
        (vec![id, sig, stamp, ("webhook-signature", b"zz")], None),
        (
            vec![id, sig, stamp, ("webhook-id", b"m2")],
            Some(SignatureMalformed),
        ),
        (
            vec![("svix-id", b"m2"), sig, stamp, id2],
            Some(SignatureMalformed),
        ),
        (
            vec![("svix-id", b""), sig, stamp, id2],
            Some(SignatureMalformed),
        ),
        (vec![id, sig, stamp, id2, id2], None),
        (
            vec![id, sig, stamp, id2, ("webhook-id", b"m2")],
            Some(SignatureMalformed),
        ),
        (
            vec![id, sig, stamp, ("webhook-timestamp", later.as_bytes())],
            Some(SignatureMalformed),
        ),
        (vec![id, sig, stamp, stamp], None),
        (
            vec![id, sig, stamp, ("svix-timestamp", later.as_bytes())],
            Some(TimestampMalformed),
        ),
        (
            vec![("webhook-id", b"m2"), sig, stamp],
            Some(SignatureMismatch),
        ),
        (vec![id, sig], Some(TimestampMissing)),
        (vec![sig, stamp], Some(SignatureMissing)),
    ] {
        assert_eq!(why(&gate, &head("/", &headers), b"x"), want, "{headers:?}");
    }
    let authentic = judge(&gate, &head("/", &[id2, sig, stamp]), b"x").unwrap();
    assert_eq!(
        (authentic.delivery_id(), authentic.id_covered()),
        (Some("m1"), true)
    );
}

#[test]
fn contradicted_unsigned_id_counts_as_absent() {
    let gate = verifier(
        keyed("{body}", source("", Layout::Whole), None),
        Some(Locator::Header(names(&["a", "b"]))),
        &[secret("s", KEY)],
    );
    let tag = mac(b"x");
    let id = |headers: &[(&str, &[u8])]| {
        let all: Vec<(&str, &[u8])> = headers
            .iter()
            .copied()
            .chain([("x-sig", tag.as_bytes())])
            .collect();
        judge(&gate, &head("/", &all), b"x")
            .unwrap()
            .delivery_id()
            .map(str::to_owned)
    };
    assert_eq!(id(&[("b", b"1")]).as_deref(), Some("1"));
    assert_eq!(id(&[("a", b"1"), ("b", b"1")]).as_deref(), Some("1"));
    assert_eq!(id(&[("a", b"1"), ("b", b"2")]), None);
    assert_eq!(id(&[("a", b"\xff")]), None);
    let part = verifier(
        keyed("{header:a}{body}", source("", Layout::Whole), None),
        Some(Locator::Header(names(&["a", "b"]))),
        &[],
    );
    assert!(
        !part.covers_id(),
        "the name that is not signed could stand for the one that is"
    );
}

#[test]
fn expected_headers_occur_once_with_the_exact_value() {
    let expect = [("x-version".parse().unwrap(), "1".into())];
    let tag = mac(b"x");
    let hmac = keyed(
        "{body}",
        Source {
            expect: expect.clone().into(),
            ..source("", Layout::Whole)
        },
        None,
    );
    let token = Scheme::Token(Source {
        expect: expect.into(),
        ..source("", Layout::Whole)
    });
    for (gate, presented) in [
        (verifier(hmac, None, &[secret("s", KEY)]), &*tag),
        (verifier(token, None, &[secret("s", KEY)]), KEY),
    ] {
        for (versions, want) in [
            (vec!["1"], None),
            (vec![], Some(SignatureMissing)),
            (vec!["2"], Some(SignatureMalformed)),
            (vec!["1,2"], Some(SignatureMalformed)),
            (vec!["01"], Some(SignatureMalformed)),
            (vec![""], Some(SignatureMalformed)),
            (vec!["1", "1"], None),
            (vec!["1", "2"], Some(SignatureMalformed)),
        ] {
            let mut all: Vec<(&str, &[u8])> = versions
                .iter()
                .map(|version| ("x-version", version.as_bytes()))
                .collect();
            all.push(("x-sig", presented.as_bytes()));
            assert_eq!(why(&gate, &head("/", &all), b"x"), want, "{versions:?}");
        }
    }
}

#[test]
fn a_repeated_header_may_match_anywhere_up_to_a_bound() {
    let gate = verifier(
        keyed(
            "{body}",
            Source {
                repeated: true,
                ..source("", Layout::Whole)
            },
            None,
        ),
        None,
        &[secret("s", KEY)],
    );
    let (good, bad) = (mac(b"x"), mac(b"y"));
    let with = |values: &[&str]| {
        let all: Vec<(&str, &[u8])> = values
            .iter()
            .map(|value| ("x-sig", value.as_bytes()))
            .collect();
        why(&gate, &head("/", &all), b"x")
    };
    assert_eq!(with(&[&good]), None);
    assert_eq!(with(&[&bad, &good]), None);
    assert_eq!(with(&["zz", &good]), None);
    assert_eq!(with(&[&bad, &bad]), Some(SignatureMismatch));
    assert_eq!(with(&["zz", ""]), Some(SignatureMalformed));
    assert_eq!(with(&[]), Some(SignatureMissing));
    assert_eq!(with(&[&*good; 33]), Some(SignatureMalformed));
}

#[test]
fn a_signature_in_the_body_covers_the_fields_it_names() {
    let scheme = keyed(
        "{timestamp}{json:/s/token}",
        at(SourcePlace::Json("/s/sig".into())),
        unix(TimeAt::Json("/s/at".into())),
    );
    let gate = verifier(
        scheme,
        Some(Locator::Json("/s/token".to_owned())),
        &[secret("s", KEY)],
    );
    assert_eq!(gate.covers().header_value(), "timestamp,id,fields");
    let tag = mac(format!("{NOW}tok").as_bytes());
    let body = format!(r#"{{"s":{{"at":"{NOW}","token":"tok","sig":"{tag}"}},"event":"e"}}"#);
    assert_eq!(
        judge(&gate, &head("/", &[]), body.as_bytes())
            .unwrap()
            .delivery_id(),
        Some("tok")
    );
    let (moved, tail) = (NOW.to_string(), "tok");
    let (short, long) = (
        moved.get(..9).unwrap(),
        format!("{}{tail}", moved.get(9..).unwrap()),
    );
    for (from, to, want) in [
        (
            "\"tok\"".to_owned(),
            "\"kot\"".to_owned(),
            Some(SignatureMismatch),
        ),
        (tag.clone(), String::new(), Some(SignatureMalformed)),
        (
            format!("\"{tag}\""),
            "null".to_owned(),
            Some(SignatureMissing),
        ),
        (
            format!("\"{tag}\""),
            format!("[\"{tag}\"]"),
            Some(SignatureMissing),
        ),
        ("sig".to_owned(), "gis".to_owned(), Some(SignatureMissing)),
        (
            "\"sig\"".to_owned(),
            r#""sig":"","s\u0069g""#.to_owned(),
            Some(SignatureMalformed),
        ),
        (
            "\"token\"".to_owned(),
            r#""token":"tok","t\u006fken""#.to_owned(),
            Some(SignatureMalformed),
        ),
        (
            "{\"s\"".to_owned(),
            r#"{"s":{},"s""#.to_owned(),
            Some(SignatureMalformed),
        ),
        (
            format!(r#""{NOW}","token":"tok""#),
            format!(r#""{short}","token":"{long}""#),
            Some(TimestampMalformed),
        ),
        ("{".to_owned(), "x{".to_owned(), Some(SignatureMalformed)),
        ("\"e\"".to_owned(), "\"f\"".to_owned(), None),
    ] {
        assert_eq!(
            why(
                &gate,
                &head("/", &[]),
                body.replacen(&from, &to, 1).as_bytes()
            ),
            want,
            "{from} {to}"
        );
    }
    assert_eq!(
        gate.sign(
            &head("/", &[]),
            &Params::default(),
            body.as_bytes(),
            0,
            now().wall
        )
        .unwrap_err(),
        CannotSign::Unwritable
    );
}

#[test]
fn a_token_in_the_query_is_decoded_once_and_strictly() {
    let odd = verifier(
        Scheme::Token(at(SourcePlace::Query("token".into()))),
        None,
        &[secret("s", "\u{fffd}%41é")],
    );
    let gate = verifier(
        Scheme::Token(at(SourcePlace::Query("token".into()))),
        None,
        &[secret("s", "a%41é&=")],
    );
    for (gate, target, want) in [
        (&gate, "/x?token=a%2541%C3%A9%26%3D", None),
        (&gate, "/x?%74oken=a%2541%c3%a9%26=", None),
        (
            &gate,
            "/x?token=a%2541%C3%A9%26%3D&%74oken=1",
            Some(SignatureMalformed),
        ),
        (&gate, "/x?token=aA%C3%A9%26%3D", Some(SignatureMismatch)),
        (
            &gate,
            "/x?token=a%252541%C3%A9%26%3D",
            Some(SignatureMismatch),
        ),
        (&gate, "/x?Token=a%2541%C3%A9%26%3D", Some(SignatureMissing)),
        (&gate, "/x?token", Some(SignatureMalformed)),
        (&gate, "/x#?token=", Some(SignatureMalformed)),
        (&odd, "/x?token=%FF%2541%C3%A9", Some(SignatureMalformed)),
    ] {
        assert_eq!(why(gate, &head(target, &[]), b""), want, "{target}");
    }
}

#[test]
fn time_has_one_spelling_and_cannot_overflow() {
    for (format, text) in [
        (Format::Unix, "0000000000"),
        (Format::Unix, "9999999999"),
        (Format::UnixMs, "9999999999999"),
        (Format::Rfc3339, "2262-04-11T23:47:16Z"),
        (Format::Rfc3339, "1970-01-01T00:00:00Z"),
    ] {
        let time = format.read(text.as_bytes()).unwrap();
        let rule = SignedTime {
            at: TimeAt::Item,
            format,
            tolerance: Duration::from_secs(300),
        };
        assert!(rule.judge(time, now().wall).is_err(), "{text}");
        let forever = SignedTime {
            tolerance: Duration::MAX,
            ..rule
        };
        assert!(forever.judge(time, now().wall).is_ok(), "{text}");
    }
    for (format, text) in [
        (Format::Unix, "-767225600"),
        (Format::Unix, "01767225600"),
        (Format::Unix, "1767225\u{661}"),
        (Format::Unix, "1.76722e+9"),
        (Format::Rfc3339, "9999-12-31T23:59:59Z"),
        (Format::Rfc3339, "+2026-01-01T00:00:00Z"),
        (Format::Rfc3339, "2026-02-29T00:00:00Z"),
        (Format::Rfc3339, "2026-01-01T24:00:00Z"),
        (Format::Rfc3339, "2026-01-01T00:00:61Z"),
        (Format::Rfc3339, "2026-01-01T00:00:00+99:00"),
        (Format::Rfc3339, "2026-01-01T00:00:00+0000"),
        (Format::Rfc3339, "2026-01-01T00:00:00\u{2212}01:00"),
        (Format::Utc, "2026-01-01T00:00:00+00:00"),
    ] {
        assert_eq!(format.read(text.as_bytes()), None, "{text}");
    }
    let leap = Format::Rfc3339.read(b"2016-12-31T23:59:60Z");
    assert!(
        leap.is_none_or(|time| time == Format::Rfc3339.read(b"2016-12-31T23:59:59Z").unwrap()),
        "{leap:?}"
    );
}

#[test]
fn no_secret_is_empty_and_nothing_matches_without_one() {
    let gate = verifier(keyed("{body}", source("", Layout::Whole), None), None, &[]);
    for key in ["", "no:body"] {
        assert_eq!(
            why(
                &gate,
                &head("/", &[("x-sig", mac_with(key, b"x").as_bytes())]),
                b"x"
            ),
            Some(SignatureMismatch),
            "{key}"
        );
    }
    for text in ["", "whsec_", ":", "id:"] {
        for encoding in [
            Encoding::Base64,
            Encoding::Hex,
            Encoding::Whsec,
            Encoding::AfterColon,
        ] {
            assert!(
                encoding.decode(text.as_bytes(), Some("suffix")).is_err(),
                "{encoding:?} {text}"
            );
        }
    }
    assert!(SecretSet::list(SecretKind::Basic, &[], None, &[secret("s", ":")]).is_err());
}

#[test]
fn long_or_odd_signature_costs_little_and_never_matches() {
    let gate = verifier(
        keyed(
            "{body}",
            source(
                "",
                Layout::List {
                    separator: ",".into(),
                    time: None,
                },
            ),
            None,
        ),
        None,
        &[secret("s", KEY)],
    );
    let good = mac(b"x");
    for (text, want) in [
        (format!("{good}0"), Some(SignatureMalformed)),
        (format!("{good}00"), Some(SignatureMismatch)),
        (good.get(2..).unwrap().to_owned(), Some(SignatureMismatch)),
        (format!(" {good}"), Some(SignatureMalformed)),
        (format!("0x{good}"), Some(SignatureMalformed)),
        (",".repeat(60_000), Some(SignatureMalformed)),
        ("ab".repeat(30_000), Some(SignatureMismatch)),
        (format!("{good},"), None),
    ] {
        assert_eq!(
            why(&gate, &head("/", &[("x-sig", text.as_bytes())]), b"x"),
            want,
            "{}",
            text.len()
        );
    }
    assert_eq!(
        why(&gate, &head("/", &[("x-sig", b"\xff\xfe")]), b"x"),
        Some(SignatureMalformed)
    );
}
