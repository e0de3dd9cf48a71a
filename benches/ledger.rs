//! Fills the embedded ledger with ten million IDs and prints what they cost: memory, time, and the worst pause of a single operation.
//!
//!     cargo bench --bench ledger
#![allow(
    clippy::print_stdout,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench may panic, and prints its table"
)]
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::hint::black_box;
use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use hookgate::clock::{Clock, SystemClock};
use hookgate::dedupe::key::{Identity, Scope};
use hookgate::limit::{Buckets, Quota};
use hookgate::request::Params;
use hookgate::store::embedded::Embedded;
use hookgate::store::{ClaimResult, Key, Ledger, Ownership, Token};
use hookgate::units::Rate;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const IDS: u64 = 10_000_000;
const LEASE: Duration = Duration::from_secs(20);
const WINDOW: Duration = Duration::from_secs(86_400);

fn main() {
    println!("{:<44} {:>12}", "", "measured");
    ledger();
    journal();
    limits();
}

fn ledger() {
    let ledger = Embedded::in_memory(usize::try_from(IDS).unwrap(), Arc::new(SystemClock)).unwrap();
    let before = resident();
    let (mut filling, mut dearest) = (Took::default(), 0.0_f64);
    for number in 0..IDS {
        let key = key(number);
        filling.time(|| {
            assert_eq!(
                ready(ledger.claim(key, Token(u128::from(number)), LEASE)),
                ClaimResult::Fresh
            );
            assert_eq!(
                ready(ledger.commit(key, Token(u128::from(number)), WINDOW)),
                Ownership::Owned
            );
        });
        if number % 100_000 == 0 && number >= IDS / 2 {
            dearest = dearest.max(each(resident() - before, number));
        }
    }
    let (counts, held) = (ledger.counts(), resident() - before);
    let mut duplicates = Took::default();
    for number in 0..IDS {
        // In another order than they came, so that no cache helps.
        let key = key(number.wrapping_mul(7_368_787) % IDS);
        duplicates.time(|| match ready(ledger.claim(key, Token(1), LEASE)) {
            ClaimResult::Committed => {}
            ClaimResult::Fresh => ledger.release_soon(key, Token(1)),
            ClaimResult::InFlight { .. } => panic!("nothing is in flight"),
        });
    }
    let mut full = Took::default();
    for number in IDS..IDS + 500_000 {
        let key = key(number);
        full.time(|| {
            assert_eq!(
                ready(ledger.claim(key, Token(1), LEASE)),
                ClaimResult::Fresh
            );
            assert_eq!(
                ready(ledger.commit(key, Token(1), WINDOW)),
                Ownership::Owned
            );
        });
    }
    row("IDs remembered", &format!("{}", counts.committed));
    row(
        "  forgotten early on the way",
        &format!("{}", counts.forgotten_early),
    );
    row(
        "bytes an ID, by resident memory",
        &format!("{:.1}", each(held, IDS)),
    );
    row(
        "  the most on the second half of the way",
        &format!("{dearest:.1}"),
    );
    row(
        "bytes an ID, by own count",
        &format!("{:.1}", each(counts.bytes, IDS)),
    );
    filling.row("claim + commit of a new ID");
    duplicates.row("claim of a duplicate");
    full.row("claim + commit when full, forgetting one");
}

