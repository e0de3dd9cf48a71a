//! Apps that fail in every way there is: what was acknowledged arrives all the same, and the record says what happened.
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use super::support::app::unused_address;
use super::support::config::SECRET;
use super::support::fault::{Fault, FaultServer, Request, digest};
use super::support::gate::{Gate, metric, wait_at_most, wait_for};
use super::support::http::{Answer, Connection};
use super::support::queue::{attempts, start_process, start_process_in, waiting};
use super::support::sign;

const RETRY: &str = "retry: { initial: 20ms, factor: 1, max: 20ms, max_attempts: 40 }";

/// A config with a route of this name and action for each; a breaker, or a long pause, would make the sequence of attempts one of chance.
fn config(routes: &[(&str, &str, &str)]) -> String {
    let verify = format!(
        "{{ provider: github, secrets: [{{ insecure_inline: \"{SECRET}\", allow_whitespace: true }}] }}"
    );
    let upstreams = routes.iter().map(|(name, url, _)| {
        format!("  {name}: {{ url: '{url}', timeout: 700ms, connect_timeout: 300ms, breaker: {{ failures: 0, open: 20ms }} }}\n")
    });
    let routes = routes.iter().map(|(name, _, action)| {
        let action = action.replace("APP", name);
        format!("  - {{ name: {name}, path: /webhooks/{name}, verify: {verify}, dedupe: {{ window: 24h }}, {action} }}\n")
    });
    format!(
        "listen: [{{ address: 127.0.0.1:0 }}]
health: {{ address: 127.0.0.1:0 }}
log: {{ requests: none }}
shutdown: {{ delay: 0s, grace: 5s }}
store: {{ path: STORE }}
upstreams:
{}routes:
{}",
        upstreams.collect::<String>(),
        routes.collect::<String>()
    )
}

fn queue(more: &str) -> String {
    format!("queue: {{ upstream: APP, {RETRY}, {more} }}")
}

fn spill() -> String {
    format!(
        "forward: {{ upstream: APP, on_failure: queue, answer: {{ status: 202 }}, {RETRY}, rate: 1000/s, concurrency: 8 }}"
    )
}

fn body_of(id: &str) -> Vec<u8> {
    id.as_bytes().repeat(100)
}

fn send(gate: &Gate, route: &str, id: &str) -> std::io::Result<Answer> {
    let body = body_of(id);
    let headers = sign::github(SECRET, id, &body);
    Connection::open(gate.address("senders")).try_request(
        "POST",
        &format!("/webhooks/{route}"),
        &sign::borrowed(&headers),
        &body,
    )
}

/// The reactions of an app to the first requests of a delivery. It answers the rest with 200.
struct Case {
    name: &'static str,
    first: Vec<Fault>,
    /// The recorded attempts of a route that queues.
    queued: Vec<&'static str>,
    /// The status for the sender of a route that spills, if the answer is complete.
    answered: Option<u16>,
    /// The recorded attempts of that route.
    spilled: Vec<&'static str>,
}

