//! `make torture-edge`: the floods at full size, and known tools, against a gate as it is released. Prints tables in Markdown.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::cast_possible_truncation,
    clippy::let_underscore_must_use,
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    dead_code,
    reason = "a test may panic and read the clock; not all of the support is used"
)]

#[path = "../it/support/mod.rs"]
mod support;
mod tools;

use std::process::ExitCode;
use std::time::Duration;

use support::flood::arena::Arena;
use support::flood::{self, Flood, Row, h1, h2};

/// The gate's default.
const IN_FLIGHT: usize = 64 << 20;
const SLOWEST: Duration = Duration::from_secs(1);

fn floods() -> Vec<Flood> {
    let while_ = Duration::from_secs(10);
    vec![
        h1::slow_heads(1000),
        h1::slow_bodies(1000),
        h1::stalled_bodies(256, 25 << 20, 1 << 20),
        h1::stalled_bodies(256, 25 << 20, 24 << 20),
        h1::idle(2000),
        h1::header_bombs(800),
        h1::slow_readers(300, while_),
        h1::client_keys(1_000_000, 32),
        h2::rapid_reset(50, while_),
        h2::continuation(50, while_),
        h2::settings(50, while_),
        h2::pings(50, while_),
        h2::empty_frames(50, while_),
        h2::hpack_bombs(50, while_),
        h2::stalled_streams(64, while_),
        h2::zero_windows(64, while_),
        h2::silent(200),
    ]
}

fn main() -> ExitCode {
    let only = std::env::var("TORTURE").unwrap_or_default();
    let arena = Arena::start("idle_timeout: 10s");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let mut wrong = Vec::new();
    println!("{}", Row::HEAD);
    for flood in floods() {
        if !flood.name.contains(&only) {
            continue;
        }
        let row = flood::run(&arena, &runtime, flood);
        println!("{row}");
        wrong.extend(
            row.wrong(SLOWEST, IN_FLIGHT)
                .into_iter()
                .map(|what| format!("{}: {what}", row.flood)),
        );
    }
    if only.is_empty() || only == "tools" {
        println!("\n| tool | what it did | what it found |\n|---|---|---|");
        for finding in tools::run_all(&arena) {
            println!("{finding}");
            wrong.extend(finding.wrong());
        }
    }
    for what in &wrong {
        eprintln!("does not hold: {what}");
    }
    if wrong.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
