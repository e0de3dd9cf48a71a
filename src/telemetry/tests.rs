//! The views of a record: metrics, log lines, recent refusals.
use std::io;

use http::{Method, StatusCode};

use super::*;
use crate::alarm::{Alarm, Change, Code};
use crate::clock::SystemClock;
use crate::refusal::Refusal;
use crate::request::{Client, HeaderLines, RequestId};
use crate::verify::NotAuthentic;

/// A writer that several hold.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink {
    fn lines(&self) -> Vec<String> {
        String::from_utf8(self.0.lock().clone())
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect()
    }
}

fn telemetry(format: LogFormat, requests: LogRequests) -> (Arc<Telemetry>, Sink) {
    let sink = Sink::default();
    (
        Telemetry::new(
            LogPolicy { format, requests },
            Arc::new(SystemClock),
            sink.clone(),
        ),
        sink,
    )
}

fn facts(target: &str) -> Facts {
    let client = Client {
        ip: [192, 0, 2, 1].into(),
        own: true,
        behind_trusted_proxy: false,
    };
    Facts::new(
        RequestId::from_u128(1),
        &Method::POST,
        target.as_bytes(),
        &HeaderLines::default(),
        client,
        SystemClock.now(),
    )
}

/// Returns facts with every field set.
fn full() -> Facts {
    let mut facts = facts("/hooks/a?token=hidden");
    facts.of_route(&"billing".into(), Some(&"stripe".into()));
    facts.secret = Some("new".into());
    facts.delivery_id = Some("evt_1".into());
    facts.event_type = Some("paid \"now\"".into());
    facts.skew_ms = Some(-1500);
    facts.verify_time = Some(Duration::from_micros(42));
    facts.body_bytes = 1000;
    facts.of_attempt(&"app".into(), 1, Duration::from_millis(7));
    facts
}

/// Returns an attempt of a delivery that did not reach the upstream.
fn attempt_event(after: After) -> AttemptEvent<'static> {
    static NAMES: std::sync::LazyLock<(Arc<str>, Arc<str>)> =
        std::sync::LazyLock::new(|| ("billing".into(), "app".into()));
    AttemptEvent {
        route: &NAMES.0,
        delivery: uuid::Uuid::from_u128(7),
        delivery_id: Some("evt_1"),
        upstream: &NAMES.1,
        number: 2,
        outcome: crate::delivery::Outcome::Unreached(crate::delivery::Fault::Refused),
        error: Some("unreached_refused"),
        took: Duration::from_millis(3),
        after,
    }
}

fn refused(refusal: Refusal) -> Ended {
    Ended::Refused {
        refusal,
        status: refusal.status(),
    }
}

/// Returns the names of metrics with their labels, in their order.
fn shapes(text: &str) -> Vec<String> {
    let mut shapes: Vec<String> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let labels: Vec<_> = labels
            .split(',')
            .filter_map(|label| Some(label.split_once('=')?.0))
            .filter(|label| *label != "le")
            .collect();
        let shape = format!(
            "{}{{{}}}",
            name.trim_end_matches("_bucket")
                .trim_end_matches("_sum")
                .trim_end_matches("_count"),
            labels.join(",")
        );
        if shapes.last() != Some(&shape) {
            shapes.push(shape);
        }
    }
    shapes
}

