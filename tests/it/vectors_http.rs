//! The golden requests once more, over HTTP: a running gate, its clock set to the time of each request.
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hookgate::config::presets::Catalogue;
use hookgate::gateway::serve::Server;

use super::support::app::App;
use super::support::http::Connection;
use super::support::set_clock::{NOTHING, SetClock, snapshot, start};
use super::support::vectors::{self, Case};

#[test]
fn every_golden_request_gets_its_verdict_over_http() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let app = App::start();
    let clock = Arc::new(SetClock::default());
    let dir = tempfile::tempdir().unwrap();
    let gate = Arc::new(start(
        &runtime,
        &clock,
        snapshot(dir.path(), &app, NOTHING).unwrap(),
    ));
    let server = runtime.block_on(Server::start(Arc::clone(&gate))).unwrap();
    let address = server.addresses()[0].tcp().unwrap();
    let mut kept = Connection::open(address);
    let deviations = vectors::deviations();
    let (mut count, mut wrong) = (0, String::new());
    for (provider, path) in vectors::files() {
        for case in vectors::load(&path) {
            clock.0.store(case.now, Ordering::SeqCst);
            let accepted = match snapshot(dir.path(), &app, &route(&provider, &case)) {
                None => false,
                Some(snapshot) => {
                    runtime.block_on(gate.swap(&Arc::new(snapshot))).unwrap();
                    send(&mut kept, &app, &case, &provider)
                }
            };
            let expected = case.due(deviations.get(&provider));
            count += 1;
            if accepted != expected {
                writeln!(
                    wrong,
                    "{}: {}: we {accepted}, expected {expected}",
                    path.display(),
                    case.name
                )
                .unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count > 800, "only {count} cases");
    eprintln!("{count} golden requests over HTTP, each with its verdict");
}

fn route(provider: &str, case: &Case) -> String {
    let secrets = case.texts().into_iter().map(|text| {
        format!(
            "{{ insecure_inline: {}, allow_whitespace: true }}",
            serde_json::to_string(&text).unwrap()
        )
    });
    format!(
        "{{ name: it, path: {}, methods: [{}], verify: {{ provider: {provider}, secrets: [{}] }}, forward: {{ upstream: app }} }}",
        serde_json::to_string(case.target().split('?').next().unwrap()).unwrap(),
        case.method,
        secrets.collect::<Vec<_>>().join(", ")
    )
}

fn send(kept: &mut Connection, app: &App, case: &Case, provider: &str) -> bool {
    let before = app.count();
    let mut headers: Vec<(&str, &str)> = case
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    headers.retain(|(name, _)| {
        !name.eq_ignore_ascii_case("host") && !name.eq_ignore_ascii_case("content-length")
    });
    headers.push(("Host", case.authority()));
    headers.push(("X-Forwarded-Proto", case.url.split_once("://").unwrap().0));
    let answer = kept.request(&case.method, &case.target(), &headers, &case.body());
    let seen = app.count() - before;
    match answer.status {
        200 => {
            assert_eq!(seen, 1, "{provider} {}", case.name);
            assert!(
                app.last().body == case.body(),
                "{provider} {}: the body differs",
                case.name
            );
            true
        }
        401 => {
            assert_eq!(
                seen, 0,
                "{provider} {}: refused, and the app saw it",
                case.name
            );
            false
        }
        status => panic!("{provider} {}: {status} {}", case.name, answer.text()),
    }
}

/// Every preset that says it is proven has vectors, and every vector file a preset.
#[test]
fn presets_and_vectors_belong_together() {
    let catalogue = Catalogue::built_in();
    for (provider, path) in vectors::files() {
        assert!(
            catalogue.get(&provider).is_some(),
            "{} has no preset",
            path.display()
        );
    }
    assert!(catalogue.names().count() >= 25);
}
