use super::*;

/// Block, key, what its doc comment says, and the same written out.
const DEFAULTS: &[(&str, &str, &str, &str)] = &[
    ("Limits", "in_flight_bytes", "(default 64MiB)", "64MiB"),
    (
        "Limits",
        "refused_per_client",
        "(default 50/s, burst ten times that)",
        "50/s",
    ),
    ("Limits", "header_timeout", "(default 5s)", "5s"),
    ("Limits", "idle_timeout", "(default 60s)", "60s"),
    ("Limits", "header_bytes", "(default 32KiB)", "32KiB"),
    ("Limits", "body_timeout", "(default 10s)", "10s"),
    ("Limits", "connections", "(default 10000)", "10000"),
    ("Limits", "connections_per_client", "(default 1000)", "1000"),
    ("Shutdown", "delay", "(default 5s)", "5s"),
    ("Shutdown", "grace", "(default 25s)", "25s"),
    ("Store", "ledger_entries", "(default 10000000,", "10000000"),
    ("Log", "format", "`json` (default)", "json"),
    ("Log", "requests", "`all` (default)", "all"),
    ("Upstream", "connect_timeout", "(default 1s)", "1s"),
    ("Upstream", "timeout", "else 15s)", "15s"),
    ("Upstream", "idle_timeout", "(default 4s;", "4s"),
    ("Upstream", "host", "`original` (default", "original"),
    ("Breaker", "failures", "(default 5; 0", "5"),
    ("Breaker", "open", "(default 5s)", "5s"),
    ("Route", "methods", "(default POST;", "[POST]"),
    ("Route", "max_body", "else 5MiB;", "5MiB"),
    ("Route", "mode", "`enforce`", "enforce"),
    ("RateLimit", "burst", "(default: the count of `rate`)", "7"),
    ("RateLimit", "key", "`route` (default)", "route"),
    ("RateLimit", "scope", "`gateway` (default)", "gateway"),
    ("Dedupe", "by", "`id` (default)", "id"),
    ("Dedupe", "per", "`route` (default)", "route"),
    ("Forward", "keep_token", "Default false", "false"),
    ("Forward", "on_failure", "`fail` (default)", "fail"),
    ("Forward", "record", "`none` (default)", "none"),
    ("Queue", "concurrency", "(default 8 with `queue`", "8"),
    ("Queue", "keep_token", "Default false", "false"),
    ("Acknowledgement", "status", "else 200)", "200"),
    ("Acknowledgement", "body", "(default: none)", "\"\""),
    ("Retry", "initial", "(default 5s)", "5s"),
    ("Retry", "factor", "(default 2)", "2"),
    ("Retry", "max", "(default 1h)", "1h"),
    ("Retry", "max_age", "(default 3d;", "3d"),
    ("Retry", "retry_after_max", "(default 1d)", "1d"),
    ("Keep", "age", "(default 7d)", "7d"),
    ("Keep", "dead", "(default 30d)", "30d"),
    ("Pass", "timeout", "else 60s)", "60s"),
    ("Pass", "idle_timeout", "(default 5m)", "5m"),
];

/// Without `max_attempts` a delivery is attempted until it is `max_age` old.
#[test]
fn the_default_schedule_spans_max_age() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    let text = "listen: [{ address: \"127.0.0.1:0\" }]\nstore: { path: state }\nupstreams: { app: { url: \"http://127.0.0.1:1\" } }
routes: [{ name: a, path: /a, verify: none, queue: { upstream: app } }]\n";
    std::fs::write(&path, text).unwrap();
    let loaded =
        try_load(&path).unwrap_or_else(|refused| panic!("{}", shown(&refused.report, &path)));
    let schedule = &loaded.snapshot.webhooks[0].deliver.schedule;
    let late = RetryState {
        attempts: 100_000,
        age: schedule.max_age() - Duration::from_secs(1),
    };
    assert_eq!(schedule.max_age(), Duration::from_secs(3 * 86_400));
    assert_eq!(
        schedule.decide(late, LastAttempt::NoAnswer, u64::MAX),
        RetryDecision::RetryIn(Duration::from_secs(1))
    );
}

/// The same for keys of `Forward` that stand with `on_failure: queue`.
const SPILL_DEFAULTS: &[(&str, &str, &str)] = &[
    ("budget", "the whole timeout of the upstream", "15s"),
    ("rate", "(default 20/s with `forward`", "20/s"),
    ("burst", "(default: the count of `rate`)", "20"),
    ("scope", "`gateway` (default)", "gateway"),
    ("concurrency", "default 4 with `forward`)", "4"),
];

