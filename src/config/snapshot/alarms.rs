//! Alarms: when they are raised, and where they are sent.
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::alarm::Policy;
use crate::verify::SigningKey;

/// Alarms.
#[derive(Clone, Debug, Default)]
pub struct Alarms {
    /// When they are raised.
    pub policy: Policy,
    /// Where they are sent, if anywhere.
    pub webhook: Option<Arc<AlarmWebhook>>,
}

/// Where alarms are sent.
#[derive(Debug)]
pub struct AlarmWebhook {
    /// The place.
    pub to: WebAddress,
    /// What they are signed with.
    pub key: SigningKey,
}

/// A place on the web that is no upstream: the gate calls out to it.
#[derive(Clone, PartialEq, Eq)]
pub struct WebAddress {
    /// Whether it is TLS.
    pub tls: bool,
    /// A name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// `Host` as written.
    pub authority: String,
    /// Path and query.
    pub target: Bytes,
}

impl fmt::Debug for WebAddress {
    /// Without path and query: either may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "http{}://{}/…",
            if self.tls { "s" } else { "" },
            self.authority
        )
    }
}
