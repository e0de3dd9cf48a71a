//! The facts about a connection that each of its requests needs.
//!
//! HTTP/2 streams run in tasks of their own, and pingora gives them what it calls the digest of their connection. The one part of the
//! digest that is free to use is the one about proxies on the way; the facts travel there.
use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use pingora::http::ResponseHeader;
use pingora::protocols::Digest;
use pingora::protocols::raw_connect::ProxyDigest;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::clock::Clock;
use crate::listener::client_address::Peer;
use crate::listener::connection_state::ConnectionState;
use crate::request::{ClientCertificate, RequestHead};

/// The facts about a connection that each of its requests needs.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionInfo {
    /// The address of the other end.
    pub(crate) peer: Peer,
    /// The client certificate of this TLS handshake, verified.
    pub(crate) certificate: Option<Arc<ClientCertificate>>,
    /// The state of the connection over HTTP/1; none over HTTP/2, where several requests are served at once.
    pub(crate) state: Option<Arc<ConnectionState>>,
    /// The state of an HTTP/2 connection, which counts its streams.
    pub(crate) streams: Option<Arc<ConnectionState>>,
    /// The request that the gateway handed over to pingora on it.
    pub(crate) judged: Option<Arc<JudgedRequest>>,
}

/// The parts of a request by which it was judged before pingora read its bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct JudgedRequest {
    method: Method,
    target: Bytes,
    authority: String,
    declared_size: Option<u64>,
}

impl JudgedRequest {
    /// Takes the parts from the head as the gateway read it.
    pub(crate) fn of(head: &RequestHead) -> Self {
        Self {
            method: head.method.clone(),
            target: head.target.clone(),
            authority: head.authority.clone(),
            declared_size: head.declared_size,
        }
    }
}

impl ConnectionInfo {
    /// Packs the facts for the requests of the connection.
    pub(crate) fn pack(self) -> Option<Arc<ProxyDigest>> {
        let header = ResponseHeader::build_no_case(http::StatusCode::OK, Some(0)).ok()?;
        Some(Arc::new(ProxyDigest::new(
            Box::new(header),
            Some(Box::new(self)),
        )))
    }

    /// Returns the facts about the connection of a request.
    pub(crate) fn of(digest: Option<&Digest>) -> Option<&Self> {
        digest?
            .proxy_digest
            .as_ref()?
            .user_data
            .as_ref()?
            .downcast_ref()
    }

    /// Returns the state of the connection of an HTTP/1 request.
    pub(crate) fn state_of(digest: Option<&Digest>) -> Option<&ConnectionState> {
        Self::of(digest)?.state.as_deref()
    }
}

/// An HTTP/2 stream that is being served. Its connection is not idle before this is dropped.
pub(crate) struct ServedStream {
    connection: Arc<ConnectionState>,
    clock: Arc<dyn Clock>,
}

impl ServedStream {
    /// Begins to serve a stream of a connection; nothing over HTTP/1.
    pub(crate) fn begin(digest: Option<&Digest>, clock: &Arc<dyn Clock>) -> Option<Self> {
        let connection = ConnectionInfo::of(digest)?.streams.clone()?;
        connection.begin_stream();
        Some(Self {
            connection,
            clock: Arc::clone(clock),
        })
    }
}

impl Drop for ServedStream {
    fn drop(&mut self) {
        self.connection.end_stream(self.clock.mono());
    }
}

/// Returns the names in a verified certificate; none if it cannot be read.
pub(crate) fn certificate(der: &[u8]) -> Arc<ClientCertificate> {
    let names = X509Certificate::from_der(der)
        .map(|(_, certificate)| names_of(&certificate))
        .unwrap_or_default();
    Arc::new(ClientCertificate::new(names))
}

/// Returns the common names, then the DNS, URI and email names.
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
    use crate::clock::SystemClock;
    use crate::request::{Client, HeaderLines, RequestId};

    #[test]
    fn another_reading_of_a_head_is_noticed() {
        let head = RequestHead {
            request_id: RequestId::from_u128(1),
            method: Method::POST,
            target: Bytes::from_static(b"/a"),
            authority: "a.example".to_owned(),
            tls: false,
            headers: HeaderLines::default(),
            declared_size: Some(2),
            client: Client {
                ip: [192, 0, 2, 1].into(),
                own: true,
                behind_trusted_proxy: false,
            },
            certificate: None,
            received: SystemClock.now(),
        };
        let judged = JudgedRequest::of(&head);
        let differs = |change: fn(&mut RequestHead)| {
            let mut other = head.clone();
            change(&mut other);
            JudgedRequest::of(&other) != judged
        };
        assert!(!differs(|other| other.request_id = RequestId::from_u128(2)));
        assert!(differs(|other| other.method = Method::PUT));
        assert!(differs(|other| other.target = Bytes::from_static(b"/A")));
        assert!(differs(|other| other.authority.push('.')));
        assert!(differs(|other| other.declared_size = None));
    }

    #[test]
    fn names_of_a_certificate_count_and_addresses_do_not() {
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
