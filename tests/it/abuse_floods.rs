//! Slow and greedy senders, a tenth of what `make torture-edge` sends: honest requests beside them are served, and the memory stays in its bounds.
use std::time::Duration;

use super::support::flood::arena::Arena;
use super::support::flood::{self, Flood, Row, h1, h2};

const IN_FLIGHT: usize = 16 << 20;
/// Beside the whole suite on two cores.
const SLOWEST: Duration = Duration::from_secs(5);

#[track_caller]
fn withstand(limits: &str, floods: Vec<Flood>) -> Vec<Row> {
    let arena = Arena::start(&format!("in_flight_bytes: 16MiB, {limits}"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut rows = Vec::new();
    for flood in floods {
        let row = flood::run(&arena, &runtime, flood);
        eprintln!("{row}");
        assert_eq!(row.wrong(SLOWEST, IN_FLIGHT), Vec::<String>::new(), "{row}");
        rows.push(row);
    }
    rows
}

/// How many ended in a way that begins so.
fn count(row: &Row, how: &str) -> usize {
    row.tally.iter().filter(|(what, _)| what.starts_with(how)).map(|(_, count)| count).sum()
}

#[test]
fn slow_senders() {
    let floods = vec![h1::slow_heads(100), h1::slow_bodies(100), h1::idle(200), h1::header_bombs(80)];
    let rows = withstand("header_timeout: 2s, idle_timeout: 2s, body_timeout: 10s", floods);
    assert_eq!(count(&rows[0], "closed"), 100, "{}", rows[0]);
    assert_eq!(count(&rows[1], "408 in 1 to 4 s"), 100, "{}", rows[1]);
    assert_eq!(count(&rows[2], "left open"), 0, "{}", rows[2]);
    assert_eq!(count(&rows[3], "left open"), 0, "{}", rows[3]);
}

#[test]
fn greedy_senders() {
    let floods =
        vec![h1::stalled_bodies(60, 10 << 20, 512 << 10), h1::slow_readers(30, Duration::from_secs(2)), h1::client_keys(20_000, 8)];
    let rows = withstand("body_timeout: 10s", floods);
    assert_eq!(count(&rows[0], "503") + count(&rows[0], "408"), 60, "{}", rows[0]);
    assert_eq!(count(&rows[2], "401"), 20_000, "{}", rows[2]);
}

#[test]
fn floods_of_frames() {
    let brief = Duration::from_secs(2);
    let floods = vec![
        h2::rapid_reset(4, brief),
        h2::continuation(4, brief),
        h2::settings(4, brief),
        h2::pings(4, brief),
        h2::empty_frames(4, brief),
        h2::hpack_bombs(4, brief),
        h2::stalled_streams(8, 2 * brief),
        h2::zero_windows(8, brief),
    ];
    let rows = withstand("body_timeout: 10s", floods);
    assert!(count(&rows[0], "GOAWAY") + count(&rows[0], "closed") > 0, "{}", rows[0]);
    assert!(count(&rows[1], "GOAWAY") + count(&rows[1], "closed") > 0, "{}", rows[1]);
    assert_eq!(count(&rows[6], "streams answered"), 8 * 32, "{}", rows[6]);
}