/// Returns the metrics of a gateway that has counted every event once.
fn metrics() -> String {
    let (telemetry, _) = telemetry(LogFormat::Json, LogRequests::None);
    telemetry
        .begin(full())
        .close(Ended::Forwarded(StatusCode::OK));
    telemetry
        .begin(facts("/x"))
        .close(refused(Refusal::NoRoute));
    telemetry.reloaded(1, SystemClock.now().wall);
    let mut observed = facts("/y");
    observed.of_route(&"billing".into(), None);
    observed.verdict = Some(Verdict::WouldRefuse {
        why: NotAuthentic::SignatureMissing,
        reason: Some("the body is empty".into()),
        agent: None,
    });
    telemetry
        .begin(observed)
        .close(Ended::Forwarded(StatusCode::OK));
    let gauges = Gauges {
        secrets: vec![SecretGauge {
            route: "billing".into(),
            secret: "new".into(),
            last_match: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(7)),
            expires: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(9)),
        }],
        spool_waiting: Some(2),
        rate_limit_local: Some(3),
        refused_connections: vec![("full", 0)],
        accept_errors: vec![("no_files", 0)],
        enforcing: vec![("billing".into(), false), ("other".into(), true)],
        breakers: vec![("app".into(), true)],
        handlers: vec![("billing".into(), true)],
        hash: "9f2c41ab".to_owned(),
        waiting: vec![("billing".into(), 3)],
        paused: vec![("billing".into(), true)],
        dead: vec![("billing".into(), 1)],
        cancelled: vec![("billing".into(), 0)],
        sending: Some(SendingGauges {
            waiting: 4,
            dead: 2,
            endpoints: vec![("active", 3), ("paused_gone", 1)],
            slots: vec![("suspects", 1), ("others", 2)],
        }),
        shared_store: Some(SharedStoreGauges {
            up: true,
            calls: vec![(
                "accept",
                Distribution {
                    bounds: &[0.1, 1.0],
                    counts: vec![2, 1, 1],
                    sum: 4.5,
                },
            )],
            repeats: vec![("contended", 2)],
            fleet: Some(FleetGauges {
                gateways: 3,
                clock_ahead: -0.5,
                ..FleetGauges::default()
            }),
            ..SharedStoreGauges::default()
        }),
        ..Gauges::default()
    };
    telemetry.attempted(&attempt_event(After::RetryIn(Duration::from_secs(5))));
    telemetry.attempted(&attempt_event(After::Dead));
    telemetry.sending().count_publish(PublishResult::Accepted);
    for outcome in [
        crate::delivery::Outcome::Answered(StatusCode::OK),
        crate::delivery::Outcome::Answered(StatusCode::SERVICE_UNAVAILABLE),
    ] {
        telemetry.sending().count_attempt(&EndpointAttempt {
            outcome,
            delay: Duration::from_millis(3),
            took: Duration::from_millis(30),
        });
    }
    assert_eq!(
        telemetry.sending().sums(),
        SendingSums {
            published: 1,
            attempts: 2,
            failed: 1
        }
    );
    let at = SystemClock.now().wall;
    let alarm = Alarm {
        code: Code::Failing,
        route: Some("billing".into()),
        since: at,
        text: "it fails".to_owned(),
        ending: false,
    };
    telemetry.alarmed(
        &[Change {
            alarm: alarm.clone(),
            raised: true,
            at,
        }],
        vec![alarm],
    );
    telemetry.metrics_text(&gauges)
}

