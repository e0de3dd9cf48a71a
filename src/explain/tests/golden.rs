//! Golden requests of all presets, and the counts of explanations that name what was done to them.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderValue, Method};
use zeroize::Zeroizing;

use crate::clock::{Clock as _, FrozenClock, Now};
use crate::config::presets::Catalogue;
use crate::explain::{Finding, Question, Subject, explain};
use crate::request::{Body, Client, HeaderLines, Params, Received, RequestHead, RequestId};
use crate::verify::{SecretSet, SecretText, Shape, Verifier};

/// The share of mangled requests whose explanation must begin with what was done, in percent.
pub(super) const GOAL: usize = 95;
/// Secrets of the forms that presets ask for, the first that one accepts is its own.
pub(super) const SECRETS: [&str; 4] = [
    "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
    "3f8a0c5d7e9b1a2c4d6e8f0a1b3c5d7e9f0a2b4c6d8e0f1a3b5c7d9e1f2a4b6c",
    "id-17:a-key-of-more-than-16-bytes",
    "C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
];
pub(super) const BODY: &str = r#"{"id":"evt_1024","type":"invoice.paid","url":"https://example.com/a?b=c&d=<e>","name":"Zoë","amount":12.50,"tags":["a","b"],"data":{"object":{"paid":true,"count":3}}}"#;

pub(super) fn now() -> Now {
    FrozenClock::at_unix(1_790_000_000).now()
}

pub(super) fn text(text: &[u8]) -> SecretText {
    SecretText {
        name: "main".into(),
        text: Zeroizing::new(text.to_vec()),
        encodings: None,
        not_before: None,
        expires: None,
    }
}

/// Returns a verifier of a preset's scheme with these secrets.
pub(super) fn verifier(
    shape: &Shape,
    secrets: &[SecretText],
    public_url: Option<&str>,
) -> Option<Verifier> {
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
pub(super) fn providers() -> Vec<(Arc<str>, Shape)> {
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
pub(super) struct Golden {
    pub(super) name: Arc<str>,
    pub(super) shape: Shape,
    pub(super) secret: &'static str,
    pub(super) head: RequestHead,
    pub(super) body: Vec<u8>,
}

pub(super) fn head(target: &str) -> RequestHead {
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
    pub(super) fn new(name: &Arc<str>, shape: &Shape, target: &str, body: &str) -> Option<Self> {
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

    pub(super) fn signed_by(mut self, verifier: &Verifier, at: SystemTime) -> Option<Self> {
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

    pub(super) fn own(&self) -> Verifier {
        verifier(&self.shape, &[text(self.secret.as_bytes())], None).unwrap()
    }

    pub(super) fn ask(
        &self,
        verifier: &Verifier,
        others: &[Subject<'_>],
        providers: &[(Arc<str>, Shape)],
    ) -> Finding {
        self.ask_at(verifier, others, providers, now())
    }

    pub(super) fn ask_at(
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
    pub(super) fn with_signature(&self, change: impl Fn(&str) -> Option<String>) -> Option<Self> {
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
pub(super) struct Tally {
    pub(super) counts: BTreeMap<&'static str, (usize, usize)>,
    pub(super) missed: Vec<String>,
}

impl Tally {
    pub(super) fn count(
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

    pub(super) fn check(&self) {
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

pub(super) fn goldens() -> Vec<Golden> {
    let made = providers();
    made.iter()
        .filter_map(|(name, shape)| Golden::new(name, shape, "/webhooks/in?a=1&b=2", BODY))
        .collect()
}