fn case(
    name: &'static str,
    first: &[Fault],
    queued: &[&'static str],
    answered: Option<u16>,
    spilled: &[&'static str],
) -> Case {
    Case {
        name,
        first: first.to_vec(),
        queued: queued.to_vec(),
        answered,
        spilled: spilled.to_vec(),
    }
}

/// None keeps its connection: the next to use it could find it closed, and would be sent again.
fn cases() -> Vec<Case> {
    let ms = Duration::from_millis;
    let twice = |fault: Fault| [fault.clone(), fault];
    let soon = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(4));
    let (reset, timeout, malformed) = (
        "ambiguous_reset",
        "ambiguous_timeout",
        "ambiguous_malformed",
    );
    vec![
        case("works", &[], &["200"], Some(200), &[]),
        case(
            "hangs-before-head",
            &twice(Fault::HangBeforeHead),
            &[timeout, timeout, "200"],
            Some(202),
            &[timeout, timeout, "200"],
        ),
        // its status is final, whatever becomes of the rest
        case(
            "hangs-after-200",
            &[Fault::HangAfterHead(200)],
            &["200"],
            None,
            &[],
        ),
        case(
            "hangs-after-500",
            &[Fault::HangAfterHead(500)],
            &["500", "200"],
            None,
            &[],
        ),
        case(
            "hangs-after-503",
            &twice(Fault::HangAfterHead(503)),
            &["503", "503", "200"],
            Some(202),
            &["503", "503", "200"],
        ),
        case(
            "resets-in-body-of-200",
            &[Fault::ResetMidBody(200)],
            &["200"],
            None,
            &[],
        ),
        case(
            "resets-in-body-of-502",
            &[Fault::ResetMidBody(502)],
            &["502", "200"],
            Some(202),
            &["502", "200"],
        ),
        case(
            "resets",
            &twice(Fault::Reset),
            &[reset, reset, "200"],
            Some(202),
            &[reset, reset, "200"],
        ),
        case(
            "closes",
            &twice(Fault::Close),
            &[reset, reset, "200"],
            Some(202),
            &[reset, reset, "200"],
        ),
        case(
            "drips",
            &[Fault::Drip(200, ms(2))],
            &["200"],
            Some(200),
            &[],
        ),
        case(
            "drips-too-slowly",
            &[Fault::Drip(200, ms(60))],
            &[timeout, "200"],
            Some(202),
            &[timeout, "200"],
        ),
        case(
            "storm",
            &vec![Fault::Answer(500); 9],
            &[
                "500", "500", "500", "500", "500", "500", "500", "500", "500", "200",
            ],
            Some(500),
            &[],
        ),
        case("too-short", &[Fault::TooShort(200)], &["200"], None, &[]),
        case(
            "too-short-503",
            &[Fault::TooShort(503)],
            &["503", "200"],
            Some(202),
            &["503", "200"],
        ),
        case("too-long", &[Fault::TooLong(200)], &["200"], Some(200), &[]),
        case(
            "too-long-500",
            &[Fault::TooLong(500)],
            &["500", "200"],
            Some(500),
            &[],
        ),
        case(
            "no-http",
            &twice(Fault::Garbage),
            &[malformed, malformed, "200"],
            Some(202),
            &[malformed, malformed, "200"],
        ),
        case(
            "asks-429",
            &[Fault::With(429, "Retry-After", "1".into())],
            &["429", "200"],
            Some(429),
            &[],
        ),
        case(
            "asks-503",
            &[Fault::With(503, "Retry-After", "1".into())],
            &["503", "200"],
            Some(202),
            &["503", "200"],
        ),
        case(
            "asks-by-date",
            &[Fault::With(503, "Retry-After", soon)],
            &["503", "200"],
            Some(202),
            &["503", "200"],
        ),
        case(
            "asks-nonsense",
            &[Fault::With(429, "Retry-After", "soon".into())],
            &["429", "200"],
            Some(429),
            &[],
        ),
        case("is-gone", &[Fault::Answer(410)], &["410"], Some(410), &[]),
        case(
            "redirects",
            &[Fault::With(307, "Location", "/".into())],
            &["307", "200"],
            Some(307),
            &[],
        ),
    ]
}

/// The same app for all: what it does depends on the delivery.
fn scripted(cases: &[Case]) -> FaultServer {
    let scripts: HashMap<String, Vec<Fault>> = cases
        .iter()
        .map(|case| (case.name.to_owned(), case.first.clone()))
        .collect();
    let turns = Mutex::new(HashMap::<String, usize>::new());
    FaultServer::start(move |_, request| {
        let mut turns = turns.lock().unwrap();
        let turn = turns.entry(request.id.clone()).or_default();
        *turn += 1;
        scripts[&request.id]
            .get(*turn - 1)
            .cloned()
            .unwrap_or(Fault::Answer(200))
    })
}

fn of(app: &FaultServer, id: &str) -> Vec<Request> {
    app.seen()
        .into_iter()
        .filter(|request| request.id == id)
        .collect()
}

fn is_quiet(gate: &Gate) {
    let text = gate.log_lines().join("\n");
    assert!(
        !text.contains("panicked") && !text.contains("\"level\":\"error\""),
        "{text}"
    );
}

#[test]
fn a_queue_delivers_to_an_app_that_fails_in_every_way() {
    let cases = cases();
    let app = scripted(&cases);
    let gate = start_process(&config(&[("app", &app.url(), &queue("concurrency: 64"))]));
    for case in &cases {
        let answer = send(&gate, "app", case.name).unwrap();
        assert_eq!(
            (answer.status, answer.header("Hookgate-Status")),
            (200, Some("queued")),
            "{}",
            case.name
        );
    }
    wait_for("all to be over", || waiting(gate.dir()) == 0);
    let attempts = attempts(gate.dir());
    for case in &cases {
        assert_eq!(attempts[case.name], case.queued, "{}", case.name);
        let seen = of(&app, case.name);
        assert_eq!(seen.len(), case.queued.len(), "{}", case.name);
        for (number, request) in (1..).zip(&seen) {
            assert_eq!(
                (request.attempt, request.digest),
                (number, digest(&body_of(case.name))),
                "{}",
                case.name
            );
        }
        if let (true, [first, second, ..]) = (case.name.starts_with("asks-"), &seen[..]) {
            let waited = second.at - first.at;
            assert_eq!(
                waited >= Duration::from_millis(990),
                case.name != "asks-nonsense",
                "{}: {waited:?}",
                case.name
            );
        }
    }
    is_quiet(&gate);
    wait_for("what is dead to be shown", || {
        metric(&gate, "hookgate_queue_dead{route=\"app\"}") == 1.0
    });
}

#[test]
fn spilling_route_stores_unanswered_requests() {
    let cases = cases();
    let app = scripted(&cases);
    let gate = start_process(&config(&[("app", &app.url(), &spill())]));
    let answers: Vec<_> = std::thread::scope(|scope| {
        let sending: Vec<_> = cases
            .iter()
            .map(|case| scope.spawn(|| send(&gate, "app", case.name)))
            .collect();
        sending
            .into_iter()
            .map(|sent| sent.join().unwrap())
            .collect()
    });
    for (case, answer) in cases.iter().zip(answers) {
        assert_eq!(
            answer.as_ref().ok().map(|answer| answer.status),
            case.answered,
            "{}",
            case.name
        );
        if let Ok(answer) = answer {
            assert_eq!(
                answer.header("Hookgate-Status"),
                (answer.status == 202).then_some("spilled"),
                "{}",
                case.name
            );
            assert_eq!(
                answer.header("Retry-After").is_some(),
                answer.status == 429,
                "{}: an app's wait is the sender's to know",
                case.name
            );
        }
    }
    let spilled = cases.iter().filter(|case| !case.spilled.is_empty()).count();
    wait_for("all to be over", || waiting(gate.dir()) == 0);
    let attempts = attempts(gate.dir());
    assert_eq!(attempts.len(), spilled, "{attempts:?}");
    for case in &cases {
        assert_eq!(
            attempts.get(case.name).cloned().unwrap_or_default(),
            case.spilled,
            "{}",
            case.name
        );
        let seen = of(&app, case.name);
        assert_eq!(seen.len(), case.spilled.len().max(1), "{}", case.name);
        assert!(
            seen.iter()
                .all(|request| request.digest == digest(&body_of(case.name))),
            "{}",
            case.name
        );
        // the provider sends it again: what the app has, or will have, is a duplicate; what it refused it gets once more
        let again = send(&gate, "app", case.name).unwrap();
        let refused =
            case.answered.is_some_and(|status| status >= 300) || case.name == "hangs-after-500";
        if case.name != "storm" {
            // a duplicate gets the answer of the route
            let expected = if refused {
                (200, None)
            } else {
                (202, Some("duplicate"))
            };
            assert_eq!(
                (again.status, again.header("Hookgate-Status")),
                expected,
                "{}",
                case.name
            );
        }
    }
    is_quiet(&gate);
}

#[test]
fn an_app_that_is_away_or_dies_half_of_the_time_gets_everything() {
    // a coin that falls the same way at each run
    let app = FaultServer::start(|number, _| {
        if (number * 7919) % 13 < 6 {
            Fault::Close
        } else {
            Fault::Answer(200)
        }
    });
    app.go_down();
    let url = app.url();
    let gate = start_process(&config(&[
        ("queued", &url, &queue("concurrency: 4")),
        ("spilled", &url, &spill()),
    ]));
    let ids: Vec<_> = (0..40).map(|number| format!("id-{number}")).collect();
    for (number, id) in ids.iter().enumerate() {
        if number == 20 {
            app.come_back();
        }
        assert_eq!(
            send(&gate, "queued", &format!("q-{id}")).unwrap().status,
            200
        );
        let spilled = send(&gate, "spilled", &format!("s-{id}")).unwrap();
        assert!(
            if number < 20 {
                spilled.status == 202
            } else {
                [200, 202].contains(&spilled.status)
            },
            "{}",
            spilled.text()
        );
    }
    let delivered = |id: &String| {
        of(&app, id)
            .last()
            .is_some_and(|last| last.fault == Fault::Answer(200))
    };
    let all: Vec<_> = ids
        .iter()
        .flat_map(|id| [format!("q-{id}"), format!("s-{id}")])
        .collect();
    wait_for("all to arrive", || all.iter().all(delivered));
    wait_for("all to be over", || waiting(gate.dir()) == 0);
    let attempts = attempts(gate.dir());
    for id in &all {
        let (seen, tries) = (
            of(&app, id),
            attempts
                .get(id)
                .cloned()
                .unwrap_or_else(|| vec!["200".into()]),
        );
        assert!(
            seen.iter()
                .all(|request| request.digest == digest(&body_of(id))),
            "{id}"
        );
        let came: Vec<_> = seen
            .iter()
            .map(|request| {
                if request.fault == Fault::Close {
                    "ambiguous_reset"
                } else {
                    "200"
                }
            })
            .collect();
        let (away, reached): (Vec<&str>, Vec<&str>) = tries
            .iter()
            .map(String::as_str)
            .partition(|came| came.starts_with("unreached"));
        assert_eq!(reached, came, "{id}");
        assert!(
            away.iter().all(|came| *came == "unreached_refused"),
            "{id}: {away:?}"
        );
    }
    assert!(
        attempts
            .values()
            .flatten()
            .any(|came| came == "unreached_refused")
    );
    is_quiet(&gate);
}

/// CPU time that a gate has used, in seconds.
fn cpu(gate: &Gate) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", gate.pid())).unwrap();
    let ticks: u32 = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split(' ')
        .skip(12)
        .take(2)
        .map(|ticks| ticks.parse::<u32>().unwrap())
        .sum();
    f64::from(ticks) / 100.0
}

