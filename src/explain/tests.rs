//! Golden requests of all presets, each mangled as people mangle them: the explanation must name what was done.
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};
use zeroize::Zeroizing;

use super::*;
use crate::clock::{Clock as _, FrozenClock, Now};
use crate::config::presets::Catalogue;
use crate::request::{Client, HeaderLines, Params, RequestHead, RequestId};
use crate::verify::{Encoding, SecretSet, SecretText, Shape, Verifier};

/// The share of mangled requests whose explanation must begin with what was done, in percent.
const GOAL: usize = 95;
/// Secrets of the forms that presets ask for, the first that one accepts is its own.
const SECRETS: [&str; 4] = [
    "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
    "3f8a0c5d7e9b1a2c4d6e8f0a1b3c5d7e9f0a2b4c6d8e0f1a3b5c7d9e1f2a4b6c",
    "id-17:a-key-of-more-than-16-bytes",
    "C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
];
const BODY: &str = r#"{"id":"evt_1024","type":"invoice.paid","url":"https://example.com/a?b=c&d=<e>","name":"Zoë","amount":12.50,"tags":["a","b"],"data":{"object":{"paid":true,"count":3}}}"#;

fn now() -> Now {
    FrozenClock::at_unix(1_790_000_000).now()
}

fn text(text: &[u8]) -> SecretText {
    SecretText {
        name: "main".into(),
        text: Zeroizing::new(text.to_vec()),
        encodings: None,
        not_before: None,
        expires: None,
    }
}

/// Returns a verifier of a preset's scheme with these secrets.
fn verifier(shape: &Shape, secrets: &[SecretText], public_url: Option<&str>) -> Option<Verifier> {
    let set = SecretSet::list(
        shape.secret_kind(),
        shape.secret_encodings(),
        shape.secret_suffix(),
        secrets,
    );
    Some(
        shape
            .clone()
            .with_secrets(set.ok()?, public_url.map(str::to_owned)),
    )
}

/// The schemes of all presets that need nothing from the route.
fn providers() -> Vec<(Arc<str>, Shape)> {
    let made = Catalogue::built_in().presets().filter_map(|preset| {
        let made = SECRETS
            .iter()
            .find_map(|secret| Verifier::from_preset(&preset.name, secret.as_bytes()).ok())?;
        Some((Arc::clone(&preset.name), made.shape().clone()))
    });
    made.collect()
}

/// A golden request.
#[derive(Clone)]
struct Golden {
    name: Arc<str>,
    shape: Shape,
    secret: &'static str,
    head: RequestHead,
    body: Vec<u8>,
}

fn head(target: &str) -> RequestHead {
    let mut headers = HeaderLines::default();
    for (name, value) in [
        ("host", "hooks.example.com"),
        ("content-type", "application/json"),
        ("x-event", "invoice.paid"),
    ] {
        headers.append(&name.parse().unwrap(), &HeaderValue::from_static(value));
    }
    RequestHead {
        certificate: None,
        request_id: RequestId::from_u128(7),
        method: Method::POST,
        target: Bytes::copy_from_slice(target.as_bytes()),
        authority: "hooks.example.com".to_owned(),
        tls: true,
        headers,
        declared_size: None,
        client: Client {
            ip: std::net::Ipv4Addr::LOCALHOST.into(),
            own: false,
            behind_trusted_proxy: false,
        },
        received: now(),
    }
}

impl Golden {
    /// Signs the body at a target with a secret; `None` if the scheme cannot sign it.
    fn new(name: &Arc<str>, shape: &Shape, target: &str, body: &str) -> Option<Self> {
        let secret = SECRETS
            .into_iter()
            .find(|secret| verifier(shape, &[text(secret.as_bytes())], None).is_some())?;
        let plain = Self {
            name: Arc::clone(name),
            shape: shape.clone(),
            secret,
            head: head(target),
            body: body.as_bytes().to_vec(),
        };
        let with = verifier(shape, &[text(secret.as_bytes())], None)?;
        let golden = plain.signed_by(&with, now().wall)?;
        golden
            .ask(&with, &[], &[])
            .refused
            .is_none()
            .then_some(golden)
    }

    fn signed_by(mut self, verifier: &Verifier, at: SystemTime) -> Option<Self> {
        let signed = verifier
            .sign(&self.head, &Params::default(), &self.body, 0, at)
            .ok()?;
        for (name, value) in &signed.headers {
            self.head.headers.insert(name, value);
        }
        if !signed.query.is_empty() {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.extend_pairs(&signed.query);
            let joint = if self.head.query().is_some() {
                "&"
            } else {
                "?"
            };
            let target = format!(
                "{}{joint}{}",
                String::from_utf8_lossy(&self.head.target),
                query.finish()
            );
            self.head.target = target.into();
        }
        Some(self)
    }

