//! Every 401 has its exact reason in the log and the list of refusals: golden requests of all presets, mangled in each way that fits.
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use hookgate::clock::{Clock as _, Dates, FrozenClock};
use hookgate::config::presets::Catalogue;
use hookgate::request::{Params, Received};
use hookgate::verify::{NotAuthentic, Scheme, Shape, SourcePlace, Verifier};
use http::{HeaderName, HeaderValue};

use crate::support::vectors::{Case, deviations, files, load, shape};

/// The texts that stand for a reason if nothing better is found.
const GENERAL: [NotAuthentic; 7] = [
    NotAuthentic::SignatureMissing,
    NotAuthentic::SignatureMalformed,
    NotAuthentic::SignatureMismatch,
    NotAuthentic::TimestampMissing,
    NotAuthentic::TimestampMalformed,
    NotAuthentic::TimestampStale,
    NotAuthentic::TimestampFuture,
];

/// The first golden request of a preset, and what it is verified with.
struct Golden<'a> {
    name: &'a str,
    case: Case,
    verifier: Verifier,
}

impl Golden<'_> {
    fn shape(&self) -> &Shape {
        self.verifier.shape()
    }

    /// Returns the code and the reason of a request that arrives `late` seconds after the golden one.
    #[track_caller]
    fn refuse(&self, received: Received, late: i64) -> (NotAuthentic, String) {
        let at = i64::try_from(self.case.now).unwrap() + late;
        let now = FrozenClock::at_unix(u64::try_from(at).unwrap()).now();
        let params = Params::default();
        let verdict = self.verifier.verify(received, &params, now);
        let Err(refused) = verdict else {
            panic!("{} is authentic", self.name);
        };
        let hint = self
            .verifier
            .hint(&refused, &params, now.wall, &Dates::at(now.wall));
        let is_general = GENERAL.iter().any(|why| why.to_string() == *hint);
        assert!(!is_general, "{}: {hint}", self.name);
        assert!(
            hint.chars()
                .all(|letter| letter.is_ascii_graphic() || letter == ' '),
            "{}: {hint:?}",
            self.name
        );
        for text in self.case.texts() {
            assert!(!hint.contains(&text), "{}: {hint}", self.name);
        }
        (refused.why, hint.to_string())
    }

    /// Returns the headers that hold the signature, as far as the golden request has them.
    fn signature_headers(&self) -> Vec<HeaderName> {
        let headers = self.case.received().head.headers;
        let names = self.shape().signature_headers().iter();
        names
            .filter(|name| headers.contains(name))
            .cloned()
            .collect()
    }

    /// Returns the golden request without some headers.
    fn without(&self, names: &[HeaderName]) -> Received {
        let mut received = self.case.received();
        let headers = &mut received.head.headers;
        *headers = headers
            .iter()
            .filter(|(name, _)| !names.iter().any(|one| one == name))
            .collect();
        received
    }

    /// Returns the golden request with another value in the headers of the signature.
    fn with(&self, value: &str) -> Received {
        let mut received = self.case.received();
        for name in self.signature_headers() {
            let value = HeaderValue::from_str(value).unwrap();
            received.head.headers.insert(&name, &value);
        }
        received
    }
}

fn golden() -> Vec<(String, Case, Verifier)> {
    let deviations = deviations();
    let mut first = BTreeMap::new();
    for (name, path) in files() {
        let shape = shape(&name, &Catalogue::built_in().get(&name).unwrap().provider);
        let cases = load(&path).into_iter();
        let good = cases
            .filter(|case| case.due(deviations.get(&name)) && !case.body().is_empty())
            .find(|case| case.verdict(&shape).is_ok());
        if let Some(case) = good {
            let verifier = case.verifier(&shape).unwrap();
            first.entry(name).or_insert((case, verifier));
        }
    }
    first
        .into_iter()
        .map(|(name, (case, verifier))| (name, case, verifier))
        .collect()
}