/// Deliveries wait for a rate, for a breaker, for an app that hangs: that costs next to nothing.
#[test]
fn blocked_targets_are_not_polled() {
    let (app, hanging) = (
        FaultServer::start(|_, _| Fault::Answer(200)),
        FaultServer::start(|_, _| Fault::HangBeforeHead),
    );
    let away = format!("http://{}", unused_address());
    let slow = |url: &str, more: &str| {
        (
            url.to_owned(),
            format!("queue: {{ upstream: APP, retry: {{ initial: 10m }}, {more} }}"),
        )
    };
    let [(a, rated), (b, broken), (c, busy)] = [
        slow(&app.url(), "rate: 1/h, burst: 1"),
        slow(&away, "concurrency: 9"),
        slow(&hanging.url(), "concurrency: 1"),
    ];
    let yaml = config(&[("rated", &a, &rated), ("broken", &b, &broken), ("busy", &c, &busy)])
        .replace(
            &format!("broken: {{ url: '{away}', timeout: 700ms, connect_timeout: 300ms, breaker: {{ failures: 0, open: 20ms }} }}"),
            &format!("broken: {{ url: '{away}', breaker: {{ failures: 1, open: 10m }} }}"),
        )
        .replace(&format!("busy: {{ url: '{c}', timeout: 700ms"), &format!("busy: {{ url: '{c}', timeout: 60s"));
    let gate = start_process(&yaml);
    for route in ["rated", "broken", "busy"] {
        for number in 0..20 {
            assert_eq!(
                send(&gate, route, &format!("{route}-{number}"))
                    .unwrap()
                    .status,
                200
            );
        }
    }
    wait_for("what may be delivered", || {
        app.count() == 1 && hanging.count() == 1 && attempts(gate.dir()).contains_key("broken-0")
    });
    let (before, begun) = (cpu(&gate), Instant::now());
    wait_for("two seconds", || begun.elapsed() > Duration::from_secs(2));
    let used = cpu(&gate) - before;
    assert!(used < 0.4, "{used} s of CPU in two seconds");
    assert_eq!(
        (app.count(), hanging.count(), waiting(gate.dir())),
        (1, 1, 59)
    );
}

