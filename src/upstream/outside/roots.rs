//! The certificates by which places outside are verified: read once, and again after a reload.
use std::sync::Arc;

use parking_lot::Mutex;
use pingora::tls::{CertificateDer, ClientConfig, RootCertStore, TlsConnector};
use rustls::crypto::ring::default_provider;

use crate::upstream::trust::{Unusable, check_trust, system_roots};

/// A function that reads certificates.
type Read = Box<dyn Fn() -> Result<RootCertStore, Unusable> + Send + Sync>;

/// The certificates, and the connector that trusts them.
pub(super) struct Roots {
    read: Read,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The number of reloads.
    generation: u32,
    /// The connector, once the certificates were read.
    connector: Option<TlsConnector>,
}

impl Roots {
    /// Makes roots that are the system's, and those of `extra`.
    pub(super) fn system(extra: Vec<CertificateDer<'static>>) -> Self {
        Self::with(Box::new(move || {
            let mut roots = system_roots()?;
            roots.add_parsable_certificates(extra.iter().cloned());
            Ok(roots)
        }))
    }

    /// Makes roots that `read` reads.
    pub(super) fn with(read: Read) -> Self {
        Self {
            read,
            state: Mutex::default(),
        }
    }

    /// Returns how often the certificates were forgotten.
    pub(super) fn generation(&self) -> u32 {
        self.state.lock().generation
    }

    /// Reads the certificates again when a connector is next asked for.
    pub(super) fn forget(&self) {
        let mut state = self.state.lock();
        state.generation = state.generation.wrapping_add(1);
        state.connector = None;
    }

    /// Returns the connector, and its generation.
    ///
    /// # Errors
    /// The certificates cannot be read.
    pub(super) fn connector(&self) -> Result<(u32, TlsConnector), Unusable> {
        // they are read while locked: others would only read the same
        let mut state = self.state.lock();
        let connector = match &state.connector {
            Some(connector) => connector.clone(),
            None => connector((self.read)()?)?,
        };
        state.connector = Some(connector.clone());
        Ok((state.generation, connector))
    }
}

/// Makes a connector that trusts `roots`, and shows no certificate of its own.
fn connector(roots: RootCertStore) -> Result<TlsConnector, Unusable> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|why| Unusable::SystemCertificates {
            why: why.to_string(),
        })?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Returns the path of a file without certificates, for a connector that makes connections without TLS alone.
///
/// # Errors
/// The file cannot be read.
pub(super) fn no_file() -> Result<String, Unusable> {
    Ok(check_trust(None)?.unwrap_or_default())
}
