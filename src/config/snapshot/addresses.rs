//! The addresses of listeners and upstreams, and the certificates that are trusted on either side.
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::route::guard::AppAddress;

/// A listener for senders.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The address to bind.
    pub address: ListenAddress,
    /// Whether each connection begins with a PROXY protocol header.
    pub proxy_protocol: bool,
    /// The TLS settings (h2 and http/1.1 by ALPN), if it uses TLS.
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

/// The address of a listener.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

impl ListenAddress {
    /// Returns the TCP address, if it is one.
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

/// The proxies in front of the gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    /// The networks of the proxies.
    pub networks: Vec<IpNet>,
    /// Whether the clients of the gateway's unix sockets are proxies.
    pub unix: bool,
}

impl TrustedProxies {
    /// Returns whether the address belongs to a proxy.
    pub fn has(&self, ip: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&ip))
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.unix
    }
}

/// The networks that the gateway itself may connect to, in addition to public addresses. Upstreams are exempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Egress {
    /// The additional networks.
    pub allow: Vec<IpNet>,
    /// The networks that are never allowed.
    pub deny: Vec<IpNet>,
}

/// The address of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamAddress {
    /// A TCP address.
    Tcp {
        /// The host of the URL: a name or an address, without brackets.
        host: String,
        /// The port of the URL.
        port: u16,
        /// The TLS settings, if it uses TLS.
        tls: Option<UpstreamTls>,
    },
    /// A unix socket.
    Unix(PathBuf),
}

impl UpstreamAddress {
    /// Returns the address by which the path guard distinguishes upstreams.
    pub fn app(&self) -> AppAddress {
        match self {
            Self::Unix(path) => AppAddress::unix(path.clone()),
            Self::Tcp { host, port, .. } => AppAddress::tcp(host, *port),
        }
    }

    /// Returns the TLS settings, if it uses TLS.
    pub fn tls(&self) -> Option<&UpstreamTls> {
        match self {
            Self::Tcp { tls, .. } => tls.as_ref(),
            Self::Unix(_) => None,
        }
    }
}

/// The TLS settings towards an upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    /// The CA of the upstream's certificate; `None`: the system's CAs.
    pub ca: Option<Arc<Authorities>>,
    /// The client certificate of the gateway.
    pub identity: Option<Arc<Identity>>,
}

/// Certificates that are trusted to sign others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorities {
    /// The PEM file they were read from.
    pub file: PathBuf,
    /// The certificates, at least one.
    pub certificates: Vec<CertificateDer<'static>>,
}

/// A certificate and its key. `Debug` shows neither.
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
