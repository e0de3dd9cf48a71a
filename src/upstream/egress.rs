//! The addresses that the gateway itself may connect to, for alarms and fetched keys.
//!
//! A name in an alarm's URL, or in what a provider sends, must not give access to the network of the gateway. Each address is checked
//! before the connection, and the connection goes to the address that was checked.
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;
use parking_lot::Mutex;

use crate::address::{Class, class, spellings};
use crate::config::snapshot::Egress;

/// The time after which the machine's own addresses are read again.
const OWN_TTL: Duration = Duration::from_secs(10);
/// The most addresses that a name may have.
const MAX_ADDRESSES: usize = 64;

/// A reason not to connect to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// One of the addresses is not public, and `egress.allow` does not have it.
    #[error("{0} is {why}, and not in `egress.allow`", why = .1.words())]
    NotPublic(IpAddr, Class),
    /// `egress.deny` has one of the addresses.
    #[error("{0} is in `egress.deny`")]
    Denied(IpAddr),
    /// There is no address, or too many of them.
    #[error("the name does not resolve")]
    Unresolved,
    /// The system does not list this machine's own addresses, so the gateway cannot tell whether the address is one of them.
    #[error(
        "the system does not list this machine's own addresses, so the gateway cannot tell which addresses it may call; \
         allow the address family AF_NETLINK (systemd: `RestrictAddressFamilies=`, else a seccomp profile)"
    )]
    OwnUnknown,
}

/// Checks that the gateway may connect to all of `addresses`. `own` are the addresses of this machine.
///
/// # Errors
/// The first address that it may not connect to.
pub fn judge(addresses: &[IpAddr], policy: &Egress, own: &[IpAddr]) -> Result<(), Refused> {
    if addresses.is_empty() || addresses.len() > MAX_ADDRESSES {
        return Err(Refused::Unresolved);
    }
    for ip in addresses {
        let spellings = spellings(*ip);
        if spellings
            .iter()
            .any(|ip| policy.deny.iter().any(|network| network.contains(ip)))
        {
            return Err(Refused::Denied(*ip));
        }
        let allowed = |ip: &IpAddr| policy.allow.iter().any(|network| network.contains(ip));
        let (itself, within) = spellings
            .split_first()
            .map_or((false, &[][..]), |(ip, within)| (allowed(ip), within));
        if itself || !within.is_empty() && within.iter().all(allowed) {
            continue;
        }
        let is_own = own
            .iter()
            .any(|own| spellings.contains(&own.to_canonical()));
        let class = Some(class(*ip))
            .filter(|class| *class != Class::Public || !is_own)
            .unwrap_or(Class::Own);
        if class != Class::Public {
            return Err(Refused::NotPublic(*ip, class));
        }
    }
    Ok(())
}

/// The addresses of this machine, read again after a short time.
pub(super) struct OwnAddresses {
    read: fn() -> Result<Vec<IpAddr>, Refused>,
    known: Mutex<Option<(Instant, Arc<[IpAddr]>)>>,
}

impl Default for OwnAddresses {
    fn default() -> Self {
        Self::with(own_addresses)
    }
}

impl OwnAddresses {
    /// Makes addresses that `read` reads.
    pub(super) fn with(read: fn() -> Result<Vec<IpAddr>, Refused>) -> Self {
        Self {
            read,
            known: Mutex::default(),
        }
    }

    /// Returns the addresses as of a few seconds before `now`.
    ///
    /// # Errors
    /// The system does not list them.
    pub(super) fn at(&self, now: Instant) -> Result<Arc<[IpAddr]>, Refused> {
        let mut known = self.known.lock();
        if let Some((read_at, own)) = &*known
            && now.saturating_duration_since(*read_at) < OWN_TTL
        {
            return Ok(Arc::clone(own));
        }
        let own: Arc<[IpAddr]> = (self.read)()?.into();
        *known = Some((now, Arc::clone(&own)));
        Ok(own)
    }
}

/// Returns the addresses of this machine's interfaces now. A machine always has one: an empty list means that the system does not list them.
fn own_addresses() -> Result<Vec<IpAddr>, Refused> {
    let address = |storage: &SockaddrStorage| {
        let v4 = storage
            .as_sockaddr_in()
            .map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| {
            storage
                .as_sockaddr_in6()
                .map(|address| IpAddr::V6(address.ip()))
        })
    };
    let all = getifaddrs().map_err(|_| Refused::OwnUnknown)?;
    let own: Vec<IpAddr> = all
        .filter_map(|interface| address(&interface.address?))
        .collect();
    if own.is_empty() {
        Err(Refused::OwnUnknown)
    } else {
        Ok(own)
    }
}

#[cfg(test)]
mod tests;
