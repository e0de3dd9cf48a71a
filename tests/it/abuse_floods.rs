//! Slow and greedy senders, a tenth of what `make torture-edge` sends: honest requests beside them are served, and the memory stays in its bounds.
use std::time::Duration;

use super::support::app::App;
use super::support::config;
use super::support::flood::arena::{Arena, SECRET};
use super::support::flood::{self, Flood, Row, h1, h2, memory};
use super::support::gate::{Gate, wait_at_most, wait_for};
use super::support::http::{self, Connection};
use super::support::sign;

const IN_FLIGHT: usize = 16 << 20;
/// Beside the whole suite on two cores.
const SLOWEST: Duration = Duration::from_secs(5);

#[track_caller]
fn withstand(limits: &str, floods: Vec<Flood>) -> Vec<Row> {
    let arena = Arena::start(&format!("in_flight_bytes: 16MiB, {limits}"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
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
    row.tally
        .iter()
        .filter(|(what, _)| what.starts_with(how))
        .map(|(_, count)| count)
        .sum()
}

#[test]
fn slow_senders() {
    let floods = vec![
        h1::slow_heads(100),
        h1::slow_bodies(100),
        h1::idle(200),
        h1::header_bombs(80),
    ];
    let rows = withstand(
        "header_timeout: 2s, idle_timeout: 2s, body_timeout: 10s",
        floods,
    );
    assert_eq!(count(&rows[0], "closed"), 100, "{}", rows[0]);
    assert_eq!(count(&rows[1], "408 in 1 to 4 s"), 100, "{}", rows[1]);
    assert_eq!(count(&rows[2], "left open"), 0, "{}", rows[2]);
    assert_eq!(count(&rows[3], "left open"), 0, "{}", rows[3]);
}

#[test]
fn greedy_senders() {
    let floods = vec![
        h1::stalled_bodies(60, 10 << 20, 512 << 10),
        h1::slow_readers(30, Duration::from_secs(2)),
        h1::client_keys(20_000, 8),
    ];
    let rows = withstand("body_timeout: 10s", floods);
    assert_eq!(
        count(&rows[0], "503") + count(&rows[0], "408"),
        60,
        "{}",
        rows[0]
    );
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
    assert!(
        count(&rows[0], "GOAWAY") + count(&rows[0], "closed") > 0,
        "{}",
        rows[0]
    );
    assert!(
        count(&rows[1], "GOAWAY") + count(&rows[1], "closed") > 0,
        "{}",
        rows[1]
    );
    assert!(
        count(&rows[2], "closed") > 0 && count(&rows[3], "closed") > 0,
        "{} {}",
        rows[2],
        rows[3]
    );
    assert_eq!(count(&rows[6], "streams answered"), 8 * 32, "{}", rows[6]);
}

/// The buffers of answers count: a stream without room is reset long before `idle_timeout`, the others when their window was shut for so long.
#[test]
fn receivers_that_do_not_read_hold_little() {
    let arena = Arena::start("in_flight_bytes: 8MiB, body_timeout: 10s");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let before = memory::resident(arena.gate.pid());
    let reset = |route: &str| -> usize {
        let name = format!("hookgate_requests_total{{outcome=\"passed_idle\",route=\"{route}\"}} ");
        let metrics = arena.gate.health("/metrics").text();
        metrics
            .lines()
            .find_map(|line| line.strip_prefix(name.as_str()))
            .map_or(0, |count| count.trim().parse().unwrap())
    };
    // 128 streams of up to 640 KiB, of which 2 MiB have room
    let crowd = runtime.spawn((h2::unread_pages(4, Duration::from_secs(50), false).run)(
        arena.target(),
    ));
    wait_at_most(
        Duration::from_secs(40),
        "streams without room to be reset",
        || reset("page") >= 110,
    );
    assert!(
        !crowd.is_finished() && reset("page") < 128,
        "those that have room are kept"
    );
    let after = memory::settled(
        arena.gate.pid(),
        before + (30 << 20),
        Duration::from_secs(20),
    );
    assert!(
        after <= before + (30 << 20),
        "{} MiB, {} before",
        after >> 20,
        before >> 20
    );
    crowd.abort();
    let few = runtime.spawn((h2::unread_pages(1, Duration::from_secs(40), true).run)(
        arena.target(),
    ));
    wait_at_most(
        Duration::from_secs(30),
        "shut windows to end their streams",
        || reset("brief") >= 2,
    );
    few.abort();
}

/// One client that begins bodies and ends none gets no more than its quarter; another's large body has its place, and after the cut all is free.
#[test]
fn a_greedy_client_leaves_room_for_others() {
    let app = App::start();
    let yaml = config::forward(
        &app.url(),
        "    max_body: 1MiB\ntrusted_proxies: [127.0.0.0/8]\nlimits: { in_flight_bytes: 16MiB }\n",
    );
    let gate = Gate::start(&yaml);
    let begin = |client: &str, body: &[u8]| {
        let mut connection = Connection::open(gate.address("senders"));
        let mut headers = sign::github(SECRET, client, body);
        headers.push(("X-Forwarded-For".into(), client.into()));
        connection
            .send(&http::head(
                "POST",
                "/webhooks/github",
                &sign::borrowed(&headers),
                Some(body.len()),
            ))
            .unwrap();
        connection
    };
    let body = vec![b'x'; 900 << 10];
    let mut greedy: Vec<_> = (0..10).map(|_| begin("2001:db8:1:1::1", &body)).collect();
    let held = || gate.admin("/-/status")["in_flight_bytes"].as_u64().unwrap();
    // one after the other: of bodies that grow at once, any may be the one that does not fit
    for connection in &mut greedy {
        let (before, refused) = (held(), gate.lines().len());
        // the gate may have refused and closed already
        drop(connection.send(&body[..800 << 10]));
        wait_for("its place or its refusal", || {
            held() >= before + (800 << 10) || gate.lines().len() > refused
        });
    }
    wait_for("the quarter to be full", || held() > 3 << 20);
    let mut honest = begin("203.0.113.7", &body);
    honest.send(&body[..100_000]).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    honest.send(&body[100_000..]).unwrap();
    assert_eq!(honest.answer().unwrap().status, 200);
    assert!(held() <= 4 << 20, "{}", held());
    let mut ends: Vec<u16> = greedy
        .iter_mut()
        .map(|connection| connection.answer().map_or(0, |answer| answer.status))
        .collect();
    ends.sort_unstable();
    assert_eq!(ends, [408, 408, 408, 408, 503, 503, 503, 503, 503, 503]);
    wait_for("all to be free", || held() == 0);
}

/// A sender that asks with `Expect` is refused before it sends a byte of its body.
#[test]
fn expect_is_refused_if_the_body_does_not_fit() {
    let app = App::start();
    let gate = Gate::start(&config::forward(
        &app.url(),
        "    max_body: 8MiB\nlimits: { in_flight_bytes: 4MiB }\n",
    ));
    for (target, length, status) in [
        ("/webhooks/github", 9 << 20, 413),
        ("/webhooks/github", 5 << 20, 503),
        ("/elsewhere", 5, 404),
    ] {
        let mut connection = Connection::open(gate.address("senders"));
        connection
            .send(&http::head(
                "POST",
                target,
                &[("Expect", "100-continue")],
                Some(length),
            ))
            .unwrap();
        let head = connection.answer_head().unwrap();
        assert_eq!(head.0, status);
        assert_eq!(
            head.1
                .iter()
                .any(|(name, _)| name.eq_ignore_ascii_case("retry-after")),
            status == 503
        );
    }
}