#[test]
fn names_and_labels_of_metrics() {
    insta::assert_snapshot!(shapes(&metrics()).join("\n"), @"
    hookgate_accept_errors_total{cause}
    hookgate_alarm{code,route}
    hookgate_attempt_errors_total{error,route}
    hookgate_attempts_settled_total{after,route}
    hookgate_attempts_total{outcome,route}
    hookgate_certificate_stale{}
    hookgate_clock_skew_seconds{}
    hookgate_config_generation{}
    hookgate_config_info{hash}
    hookgate_config_last_reload_success{}
    hookgate_config_loaded_timestamp_seconds{}
    hookgate_connections{}
    hookgate_connections_refused_total{reason}
    hookgate_dedupe_passed_total{route}
    hookgate_in_flight_bytes{}
    hookgate_late_attempts_total{}
    hookgate_late_retries_total{route}
    hookgate_ledger_bytes{}
    hookgate_ledger_entries{}
    hookgate_ledger_forgotten_early_total{}
    hookgate_ledger_unsaved{}
    hookgate_library_warnings_total{}
    hookgate_log_lines_dropped_total{}
    hookgate_lost_claims_total{}
    hookgate_malformed_total{}
    hookgate_not_recorded_total{}
    hookgate_outbound_attempt_seconds{}
    hookgate_outbound_attempts_total{outcome}
    hookgate_outbound_dead{}
    hookgate_outbound_endpoints{state}
    hookgate_outbound_published_total{result}
    hookgate_outbound_slots{half}
    hookgate_outbound_start_seconds{}
    hookgate_outbound_waiting{}
    hookgate_queue_cancelled{route}
    hookgate_queue_dead{route}
    hookgate_queue_paused{route}
    hookgate_queue_waiting{route}
    hookgate_rate_limit_local_total{}
    hookgate_reloads_total{result}
    hookgate_request_seconds{route}
    hookgate_requests_total{outcome,route}
    hookgate_route_breaker_open{route}
    hookgate_route_not_enforcing{route}
    hookgate_secret_expires_timestamp_seconds{route,secret}
    hookgate_secret_last_match_timestamp_seconds{route,secret}
    hookgate_secret_matches_total{route,secret}
    hookgate_secret_stale{}
    hookgate_signature_age_seconds{route}
    hookgate_spool_waiting{}
    hookgate_store_alarm{}
    hookgate_store_batch_size{}
    hookgate_store_bytes{}
    hookgate_store_call_seconds{call}
    hookgate_store_clock_skew_seconds{}
    hookgate_store_configs{}
    hookgate_store_connections{}
    hookgate_store_days_ahead{}
    hookgate_store_gateways{}
    hookgate_store_repeats_total{why}
    hookgate_store_unknown_total{}
    hookgate_store_up{}
    hookgate_store_writes_waiting{}
    hookgate_upstream_breaker_open{upstream}
    hookgate_upstream_seconds{upstream}
    hookgate_verify_seconds{route}
    hookgate_would_refuse_total{code,route}
    ");
}

/// docs/postgres.md names each metric of a shared store.
#[test]
fn metrics_of_a_shared_store_are_documented() {
    let page = include_str!("../../docs/postgres.md");
    let shapes = shapes(&metrics());
    let own = ["store_alarm", "store_bytes", "store_writes_waiting"];
    let is_shared = |shape: &&String| {
        let name = shape.strip_prefix("hookgate_").unwrap_or_default();
        name.starts_with("store_") && !own.iter().any(|own| name.starts_with(own))
    };
    let found: Vec<_> = shapes.iter().filter(is_shared).collect();
    assert_eq!(found.len(), 10, "{found:?}");
    for shape in found {
        let named = shape.trim_end_matches("{}");
        assert!(page.contains(&format!("`{named}`")), "{named}");
    }
}

#[test]
fn values_of_metrics() {
    let text = metrics();
    for line in [
        "hookgate_requests_total{outcome=\"forwarded\",route=\"billing\"} 2",
        "hookgate_attempts_total{outcome=\"unreached\",route=\"billing\"} 2",
        "hookgate_secret_last_match_timestamp_seconds{route=\"billing\",secret=\"new\"} 7",
        "hookgate_secret_expires_timestamp_seconds{route=\"billing\",secret=\"new\"} 9",
        "hookgate_attempts_settled_total{after=\"dead\",route=\"billing\"} 1",
        "hookgate_queue_waiting{route=\"billing\"} 3",
        "hookgate_outbound_published_total{result=\"accepted\"} 1",
        "hookgate_outbound_published_total{result=\"unavailable\"} 0",
        "hookgate_outbound_attempts_total{outcome=\"5xx\"} 1",
        "hookgate_outbound_start_seconds_bucket{le=\"0.005\"} 2",
        "hookgate_outbound_attempt_seconds_count 2",
        "hookgate_outbound_endpoints{state=\"paused_gone\"} 1",
        "hookgate_outbound_slots{half=\"suspects\"} 1",
        "hookgate_outbound_waiting 4",
        "hookgate_store_up 1",
        "hookgate_store_call_seconds_bucket{call=\"accept\",le=\"1\"} 3",
        "hookgate_store_call_seconds_bucket{call=\"accept\",le=\"+Inf\"} 4",
        "hookgate_store_call_seconds_sum{call=\"accept\"} 4.5",
        "hookgate_store_repeats_total{why=\"contended\"} 2",
        "hookgate_store_gateways 3",
        "hookgate_store_clock_skew_seconds -0.5",
        "hookgate_route_not_enforcing{route=\"billing\"} 1",
        "hookgate_alarm{code=\"failing\",route=\"billing\"} 1",
        "hookgate_alarm{code=\"failing\",route=\"other\"} 0",
        "hookgate_alarm{code=\"disk_nearly_full\",route=\"-\"} 0",
        "hookgate_route_not_enforcing{route=\"other\"} 0",
        "hookgate_would_refuse_total{code=\"signature_missing\",route=\"billing\"} 1",
        "hookgate_requests_total{outcome=\"no_route\",route=\"-\"} 1",
        "hookgate_secret_matches_total{route=\"billing\",secret=\"new\"} 1",
        "hookgate_upstream_breaker_open{upstream=\"app\"} 1",
        "hookgate_upstream_seconds_count{upstream=\"app\"} 3",
        "hookgate_signature_age_seconds_bucket{route=\"billing\",le=\"0.5\"} 1",
        "hookgate_clock_skew_seconds -1.5",
        "hookgate_config_generation 1",
        "hookgate_config_info{hash=\"9f2c41ab\"} 1",
        "hookgate_config_last_reload_success 1",
        "hookgate_reloads_total{result=\"accepted\"} 0",
    ] {
        assert!(
            text.lines().any(|known| known == line),
            "{line} is not in\n{text}"
        );
    }
}

#[test]
fn nothing_of_a_sender_is_a_label() {
    let (telemetry, _) = telemetry(LogFormat::Json, LogRequests::None);
    let mut facts = full();
    facts.method = Method::from_bytes(b"FROMSENDER").unwrap();
    facts.path = "FROMSENDER".into();
    facts.delivery_id = Some("FROMSENDER".into());
    facts.event_type = Some("FROMSENDER".into());
    facts.sender_request_id = Some("FROMSENDER".into());
    telemetry.begin(facts).close(refused(Refusal::InFlight));
    assert!(
        !telemetry
            .metrics_text(&Gauges::default())
            .contains("FROMSENDER")
    );
}

#[test]
fn request_line_has_every_field() {
    let (telemetry, sink) = telemetry(LogFormat::Json, LogRequests::All);
    telemetry
        .begin(full())
        .close(Ended::Forwarded(StatusCode::OK));
    telemetry.flush();
    let line = sink.lines().concat();
    let rest = line.split_once("\",\"level\"").unwrap().1;
    insta::assert_snapshot!(
        rest,
        @r#":"info","msg":"request","route":"billing","provider":"stripe","method":"POST","path":"/hooks/a","status":200,"client":"192.0.2.1","request_id":"00000000000000000000000001","secret":"new","delivery_id":"evt_1","event":"paid \"now\"","skew_ms":-1500,"bytes":1000,"verify_us":42,"upstream_ms":7,"attempts":1}"#
    );
    assert!(
        serde_json::from_str::<serde_json::Value>(&line)
            .unwrap()
            .is_object()
    );
    telemetry.set_policy(LogPolicy {
        format: LogFormat::Pretty,
        requests: LogRequests::All,
    });
    telemetry.begin(full()).close(refused(Refusal::InFlight));
    telemetry.flush();
    let line = sink.lines().pop().unwrap();
    insta::assert_snapshot!(
        line.split_once(' ').unwrap().1,
        @r#"WARN  POST /hooks/a 503 in_flight route=billing provider=stripe secret=new delivery_id=evt_1 event="paid \"now\"" client=192.0.2.1 request_id=00000000000000000000000001 bytes=1000 verify=42µs upstream=7ms"#
    );
}

#[test]
fn attempt_has_its_line() {
    let (telemetry, sink) = telemetry(LogFormat::Json, LogRequests::All);
    telemetry.attempted(&attempt_event(After::RetryIn(Duration::from_millis(1500))));
    telemetry.attempted(&AttemptEvent {
        outcome: crate::delivery::Outcome::Answered(StatusCode::OK),
        error: None,
        delivery_id: None,
        ..attempt_event(After::Delivered)
    });
    telemetry.flush();
    let lines: Vec<_> = sink
        .lines()
        .iter()
        .map(|line| line.split_once(',').unwrap().1.to_owned())
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    "level":"warn","msg":"attempt","route":"billing","upstream":"app","delivery":"00000000-0000-0000-0000-000000000007","delivery_id":"evt_1","attempt":2,"error":"unreached_refused","why":"the upstream refused the connection","ms":3,"after":"retrying","retry_s":1.5}
    "level":"info","msg":"attempt","route":"billing","upstream":"app","delivery":"00000000-0000-0000-0000-000000000007","attempt":2,"status":200,"ms":3,"after":"delivered"}
    "#);
    let (telemetry, sink) = self::telemetry(LogFormat::Pretty, LogRequests::Refused);
    telemetry.attempted(&attempt_event(After::Delivered));
    (0..20).for_each(|_| telemetry.attempted(&attempt_event(After::Dead)));
    telemetry.flush();
    let lines = sink.lines();
    assert_eq!(lines.len(), 11, "{lines:?}");
    assert!(
        lines[0].ends_with(
            "WARN  attempt 2 unreached_refused route=billing delivery=evt_1 took=3ms after=dead \
             why=\"the upstream refused the connection\""
        ),
        "{}",
        lines[0]
    );
    assert!(
        lines[10].ends_with("more requests like this route=billing code=dead count=10"),
        "{}",
        lines[10]
    );
}

