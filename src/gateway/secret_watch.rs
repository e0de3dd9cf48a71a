//! Counts the matches of each secret by its value: the store adds up those of all gateways and of earlier runs, and a secret that was replaced
//! under its name begins anew.
//!
//! Telemetry counts by name. After each reload, and once a minute, the difference since the last time goes to the value that had the name until
//! then. Matches within the moments between a reload and this count for the earlier value.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock::{Clock, Now};
use crate::config::snapshot::Snapshot;
use crate::dedupe::secret_key::secret_key;
use crate::store::secret_use::{SecretMatches, SecretTotals};
use crate::store::{Key, Store};
use crate::telemetry::{SecretCounters, Telemetry};

pub(super) mod verdict;

/// The most values whose last matches wait for the store. Later ones are not counted.
const MAX_OWED: usize = 1024;

/// A secret by its route and its own name.
type Name = (Arc<str>, Arc<str>);

/// The matches of the secrets of the config.
#[derive(Debug, Default)]
pub(crate) struct SecretWatch {
    state: Mutex<State>,
    /// Woken when the config was replaced.
    pub(super) reloaded: Notify,
}

#[derive(Debug, Default)]
struct State {
    secrets: BTreeMap<Name, Watched>,
    /// Matches of values that are no longer in the config, which the store does not know yet.
    owed: Vec<SecretMatches>,
}

/// A value of a secret.
#[derive(Debug)]
struct Watched {
    key: Key,
    /// Since when this gateway watches it.
    since: Instant,
    /// The matches of its name that belong to an earlier value, or that the store knows.
    told: u64,
    /// The store's answer, and when it came.
    totals: Option<(SecretTotals, Instant)>,
}

/// The use of a secret, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SecretUse {
    /// The number of matches.
    pub(crate) matches: u64,
    /// The time since the last one.
    pub(crate) last: Option<Duration>,
    /// The time for which it has been watched.
    pub(crate) watched: Duration,
}

/// The parts of the gateway that know of matches.
#[derive(Clone, Copy)]
pub(super) struct Sources<'a> {
    pub(super) telemetry: &'a Telemetry,
    pub(super) store: &'a dyn Store,
    pub(super) clock: &'a dyn Clock,
}

impl Sources<'_> {
    /// Returns the matches of a name since the start.
    fn counters(&self, (route, secret): &Name) -> Option<SecretCounters> {
        let all = self.telemetry.secrets(route);
        let found = all.into_iter().find(|(name, _)| name == secret);
        found.map(|(_, counters)| counters)
    }
}

impl SecretWatch {
    /// Follows the config, gives the store the matches that it does not know yet, and takes what all gateways know. Without a durable store, only
    /// follows the config.
    pub(super) async fn exchange(&self, snapshot: &Snapshot, of: Sources<'_>) {
        let keys = keys(snapshot, &of.store.hash_key());
        let counters = |name: &Name| of.counters(name);
        let sent = {
            let (mut state, now) = (self.state.lock(), of.clock.now());
            state.follow(&keys, now, counters);
            if !of.store.nature().durable {
                state.owed.clear();
                return;
            }
            state.to_send(now, counters)
        };
        let matches = sent.iter().map(|sent| sent.matches).collect();
        match of.store.count_matches(matches).await {
            Ok(totals) => self.state.lock().sent(&sent, &totals, of.clock.mono()),
            Err(error) => {
                tracing::debug!(%error, "the store does not count matches of secrets now");
            }
        }
    }

    /// Returns what is known of a secret of the config.
    pub(super) fn of(&self, route: &Arc<str>, secret: &Arc<str>, of: Sources<'_>) -> SecretUse {
        let name = (Arc::clone(route), Arc::clone(secret));
        let (now, counters) = (of.clock.now(), of.counters(&name));
        let state = self.state.lock();
        let watched = state.secrets.get(&name);
        watched.map_or_else(SecretUse::default, |watched| {
            watched.seen(now, counters, of.store.nature().durable)
        })
    }
}

/// Matches on their way to the store.
struct Sent {
    /// The secret, and the matches of its name that the store will know; `None` for a value that is no longer in the config.
    of: Option<(Name, u64)>,
    matches: SecretMatches,
}

