//! Compiles the TLS settings of a listener.
use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;

use crate::config::compile::certificates::{self, Pair};
use crate::config::compile::context::Context;
use crate::config::diagnostic::Place;
use crate::config::file;
use crate::config::sni::Certificates;

/// Compiles `tls`, with h2 and http/1.1 by ALPN. `label` names the listener in status and log lines.
pub(super) fn server(
    tls: file::Tls,
    label: String,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<Arc<rustls::ServerConfig>> {
    let file::Tls {
        certificate,
        key,
        certificates,
        client_ca,
        client_auth,
    } = tls;
    let client_auth = client_verifier(
        client_ca.as_deref(),
        client_auth.as_deref(),
        &label,
        place,
        cx,
    );
    let one = certificate.is_some() || key.is_some();
    if one && !certificates.is_empty() {
        let help = "move the pair to the top of `certificates`".to_owned();
        cx.problems.error(
            &place.key("certificates"),
            "`certificate` with `key` cannot be used together with `certificates`",
            help,
        );
        return None;
    }
    let loaded: Vec<Option<Arc<CertifiedKey>>> = if certificates.is_empty() {
        vec![pair(
            &Pair {
                certificate: certificate.as_deref(),
                key: key.as_deref(),
                label,
            },
            place,
            cx,
        )]
    } else {
        let place = place.key("certificates");
        let mut one =
            |(index, file::Certificate { certificate, key }): (usize, file::Certificate)| {
                let label = format!("{label}.certificates[{index}]");
                pair(
                    &Pair {
                        certificate: certificate.as_deref(),
                        key: key.as_deref(),
                        label,
                    },
                    &place.index(index),
                    cx,
                )
            };
        certificates.into_iter().enumerate().map(&mut one).collect()
    };
    let certificates = Certificates::new(loaded.into_iter().collect::<Option<_>>()?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?;
    let builder = match client_auth? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(certificates));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Some(Arc::new(config))
}

/// Loads a certificate and its key.
fn pair(pair: &Pair<'_>, place: &Place, cx: &mut Context<'_>) -> Option<Arc<CertifiedKey>> {
    let identity = certificates::identity(pair, place, cx)?;
    let provider = rustls::crypto::ring::default_provider();
    CertifiedKey::from_der(identity.chain.clone(), identity.key.clone_key(), &provider)
        .ok()
        .map(Arc::new)
}

/// Returns the verifier of client certificates; `Some(None)` if none are asked for.
#[expect(clippy::option_option, reason = "wrong, or not asked for")]
fn client_verifier(
    client_ca: Option<&str>,
    client_auth: Option<&str>,
    label: &str,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<Option<Arc<dyn ClientCertVerifier>>> {
    let words = [("required", true), ("optional", false)];
    let required = cx
        .word(client_auth, &place.key("client_auth"), &words)
        .unwrap_or(true);
    let Some(client_ca) = client_ca else {
        if client_auth.is_some() {
            let help = "add `client_ca: FILE` (PEM)".to_owned();
            cx.problems.error(
                &place.key("client_auth"),
                "`client_auth` needs `client_ca`",
                help,
            );
        }
        return Some(None);
    };
    // an unreadable CA is one error, not one more for each `subject:` of a route
    cx.asks_for_certificates = true;
    let authorities = certificates::authorities(client_ca, "client_ca", label, place, cx)?;
    let mut roots = rustls::RootCertStore::empty();
    authorities
        .certificates
        .iter()
        .try_for_each(|certificate| roots.add(certificate.clone()))
        .ok()?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if required {
        builder
    } else {
        builder.allow_unauthenticated()
    };
    builder.build().ok().map(Some)
}