#[test]
fn policy_decides_which_requests_are_logged() {
    let count = |requests| {
        let (telemetry, sink) = telemetry(LogFormat::Json, requests);
        telemetry
            .begin(full())
            .close(Ended::Forwarded(StatusCode::OK));
        telemetry
            .begin(full())
            .close(Ended::Duplicate(StatusCode::OK));
        telemetry.begin(full()).close(refused(Refusal::InFlight));
        drop(telemetry.begin(full()));
        telemetry.flush();
        sink.lines().len()
    };
    assert_eq!(
        (
            count(LogRequests::All),
            count(LogRequests::Refused),
            count(LogRequests::None)
        ),
        (4, 2, 0)
    );
}

#[test]
fn observed_refusal_is_logged_like_a_refusal() {
    let (telemetry, sink) = telemetry(LogFormat::Json, LogRequests::Refused);
    telemetry.observe(&[&"billing".into()]);
    for _ in 0..50 {
        let mut facts = full();
        facts.verdict = Some(Verdict::WouldRefuse {
            why: NotAuthentic::SignatureMismatch,
            reason: Some("the body is empty".into()),
            agent: Some("curl".into()),
        });
        telemetry
            .begin(facts)
            .close(Ended::Forwarded(StatusCode::OK));
    }
    let mut facts = full();
    facts.verdict = Some(Verdict::Authentic);
    telemetry
        .begin(facts)
        .close(Ended::Forwarded(StatusCode::OK));
    telemetry.flush();
    let lines = sink.lines();
    assert!(lines.len() < 50, "{lines:?}");
    assert!(
        lines[0].contains("\"level\":\"warn\"")
            && lines[0].contains("\"status\":200,\"why\":\"the body is empty\",\"would_refuse\":\"signature_mismatch\""),
        "{lines:?}"
    );
    let observation = telemetry.observation("billing").unwrap();
    assert_eq!(
        (
            observation.authentic,
            observation.refused["signature_mismatch"].count
        ),
        (1, 50)
    );
    assert_eq!(telemetry.recent(9).len(), 0, "it was not refused");
    telemetry.observe(&[]);
    assert_eq!(telemetry.observation("billing"), None);
}

