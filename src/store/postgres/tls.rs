//! TLS of connections to the server.
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::options::{Tls, TlsMode};
use crate::clock::{Clock as _, SystemClock};

/// The time for which the certificates of the system are not read again: there are more than a hundred of them.
const SYSTEM_ROOTS_AGE: Duration = Duration::from_secs(600);
/// The certificates of the system, and the time at which they were read.
static SYSTEM_ROOTS: Mutex<Option<(Instant, Arc<RootCertStore>)>> = Mutex::new(None);

/// The files of TLS, with the last good text of each.
#[derive(Debug, Default)]
pub(super) struct TlsFiles {
    last: Mutex<HashMap<PathBuf, Arc<[u8]>>>,
    /// Held by the one that reads: a disk that hangs holds one thread.
    pub(super) reading: Arc<tokio::sync::Mutex<()>>,
}

impl TlsFiles {
    /// Returns what makes TLS connections, from the files as they are now; `None` if there is no encryption.
    ///
    /// # Errors
    /// A file cannot be read or holds something else. The message names the file, and nothing that is in it.
    pub(super) fn connector(&self, tls: &Tls) -> Result<Option<MakeRustlsConnect>, String> {
        if tls.mode == TlsMode::Off {
            return Ok(None);
        }
        let roots = match &tls.ca {
            Some(path) => Arc::new(self.use_file(path, roots_of)?),
            None => system_roots()?,
        };
        let provider = Arc::new(default_provider());
        let fails = |error: String| format!("TLS to the server cannot be set up: {error}");
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| fails(error.to_string()))?;
        let full = WebPkiServerVerifier::builder_with_provider(roots, provider)
            .build()
            .map_err(|error| fails(error.to_string()))?;
        let verifier: Arc<dyn ServerCertVerifier> = match tls.mode {
            TlsMode::VerifyCa => Arc::new(AnyName(full)),
            TlsMode::VerifyFull | TlsMode::Off => full,
        };
        // the verifier is the one of the library, or asks it
        let builder = builder
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let config = match &tls.client {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = self.use_file(certificate, certificates)?;
                let key = self.use_file(key, |pem| {
                    PrivateKeyDer::from_pem_slice(pem).map_err(|error| error.to_string())
                })?;
                let config = builder.with_client_auth_cert(chain, key);
                config.map_err(|error| fails(error.to_string()))?
            }
        };
        Ok(Some(MakeRustlsConnect::new(config)))
    }

    /// Reads a file and makes something of it. If that fails, the last text is used of which something could be made.
    fn use_file<T>(
        &self,
        path: &Path,
        make: impl Fn(&[u8]) -> Result<T, String>,
    ) -> Result<T, String> {
        let read = fs::read(path).map_err(|error| error.to_string());
        let failure = match read.and_then(|text| Ok((make(&text)?, text))) {
            Ok((made, text)) => {
                self.last.lock().insert(path.to_owned(), text.into());
                return Ok(made);
            }
            Err(failure) => failure,
        };
        let last = self.last.lock().get(path).cloned();
        match last.map(|text| make(&text)) {
            Some(Ok(made)) => {
                tracing::warn!(file = %path.display(), error = failure, "cannot read a file of TLS: its last text is used");
                Ok(made)
            }
            Some(Err(_)) | None => Err(format!("{}: {failure}", path.display())),
        }
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err("there is no certificate in it".to_owned()),
        Ok(found) => Ok(found),
        Err(error) => Err(error.to_string()),
    }
}

fn roots_of(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    Ok(roots)
}

/// Returns the certificates of the system. The last ones that were read are used while they cannot be read again.
fn system_roots() -> Result<Arc<RootCertStore>, String> {
    let now = SystemClock.mono();
    let mut known = SYSTEM_ROOTS.lock();
    if let Some((read, roots)) = &*known
        && now < *read + SYSTEM_ROOTS_AGE
    {
        return Ok(Arc::clone(roots));
    }
    let roots = match (read_system_roots(), &*known) {
        (Ok(roots), _) => Arc::new(roots),
        (Err(error), Some((_, roots))) => {
            tracing::warn!(error, "the last certificates of the system are used");
            Arc::clone(roots)
        }
        (Err(error), None) => return Err(error),
    };
    *known = Some((now, Arc::clone(&roots)));
    Ok(roots)
}

fn read_system_roots() -> Result<RootCertStore, String> {
    let all = rustls_native_certs::load_native_certs();
    let all = all.map_err(|error| format!("the certificates of the system: {error}"))?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(all);
    if roots.is_empty() {
        return Err("the system has no certificates of authorities: write `tls.ca`".to_owned());
    }
    Ok(roots)
}

/// Verifies all but the name.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified =
            self.0
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // the name is compared last, after everything else held
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
