//! Drives the real binary. One file a capability.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::too_many_lines,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::redundant_clone,
    clippy::wildcard_enum_match_arm,
    clippy::let_underscore_must_use,
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    dead_code,
    reason = "a test may panic, read the clock and be long; not each uses all of the support"
)]

mod support;

mod abuse_early;
mod abuse_files;
mod abuse_floods;
mod abuse_h2;
mod abuse_headers;
mod abuse_paths;
mod abuse_smuggling;
mod accounts;
mod admin;
mod alarms;
mod architecture;
mod breaker;
mod circles;
mod cli;
mod dedupe;
mod deliveries;
mod deploy;
mod docs;
mod doctor;
mod explain_kept;
mod forward;
mod fuzz_seeds;
mod grammar;
mod h1;
mod h2;
mod handshakes;
mod hostile;
mod late;
mod limits;
mod listener;
mod observe;
mod operate;
mod outbound;
mod outbound_catalogue;
mod outbound_cli;
mod outbound_crash;
mod outbound_crash_jobs;
mod outbound_events_cli;
mod outbound_jobs_cli;
mod outbound_notices;
mod outbound_operate;
mod outbound_recovery;
mod outbound_requests;
mod outbound_responses;
mod outbound_ssrf;
mod outbound_tenants;
mod pass;
mod postgres;
mod postgres_backlog;
mod postgres_crash;
mod postgres_failover;
#[cfg(target_os = "linux")]
mod postgres_full;
mod postgres_limits;
mod postgres_move;
mod postgres_rotate;
mod postgres_slow;
mod postgres_watch;
mod quarantine;
mod queue;
mod queue_cli;
mod queue_crash;
mod queue_faults;
mod queue_pause;
mod queue_store;
mod receive;
mod refused_alike;
mod reload;
mod renames;
mod repository;
mod reseal;
mod resign;
mod secret_use;
mod secrets;
mod shutdown;
#[cfg(target_os = "linux")]
mod store_full;
mod tls_faults;
mod upgrade;
mod upstream;
mod vectors;
mod vectors_http;
mod why;

/// A test file that no `mod` line names would silently never run.
#[test]
fn every_file_is_listed() {
    let listed = include_str!("main.rs");
    for entry in std::fs::read_dir("tests/it").unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(
            name == "main" || listed.contains(&format!("mod {name};")),
            "tests/it/main.rs doesn't list {name}"
        );
    }
}
