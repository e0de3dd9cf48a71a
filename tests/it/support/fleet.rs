//! Gateways on a PostgreSQL server, and senders that send each delivery again until it is acknowledged.
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio_postgres::{Config, NoTls, SimpleQueryMessage};

use super::config::SECRET;
use super::gate::wait_at_most;
use super::http::Connection;
use super::postgres_server::{Server, in_thread};
use super::sign;

/// The database of the gateways.
pub const DATABASE: &str = "gate";
/// The pause of a sender that was refused.
const PAUSE: Duration = Duration::from_millis(20);

/// Returns how large a test is: `short`, or `long` if `HOOKGATE_TORTURE` is set.
pub fn size<T>(short: T, long: T) -> T {
    if is_long() { long } else { short }
}

/// Returns whether the long form of tests is wanted.
pub fn is_long() -> bool {
    std::env::var_os("HOOKGATE_TORTURE").is_some_and(|value| !value.is_empty())
}

/// Returns the URL of the database on servers, the first of which takes writes.
pub fn url(servers: &[&Server]) -> String {
    let hosts: Vec<_> = servers
        .iter()
        .map(|server| server.directory().display().to_string())
        .collect();
    format!("postgres://hookgate@/{DATABASE}?host={}", hosts.join(","))
}

/// Returns a config with a store at the URL in this file. `queued` and `forwarded` are its routes, both to `app`.
pub fn config(url: &Path, app: &str, store: &str) -> String {
    let verify = format!(
        "{{ provider: github, secrets: [{{ insecure_inline: \"{SECRET}\", allow_whitespace: true }}] }}"
    );
    let retry = "retry: { initial: 50ms, factor: 1.5, max: 500ms, max_attempts: 1000 }";
    format!(
        "listen: [{{ address: 127.0.0.1:0 }}]
health: {{ address: 127.0.0.1:0 }}
admin: {{ address: 127.0.0.1:0, token: {{ insecure_inline: the-token-of-the-tests }} }}
log: {{ requests: none }}
shutdown: {{ delay: 0s, grace: 5s }}
store: {{ postgres: {{ url: {{ file: {} }}{store} }} }}
upstreams:
  app: {{ url: {app}, timeout: 2s, connect_timeout: 500ms }}
routes:
  - {{ name: queued, path: /webhooks/queued, verify: {verify}, dedupe: {{ window: 24h }}, queue: {{ upstream: app, {retry} }} }}
  - {{ name: forwarded, path: /webhooks/forwarded, verify: {verify}, dedupe: {{ window: 24h }}, forward: {{ upstream: app }} }}
",
        url.display()
    )
}

/// Returns the first column of all rows, as text.
pub fn column(config: &Config, sql: &str) -> Vec<String> {
    let (config, sql) = (config.clone(), sql.to_owned());
    in_thread(async move {
        let (client, connection) = config.connect(NoTls).await.unwrap();
        let driver = tokio::spawn(connection);
        let messages = client.simple_query(&sql).await.unwrap();
        driver.abort();
        let rows = messages.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
            _ => None,
        });
        rows.collect()
    })
}

/// Returns the number that a statement selects.
pub fn number(config: &Config, sql: &str) -> i64 {
    column(config, sql)[0].parse().unwrap()
}

/// Checks that a store has each acknowledged delivery, and none twice. Returns how many it has.
#[track_caller]
pub fn nothing_is_lost(config: &Config, acknowledged: &BTreeSet<String>) -> usize {
    let ids = column(config, "select delivery_id from hookgate.delivery");
    let stored: BTreeSet<_> = ids.iter().cloned().collect();
    assert_eq!(stored.len(), ids.len(), "one is stored twice");
    let lost: Vec<_> = acknowledged.difference(&stored).collect();
    assert!(lost.is_empty(), "{} lost: {lost:?}", lost.len());
    ids.len()
}

#[derive(Default)]
struct Known {
    /// With the times at which its last request began and was answered.
    acknowledged: Mutex<BTreeMap<String, (Instant, Instant)>>,
    /// Other answers by their status, 0 for none.
    refused: Mutex<BTreeMap<u16, usize>>,
    /// The longest time that a sender waited for an answer.
    longest: Mutex<Duration>,
    over: AtomicBool,
}

