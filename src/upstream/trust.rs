//! The certificates of an upstream: those it is verified by, and the one that is shown to it.
use std::path::PathBuf;
use std::sync::Arc;

use pingora::protocols::tls::CaType;
use pingora::tls::{
    RootCertStore, load_ca_file_into_store, load_platform_certs_incl_env_into_store,
};
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};

use crate::config::snapshot::{Authorities, Identity, UpstreamTls};

/// A list of no certificates, for upstreams without TLS: pingora would read the system's.
const NO_CERTIFICATES: &str = "/dev/null";

/// The reason for which connections to an upstream cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// Its CA file.
    #[error("the CA file {} cannot be used: {why}", path.display())]
    Ca {
        /// The file.
        path: PathBuf,
        /// The cause.
        why: String,
    },
    /// The certificates of the system.
    #[error("the system's certificates cannot be used: {why}")]
    SystemCertificates {
        /// The cause.
        why: String,
    },
    /// The path of its socket.
    #[error("{} cannot be the path of a socket", path.display())]
    Socket {
        /// The path.
        path: PathBuf,
    },
}

/// Reads the certificates that the system trusts.
pub(super) fn system_roots() -> Result<RootCertStore, Unusable> {
    let mut store = RootCertStore::empty();
    load_platform_certs_incl_env_into_store(&mut store).map_err(|why| {
        Unusable::SystemCertificates {
            why: why.to_string(),
        }
    })?;
    Ok(store)
}

/// Checks what pingora would panic over when it reads it: returns the CA file for it.
pub(super) fn check_trust(tls: Option<&UpstreamTls>) -> Result<Option<String>, Unusable> {
    let mut store = RootCertStore::empty();
    let Some(tls) = tls else {
        let found = load_ca_file_into_store(NO_CERTIFICATES, &mut store);
        return found
            .map(|()| Some(NO_CERTIFICATES.to_owned()))
            .map_err(|why| Unusable::SystemCertificates {
                why: why.to_string(),
            });
    };
    let Some(ca) = &tls.ca else {
        return system_roots().map(|_| None);
    };
    let unusable = |why: String| Unusable::Ca {
        path: ca.file.clone(),
        why,
    };
    load_ca_file_into_store(&ca.file, &mut store).map_err(|why| unusable(why.to_string()))?;
    if store.is_empty() {
        return Err(unusable("it has no certificate".to_owned()));
    }
    ca.file
        .to_str()
        .map(|path| Some(path.to_owned()))
        .ok_or_else(|| unusable("its path is not UTF-8".to_owned()))
}

/// Converts authorities to pingora's type.
pub(super) fn authorities(authorities: &Authorities) -> Arc<CaType> {
    // each was read as a certificate by the compiler of the config
    authorities
        .certificates
        .iter()
        .map(|certificate| WrappedX509::new(certificate.to_vec(), parse_x509))
        .collect()
}

/// Converts an identity to pingora's type.
pub(super) fn certificate_and_key(identity: &Identity) -> Arc<CertKey> {
    let chain = identity
        .chain
        .iter()
        .map(|certificate| certificate.to_vec())
        .collect();
    Arc::new(CertKey::new(chain, identity.key.secret_der().to_vec()))
}
