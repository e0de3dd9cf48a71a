//! The ends of connections: where senders come in, where apps are, and who is trusted on either side.
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::route::guard::AppAddress;

/// Where senders connect.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The address to bind.
    pub address: ListenAddress,
    /// Whether each connection begins with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// With TLS: the finished server side, h2 and http/1.1 by ALPN.
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

/// Where a listener is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

impl ListenAddress {
    /// The TCP address, if it is one.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl std::fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The proxies in front of the gate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    /// Their addresses.
    pub networks: Vec<IpNet>,
    /// Whether one stands behind the gate's own unix sockets.
    pub unix: bool,
}

impl TrustedProxies {
    /// Whether the address is a proxy's.
    pub fn has(&self, ip: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&ip))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.unix
    }
}

/// What the gate may call out to beside what is public: for what is no upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Egress {
    /// Networks that it may as well.
    pub allow: Vec<IpNet>,
    /// Networks that it may not, whatever else is said.
    pub deny: Vec<IpNet>,
}

/// Where an app is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamAddress {
    /// Behind a TCP port.
    Tcp {
        /// Host of the URL: a name or an address, without brackets.
        host: String,
        /// Port of the URL.
        port: u16,
        /// How TLS is spoken, if it is.
        tls: Option<UpstreamTls>,
    },
    /// Behind a unix socket.
    Unix(PathBuf),
}

impl UpstreamAddress {
    /// Returns the address by which the path guard tells apps apart.
    pub fn app(&self) -> AppAddress {
        match self {
            Self::Unix(path) => AppAddress::unix(path.clone()),
            Self::Tcp { host, port, .. } => AppAddress::tcp(host, *port),
        }
    }

    /// How TLS is spoken, if it is.
    pub fn tls(&self) -> Option<&UpstreamTls> {
        match self {
            Self::Tcp { tls, .. } => tls.as_ref(),
            Self::Unix(_) => None,
        }
    }
}

/// The gate's side of TLS to an app.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    /// The CA of the app's certificate; `None`: the system's.
    pub ca: Option<Arc<Authorities>>,
    /// What the gate shows an app that asks for a certificate.
    pub identity: Option<Arc<Identity>>,
}

/// Certificates that are trusted to sign others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorities {
    /// The PEM file they were read from.
    pub file: PathBuf,
    /// At least one.
    pub certificates: Vec<CertificateDer<'static>>,
}

/// A certificate and the key that belongs to it. `Debug` shows neither.
#[derive(PartialEq, Eq)]
pub struct Identity {
    /// The certificate itself first, then its chain.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key.
    pub key: PrivateKeyDer<'static>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity(…)")
    }
}