/// With a file: what a commit costs beside the writing thread, how far the disk lags, how long a restart reads.
fn journal() {
    const COMMITS: u64 = 1_000_000;
    let (directory, capacity) = (tempfile::tempdir().unwrap(), usize::try_from(IDS).unwrap());
    let ledger = Embedded::open(directory.path(), capacity, Arc::new(SystemClock))
        .unwrap()
        .ledger;
    let mut commits = Took::default();
    let start = now();
    for number in 0..COMMITS {
        let key = key(number);
        commits.time(|| {
            assert_eq!(
                ready(ledger.claim(key, Token(1), LEASE)),
                ClaimResult::Fresh
            );
            assert_eq!(
                ready(ledger.commit(key, Token(1), WINDOW)),
                Ownership::Owned
            );
        });
    }
    ledger.close();
    row(
        "with a file: commits that reach the disk a second",
        &format!("{:.0}", COMMITS as f64 / (now() - start).as_secs_f64()),
    );
    commits.row("  claim + commit of a new ID");
    drop(ledger);
    let size = std::fs::metadata(directory.path().join("hookgate.db")).map_or(0, |file| file.len());
    row(
        "  bytes of disk an ID",
        &format!("{:.0}", size as f64 / COMMITS as f64),
    );
    let start = now();
    let ledger = Embedded::open(directory.path(), capacity, Arc::new(SystemClock))
        .unwrap()
        .ledger;
    row(
        "  restart with a million IDs, ms",
        &format!("{}", (now() - start).as_millis()),
    );
    assert_eq!(ledger.counts().unsaved, 0);
    assert_eq!(ledger.counts().committed, usize::try_from(COMMITS).unwrap());
}

fn limits() {
    let quota = Quota {
        rate: Rate {
            count: NonZeroU32::MIN,
            per: Duration::from_secs(3600),
        },
        burst: NonZeroU32::MAX,
    };
    let (buckets, hasher) = (Buckets::new(quota), RandomState::new());
    let keys: Vec<u64> = (0..1_000_000_u32)
        .map(|number| hasher.hash_one(number))
        .collect();
    let now = now();
    batch("limit: take, one key", 10_000_000, |_| {
        black_box(buckets.take(1, now).is_ok())
    });
    batch("limit: take, a thousand keys", 10_000_000, |turn| {
        black_box(buckets.take(keys[turn % 1000], now).is_ok())
    });
    batch("limit: take, a million keys", 10_000_000, |turn| {
        black_box(buckets.take(keys[turn % keys.len()], now).is_ok())
    });
    row(
        "limit: keys held of a million",
        &format!("{}", buckets.len()),
    );
}

/// Times of single operations.
#[derive(Default)]
struct Took {
    all: Duration,
    worst: Duration,
    count: u32,
    slow: u32,
}

impl Took {
    fn time(&mut self, operation: impl FnOnce()) {
        let start = now();
        operation();
        let took = now() - start;
        self.all += took;
        self.worst = self.worst.max(took);
        self.count += 1;
        self.slow += u32::from(took > Duration::from_millis(1));
    }

    fn row(&self, what: &str) {
        row(
            &format!("{what}, ns"),
            &format!("{}", (self.all / self.count).as_nanos()),
        );
        row(
            "  the slowest one, µs",
            &format!("{}", self.worst.as_micros()),
        );
        row("  of them over 1 ms", &format!("{}", self.slow));
    }
}

fn batch(what: &str, turns: usize, mut operation: impl FnMut(usize) -> bool) {
    let start = now();
    for turn in 0..turns {
        operation(turn);
    }
    row(
        &format!("{what}, ns"),
        &format!("{:.0}", (now() - start).as_nanos() as f64 / turns as f64),
    );
}

fn row(what: &str, measured: &str) {
    println!("{what:<44} {measured:>12}");
}

fn each(bytes: usize, ids: u64) -> f64 {
    bytes as f64 / ids as f64
}

fn now() -> Instant {
    SystemClock.now().mono
}

/// The key of a delivery, made as the gate makes it.
fn key(number: u64) -> Key {
    Scope::named("github", &Params::default(), None).ledger_key(
        &[7; 16],
        Identity {
            id: Some(&number.to_be_bytes()),
            ..Identity::default()
        },
    )
}

/// The embedded ledger answers at once.
fn ready<T, E: std::fmt::Debug>(answer: impl Future<Output = Result<T, E>>) -> T {
    match pin!(answer).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer.unwrap(),
        Poll::Pending => panic!("it waits"),
    }
}

/// Bytes of resident memory of this process; 0 where the system does not say.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok())
        .unwrap_or(0)
        * 4096
}
