//! Loads certificates and keys from PEM files.
//!
//! A certificate and its key are two files that are renewed one after the other, and do not match in between. So a pair that was good
//! stays in use until the files contain a good one again.
use std::path::PathBuf;
use std::sync::Arc;

use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::config::compile::context::Context;
use crate::config::diagnostic::Place;
use crate::config::snapshot::{Authorities, CertificateUse, Identity, Validity};

/// The largest size of a PEM file, in bytes.
pub(super) const MAX_PEM: usize = 1024 * 1024;
/// The texts that mark an encrypted key, in PKCS #8 and in the older form.
const ENCRYPTED: [&[u8]; 2] = [
    b"-----BEGIN ENCRYPTED PRIVATE KEY-----",
    b"Proc-Type: 4,ENCRYPTED",
];

/// The paths of a certificate and its key.
pub(super) struct Pair<'a> {
    pub(super) certificate: Option<&'a str>,
    pub(super) key: Option<&'a str>,
    /// The name in status and log lines.
    pub(super) label: String,
}

/// An error of a pair, and the key of the config that it is about.
struct Trouble {
    key: &'static str,
    message: String,
    help: Option<String>,
    /// Whether the key itself is missing.
    missing: bool,
}

/// Reads a certificate, its chain and its key. If the files contain no valid pair now, returns the last good one.
pub(super) fn identity(
    pair: &Pair<'_>,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<Arc<Identity>> {
    let paths = pair
        .certificate
        .zip(pair.key)
        .map(|(certificate, key)| (cx.loader.base.join(certificate), cx.loader.base.join(key)));
    let last_good = paths
        .as_ref()
        .and_then(|paths| cx.loader.last_good_pair(paths));
    let mut waiting = None;
    let found = match (read(pair, cx).map(Arc::new), last_good) {
        (Ok(offered), Some(last_good)) => {
            let validity = validity_of(&offered.chain);
            let dates = &cx.loader.dates;
            match validity.zip(validity_of(&last_good.chain)) {
                Some((offered, in_use)) if !offered.takes_over(&in_use, dates) => {
                    let what = offered.trouble(dates).unwrap_or_default();
                    cx.loader.stale_certificates.push(format!(
                        "{}: the certificate in the file {what}",
                        pair.label
                    ));
                    waiting = Some(offered);
                    last_good
                }
                Some(_) | None => offered,
            }
        }
        (Ok(offered), None) => {
            if !may_begin(&offered, place, cx) {
                return None;
            }
            offered
        }
        (Err(troubles), Some(last_good)) => {
            if let Some(first) = troubles.first() {
                cx.loader.stale_certificates.push(format!(
                    "{}: `{}`: {}",
                    pair.label, first.key, first.message
                ));
            }
            last_good
        }
        (Err(troubles), None) => {
            troubles
                .into_iter()
                .for_each(|trouble| report(trouble, place, cx));
            return None;
        }
    };
    if let Some(paths) = paths {
        cx.loader.cache.keep_pair(paths, Arc::clone(&found));
    }
    let own = validity_of(&found.chain).into_iter().collect();
    note_use(
        CertificateUse {
            label: pair.label.clone(),
            in_use: own,
            waiting,
        },
        &place.key("certificate"),
        cx,
    );
    Some(found)
}

/// Returns whether a pair without a predecessor can be used. In a running gateway, a pair that is not valid now is an error.
fn may_begin(offered: &Identity, place: &Place, cx: &mut Context<'_>) -> bool {
    let trouble = validity_of(&offered.chain)
        .filter(|validity| !validity.holds(&cx.loader.dates))
        .and_then(|validity| validity.trouble(&cx.loader.dates))
        .filter(|_| cx.loader.previous.is_some());
    if let Some(what) = &trouble {
        let help = "renew it, or restart the gateway to use it anyway".to_owned();
        cx.problems.error(
            &place.key("certificate"),
            format!("the certificate {what}"),
            help,
        );
    }
    trouble.is_none()
}

/// Returns the validity of the first certificate of a chain. The others do not count, since senders may not need them.
fn validity_of(chain: &[CertificateDer<'_>]) -> Option<Validity> {
    chain.first().and_then(Validity::of)
}

/// Stores the validity of certificates, and warns about those that are not valid or expire soon.
fn note_use(certificates: CertificateUse, place: &Place, cx: &mut Context<'_>) {
    let best = certificates
        .in_use
        .iter()
        .max_by_key(|validity| validity.to);
    if let Some(what) = best.and_then(|best| best.trouble(&cx.loader.dates)) {
        cx.problems.warning(
            place,
            format!("the certificate {what}"),
            "renew it; the gateway reads the file again when it changes".to_owned(),
        );
    }
    cx.certificates.push(certificates);
}

/// Reports an error.
fn report(trouble: Trouble, place: &Place, cx: &mut Context<'_>) {
    let Trouble {
        key,
        message,
        help,
        missing,
    } = trouble;
    match help {
        Some(help) if missing => cx.problems.missing(place, key, message, help),
        help => cx.problems.error(&place.key(key), message, help),
    }
}

/// Reads a pair from its files.
fn read(pair: &Pair<'_>, cx: &mut Context<'_>) -> Result<Identity, Vec<Trouble>> {
    let chain = pem(pair.certificate, "certificate", cx, chain_of);
    let key = pem(pair.key, "key", cx, private_key).and_then(usable);
    let (chain, key) = match (chain, key) {
        (Ok(chain), Ok(key)) => (chain, key),
        (chain, key) => return Err(chain.err().into_iter().chain(key.err()).collect()),
    };
    let provider = rustls::crypto::ring::default_provider();
    if CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider).is_ok() {
        return Ok(Identity { chain, key });
    }
    let message = "the certificate and the key do not match".to_owned();
    let help = Some(
        "use the certificate of this key; the server's own certificate must come first in the file"
            .to_owned(),
    );
    Err(vec![Trouble {
        key: "certificate",
        message,
        help,
        missing: false,
    }])
}