    fn own(&self) -> Verifier {
        verifier(&self.shape, &[text(self.secret.as_bytes())], None).unwrap()
    }

    fn ask(
        &self,
        verifier: &Verifier,
        others: &[Subject<'_>],
        providers: &[(Arc<str>, Shape)],
    ) -> Finding {
        self.ask_at(verifier, others, providers, now())
    }

    fn ask_at(
        &self,
        verifier: &Verifier,
        others: &[Subject<'_>],
        providers: &[(Arc<str>, Shape)],
        now: Now,
    ) -> Finding {
        let received = Received {
            head: self.head.clone(),
            body: Body::from(Bytes::from(self.body.clone())),
        };
        explain(&Question {
            received: &received,
            params: &Params::default(),
            route: Subject {
                name: "route",
                verifier,
            },
            others,
            providers,
            own_provider: Some(&self.name),
            now,
        })
    }

    /// Returns the request with the values of its signature headers changed; `None` if nothing changes.
    fn with_signature(&self, change: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let mut mangled = self.clone();
        let mut changed = false;
        for name in self.shape.signature_headers() {
            let value = self
                .head
                .headers
                .get(name)
                .map(|value| String::from_utf8_lossy(value).into_owned());
            if let Some(new) = value.as_deref().and_then(&change) {
                mangled
                    .head
                    .headers
                    .insert(name, &HeaderValue::from_str(&new).unwrap());
                changed = true;
            }
        }
        changed.then_some(mangled)
    }
}

/// The results by hypothesis: named first, and all.
#[derive(Default)]
struct Tally {
    counts: BTreeMap<&'static str, (usize, usize)>,
    missed: Vec<String>,
}

impl Tally {
    fn count(
        &mut self,
        hypothesis: &'static str,
        golden: &Golden,
        finding: &Finding,
        is_named: bool,
    ) {
        if finding.refused.is_none() {
            // the change means nothing to this scheme
            return;
        }
        let (named, all) = self.counts.entry(hypothesis).or_default();
        *all += 1;
        *named += usize::from(is_named);
        if !is_named {
            self.missed.push(format!(
                "{hypothesis}, {}: {:?}",
                golden.name, finding.causes
            ));
        }
    }

    fn check(&self) {
        for (hypothesis, (named, all)) in &self.counts {
            println!("| {hypothesis} | {named} of {all} |");
            let share = named * 100 / all.max(&1);
            assert!(
                share >= GOAL,
                "{hypothesis}: {named} of {all}\n{}",
                self.missed.join("\n")
            );
        }
    }
}

fn goldens() -> Vec<Golden> {
    let made = providers();
    made.iter()
        .filter_map(|(name, shape)| Golden::new(name, shape, "/webhooks/in?a=1&b=2", BODY))
        .collect()
}

fn is_secret(finding: &Finding, wanted: SecretChange) -> bool {
    matches!(finding.causes.first(), Some(Cause::Secret { changes, .. }) if changes.contains(&wanted))
}

#[test]
fn presets_sign_requests_that_are_authentic() {
    assert!(goldens().len() >= 150, "{}", goldens().len());
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

/// Returns the text with its last hexadecimal signature in base64, or the other way round.
fn reencoded(value: &str) -> Option<String> {
    let at = value
        .rfind([',', ':', '=', ' '])
        .filter(|at| at + 1 < value.len())
        .map_or(0, |at| at + 1);
    let (label, tag) = value.split_at(at);
    if let Some(bytes) = hex::decode(tag).ok().filter(|bytes| bytes.len() >= 20) {
        return Some(format!("{label}{}", STANDARD.encode(bytes)));
    }
    for (at, _) in value.char_indices() {
        let (label, tag) = value.split_at(at);
        if let Some(bytes) = STANDARD
            .decode(tag)
            .ok()
            .filter(|bytes| matches!(bytes.len(), 20 | 32 | 64))
        {
            return Some(format!("{label}{}", hex::encode(bytes)));
        }
    }
    None
}

#[test]
fn another_header_or_version_is_named() {
    let mut tally = Tally::default();
    for golden in goldens()
        .into_iter()
        .filter(|golden| golden.shape.algorithm().is_some())
    {
        if let Some(mangled) = golden.with_signature(reencoded) {
            let finding = mangled.ask(&golden.own(), &[], &[]);
            let is_named = matches!(finding.causes.first(), Some(Cause::Encoding { .. }));
            tally.count("signature in another encoding", &golden, &finding, is_named);
        }
        if let Some(mangled) = golden
            .with_signature(|value| value.contains("v1").then(|| value.replacen("v1", "v0", 1)))
        {
            let finding = mangled.ask(&golden.own(), &[], &[]);
            let is_named = matches!(finding.causes.first(), Some(Cause::Label { .. }));
            tally.count("v0 in place of v1", &golden, &finding, is_named);
        }
        let [name] = golden.shape.signature_headers() else {
            continue;
        };
        let mut moved = golden.clone();
        let mut headers = HeaderLines::default();
        for (other, value) in golden.head.headers.iter() {
            let is_signature = other.eq_ignore_ascii_case(name.as_str());
            let other: HeaderName = if is_signature {
                "x-moved".parse().unwrap()
            } else {
                other.parse().unwrap()
            };
            headers.append(&other, &HeaderValue::from_bytes(value).unwrap());
        }
        moved.head.headers = headers;
        // the time is in the header, too
        let time = golden.shape.presented_time(&moved.head, &moved.body);
        if time.is_ok() {
            let finding = moved.ask(&golden.own(), &[], &[]);
            let is_named = matches!(finding.causes.first(), Some(Cause::Header { .. }));
            tally.count("signature in another header", &golden, &finding, is_named);
        }
        let mut without = golden.clone();
        let kept: Vec<(HeaderName, HeaderValue)> = golden
            .head
            .headers
            .iter()
            .filter(|(other, _)| !other.eq_ignore_ascii_case(name.as_str()))
            .map(|(name, value)| {
                (
                    name.parse().unwrap(),
                    HeaderValue::from_bytes(value).unwrap(),
                )
            })
            .collect();
        without.head.headers = kept.into_iter().collect();
        let finding = without.ask(&golden.own(), &[], &[]);
        let is_named = matches!(finding.causes.first(), Some(Cause::NoSignature { .. }));
        tally.count("no signature", &golden, &finding, is_named);
    }
    tally.check();
}

#[test]
fn another_hash_function_is_named() {
    let mut tally = Tally::default();
    for golden in goldens() {
        let Some(own) = golden.shape.algorithm() else {
            continue;
        };
        let other = if own == crate::verify::Algorithm::Sha1 {
            crate::verify::Algorithm::Sha256
        } else {
            crate::verify::Algorithm::Sha1
        };
        let secret = golden
            .own()
            .candidates(&golden.head, &Params::default())
            .unwrap();
        let mut keys = key::Keys::default();
        keys.add_configured(key::Owner::Own, &secret, &golden.shape);
        let request = crate::verify::probe::Spelling {
            head: &golden.head,
            body: &golden.body,
            public_url: None,
        };
        let time = golden
            .shape
            .presented_time(&golden.head, &golden.body)
            .unwrap()
            .unwrap_or_default();
        let computed = golden
            .shape
            .compute(&keys.0, &[own, other], request, &time)
            .unwrap();
        let [right, wrong] = [own, other].map(|algorithm| {
            let computed = computed
                .iter()
                .find(|one| one.algorithm == algorithm)
                .unwrap();
            computed.text(golden.shape.tag_encoding().unwrap())
        });
        let Some(mangled) = golden.with_signature(|value| {
            value
                .contains(&right)
                .then(|| value.replace(&right, &wrong))
        }) else {
            continue;
        };
        let finding = mangled.ask(&golden.own(), &[], &[]);
        let is_named = matches!(finding.causes.first(), Some(Cause::Algorithm { .. }));
        tally.count("another hash function", &golden, &finding, is_named);
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
fn another_provider_is_named() {
    let mut tally = Tally::default();
    let all = providers();
    let github = all.iter().find(|(name, _)| &**name == "github").unwrap();
    for golden in goldens() {
        if golden.name == github.0 {
            continue;
        }
        let Some(route) = verifier(&github.1, &[text(golden.secret.as_bytes())], None) else {
            continue;
        };
        let asked = Golden {
            name: Arc::clone(&github.0),
            ..golden.clone()
        };
        let finding = asked.ask(&route, &[], &all);
        // several presets share one scheme, and the same header
        let is_named = matches!(
            finding.causes.first(),
            Some(
                Cause::Provider {
                    is_proven: true,
                    ..
                } | Cause::Header { .. }
                    | Cause::Algorithm { .. }
            )
        );
        tally.count("another provider", &golden, &finding, is_named);
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
