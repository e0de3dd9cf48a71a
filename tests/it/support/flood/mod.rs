//! Floods against the real gate, with an honest sender beside them and an eye on the gate's memory.
pub mod arena;
pub mod h1;
pub mod h2;
pub mod honest;
pub mod memory;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::time::{Duration, Instant};

use arena::{Arena, Target};
use honest::{Figures, Honest};
use memory::Memory;

const MIB: f64 = 1024.0 * 1024.0;
/// The memory that the gate may use beside the bodies.
const BESIDE: usize = 80 << 20;
/// How much of what it took may stay.
const STAYS: usize = 20 << 20;
/// How long its memory may take to come back.
const COMES_BACK: Duration = Duration::from_secs(20);

/// The reactions of the gate to a flood, counted.
pub type Tally = BTreeMap<String, usize>;

/// A flood under way.
pub type Running = Pin<Box<dyn Future<Output = Tally> + Send>>;

/// One kind of flood.
pub struct Flood {
    /// The name of the flood.
    pub name: &'static str,
    /// How much of it.
    pub size: String,
    /// Sends it, and comes to an end by itself.
    pub run: Box<dyn FnOnce(Target) -> Running>,
}

/// One row of the table.
pub struct Row {
    pub flood: &'static str,
    pub size: String,
    pub honest: Figures,
    pub before: usize,
    pub peak: usize,
    pub after: usize,
    pub tally: Tally,
    pub took: Duration,
}

impl Row {
    pub const HEAD: &'static str = "| flood | size | honest: answered, 503 | p50 ms | p99 ms | RSS before, peak, after (MiB) | what became of it | s |\n|---|---|---|---|---|---|---|---|";

    /// Returns the expectations that do not hold.
    pub fn wrong(&self, slowest: Duration, in_flight_bytes: usize) -> Vec<String> {
        let mut wrong = Vec::new();
        if !self.honest.failed.is_empty() {
            wrong.push(format!("honest requests failed: {:?}", self.honest.failed));
        }
        if self.honest.answered == 0 && self.honest.told_to_wait == 0 {
            wrong.push("no honest request was answered".to_owned());
        }
        if self.honest.p99 > slowest {
            wrong.push(format!("p99 is {:?}", self.honest.p99));
        }
        if self.peak > in_flight_bytes + BESIDE {
            wrong.push(format!("memory rose to {:.0} MiB", self.peak as f64 / MIB));
        }
        if self.after > self.before + STAYS {
            wrong.push(format!(
                "memory stays at {:.0} MiB, it was {:.0}",
                self.after as f64 / MIB,
                self.before as f64 / MIB
            ));
        }
        wrong
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let millis = |time: Duration| time.as_secs_f64() * 1000.0;
        let tally: Vec<_> = self
            .tally
            .iter()
            .map(|(what, count)| format!("{count} × {what}"))
            .collect();
        let (before, peak, after) = (
            self.before as f64 / MIB,
            self.peak as f64 / MIB,
            self.after as f64 / MIB,
        );
        write!(
            f,
            "| {} | {} | {}, {} | {:.1} | {:.1} | {before:.0}, {peak:.0}, {after:.0} | {} | {:.0} |",
            self.flood,
            self.size,
            self.honest.answered,
            self.honest.told_to_wait,
            millis(self.honest.p50),
            millis(self.honest.p99),
            tally.join(", "),
            self.took.as_secs_f64()
        )
    }
}

/// Runs one flood against the gate of `arena`.
pub fn run(arena: &Arena, runtime: &tokio::runtime::Runtime, flood: Flood) -> Row {
    let begun = Instant::now();
    let honest = Honest::start(arena);
    let memory = Memory::watch(arena.gate.pid());
    let tally = runtime.block_on((flood.run)(arena.target()));
    let figures = honest.stop();
    let (before, peak) = memory.stop();
    // a gate is never left quite alone
    let beside = Honest::start(arena);
    let after = memory::settled(arena.gate.pid(), before + STAYS, COMES_BACK);
    beside.stop();
    Row {
        flood: flood.name,
        size: flood.size,
        honest: figures,
        before,
        peak,
        after,
        tally,
        took: begun.elapsed(),
    }
}

/// Runs `count` attackers beside each other, each on an address of its own hundred, and counts what became of them.
pub async fn each<F>(count: usize, attack: impl Fn(usize) -> F) -> Tally
where
    F: Future<Output = String> + Send + 'static,
{
    let mut attackers = tokio::task::JoinSet::new();
    for number in 0..count {
        attackers.spawn(attack(number));
    }
    let mut tally = Tally::new();
    while let Some(ended) = attackers.join_next().await {
        *tally
            .entry(ended.expect("an attacker panicked"))
            .or_default() += 1;
    }
    tally
}

/// Connects from an address of attacker `number`'s own: a client may have a thousand connections.
pub async fn connect(to: SocketAddr, number: usize) -> std::io::Result<tokio::net::TcpStream> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    let from = IpAddr::from([127, 0, 1, u8::try_from(number / 100 % 250).unwrap_or(0) + 1]);
    socket.bind(SocketAddr::new(from, 0))?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
