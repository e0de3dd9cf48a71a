//! One request to a place that no `upstreams` names: judged by [`egress`], bounded in time, never redirected.
use std::sync::Arc;
use std::time::Duration;

use super::Outgoing;
use super::client::{Sent, Unusable, send};
use super::egress::{self, Refused};
use super::wire::{Bounds, Wire};
use crate::clock::Clock;
use crate::config::snapshot::{Egress, UpstreamTls, WebAddress};
use crate::delivery::{Fault, TlsFault};

/// The reason for which nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum NotCalled {
    /// The gateway may not call this address.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The certificates of the system.
    #[error(transparent)]
    Unusable(#[from] Unusable),
}

impl NotCalled {
    /// Returns the fault for the outcome of the attempt.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Refused(Refused::Unresolved) => Fault::Resolve,
            Self::Refused(_) => Fault::Blocked,
            Self::Unusable(_) => Fault::Tls(TlsFault::Other),
        }
    }
}

/// Sends a request over a connection of its own to an address that was judged just now; SNI and `Host` are the name. `budget` bounds looking up,
/// connecting, sending and the whole answer together. The answer may be any: one that redirects is an answer.
///
/// # Errors
/// Why nothing was sent.
pub async fn call(
    to: &WebAddress,
    outgoing: &Outgoing,
    policy: &Egress,
    budget: Duration,
    clock: Arc<dyn Clock>,
) -> Result<Sent, NotCalled> {
    let deadline = clock.mono() + budget;
    let addresses = egress::resolve(&to.host, to.port, policy).await?;
    let tls = to.tls.then(UpstreamTls::default);
    let wire = Wire::pinned(addresses.into(), &to.host, tls.as_ref(), clock)?;
    Ok(send(
        &wire,
        outgoing,
        Bounds {
            connect: budget,
            deadline,
            idle: Duration::ZERO,
        },
    )
    .await)
}
