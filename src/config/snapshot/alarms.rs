//! The thresholds of alarms and their webhook.
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::alarm::Policy;
use crate::verify::SigningKey;

/// The compiled alarms.
#[derive(Clone, Debug, Default)]
pub struct Alarms {
    /// The thresholds.
    pub policy: Policy,
    /// The webhook, if any.
    pub webhook: Option<Arc<AlarmWebhook>>,
}

/// The webhook that receives alarms.
#[derive(Debug)]
pub struct AlarmWebhook {
    /// The address.
    pub to: WebAddress,
    /// The signing keys.
    pub keys: Box<[SigningKey]>,
}

/// An http or https address that is not an upstream.
#[derive(Clone, PartialEq, Eq)]
pub struct WebAddress {
    /// Whether it uses TLS.
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
    /// Leaves out path and query, either of which may contain a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "http{}://{}/…",
            if self.tls { "s" } else { "" },
            self.authority
        )
    }
}