#[test]
fn mangled_golden_requests_of_every_preset_have_their_reason() {
    let (mut seen, mut counts) = (BTreeSet::new(), BTreeMap::<&str, usize>::new());
    let mut wrong = Vec::new();
    for (name, case, verifier) in golden() {
        let one = Golden {
            name: &name,
            case,
            verifier,
        };
        for (how, (code, hint)) in mangled(&one, &mut wrong) {
            eprintln!("{name} {how}: {} {hint}", code.code());
            *counts.entry(how).or_default() += 1;
            seen.insert(code.code());
        }
    }
    eprintln!("{counts:?}");
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(seen.len(), GENERAL.len(), "{seen:?}");
    let least = |how: &str| counts.get(how).copied().unwrap_or_default();
    assert!(least("missing") >= 50 && least("stale") >= 15, "{counts:?}");
}

/// Mangles a golden request in each way that fits its scheme, and checks the reasons.
fn mangled(
    one: &Golden<'_>,
    wrong: &mut Vec<String>,
) -> Vec<(&'static str, (NotAuthentic, String))> {
    let mut all = Vec::new();
    let mut push = |how, due: NotAuthentic, words: &[&str], found: (NotAuthentic, String)| {
        let is_right = found.0 == due && words.iter().any(|words| found.1.contains(words));
        if !is_right {
            let (code, text) = (found.0.code(), &found.1);
            wrong.push(format!("{} {how}: {code} {text}", one.name));
        }
        all.push((how, found));
    };
    let names = one.signature_headers();
    if !names.is_empty() {
        let found = one.refuse(one.without(&names), 0);
        push(
            "missing",
            NotAuthentic::SignatureMissing,
            &["is missing", "there is no header"],
            found,
        );
        let found = one.refuse(one.with(""), 0);
        // a missing time comes first where the header has both
        let due = if found.0 == NotAuthentic::TimestampMissing {
            found.0
        } else {
            NotAuthentic::SignatureMalformed
        };
        let words = ["is empty", "does not begin", " has no `"];
        push("empty", due, &words, found);
    }
    let mut other = one.case.received();
    let longer = [&other.body.bytes()[..], b"\n"].concat();
    other.body = Bytes::from(longer).into();
    if let Scheme::Hmac(scheme) = one.shape().scheme() {
        let covers_body = one.shape().covers().body;
        if covers_body && !matches!(scheme.source.place, SourcePlace::Json(_)) {
            let found = one.refuse(other, 0);
            push(
                "other body",
                NotAuthentic::SignatureMismatch,
                &["no secret of the route matches: ", "the body is not JSON"],
                found,
            );
            let mut packed = one.case.received();
            let gzip = HeaderValue::from_static("gzip");
            packed
                .head
                .headers
                .insert(&http::header::CONTENT_ENCODING, &gzip);
            packed.body = Bytes::from_static(b"\x1f\x8b\x08").into();
            let (code, hint) = one.refuse(packed, 0);
            if code == NotAuthentic::SignatureMismatch {
                push(
                    "compressed",
                    code,
                    &["Content-Encoding: gzip"],
                    (code, hint),
                );
            }
        }
        if let Some(time) = scheme.time.as_ref() {
            let tolerance = i64::try_from(time.tolerance.as_secs()).unwrap();
            let found = one.refuse(one.case.received(), tolerance + 3_600);
            push(
                "stale",
                NotAuthentic::TimestampStale,
                &[" s before it arrived, tolerance "],
                found,
            );
            let found = one.refuse(one.case.received(), -tolerance - 3_600);
            push(
                "future",
                NotAuthentic::TimestampFuture,
                &[" s after it arrived, tolerance "],
                found,
            );
            let headers: Vec<HeaderName> = one
                .shape()
                .signed_headers()
                .into_iter()
                .filter(|name| !names.contains(name))
                .filter(|name| one.case.received().head.headers.contains(name))
                .collect();
            if let [name, ..] = headers.as_slice() {
                let found = one.refuse(one.without(&headers), 0);
                push(
                    "no time",
                    NotAuthentic::TimestampMissing,
                    &["is missing", "there is no header"],
                    found,
                );
                let mut received = one.case.received();
                let value = HeaderValue::from_static("yesterday");
                received.head.headers.insert(name, &value);
                let found = one.refuse(received, 0);
                push(
                    "other time",
                    NotAuthentic::TimestampMalformed,
                    &[" is not "],
                    found,
                );
            }
        }
    }
    all
}