#[test]
fn many_refusals_are_ten_lines_and_a_count() {
    let (telemetry, sink) = telemetry(LogFormat::Json, LogRequests::All);
    for _ in 0..50 {
        telemetry.begin(full()).close(refused(Refusal::InFlight));
    }
    telemetry.flush();
    let lines = sink.lines();
    let told: u64 = lines
        .iter()
        .filter_map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["count"].as_u64()
        })
        .sum();
    let written = u64::try_from(
        lines
            .iter()
            .filter(|line| line.contains("\"msg\":\"request\""))
            .count(),
    )
    .unwrap();
    assert_eq!(written + told, 50);
    assert!(written < 50, "{lines:?}");
    assert_eq!(telemetry.recent(99).len(), 50);
}

#[test]
fn suppressed_lines_are_counted_without_another_request() {
    let (telemetry, sink) = telemetry(LogFormat::Json, LogRequests::All);
    for _ in 0..12 {
        telemetry.begin(full()).close(refused(Refusal::InFlight));
    }
    let told = || sink.lines().iter().any(|line| line.contains("\"count\":"));
    for _ in 0..300 {
        if told() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{:?}", sink.lines());
}

/// A reader of the log that stopped reading.
struct Stuck(std::sync::mpsc::Receiver<()>);

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.recv().map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn stuck_log_reader_only_drops_lines() {
    let (_release, stuck) = std::sync::mpsc::channel();
    let policy = LogPolicy {
        format: LogFormat::Json,
        requests: LogRequests::All,
    };
    let telemetry = Telemetry::new(policy, Arc::new(SystemClock), Stuck(stuck));
    for _ in 0..6000 {
        telemetry
            .begin(full())
            .close(Ended::Forwarded(StatusCode::OK));
    }
    let text = telemetry.metrics_text(&Gauges::default());
    assert!(
        !text
            .lines()
            .any(|line| line == "hookgate_log_lines_dropped_total 0"),
        "{text}"
    );
    assert!(text.contains("hookgate_requests_total{outcome=\"forwarded\",route=\"billing\"} 6000"));
}

#[test]
fn recent_refusals_are_the_last_ones() {
    let (telemetry, _) = telemetry(LogFormat::Json, LogRequests::None);
    telemetry
        .begin(full())
        .close(Ended::Forwarded(StatusCode::OK));
    for number in 0..300 {
        telemetry
            .begin(facts(&format!("/{number}?secret")))
            .close(refused(Refusal::NoRoute));
    }
    let recent = telemetry.recent(1000);
    assert_eq!(
        (recent.len(), &*recent[0].path, &*recent[255].path),
        (REMEMBERED, "/299", "/44")
    );
    assert_eq!(
        (recent[0].code, recent[0].status.as_u16(), &recent[0].route),
        ("no_route", 404, &None)
    );
    assert_eq!(telemetry.recent(3).len(), 3);
}

#[test]
fn hour_and_secrets_of_a_route_are_counted() {
    let (telemetry, _) = telemetry(LogFormat::Json, LogRequests::None);
    telemetry
        .begin(full())
        .close(Ended::Forwarded(StatusCode::OK));
    telemetry
        .begin(full())
        .close(Ended::Forwarded(StatusCode::BAD_GATEWAY));
    telemetry
        .begin(full())
        .close(Ended::Duplicate(StatusCode::OK));
    telemetry.begin(full()).close(refused(Refusal::InFlight));
    drop(telemetry.begin(full()));
    let hour = telemetry.hour("billing");
    assert_eq!(
        (
            hour.received,
            hour.forwarded,
            hour.duplicates,
            hour.last_at.is_some()
        ),
        (5, 1, 1, true)
    );
    let sums = telemetry.sums("billing");
    assert_eq!((sums.authentic_of_hour, sums.duplicates_of_hour), (4, 1));
    assert_eq!(
        (
            hour.refused.into_iter().collect::<Vec<_>>(),
            hour.other.len()
        ),
        (vec![("in_flight", 1)], 2)
    );
    assert_eq!(
        telemetry
            .secrets("billing")
            .iter()
            .map(|(name, _)| &**name)
            .collect::<Vec<_>>(),
        ["new"]
    );
    assert_eq!(
        (telemetry.hour("other"), telemetry.secrets("other").len()),
        (Hour::default(), 0)
    );
}

#[test]
fn skew_is_a_median() {
    let (telemetry, _) = telemetry(LogFormat::Json, LogRequests::None);
    assert_eq!(
        telemetry.skew(),
        Skew {
            seconds: 0.0,
            samples: 0
        }
    );
    for skew in [-2000, -2500, 90_000] {
        let mut facts = full();
        facts.skew_ms = Some(skew);
        telemetry
            .begin(facts)
            .close(Ended::Forwarded(StatusCode::OK));
    }
    assert_eq!(
        telemetry.skew(),
        Skew {
            seconds: -2.0,
            samples: 3
        }
    );
    for _ in 0..1000 {
        telemetry
            .begin(full())
            .close(Ended::Forwarded(StatusCode::OK));
    }
    assert_eq!(
        telemetry.skew(),
        Skew {
            seconds: -1.5,
            samples: SKEW_SAMPLES
        }
    );
}

#[test]
fn reloads_are_counted_and_the_last_one_shows() {
    let (telemetry, _) = telemetry(LogFormat::Json, LogRequests::None);
    let has = |line: &str| {
        telemetry
            .metrics_text(&Gauges::default())
            .lines()
            .any(|known| known == line)
    };
    telemetry.reloaded(1, SystemClock.now().wall);
    telemetry.reload_refused();
    assert!(
        has("hookgate_config_last_reload_success 0")
            && has("hookgate_reloads_total{result=\"refused\"} 1")
    );
    telemetry.reloaded(2, SystemClock.now().wall);
    assert!(
        has("hookgate_config_last_reload_success 1")
            && has("hookgate_reloads_total{result=\"accepted\"} 1")
    );
    assert!(has("hookgate_config_generation 2"));
}

#[test]
fn telemetry_and_record_are_send_and_sync() {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Telemetry>();
    is_shared::<Record>();
}
