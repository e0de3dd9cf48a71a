//! The clients that may use a route.
use std::net::IpAddr;

use ipnet::IpNet;

use crate::request::ClientCertificate;

/// The clients that may use a route. Without entries: all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allow {
    /// The networks of the clients.
    pub networks: Vec<IpNet>,
    /// The names in verified certificates of the clients.
    pub subjects: Vec<String>,
}

impl Allow {
    /// Returns whether a client may use the route, by its address or by its certificate.
    pub fn admits(&self, ip: IpAddr, certificate: Option<&ClientCertificate>) -> bool {
        self.networks.is_empty() && self.subjects.is_empty()
            || self.networks.iter().any(|network| network.contains(&ip))
            || certificate.is_some_and(|certificate| {
                self.subjects
                    .iter()
                    .any(|subject| certificate.is_named(subject))
            })
    }
}