/// The reasons that people meet most often, word by word.
#[test]
fn usual_mistakes_are_named() {
    let all = golden();
    let of = |name: &str| {
        let mut found = all.iter().filter(|(one, ..)| one == name);
        let (name, case, verifier) = found.next().unwrap();
        let shape = verifier.shape().clone();
        Golden {
            name,
            case: load(format!("tests/vectors/{name}.json").as_ref())
                .into_iter()
                .find(|one| one.name == case.name)
                .unwrap(),
            verifier: case.verifier(&shape).unwrap(),
        }
    };
    let github = of("github");
    let hex = |digits: usize| "0".repeat(digits);
    let sha1 = HeaderName::from_static("x-hub-signature");
    let mut old = github.without(&github.signature_headers());
    let value = HeaderValue::from_str(&format!("sha1={}", hex(40))).unwrap();
    old.head.headers.insert(&sha1, &value);
    let said = |one: &Golden<'_>, received| one.refuse(received, 0).1;
    for (received, due) in [
        (
            old,
            "the header X-Hub-Signature-256 is missing, X-Hub-Signature is there: a SHA-1 signature",
        ),
        (
            github.with(&hex(64)),
            "the header X-Hub-Signature-256 has no prefix `sha256=`",
        ),
        (
            github.with(&format!("sha1={}", hex(40))),
            "the header X-Hub-Signature-256 has no prefix `sha256=`, but `sha1`",
        ),
        (
            github.with(&format!("sha256={}", hex(40))),
            "the signature has 40 hexadecimal digits, this scheme has 64",
        ),
        (
            github.with(&format!("sha256={}", hex(63))),
            "the signature has 63 hexadecimal digits, this scheme has 64",
        ),
        (
            github.with("sha256=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
            "the signature is base64, this scheme has hexadecimal",
        ),
        (
            github.with("sha256=nonsense"),
            "the signature is not hexadecimal",
        ),
        (
            github.with(&format!("sha256={}", hex(64))),
            "no secret of the route matches: 1 tried",
        ),
    ] {
        assert_eq!(said(&github, received), due);
    }
    let mut twice = github.case.received();
    let value = HeaderValue::from_static("sha256=00");
    twice
        .head
        .headers
        .append(&github.signature_headers()[0], &value);
    assert_eq!(
        said(&github, twice),
        "the header X-Hub-Signature-256 occurs with different values"
    );
    let mut empty = github.case.received();
    empty.body = Bytes::new().into();
    assert_eq!(said(&github, empty), "the body is empty");

    let stripe = of("stripe");
    let name = stripe.signature_headers()[0].clone();
    let value = stripe
        .case
        .received()
        .head
        .headers
        .get(&name)
        .unwrap()
        .to_vec();
    let value = String::from_utf8(value).unwrap();
    for (text, due) in [
        (
            value.replace("v1=", "v0="),
            "the header Stripe-Signature has no `v1`, but `v0`",
        ),
        (
            value.replace("t=", "x="),
            "the header Stripe-Signature has no `t`",
        ),
        (
            value.replace("t=", "t=1"),
            "`t` in the header Stripe-Signature is not Unix seconds of 10 digits",
        ),
        (
            format!("t=1767225600000,{}", value.split_once(',').unwrap().1),
            "`t` in the header Stripe-Signature is not Unix seconds of 10 digits, but milliseconds",
        ),
    ] {
        assert_eq!(said(&stripe, stripe.with(&text)), due);
    }
    let mut form = stripe.case.received();
    form.body = Bytes::from_static(b"payload=%7B%7D").into();
    let value = HeaderValue::from_static("application/x-www-form-urlencoded; charset=utf-8");
    form.head
        .headers
        .insert(&http::header::CONTENT_TYPE, &value);
    assert_eq!(
        said(&stripe, form),
        "no secret of the route matches: 1 tried; the body is a form, this preset expects JSON"
    );
    let late = Duration::from_secs(412);
    let (code, text) = stripe.refuse(
        stripe.case.received(),
        i64::try_from(late.as_secs()).unwrap(),
    );
    assert_eq!(
        (code, text.as_str()),
        (
            NotAuthentic::TimestampStale,
            "signed 412 s before it arrived, tolerance 300 s"
        )
    );
}
