use std::path::Path;
use std::time::Duration;

use super::super::finding::Level;
use super::*;
use crate::clock::{Clock as _, FrozenClock};
use crate::config::load::{Loaded, load};

const NOW: u64 = 1_795_000_000;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
}

fn loaded(yaml: &str) -> Loaded {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.yaml");
    std::fs::write(
        &path,
        format!("upstreams: {{ app: {{ url: http://127.0.0.1:1 }} }}\n{yaml}"),
    )
    .unwrap();
    let env = |_: &str| Some("a-secret-of-many-bytes".into());
    load(
        Path::new(&path),
        &env,
        None,
        1,
        FrozenClock::at_unix(NOW).now(),
    )
    .unwrap_or_else(|refused| panic!("{}", refused.report.render(false)))
}

/// A config that receives, one that sends, and one that does both.
fn configs() -> [Loaded; 3] {
    let receives = "listen: [{ address: \"127.0.0.1:80\" }]\nroutes: [{ name: a, path: /a, verify: none, forward: { upstream: app } }]\n";
    let sends = "store: { path: state, key: { insecure_inline: \"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\" } }
outbound: { listen: { address: \"127.0.0.1:94\" }, tokens: [{ name: app, env: A, allow: [publish, read, manage] }] }\n";
    [
        loaded(receives),
        loaded(sends),
        loaded(&format!("{receives}{sends}")),
    ]
}

#[test]
fn open_files_limit_counts_what_the_config_needs() {
    let [receives, sends, both] = configs();
    let of = |limit, loaded: &Loaded| open_files(limit, &loaded.snapshot, true);
    for (needed, loaded) in [(20_064, &receives), (1_088, &sends), (21_088, &both)] {
        assert_eq!(of(needed, loaded).level, Level::Good);
        assert_eq!(of(needed - 1, loaded).level, Level::Warning);
    }
    assert_eq!(
        open_files(1_024, &receives.snapshot, false).message,
        "this process may open 1,024 files; with `limits.connections: 10000` it needs 20,064"
    );
    assert!(
        of(1_024, &both)
            .message
            .contains("`limits.connections: 10000` and `outbound.limits.attempts: 512`")
    );
}

#[test]
fn gateway_that_only_sends_has_no_listener_for_senders() {
    let [received, sends, _] = configs().map(|loaded| receives(&loaded.snapshot));
    assert!(received && !sends);
    let [_, sends, _] = configs();
    let found = listeners(&sends.snapshot);
    assert!(found.iter().all(|finding| finding.check != "listen"));
}

#[test]
fn change_that_waits_for_a_restart_is_a_finding() {
    assert_eq!(restarts(&[]), []);
    let found = restarts(&["store".to_owned()]);
    assert_eq!(found.len(), 1);
    assert!(found[0].needs_attention() && found[0].message.contains("`store` needs a restart"));
}

#[test]
fn clock_is_judged_by_the_tolerance_of_providers() {
    let of = |skew_seconds, samples, jumped| {
        clock(ClockStatus {
            skew_seconds,
            samples,
            jumped,
        })
    };
    assert_eq!(of(0.2, 1_304, false).level, Level::Good);
    assert_eq!(of(-31.0, 9, false).level, Level::Warning);
    assert_eq!(of(0.0, 0, false).level, Level::Skipped);
    assert_eq!(of(0.0, 9, true).level, Level::Warning);
}

#[test]
fn observing_route_is_a_finding() {
    let route = |name: &str, rest: &str| {
        format!("  - {{ name: {name}, path: /{name}, forward: {{ upstream: app }}, {rest} }}\n")
    };
    let verify = "verify: { provider: stripe, secrets: [{ env: A }] }";
    let all = [
        route("a", verify),
        route("b", "verify: none"),
        route("c", &format!("{verify}, mode: observe, until: 2026-12-01")),
        route("d", &format!("{verify}, mode: observe, until: 2026-01-01")),
    ];
    let yaml = format!(
        "listen: [{{ address: \"127.0.0.1:80\" }}]\nroutes:\n{}",
        all.concat()
    );
    let found = routes(&loaded(&yaml).snapshot, now());
    let messages: Vec<&str> = found
        .iter()
        .map(|finding| finding.message.as_str())
        .collect();
    assert_eq!(messages.len(), 3, "{messages:?}");
    assert!(
        messages[0].starts_with("b does not verify requests")
            && messages[1].starts_with("c observes until 2026-12-01")
            && messages[2].starts_with("d enforces: its `until` is over")
    );
    assert!(
        found
            .iter()
            .all(|finding| finding.level == Level::Warning && !finding.help.is_empty())
    );
    let yaml = format!(
        "listen: [{{ address: \"127.0.0.1:80\" }}]\nroutes:\n{}",
        all[0]
    );
    assert_eq!(routes(&loaded(&yaml).snapshot, now())[0].level, Level::Good);
}

#[test]
fn admin_listener_open_to_others_is_a_finding() {
    let levels = |yaml: &str| {
        let found = listeners(
            &loaded(&format!("{yaml}\nroutes: [{{ name: a, path: /a, verify: none, forward: {{ upstream: app }} }}]")).snapshot,
        );
        found
            .iter()
            .map(|finding| (finding.check, finding.level))
            .collect::<Vec<_>>()
    };
    let near = "listen: [{ address: \"127.0.0.1:80\" }]\n";
    assert_eq!(
        levels(&format!("{near}admin: {{ address: \"127.0.0.1:90\" }}")),
        [("listen", Level::Good), ("admin", Level::Warning)]
    );
    let with_store =
        format!("{near}store: {{ path: state }}\nadmin: {{ address: \"127.0.0.1:90\" }}");
    assert_eq!(
        levels(&with_store),
        [("listen", Level::Good), ("admin", Level::Good)]
    );
    let wide = "listen: [{ address: \"0.0.0.0:80\" }]\nhealth: { address: \"0.0.0.0:91\" }\n";
    assert_eq!(
        levels(wide),
        [
            ("listen", Level::Warning),
            ("health", Level::Good),
            ("admin", Level::Warning)
        ]
    );
    let proxied = format!(
        "{wide}trusted_proxies: [10.0.0.0/8]\nadmin: {{ address: \"0.0.0.0:90\", token: {{ env: A }} }}"
    );
    assert_eq!(
        levels(&proxied),
        [
            ("listen", Level::Good),
            ("health", Level::Good),
            ("admin", Level::Warning)
        ]
    );
}

#[test]
fn inline_secret_is_a_finding() {
    let yaml = "listen: [{ address: \"127.0.0.1:80\" }]\nroutes:
  - { name: a, path: /a, verify: { provider: stripe, secrets: [{ env: A }, { insecure_inline: a-secret-of-many-letters }] }, forward: { upstream: app } }\n";
    let found = secrets(&loaded(yaml).origins);
    assert_eq!(
        found
            .iter()
            .map(|finding| finding.level)
            .collect::<Vec<_>>(),
        [Level::Warning, Level::Skipped]
    );
    assert!(
        found[0].message.starts_with("a/secret-2 in the config"),
        "{found:?}"
    );
    assert!(secrets(&Origins::default()).is_empty());
}