/// Thousands wait for an app that hangs and for one that is not there; those of a third arrive as if they were alone, before a restart and after.
#[test]
fn a_dead_route_does_not_delay_another() {
    let hanging = FaultServer::start(|_, _| Fault::HangBeforeHead);
    let live = FaultServer::start(|_, _| Fault::Keep(200));
    let away = format!("http://{}", unused_address());
    let often = "retry: { initial: 10ms, factor: 1, max: 10ms, max_attempts: 1000000 }";
    let dead = format!("queue: {{ upstream: APP, {often}, concurrency: 32 }}");
    let yaml = config(&[
        ("hanging", &hanging.url(), &dead),
        ("away", &away, &dead),
        ("live", &live.url(), &queue("concurrency: 4")),
    ]);
    let gate = start_process(&yaml);
    let fill = |gate: &Gate, route: &'static str, prefix: &str, count: usize| {
        let mut connection = Connection::open(gate.address("senders"));
        for number in 0..count {
            let id = format!("{prefix}-{number}");
            let body = body_of(&id);
            let headers = sign::github(SECRET, &id, &body);
            let answer = connection.request(
                "POST",
                &format!("/webhooks/{route}"),
                &sign::borrowed(&headers),
                &body,
            );
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    };
    std::thread::scope(|scope| {
        for (route, prefix) in [
            ("hanging", "h1"),
            ("away", "a1"),
            ("hanging", "h2"),
            ("away", "a2"),
        ] {
            let gate = &gate;
            scope.spawn(move || fill(gate, route, prefix, 1000));
        }
    });
    let check = |gate: &Gate, prefix: &str| {
        let mut slowest = Duration::ZERO;
        for number in 0..50 {
            let (id, begun) = (format!("{prefix}-{number}"), Instant::now());
            assert_eq!(send(gate, "live", &id).unwrap().status, 200);
            wait_for("it to arrive", || {
                live.seen().iter().any(|request| request.id == id)
            });
            slowest = slowest.max(begun.elapsed());
        }
        // behind 2,000 attempts of 700 ms each it would take minutes
        assert!(slowest < Duration::from_secs(5), "{prefix}: {slowest:?}");
        // many at once find the places of their own route taken, and no others
        let (before, begun) = (live.count(), Instant::now());
        fill(gate, "live", &format!("{prefix}-many"), 200);
        wait_for("all to arrive", || live.count() >= before + 200);
        eprintln!(
            "{prefix}: the slowest of 50 took {slowest:?}, 200 together {:?}",
            begun.elapsed()
        );
    };
    check(&gate, "before");
    assert!(metric(&gate, "hookgate_queue_waiting{route=\"hanging\"}") >= 2000.0);
    assert!(metric(&gate, "hookgate_queue_waiting{route=\"away\"}") >= 2000.0);
    let dir = gate.shared_dir();
    gate.signal("KILL");
    drop(gate);
    let gate = start_process_in(Arc::clone(&dir), &yaml);
    check(&gate, "after");
    assert_eq!(metric(&gate, "hookgate_queue_dead{route=\"away\"}"), 0.0);
    is_quiet(&gate);
    wait_at_most(Duration::from_secs(20), "the metric", || {
        metric(&gate, "hookgate_queue_waiting{route=\"away\"}") == 2000.0
    });
}