/// Defaults of the reference are the values that run without the key.
#[test]
fn defaults_match_the_reference() {
    let schema = crate::config::schema::schema();
    let mut written = std::collections::BTreeMap::<&str, String>::new();
    for &(block, key, says, value) in DEFAULTS {
        let described = schema["$defs"][block]["properties"][key]["description"]
            .as_str()
            .unwrap_or_default();
        assert!(described.contains(says), "{block}.{key} says: {described}");
        written
            .entry(block)
            .or_default()
            .push_str(&format!(", {key}: {value}"));
    }
    for &(key, says, value) in SPILL_DEFAULTS {
        let described = schema["$defs"]["Forward"]["properties"][key]["description"]
            .as_str()
            .unwrap_or_default();
        assert!(described.contains(says), "Forward.{key} says: {described}");
        written
            .entry("spill")
            .or_default()
            .push_str(&format!(", {key}: {value}"));
    }
    let config = |of: &dyn Fn(&str) -> String| {
        let text = format!(
            "listen: [{{ address: \"127.0.0.1:0\" }}]\n{top}upstreams: {{ app: {{ url: \"http://127.0.0.1:3000\"{up}{breaker} }}, other: {{ url: \"http://127.0.0.1:1\" }} }}\nroutes:
  - {{ name: a, path: /a, verify: {{ scheme: token, signature: {{ header: X-T }}, secrets: [{{ env: A_SECRET }}] }}{route}, rate_limit: {{ rate: 7/s{rate} }}, dedupe: {{ {dedupe} }}, forward: {{ upstream: app{forward} }} }}
  - {{ name: b, path: /b, pass: {{ upstream: other{pass} }} }}
  - {{ name: c, path: /c, verify: none, queue: {{ upstream: app, answer: {{ {answer} }}, retry: {{ {retry} }}{queue} }}, keep: {{ {keep} }} }}
  - {{ name: d, path: /d, verify: none, forward: {{ upstream: app, on_failure: queue{spill} }} }}
store: {{ path: state{store} }}\n",
            store = of("Store"),
            queue = of("Queue"),
            answer = of("Acknowledgement").trim_start_matches(", "),
            retry = of("Retry").trim_start_matches(", "),
            keep = of("Keep").trim_start_matches(", "),
            spill = of("spill"),
            top = [("limits", "Limits"), ("shutdown", "Shutdown"), ("log", "Log")]
                .map(|(key, block)| {
                    let lines = of(block);
                    if lines.is_empty() { String::new() } else { format!("{key}: {{ {} }}\n", lines.trim_start_matches(", ")) }
                })
                .concat(),
            up = of("Upstream"),
            breaker = if of("Breaker").is_empty() { String::new() } else { format!(", breaker: {{ {} }}", of("Breaker").trim_start_matches(", ")) },
            route = of("Route"),
            rate = of("RateLimit"),
            dedupe = of("Dedupe").trim_start_matches(", "),
            forward = of("Forward"),
            pass = of("Pass"),
        );
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        std::fs::write(&path, &text).unwrap();
        let loaded = try_load(&path)
            .unwrap_or_else(|refused| panic!("{text}\n{}", shown(&refused.report, &path)));
        let Snapshot {
            limits,
            shutdown,
            mut store,
            log,
            upstreams,
            webhooks,
            routes,
            ..
        } = loaded.snapshot;
        store.engine = crate::config::snapshot::Engine::Memory;
        let webhook = &webhooks[0];
        // `timeout` is the upstream's if it says one, else the route's; what counts is the forward's.
        let upstreams = format!("{upstreams:?}").replace("timeout: Some(15s)", "timeout: None");
        let pass = routes[1]
            .pass()
            .map(|pass| (pass.timeout, pass.idle_timeout));
        let forward = (
            webhook.forward.timeout,
            webhook.forward.keep_query,
            webhook.forward.dropped.headers.clone(),
        );
        let waiting: Vec<_> = webhooks
            .iter()
            .map(|webhook| (&webhook.action, &webhook.deliver, webhook.keep))
            .collect();
        format!(
            "{limits:?} {shutdown:?} {store:?} {log:?} {upstreams} {:?} {} {:?} {:?} {forward:?} {waiting:?} {pass:?}",
            webhook.methods, webhook.max_body, webhook.rate_limits, webhook.dedupe
        )
    };
    let without = config(&|_| String::new());
    let with = config(&|block| written.get(block).cloned().unwrap_or_default());
    assert_eq!(without, with);
    assert!(without.contains("burst: 500"), "{without}");
    let example = try_load(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("config.example.yaml"))
        .unwrap()
        .snapshot;
    let values = format!("{:?} {:?}", example.limits, example.shutdown);
    assert!(
        without.starts_with(&values),
        "the example says that these are the defaults: {values}"
    );
}
