//! Signatures in another header, encoding or version, by another hash function or another provider.
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue};

use super::golden::{Golden, Tally, goldens, providers, text, verifier};
use crate::explain::Cause;
use crate::explain::key::{Keys, Owner};
use crate::request::{HeaderLines, Params};
use crate::verify::Algorithm;
use crate::verify::probe::Spelling;

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
        let other = if own == Algorithm::Sha1 {
            Algorithm::Sha256
        } else {
            Algorithm::Sha1
        };
        let secret = golden
            .own()
            .candidates(&golden.head, &Params::default())
            .unwrap();
        let mut keys = Keys::default();
        keys.add_configured(Owner::Own, &secret, &golden.shape);
        let request = Spelling {
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
