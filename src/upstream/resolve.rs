//! Finds the addresses of an upstream's name. `Name` decides, and is passed the time; [`Resolver`] asks the system and waits.
use std::fmt;
use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::clock::Clock;
use crate::delivery::{Fault, Pending, Shortage};

mod name;

pub use name::Addresses;
use name::{LOOKUP_TIMEOUT, Name, Step};

/// The longest time for which a request waits for a look-up while it could use the last good addresses.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// A function that looks up a host and port.
type Lookup =
    Box<dyn Fn(String, u16) -> Pending<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// The addresses of one host and port, kept up to date.
pub struct Resolver {
    host: String,
    port: u16,
    clock: Arc<dyn Clock>,
    lookup: Lookup,
    /// The address, if the host is one: it never changes.
    fixed: Option<Addresses>,
    name: Mutex<Name>,
    /// Changes with the end of each look-up, while `name` is locked.
    ended: watch::Sender<()>,
}

impl Resolver {
    /// Makes a resolver that asks the system.
    pub fn new(host: &str, port: u16, clock: Arc<dyn Clock>) -> Arc<Self> {
        let system: Lookup = Box::new(|host, port| {
            Box::pin(async move {
                tokio::net::lookup_host((host.as_str(), port))
                    .await
                    .map(Iterator::collect)
            })
        });
        Self::with(host, port, clock, system)
    }

    /// Makes a resolver that asks `lookup`.
    pub(super) fn with(host: &str, port: u16, clock: Arc<dyn Clock>, lookup: Lookup) -> Arc<Self> {
        let fixed = host
            .parse::<IpAddr>()
            .ok()
            .map(|ip| Addresses::from([SocketAddr::new(ip, port)]));
        Arc::new(Self {
            host: host.to_owned(),
            port,
            clock,
            lookup,
            fixed,
            name: Mutex::default(),
            ended: watch::Sender::default(),
        })
    }

    /// Returns the addresses. Waits for a look-up where none are known (as long as `connect_timeout`) or those that are known are too old
    /// (at most a second).
    ///
    /// # Errors
    /// The name does not resolve, and never has; or the machine has no resources to look it up.
    pub async fn addresses(
        self: &Arc<Self>,
        connect_timeout: Duration,
    ) -> Result<Addresses, Fault> {
        self.take(connect_timeout, Name::ask).await
    }

    /// Looks the name up again, after none of its addresses took a connection: at most once a second. Returns the addresses that are
    /// known then; waits for them as [`Self::addresses`] does.
    ///
    /// # Errors
    /// As of [`Self::addresses`].
    pub async fn addresses_after_fault(
        self: &Arc<Self>,
        connect_timeout: Duration,
    ) -> Result<Addresses, Fault> {
        self.take(connect_timeout, Name::ask_after_fault).await
    }

    /// Notes a fault without waiting.
    pub fn note_fault(self: &Arc<Self>) {
        if self.fixed.is_none() && self.lock().ask_after_fault(self.clock.mono()).begins() {
            self.begin();
        }
    }

    /// Looks the name up again if the last look-up failed and the next one is due. Returns for how long look-ups have failed, if that has
    /// lasted long enough for an alarm.
    pub fn check(self: &Arc<Self>) -> Option<Duration> {
        let now = self.clock.mono();
        let mut name = self.lock();
        let is_due = name.retry(now);
        let failing = name.failing_for(now);
        drop(name);
        if is_due {
            self.begin();
        }
        failing
    }

    async fn take(
        self: &Arc<Self>,
        connect_timeout: Duration,
        ask: fn(&mut Name, Instant) -> Step,
    ) -> Result<Addresses, Fault> {
        if let Some(fixed) = &self.fixed {
            return Ok(Arc::clone(fixed));
        }
        let now = self.clock.mono();
        let (step, ended) = {
            let mut name = self.lock();
            let step = ask(&mut name, now);
            let ended = matches!(step, Step::Wait { .. }).then(|| self.ended.subscribe());
            (step, ended)
        };
        if step.begins() {
            self.begin();
        }
        let (last_good, mut ended) = match (step, ended) {
            (Step::Serve(addresses) | Step::Refresh(addresses), _) => return Ok(addresses),
            (Step::Wait { last_good, .. }, ended) => {
                (last_good, ended.unwrap_or_else(|| self.ended.subscribe()))
            }
        };
        let patience = if last_good.is_some() {
            MAX_WAIT.min(connect_timeout)
        } else {
            connect_timeout
        };
        let waited = timeout(patience, ended.changed()).await;
        let mut name = self.lock();
        if waited.is_err() {
            name.gave_up(self.clock.mono());
        }
        name.last_good()
            .ok_or_else(|| name.shortage().map_or(Fault::Resolve, Fault::Local))
    }

    /// Looks up in a task of its own: what a slow server says after a request gave up serves the next one.
    fn begin(self: &Arc<Self>) {
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let looking = (this.lookup)(this.host.clone(), this.port);
            let found = timeout(LOOKUP_TIMEOUT, looking)
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            let now = this.clock.mono();
            let mut name = this.lock();
            match found {
                Ok(addresses) if !addresses.is_empty() => name.found(addresses, now),
                Ok(_) => name.failed(None, now),
                Err(error) => name.failed(shortage_of(&error), now),
            }
            this.ended.send_replace(());
        });
    }

    fn lock(&self) -> MutexGuard<'_, Name> {
        self.name.lock()
    }
}

/// Returns the shortage that a look-up failed for. The system's resolver does not always report it: it treats a socket that it cannot open
/// as a server that does not answer.
fn shortage_of(error: &io::Error) -> Option<Shortage> {
    Shortage::of(error).or_else(|| Shortage::of(&File::open("/dev/null").err()?))
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(super) mod tests;
