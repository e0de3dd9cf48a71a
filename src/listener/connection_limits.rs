//! Counts open connections, in all and by client, and those that were turned away.
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};

/// Counts open connections, in all and by client, those that were turned away, and errors of accepting.
#[derive(Debug, Default)]
pub struct Connections {
    open: Mutex<Open>,
    turned_away: [AtomicU64; Away::ALL.len()],
    accept_errors: [AtomicU64; AcceptFault::ALL.len()],
}

/// Why the system did not give the gateway a connection that waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AcceptFault {
    /// The process or the system has no file descriptor left.
    NoFiles,
    /// The system has no memory for it.
    NoMemory,
    /// The sender went away before it was accepted.
    Aborted,
    /// Anything else.
    Other,
}

impl AcceptFault {
    /// All of them.
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
    all: usize,
    by_client: HashMap<IpAddr, usize>,
}

/// How many connections may be open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Most {
    /// In all.
    pub(crate) all: usize,
    /// Of one client.
    pub(crate) of_one_client: usize,
}

/// Why a connection was closed before its first request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Away {
    /// There are too many.
    Full,
    /// The client has too many.
    ClientFull,
    /// It is no trusted proxy, where only those may connect.
    Untrusted,
    /// It did not begin with a header of the PROXY protocol, in time.
    NoProxyHeader,
    /// TLS did not come about, in time.
    Tls,
}

impl Away {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Full,
        Self::ClientFull,
        Self::Untrusted,
        Self::NoProxyHeader,
        Self::Tls,
    ];

    /// The label of a metric.
    pub fn label(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::ClientFull => "client_full",
            Self::Untrusted => "untrusted",
            Self::NoProxyHeader => "no_proxy_header",
            Self::Tls => "tls",
        }
    }
}

/// A place among the open connections, given back on drop.
#[derive(Debug)]
pub(crate) struct Slot {
    connections: Arc<Connections>,
    client: Option<IpAddr>,
}

impl Connections {
    /// How many are open.
    pub fn open(&self) -> usize {
        self.lock().all
    }

    /// How many were turned away, by the label of why.
    pub fn turned_away(&self) -> Vec<(&'static str, u64)> {
        Away::ALL
            .iter()
            .zip(&self.turned_away)
            .map(|(why, count)| (why.label(), count.load(Ordering::Relaxed)))
            .collect()
    }

    /// Returns how often accepting failed, by the label of the cause.
    pub fn accept_errors(&self) -> Vec<(&'static str, u64)> {
        AcceptFault::ALL
            .iter()
            .zip(&self.accept_errors)
            .map(|(fault, count)| (fault.label(), count.load(Ordering::Relaxed)))
            .collect()
    }

    /// Returns how often accepting failed for want of file descriptors.
    pub fn out_of_files(&self) -> u64 {
        AcceptFault::ALL
            .iter()
            .zip(&self.accept_errors)
            .find(|(fault, _)| **fault == AcceptFault::NoFiles)
            .map_or(0, |(_, count)| count.load(Ordering::Relaxed))
    }

    /// Counts an error of accepting.
    pub(crate) fn accept_failed(&self, fault: AcceptFault) {
        for (_, count) in AcceptFault::ALL
            .iter()
            .zip(&self.accept_errors)
            .filter(|(known, _)| **known == fault)
        {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts one that was turned away: how many that makes.
    pub(crate) fn turn_away(&self, why: Away) -> u64 {
        let counts = Away::ALL.iter().zip(&self.turned_away);
        counts
            .filter(|(known, _)| **known == why)
            .map(|(_, count)| count.fetch_add(1, Ordering::Relaxed) + 1)
            .sum()
    }

    /// A place for a connection of a client that is not known yet.
    pub(crate) fn take(self: &Arc<Self>, most: Most) -> Result<Slot, Away> {
        let mut open = self.lock();
        if open.all >= most.all {
            return Err(Away::Full);
        }
        open.all += 1;
        Ok(Slot {
            connections: Arc::clone(self),
            client: None,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock()
    }
}

impl Slot {
    /// The connection is `client`'s.
    pub(crate) fn belongs_to(&mut self, client: IpAddr, most: Most) -> Result<(), Away> {
        let mut open = self.connections.lock();
        let of_client = open.by_client.entry(client).or_default();
        if *of_client >= most.of_one_client {
            return Err(Away::ClientFull);
        }
        *of_client += 1;
        self.client = Some(client);
        Ok(())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = self.connections.lock();
        open.all = open.all.saturating_sub(1);
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
    fn places_are_bounded_and_come_back() {
        let connections = Arc::new(Connections::default());
        let most = Most {
            all: 3,
            of_one_client: 1,
        };
        let take = |client: &str| {
            connections.take(most).and_then(|mut slot| {
                slot.belongs_to(client.parse().unwrap(), most)
                    .map(|()| slot)
            })
        };
        let one = take("192.0.2.1").unwrap();
        assert_eq!(take("192.0.2.1").unwrap_err(), Away::ClientFull);
        let _two = take("192.0.2.2").unwrap();
        let _three = connections.take(most).unwrap();
        assert_eq!(take("192.0.2.3").unwrap_err(), Away::Full);
        drop(one);
        assert!(take("192.0.2.1").is_ok());
        assert_eq!(
            (connections.open(), connections.lock().by_client.len()),
            (2, 1)
        );
        assert_eq!(
            (
                connections.turn_away(Away::Tls),
                connections.turn_away(Away::Tls)
            ),
            (1, 2)
        );
        assert!(connections.turned_away().contains(&("tls", 2)));
    }
}