impl State {
    /// Begins to watch the values that are new in the config.
    fn follow(
        &mut self,
        keys: &BTreeMap<Name, Key>,
        now: Now,
        counters: impl Fn(&Name) -> Option<SecretCounters>,
    ) {
        for (name, watched) in &mut self.secrets {
            let key = keys.get(name).copied();
            if key == Some(watched.key) {
                continue;
            }
            let matches = watched.since_told(now, counters(name));
            if matches.count > 0 && self.owed.len() < MAX_OWED {
                self.owed.push(matches);
            }
            let count = counters(name).map_or(0, |counters| counters.matches);
            // a name that left the config keeps its place: telemetry goes on counting where it was
            *watched = Watched {
                key: key.unwrap_or(Key([0; 16])),
                since: now.mono,
                told: count,
                totals: None,
            };
        }
        for (name, key) in keys {
            self.secrets.entry(name.clone()).or_insert(Watched {
                key: *key,
                since: now.mono,
                told: 0,
                totals: None,
            });
        }
    }

    /// Returns what the store is to be given.
    fn to_send(&self, now: Now, counters: impl Fn(&Name) -> Option<SecretCounters>) -> Vec<Sent> {
        let owed = self.owed.iter().map(|matches| Sent {
            of: None,
            matches: *matches,
        });
        let current = self
            .secrets
            .iter()
            .filter(|(_, watched)| watched.key != Key([0; 16]));
        let current = current.map(|(name, watched)| {
            let counters = counters(name);
            let count = counters.map_or(0, |counters| counters.matches);
            Sent {
                of: Some((name.clone(), count)),
                matches: watched.since_told(now, counters),
            }
        });
        let mut all: Vec<Sent> = Vec::new();
        for sent in owed.chain(current) {
            // a value that came back is owed and current
            if all
                .iter()
                .all(|other| other.matches.key != sent.matches.key)
            {
                all.push(sent);
            }
        }
        all
    }

    /// Notes that the store knows what was sent.
    fn sent(&mut self, sent: &[Sent], totals: &[SecretTotals], at: Instant) {
        for (sent, totals) in sent.iter().zip(totals) {
            let key = sent.matches.key;
            match &sent.of {
                None => self.owed.retain(|owed| owed.key != key),
                Some((name, count)) => {
                    let watched = self.secrets.get_mut(name);
                    if let Some(watched) = watched.filter(|watched| watched.key == key) {
                        watched.told = *count;
                        watched.totals = Some((*totals, at));
                    }
                }
            }
        }
    }
}

impl Watched {
    /// Returns the matches that the store does not know.
    fn since_told(&self, now: Now, counters: Option<SecretCounters>) -> SecretMatches {
        let new = counters.filter(|counters| counters.matches > self.told);
        let ago = |counters: SecretCounters| now.mono.saturating_duration_since(counters.last_mono);
        SecretMatches {
            key: self.key,
            count: new.map_or(0, |counters| counters.matches - self.told),
            last: new.map(ago),
        }
    }

    /// Returns what is known of it. Totals that a durable store has not sent yet count as unknown.
    fn seen(&self, now: Now, counters: Option<SecretCounters>, durable: bool) -> SecretUse {
        let here = self.since_told(now, counters);
        if !durable {
            let watched = now.mono.saturating_duration_since(self.since);
            return SecretUse {
                matches: here.count,
                last: here.last,
                watched,
            };
        }
        let Some((totals, at)) = self.totals else {
            return SecretUse {
                matches: here.count,
                last: here.last,
                watched: Duration::ZERO,
            };
        };
        let passed = now.mono.saturating_duration_since(at);
        let stored = totals.last.map(|last| last.saturating_add(passed));
        SecretUse {
            matches: totals.count.saturating_add(here.count),
            last: here.last.into_iter().chain(stored).min(),
            watched: totals.watched.saturating_add(passed),
        }
    }
}

/// Returns the fingerprints of the secrets that the routes of a config list.
fn keys(snapshot: &Snapshot, hash_key: &[u8; 16]) -> BTreeMap<Name, Key> {
    let mut keys = BTreeMap::new();
    for webhook in &snapshot.webhooks {
        let listed = webhook
            .verifier
            .iter()
            .flat_map(|verifier| verifier.secrets().listed());
        for secret in listed {
            let (route, name) = (&webhook.name, secret.name());
            let key = secret_key(hash_key, route, name, secret.text_as_loaded());
            keys.entry((Arc::clone(route), Arc::clone(name)))
                .or_insert(key);
        }
    }
    keys
}

#[cfg(test)]
mod tests;