/// A million deliveries of a route whose app is away do not keep those of another from arriving.
#[test]
fn a_million_for_a_dead_app_do_not_delay_another() {
    let live = FaultServer::start(|_, _| Fault::Keep(200));
    let often = "retry: { initial: 1s, factor: 1, max: 1s, max_attempts: 1000000 }";
    let dead = format!("queue: {{ upstream: APP, {often}, concurrency: 32 }}");
    let yaml = config(&[
        ("dead", &format!("http://{}", unused_address()), &dead),
        ("live", &live.url(), &queue("concurrency: 4")),
    ]);
    let mut gate = start_process(&yaml);
    assert_eq!(send(&gate, "dead", "first").unwrap().status, 200);
    gate.signal("TERM");
    gate.wait(Duration::from_secs(10));
    let database = rusqlite::Connection::open(gate.dir().join("store/hookgate.db")).unwrap();
    // copies of the one that is there, all of them due, with IDs in the order of their time as the gateway makes them
    let copies = "
        pragma journal_mode = off;
        pragma synchronous = off;
        begin;
        create temp table copy as with recursive n (i) as (select 1 union all select i + 1 from n where i < 1000000) select cast(format('%016d', i) as blob) as id from n;
        insert into delivery (id, origin, at, record, body) select copy.id, one.origin, one.at, one.record, x'7b7d'
            from copy cross join (select * from delivery limit 1) one;
        insert into due (id, target, run_at, lease, leased, attempt_count, cause, since, last_attempt) select copy.id, one.target, 0, 1, 0, 0, 0, one.since, 1
            from copy cross join (select * from due limit 1) one;
        update tally set rows = rows + 1000000;
        commit;";
    database.execute_batch(copies).unwrap();
    drop(database);
    let gate = start_process_in(gate.shared_dir(), &yaml);
    wait_for("the dead app to be tried", || {
        metric(
            &gate,
            "hookgate_attempts_total{outcome=\"unreached\",route=\"dead\"}",
        ) > 32.0
    });
    for number in 0..20 {
        let id = format!("id-{number}");
        assert_eq!(send(&gate, "live", &id).unwrap().status, 200);
        wait_at_most(Duration::from_secs(10), "it to arrive", || {
            live.seen().iter().any(|request| request.id == id)
        });
    }
    assert!(waiting(gate.dir()) > 1_000_000);
}

