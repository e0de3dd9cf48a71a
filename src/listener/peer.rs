//! What the listener found out about the other end of a connection, carried to each of its requests.
//!
//! HTTP/2 streams have tasks of their own, and pingora hands them what it calls the digest of their connection. The one part of it that
//! is ours to fill is what a proxy on the way said; it goes along there.
use std::sync::Arc;

use pingora::http::ResponseHeader;
use pingora::protocols::Digest;
use pingora::protocols::raw_connect::ProxyDigest;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::listener::client_address::Peer;
use crate::request::ClientCertificate;

/// The other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Other {
    /// Who it is, as far as addresses tell.
    pub(crate) peer: Peer,
    /// The certificate it has shown in this very TLS handshake, verified.
    pub(crate) certificate: Option<Arc<ClientCertificate>>,
}

impl Other {
    /// Packs it for the requests of its connection.
    pub(crate) fn pack(self) -> Option<Arc<ProxyDigest>> {
        let nothing = ResponseHeader::build_no_case(http::StatusCode::OK, Some(0)).ok()?;
        Some(Arc::new(ProxyDigest::new(
            Box::new(nothing),
            Some(Box::new(self)),
        )))
    }

    /// Who is at the other end of the connection of a request.
    pub(crate) fn of(digest: Option<&Digest>) -> Option<&Self> {
        digest?
            .proxy_digest
            .as_ref()?
            .user_data
            .as_ref()?
            .downcast_ref()
    }
}

/// The names in a certificate that was verified; none if it cannot be read.
pub(crate) fn certificate(der: &[u8]) -> Arc<ClientCertificate> {
    let names = X509Certificate::from_der(der)
        .map(|(_, certificate)| names_of(&certificate))
        .unwrap_or_default();
    Arc::new(ClientCertificate::new(names))
}

/// The common names, then the DNS, URI and email names.
fn names_of(certificate: &X509Certificate<'_>) -> Vec<String> {
    let common = certificate
        .subject()
        .iter_common_name()
        .filter_map(|name| name.as_str().ok());
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let alternative = alternative
        .iter()
        .flat_map(|names| &names.value.general_names)
        .filter_map(|name| {
            if let GeneralName::DNSName(name)
            | GeneralName::URI(name)
            | GeneralName::RFC822Name(name) = name
            {
                Some(*name)
            } else {
                None
            }
        });
    common
        .chain(alternative)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    #[test]
    fn all_names_of_a_certificate_count_and_its_addresses_do_not() {
        let mut params =
            CertificateParams::new(vec!["app.example".to_owned(), "192.0.2.1".to_owned()]).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, "payments");
        params
            .distinguished_name
            .push(DnType::OrganizationName, "example");
        params.subject_alt_names.push(SanType::URI(
            "spiffe://example/payments".try_into().unwrap(),
        ));
        params
            .subject_alt_names
            .push(SanType::Rfc822Name("ops@app.example".try_into().unwrap()));
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let found = certificate(made.der());
        assert_eq!(found.subject(), "payments");
        for name in [
            "payments",
            "app.example",
            "spiffe://example/payments",
            "ops@app.example",
        ] {
            assert!(found.is_named(name), "{name}");
        }
        for name in ["example", "192.0.2.1", "PAYMENTS", "pay", ""] {
            assert!(!found.is_named(name), "{name}");
        }
        assert_eq!(certificate(b"no certificate").subject(), "");
    }
}
