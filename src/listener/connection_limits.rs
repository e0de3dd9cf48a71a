//! Counts open connections, in all and by client, and the refused ones.
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};

/// The counts of open connections, in all and by client, of refused ones, and of errors of accepting.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    open: Mutex<Open>,
    refused: [AtomicU64; RefusalReason::ALL.len()],
    accept_errors: [AtomicU64; AcceptFault::ALL.len()],
}

/// The reason why the system did not give the gateway a connection that was waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AcceptFault {
    /// The process or the system has no file descriptor left.
    NoFiles,
    /// The system has no memory for it.
    NoMemory,
    /// The sender left before the connection was accepted.
    Aborted,
    /// Anything else.
    Other,
}

impl AcceptFault {
    /// All faults.
    const ALL: [Self; 4] = [Self::NoFiles, Self::NoMemory, Self::Aborted, Self::Other];

    /// Returns the label of a metric and the field of a log line.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::NoFiles => "no_files",
            Self::NoMemory => "no_memory",
            Self::Aborted => "aborted",
            Self::Other => "other",
        }
    }

    /// Returns the fault that an error of the system stands for.
    pub(crate) fn of(errno: Option<i32>) -> Self {
        match errno {
            Some(libc::EMFILE | libc::ENFILE) => Self::NoFiles,
            Some(libc::ENOBUFS | libc::ENOMEM) => Self::NoMemory,
            Some(libc::ECONNABORTED | libc::EPROTO) => Self::Aborted,
            _ => Self::Other,
        }
    }
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    by_client: HashMap<IpAddr, usize>,
}

/// The most connections that may be open at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionCaps {
    /// The most in all.
    pub(crate) total: usize,
    /// The most of one client.
    pub(crate) per_client: usize,
}

/// The reason why a connection was closed before its first request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefusalReason {
    /// Too many connections are open.
    Full,
    /// The client has too many open connections.
    ClientFull,
    /// The peer is not a trusted proxy, and only those may connect here.
    Untrusted,
    /// The connection did not begin with a header of the PROXY protocol in time.
    NoProxyHeader,
    /// The TLS handshake failed, or was not complete in time.
    Tls,
}

impl RefusalReason {
    /// All reasons.
    pub(crate) const ALL: [Self; 5] = [
        Self::Full,
        Self::ClientFull,
        Self::Untrusted,
        Self::NoProxyHeader,
        Self::Tls,
    ];

    /// Returns the label of a metric and the field of a log line.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::ClientFull => "client_full",
            Self::Untrusted => "untrusted",
            Self::NoProxyHeader => "no_proxy_header",
            Self::Tls => "tls",
        }
    }
}

/// A permit for an open connection, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    connections: Arc<Connections>,
    client: Option<IpAddr>,
}

impl Connections {
    /// Returns the number of open connections.
    pub(crate) fn open(&self) -> usize {
        self.lock().total
    }

    /// Returns the number of refused connections, by the label of the reason.
    pub(crate) fn refused(&self) -> Vec<(&'static str, u64)> {
        RefusalReason::ALL
            .iter()
            .zip(&self.refused)
            .map(|(why, count)| (why.label(), count.load(Ordering::Relaxed)))
            .collect()
    }

    /// Returns how often accepting failed, by the label of the cause.
    pub(crate) fn accept_errors(&self) -> Vec<(&'static str, u64)> {
        AcceptFault::ALL
            .iter()
            .zip(&self.accept_errors)
            .map(|(fault, count)| (fault.label(), count.load(Ordering::Relaxed)))
            .collect()
    }

    /// Returns how often accepting failed for want of file descriptors.
    pub(crate) fn out_of_files(&self) -> u64 {
        AcceptFault::ALL
            .iter()
            .zip(&self.accept_errors)
            .find(|(fault, _)| **fault == AcceptFault::NoFiles)
            .map_or(0, |(_, count)| count.load(Ordering::Relaxed))
    }

    /// Counts an error of accepting.
    pub(crate) fn count_accept_error(&self, fault: AcceptFault) {
        for (_, count) in AcceptFault::ALL
            .iter()
            .zip(&self.accept_errors)
            .filter(|(known, _)| **known == fault)
        {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a refused connection, and returns the number with this reason so far.
    pub(crate) fn count_refused(&self, why: RefusalReason) -> u64 {
        let counts = RefusalReason::ALL.iter().zip(&self.refused);
        counts
            .filter(|(known, _)| **known == why)
            .map(|(_, count)| count.fetch_add(1, Ordering::Relaxed) + 1)
            .sum()
    }

    /// Takes a permit for a connection whose client is not known yet.
    ///
    /// # Errors
    /// `Full`.
    pub(crate) fn take(
        self: &Arc<Self>,
        caps: ConnectionCaps,
    ) -> Result<ConnectionPermit, RefusalReason> {
        let mut open = self.lock();
        if open.total >= caps.total {
            return Err(RefusalReason::Full);
        }
        open.total += 1;
        Ok(ConnectionPermit {
            connections: Arc::clone(self),
            client: None,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock()
    }
}

impl ConnectionPermit {
    /// Counts the connection against the cap of `client`.
    ///
    /// # Errors
    /// `ClientFull`.
    pub(crate) fn count_client(
        &mut self,
        client: IpAddr,
        caps: ConnectionCaps,
    ) -> Result<(), RefusalReason> {
        let mut open = self.connections.lock();
        let of_client = open.by_client.entry(client).or_default();
        if *of_client >= caps.per_client {
            return Err(RefusalReason::ClientFull);
        }
        *of_client += 1;
        self.client = Some(client);
        Ok(())
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut open = self.connections.lock();
        open.total = open.total.saturating_sub(1);
        let Some(client) = self.client else { return };
        if let Some(count) = open.by_client.get_mut(&client) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.by_client.remove(&client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_are_bounded_and_given_back() {
        let connections = Arc::new(Connections::default());
        let caps = ConnectionCaps {
            total: 3,
            per_client: 1,
        };
        let take = |client: &str| {
            connections.take(caps).and_then(|mut permit| {
                permit
                    .count_client(client.parse().unwrap(), caps)
                    .map(|()| permit)
            })
        };
        let one = take("192.0.2.1").unwrap();
        assert_eq!(take("192.0.2.1").unwrap_err(), RefusalReason::ClientFull);
        let _two = take("192.0.2.2").unwrap();
        let _three = connections.take(caps).unwrap();
        assert_eq!(take("192.0.2.3").unwrap_err(), RefusalReason::Full);
        drop(one);
        assert!(take("192.0.2.1").is_ok());
        assert_eq!(
            (connections.open(), connections.lock().by_client.len()),
            (2, 1)
        );
        assert_eq!(
            (
                connections.count_refused(RefusalReason::Tls),
                connections.count_refused(RefusalReason::Tls)
            ),
            (1, 2)
        );
        assert!(connections.refused().contains(&("tls", 2)));
    }
}