/// Bodies of 400 KiB or more are not delivered from memory.
fn send_large(gate: &Gate, route: &str, id: &str, bytes: usize) {
    let body = vec![b'x'; bytes];
    let answer = gate.post(
        &format!("/webhooks/{route}"),
        &sign::github(SECRET, id, &body),
        &body,
    );
    assert_eq!(
        (answer.status, answer.header("Hookgate-Status")),
        (200, Some("queued")),
        "{id}: {}",
        answer.text()
    );
}

/// A route with large bodies and a slow app leaves memory to the others.
#[test]
fn large_bodies_of_one_route_do_not_starve_another() {
    let (slow, quick) = (
        FaultServer::start(|_, _| Fault::HangBeforeHead),
        FaultServer::start(|_, _| Fault::Keep(200)),
    );
    let yaml = config(&[
        ("slow", &slow.url(), &queue("concurrency: 64")),
        ("quick", &quick.url(), &queue("concurrency: 4")),
    ])
    .replace("timeout: 700ms", "timeout: 60s");
    let gate = start_process(&yaml);
    for number in 0..10 {
        send_large(&gate, "slow", &format!("slow-{number}"), 5 << 20);
    }
    wait_for("the memory to be taken", || slow.count() >= 4);
    let begun = Instant::now();
    for number in 0..10 {
        send_large(&gate, "quick", &format!("quick-{number}"), 400 << 10);
    }
    wait_for("all to arrive", || quick.count() == 10);
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(
        slow.count(),
        4,
        "it holds 20 MiB: at most what was free when the last began"
    );
}