/// Senders at work.
pub struct Load {
    known: Arc<Known>,
    senders: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts senders, which take turns at the gateways.
    pub fn start(
        gateways: &[SocketAddr],
        senders: usize,
        path: &'static str,
        prefix: &str,
    ) -> Self {
        let known = Arc::<Known>::default();
        let senders = (0..senders)
            .map(|sender| {
                let (known, address) = (Arc::clone(&known), gateways[sender % gateways.len()]);
                let prefix = format!("{prefix}-{sender}");
                std::thread::spawn(move || known.send(address, path, &prefix))
            })
            .collect();
        Self { known, senders }
    }

    pub fn acknowledged(&self) -> usize {
        self.known.acknowledged.lock().unwrap().len()
    }

    /// Returns the answers that were no acknowledgement.
    pub fn refused(&self) -> BTreeMap<u16, usize> {
        self.known.refused.lock().unwrap().clone()
    }

    /// Returns the longest time that a sender waited for an answer.
    pub fn longest(&self) -> Duration {
        *self.known.longest.lock().unwrap()
    }

    /// Waits until so many more are acknowledged.
    #[track_caller]
    pub fn wait_for(&self, more: usize) {
        let enough = self.acknowledged() + more;
        wait_at_most(Duration::from_secs(600), "acknowledgements", || {
            self.acknowledged() >= enough
        });
    }

    /// Waits for the first acknowledgement since a time. Returns how long after it that came.
    #[track_caller]
    pub fn first_since(&self, since: Instant) -> Duration {
        let mut first = None;
        wait_at_most(Duration::from_secs(60), "an acknowledgement", || {
            let acknowledged = self.known.acknowledged.lock().unwrap();
            let times = acknowledged.values().map(|(_, answered)| *answered);
            first = times.filter(|at| *at > since).min();
            first.is_some()
        });
        first.unwrap() - since
    }

    /// Returns how many requests were acknowledged that began after a time.
    pub fn begun_since(&self, since: Instant) -> usize {
        let acknowledged = self.known.acknowledged.lock().unwrap();
        let begun = acknowledged.values().filter(|(begun, _)| *begun > since);
        begun.count()
    }

    /// Ends the senders. Returns what was acknowledged.
    pub fn stop(self) -> BTreeSet<String> {
        self.known.over.store(true, Ordering::SeqCst);
        for sender in self.senders {
            sender.join().unwrap();
        }
        let acknowledged = self.known.acknowledged.lock().unwrap();
        acknowledged.keys().cloned().collect()
    }
}

impl Known {
    fn send(&self, address: SocketAddr, path: &str, prefix: &str) {
        let mut kept = None;
        for delivery in 0_u64.. {
            let id = format!("{prefix}-{delivery}");
            let body = format!("{{\"id\":\"{id}\",\"text\":\"{}\"}}", "x".repeat(200));
            let headers = sign::github(SECRET, &id, body.as_bytes());
            loop {
                if self.over.load(Ordering::SeqCst) {
                    return;
                }
                let begun = Instant::now();
                let connection = kept
                    .take()
                    .map_or_else(|| Connection::try_open(address), Ok);
                let answer = connection.and_then(|mut connection| {
                    let headers = sign::borrowed(&headers);
                    let answer = connection.try_request("POST", path, &headers, body.as_bytes())?;
                    if answer.header("Connection") != Some("close") {
                        kept = Some(connection);
                    }
                    Ok(answer)
                });
                let now = Instant::now();
                let mut longest = self.longest.lock().unwrap();
                *longest = (*longest).max(now - begun);
                drop(longest);
                let status = answer.map_or(0, |answer| answer.status);
                if (200..300).contains(&status) {
                    self.acknowledged.lock().unwrap().insert(id, (begun, now));
                    break;
                }
                *self.refused.lock().unwrap().entry(status).or_default() += 1;
                std::thread::sleep(PAUSE);
            }
        }
    }
}