/// The private key of a file.
pub(super) enum PrivateKey {
    Plain(PrivateKeyDer<'static>),
    /// It needs a passphrase.
    Encrypted,
}

/// Parses the first private key of a file.
pub(super) fn private_key(bytes: &[u8]) -> Option<PrivateKey> {
    let holds = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
    if ENCRYPTED.into_iter().any(holds) {
        return Some(PrivateKey::Encrypted);
    }
    PrivateKeyDer::from_pem_slice(bytes)
        .ok()
        .map(PrivateKey::Plain)
}

/// Returns the key if the gateway can sign with it.
fn usable(key: PrivateKey) -> Result<PrivateKeyDer<'static>, Trouble> {
    let trouble = |message: &str, help: &str| Trouble {
        key: "key",
        message: message.to_owned(),
        help: Some(help.to_owned()),
        missing: false,
    };
    let PrivateKey::Plain(key) = key else {
        let help = "decrypt it with `openssl pkey -in FILE -out NEW`";
        return Err(trouble("the private key is encrypted", help));
    };
    let provider = rustls::crypto::ring::default_provider();
    if provider
        .key_provider
        .load_private_key(key.clone_key())
        .is_err()
    {
        let help = "use an ECDSA key on P-256 or P-384, an Ed25519 key, or an RSA key of 2048 to 8192 bits";
        let message = "the private key is damaged, or of a kind that is not supported";
        return Err(trouble(message, help));
    }
    Ok(key)
}

/// Parses all certificates of a file, in order; `None` if there is none, or one is not valid.
pub(super) fn chain_of(bytes: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(bytes)
        .collect::<Result<_, _>>()
        .ok()?;
    let is_read = |certificate: &CertificateDer<'_>| X509Certificate::from_der(certificate).is_ok();
    (!chain.is_empty() && chain.iter().all(is_read)).then_some(chain)
}

/// Reads a file of certificates that are trusted to sign others. `label` names the listener or upstream in metrics and log lines.
pub(super) fn authorities(
    written: &str,
    key: &'static str,
    label: &str,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<Arc<Authorities>> {
    match pem(Some(written), key, cx, signers) {
        Ok(certificates) => {
            let in_use = certificates.iter().filter_map(Validity::of).collect();
            note_use(
                CertificateUse {
                    label: format!("{label}.{key}"),
                    in_use,
                    waiting: None,
                },
                &place.key(key),
                cx,
            );
            Some(Arc::new(Authorities {
                file: cx.loader.base.join(written),
                certificates,
            }))
        }
        Err(trouble) => {
            report(trouble, place, cx);
            None
        }
    }
}

/// Parses a file of certificates that can sign others; `None` if one of them cannot.
pub(super) fn signers(bytes: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let certificates = chain_of(bytes)?;
    let mut roots = rustls::RootCertStore::empty();
    certificates
        .iter()
        .try_for_each(|certificate| roots.add(certificate.clone()))
        .ok()?;
    Some(certificates)
}

/// Reads a PEM file and parses it with `parse`.
fn pem<T>(
    written: Option<&str>,
    key: &'static str,
    cx: &mut Context<'_>,
    parse: impl Fn(&[u8]) -> Option<T>,
) -> Result<T, Trouble> {
    let Some(path) = written else {
        let (message, help) = (
            format!("`{key}` is missing"),
            Some(format!("add `{key}: FILE` (PEM)")),
        );
        return Err(Trouble {
            key,
            message,
            help,
            missing: true,
        });
    };
    let path: PathBuf = cx.loader.base.join(path);
    match cx.loader.inputs.read(&path, MAX_PEM) {
        Ok(bytes) => parse(&bytes).ok_or_else(|| {
            let message = format!(
                "the file contains no {}",
                if key == "key" {
                    "private key"
                } else {
                    "certificate"
                }
            );
            Trouble {
                key,
                message,
                help: Some("write it as PEM".to_owned()),
                missing: false,
            }
        }),
        Err(why) => Err(Trouble {
            key,
            message: format!("the file {why}"),
            help: None,
            missing: false,
        }),
    }
}