/// How often a thread of the gate has waited.
fn waits(gate: &Gate, thread: &str) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", gate.pid()))
        .unwrap()
        .map(|task| task.unwrap().path());
    let task = tasks
        .into_iter()
        .find(|task| {
            std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == thread)
        })
        .unwrap();
    let status = std::fs::read_to_string(task.join("status")).unwrap();
    status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

/// However many routes have deliveries that wait for a later time, the gate knows how long it may sleep.
#[test]
fn many_waiting_routes_are_not_polled() {
    let away = format!("http://{}", unused_address());
    let names: Vec<_> = (0..90).map(|number| format!("r{number}")).collect();
    let action = "queue: { upstream: APP, retry: { initial: 10m, factor: 1, max: 10m } }";
    let gate = start_process(&config(
        &names
            .iter()
            .map(|name| (name.as_str(), away.as_str(), action))
            .collect::<Vec<_>>(),
    ));
    for name in &names {
        assert_eq!(send(&gate, name, &format!("{name}-1")).unwrap().status, 200);
    }
    wait_for("each to be attempted", || {
        attempts(gate.dir()).len() == names.len()
    });
    let (before, begun) = (waits(&gate, "store-read"), Instant::now());
    wait_for("two seconds", || begun.elapsed() > Duration::from_secs(2));
    let looks = waits(&gate, "store-read") - before;
    assert!(looks < 30, "{looks} reads in two seconds");
}

/// Many retries that are due do not make new deliveries wait: first attempts and retries take turns.
#[test]
fn retries_do_not_make_first_attempts_wait() {
    let app = FaultServer::start(|_, request| {
        if request.id.starts_with("new") {
            return Fault::Answer(200);
        }
        if request.attempt > 1 {
            std::thread::sleep(Duration::from_millis(300));
        }
        Fault::Answer(500)
    });
    let gate = start_process(&config(&[(
        "app",
        &app.url(),
        "queue: { upstream: APP, retry: { schedule: [2s, 10ms] }, concurrency: 2 }",
    )]));
    for number in 0..60 {
        assert_eq!(
            send(&gate, "app", &format!("old-{number}")).unwrap().status,
            200
        );
    }
    // they take nine seconds, two at a time
    wait_for("the retries to begin", || app.count() > 60);
    let begun = Instant::now();
    for number in 0..5 {
        assert_eq!(
            send(&gate, "app", &format!("new-{number}")).unwrap().status,
            200
        );
    }
    wait_for("the new ones to arrive", || {
        app.seen()
            .iter()
            .filter(|request| request.id.starts_with("new"))
            .count()
            == 5
    });
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "{:?}",
        begun.elapsed()
    );
}

/// Acknowledged deliveries hold nothing of `in_flight_bytes`, however long their app takes.
#[test]
fn a_hung_app_does_not_use_up_in_flight_bytes() {
    let app = FaultServer::start(|_, _| Fault::HangBeforeHead);
    let yaml = config(&[("app", &app.url(), &queue("concurrency: 300"))])
        .replace("timeout: 700ms", "timeout: 60s")
        .replace(
            "dedupe: { window: 24h }",
            "dedupe: { window: 24h }, max_body: 256KiB",
        )
        .replace(
            "upstreams:\n",
            "limits: { in_flight_bytes: 2MiB }\nupstreams:\n",
        );
    let gate = start_process(&yaml);
    for number in 0..60 {
        send_large(&gate, "app", &format!("id-{number}"), 100 << 10);
    }
    wait_for("all to be under way", || app.count() == 60);
    assert!(metric(&gate, "hookgate_in_flight_bytes") < 200_000.0);
}
