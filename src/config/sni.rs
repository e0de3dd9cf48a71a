//! Chooses one of several certificates for a sender.
use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// Certificates by their names. If two have the same name, the first counts. Senders that ask for an unknown name get the first of all.
#[derive(Debug)]
pub struct Certificates {
    first: Arc<CertifiedKey>,
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// Certificates by the part of the name after `*.`.
    wildcard: HashMap<String, Arc<CertifiedKey>>,
}

impl Certificates {
    /// Creates the index, in the order of the config; `None` if there are no certificates.
    pub fn new(all: Vec<Arc<CertifiedKey>>) -> Option<Self> {
        let mut certificates = Self {
            first: Arc::clone(all.first()?),
            exact: HashMap::new(),
            wildcard: HashMap::new(),
        };
        for one in all {
            for name in one.cert.first().map(names_of).unwrap_or_default() {
                let (map, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut certificates.wildcard, parent.to_owned()),
                    None => (&mut certificates.exact, name),
                };
                map.entry(name).or_insert_with(|| Arc::clone(&one));
            }
        }
        Some(certificates)
    }

    /// Returns the certificate for a sender that asks for `name`.
    fn find(&self, name: Option<&str>) -> &Arc<CertifiedKey> {
        let Some(name) = name.map(|name| name.trim_end_matches('.').to_ascii_lowercase()) else {
            return &self.first;
        };
        let by_wildcard = || self.wildcard.get(name.split_once('.')?.1);
        self.exact
            .get(&name)
            .or_else(by_wildcard)
            .unwrap_or(&self.first)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(self.find(hello.server_name())))
    }
}

/// Returns the DNS names of a certificate, in lower case.
fn names_of(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let dns = names.value.general_names.iter().filter_map(|name| {
        if let GeneralName::DNSName(name) = name {
            Some(*name)
        } else {
            None
        }
    });
    dns.map(str::to_ascii_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::PrivateKeyDer;

    use super::*;

    fn certificate(names: &[&str]) -> Arc<CertifiedKey> {
        let made = rcgen::generate_simple_self_signed(
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>(),
        )
        .unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = rustls::crypto::ring::default_provider();
        Arc::new(CertifiedKey::from_der(vec![made.cert.der().clone()], key, &provider).unwrap())
    }

    #[test]
    fn certificate_is_chosen_by_server_name() {
        let all = [
            &["a.example", "*.A.example"][..],
            &["b.example", "deep.a.example", "192.0.2.1"],
            &["*.example", "b.example"],
        ]
        .map(certificate);
        let certificates = Certificates::new(all.to_vec()).unwrap();
        let find = |name: Option<&str>| {
            let found = certificates.find(name);
            all.iter().position(|one| Arc::ptr_eq(one, found)).unwrap()
        };
        for (name, index) in [
            ("a.example", 0),
            ("A.EXAMPLE.", 0),
            ("x.a.example", 0),
            ("deep.a.example", 1),
            ("b.example", 1),
            ("c.example", 2),
            ("x.y.a.example", 0),
            ("x.b.example", 0),
            ("example", 0),
            ("", 0),
            ("elsewhere.test", 0),
        ] {
            assert_eq!(find(Some(name)), index, "{name}");
        }
        assert_eq!(find(None), 0);
        assert!(Certificates::new(Vec::new()).is_none());
    }
}
