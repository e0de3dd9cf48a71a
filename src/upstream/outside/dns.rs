//! Looks names up: as the system does, or by asking its DNS servers without a thread for each look-up.
use std::fmt;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::Name;
use hickory_resolver::system_conf::parse_resolv_conf;
use parking_lot::Mutex;

use super::names::{Found, NameLookup, NotFound};
use crate::clock::Clock;
use crate::delivery::Pending;

/// The file that lists the DNS servers.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// The time after which the file is read again.
const REREAD_AFTER: Duration = Duration::from_secs(60);
/// The longest wait for a DNS server, before the question is asked again.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(1500);
/// The repetitions of a question.
const REPEATS: usize = 2;
/// The time that a failure of a DNS server may be remembered.
const FAILURE_TTL: Duration = Duration::from_secs(1);

/// The look-up of the system, with its hosts file and search list. It holds a thread for its whole time.
#[derive(Debug)]
pub struct SystemLookup;

impl NameLookup for SystemLookup {
    fn look_up<'a>(&'a self, name: &'a str) -> Pending<'a, Result<Found, NotFound>> {
        Box::pin(async move {
            let ttl = Duration::ZERO;
            let found = tokio::net::lookup_host((name, 0)).await;
            let found = found.map_err(|_| NotFound { ttl })?;
            let addresses = found.map(|address: SocketAddr| address.ip()).collect();
            Ok(Found { addresses, ttl })
        })
    }
}

/// A client of DNS servers. Each name is absolute: neither the hosts file nor the search list of the system can give it another meaning.
pub struct DnsLookup {
    clock: Arc<dyn Clock>,
    /// The servers; those of the system if there is none.
    fixed: Option<ResolverConfig>,
    current: Mutex<Option<Current>>,
}

/// The resolver, and the text that it was made of.
struct Current {
    resolver: TokioResolver,
    text: Vec<u8>,
    read_at: Instant,
}

impl DnsLookup {
    /// Makes a client of the servers in `/etc/resolv.conf`. It follows changes of the file within a minute.
    pub fn system(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            fixed: None,
            current: Mutex::default(),
        }
    }

    /// Makes a client of the servers in `config`.
    pub fn fixed(config: ResolverConfig, clock: Arc<dyn Clock>) -> Self {
        Self {
            fixed: Some(config),
            ..Self::system(clock)
        }
    }

    /// Returns the resolver, made anew if the file has changed.
    fn resolver(&self) -> Option<TokioResolver> {
        let now = self.clock.mono();
        let mut current = self.current.lock();
        let is_fresh = |known: &&mut Current| {
            self.fixed.is_some() || now.saturating_duration_since(known.read_at) < REREAD_AFTER
        };
        if let Some(known) = current.as_mut().filter(is_fresh) {
            return Some(known.resolver.clone());
        }
        let text = match &self.fixed {
            Some(_) => Vec::new(),
            None => fs::read(RESOLV_CONF).unwrap_or_default(),
        };
        if let Some(known) = current.as_mut().filter(|known| known.text == text) {
            known.read_at = now;
            return Some(known.resolver.clone());
        }
        let config = self.fixed.clone().unwrap_or_else(|| servers(&text));
        let resolver = resolver_of(config)?;
        *current = Some(Current {
            resolver: resolver.clone(),
            text,
            read_at: now,
        });
        Some(resolver)
    }
}

impl fmt::Debug for DnsLookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DnsLookup").finish_non_exhaustive()
    }
}

impl NameLookup for DnsLookup {
    fn look_up<'a>(&'a self, name: &'a str) -> Pending<'a, Result<Found, NotFound>> {
        Box::pin(async move {
            let failed = NotFound { ttl: FAILURE_TTL };
            let mut name = Name::from_ascii(name).map_err(|_| failed)?;
            name.set_fqdn(true);
            let resolver = self.resolver().ok_or(failed)?;
            match resolver.lookup_ip(name).await {
                Ok(found) => {
                    let records = found.as_lookup().answers();
                    let ttl = records.iter().map(|record| record.ttl).min();
                    Ok(Found {
                        addresses: found.iter().collect(),
                        ttl: Duration::from_secs(ttl.unwrap_or_default().into()),
                    })
                }
                Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
                    let ttl = none.negative_ttl.map(|ttl| Duration::from_secs(ttl.into()));
                    Err(NotFound {
                        ttl: ttl.unwrap_or(FAILURE_TTL),
                    })
                }
                Err(_) => Err(failed),
            }
        })
    }
}

/// Returns the servers that a `resolv.conf` lists; as the system's own resolver does, the one of this machine if it lists none.
fn servers(text: &[u8]) -> ResolverConfig {
    let listed = parse_resolv_conf(text).map(|(config, _)| config.name_servers().to_vec());
    let here = || vec![NameServerConfig::udp_and_tcp(Ipv4Addr::LOCALHOST.into())];
    let servers = listed.unwrap_or_else(|_| here());
    ResolverConfig::from_parts(None, Vec::new(), servers)
}

fn resolver_of(config: ResolverConfig) -> Option<TokioResolver> {
    let provider = TokioRuntimeProvider::default();
    TokioResolver::builder_with_config(config, provider)
        .with_options(options())
        .build()
        .ok()
}

/// Returns the options: A and AAAA, no hosts file, and no memory, because `names` has one that is bounded in bytes.
fn options() -> ResolverOpts {
    let mut options = ResolverOpts::default();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.use_hosts_file = ResolveHosts::Never;
    options.cache_size = 0;
    options.timeout = ANSWER_TIMEOUT;
    options.attempts = REPEATS;
    // one socket for each question; a server that does not answer is asked last from then on
    options.num_concurrent_reqs = 1;
    options.max_active_requests = 1024;
    options
}

#[cfg(test)]
mod tests;
