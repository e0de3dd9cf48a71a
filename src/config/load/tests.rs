use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::clock::{Clock as _, Dates, FrozenClock, SystemClock};
use crate::retry::{LastAttempt, RetryDecision, RetryState};

use super::*;

mod certificates;
mod defaults;
mod events;
mod files;
mod routes;
mod secrets;
mod store;
mod words;

fn env(name: &str) -> Option<OsString> {
    match name {
        "EMPTY_VARIABLE" => Some("".into()),
        "NOT_SET_ANYWHERE" => None,
        name => Some(format!("a-long-value-of-the-variable-{name}").into()),
    }
}

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/config")
        .join(name)
}

fn files(name: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder(name))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "yaml")
    });
    files.sort();
    files
}

/// The time of the loads here, in seconds.
const NOW: u64 = 1_795_000_000;

fn try_load(path: &Path) -> Result<Loaded, RefusedConfig> {
    load_on(&[], path, None, NOW)
}

fn load_on(
    mounts: &[Mount],
    path: &Path,
    previous: Option<&Cache>,
    seconds: u64,
) -> Result<Loaded, RefusedConfig> {
    let now = FrozenClock::at_unix(seconds).now();
    load_among(
        mounts,
        path,
        Loader::new(&base_of(path), &env, previous, now, Dates::at(now.wall)),
        1,
    )
}

/// The report as a person sees it who stands in the folder of the file.
fn shown(report: &Report, path: &Path) -> String {
    let folder = format!("{}/", path.parent().unwrap().display());
    format!("{}\n{}\n", report.render(false), report.summary()).replace(&folder, "")
}

#[test]
fn bad_configs_get_their_expected_errors() {
    for path in files("bad") {
        let refused = try_load(&path).expect_err(&path.display().to_string());
        let expected = path.with_extension("txt");
        let shown = shown(&refused.report, &path);
        if std::env::var_os("HOOKGATE_WRITE_EXPECTED").is_some() {
            std::fs::write(&expected, &shown).unwrap();
        }
        assert_eq!(
            shown,
            std::fs::read_to_string(&expected).unwrap_or_default(),
            "{}",
            path.display()
        );
    }
}

#[test]
fn good_configs_compile_with_their_expected_warnings() {
    for path in files("good") {
        let loaded =
            try_load(&path).unwrap_or_else(|refused| panic!("{}", shown(&refused.report, &path)));
        let expected = path.with_extension("txt");
        let shown = format!("{}{}\n", shown(&loaded.report, &path), loaded.summary());
        if std::env::var_os("HOOKGATE_WRITE_EXPECTED").is_some() {
            std::fs::write(&expected, &shown).unwrap();
        }
        assert_eq!(
            shown,
            std::fs::read_to_string(&expected).unwrap_or_default(),
            "{}",
            path.display()
        );
    }
}

#[test]
fn example_config_compiles_unchanged() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("config.example.yaml");
    let loaded =
        try_load(&path).unwrap_or_else(|refused| panic!("{}", refused.report.render(false)));
    assert!(
        loaded.report.findings.is_empty(),
        "{}",
        loaded.report.render(false)
    );
    assert_eq!(
        loaded.summary(),
        "7 routes (1 queue), 1 upstream, 10 secrets; no route unverified"
    );
    let snapshot = &loaded.snapshot;
    assert_eq!(snapshot.listeners[0].address.to_string(), "127.0.0.1:8080");
    assert_eq!(snapshot.health.unwrap().to_string(), "127.0.0.1:9091");
    let github = &snapshot.webhooks[0];
    assert_eq!(
        (&*github.name, github.max_body, github.rate_limits.len()),
        ("github", 25 * 1024 * 1024, 2)
    );
    assert_eq!(
        github.forward.timeout.as_secs(),
        9,
        "what GitHub waits, less a second"
    );
    let gitlab = snapshot
        .webhooks
        .iter()
        .find(|webhook| &*webhook.name == "gitlab")
        .unwrap();
    assert_eq!(gitlab.forward.dropped.headers, ["x-gitlab-token"]);
    let (found, params) = snapshot
        .router
        .find("localhost:8080", b"/webhooks/acme/acme-berlin")
        .unwrap();
    assert_eq!(
        (&*snapshot.webhooks[found].name, params.get("account")),
        ("acme", Some("acme-berlin"))
    );
}

#[test]
fn report_renders_as_json_lines() {
    let path = folder("bad").join("sample.yaml");
    let report = try_load(&path).unwrap_err().report;
    let third: serde_json::Value =
        serde_json::from_str(report.json_lines().lines().nth(2).unwrap()).unwrap();
    let expected = serde_json::json!({
        "level": "error", "file": path.to_str().unwrap(), "line": 12, "column": 26, "end_column": 28,
        "message": "unknown upstream `ap`", "help": "did you mean `app`? There are app, billing",
    });
    assert_eq!(third, expected);
    assert!(
        report
            .headline()
            .ends_with("sample.yaml:11:36: the secret file is empty"),
        "{}",
        report.headline()
    );
}

const HEAD: &str = "listen: [{ address: '127.0.0.1:8080' }]\nupstreams: { app: { url: 'http://127.0.0.1:3000' } }\n";
const ROUTE: &str = "  - { name: a, path: /a, verify: { provider: stripe, secrets: [{ env: A }] }, forward: { upstream: app } }\n";

/// The first error, or else all warnings, of a config in a folder of its own.
fn load_text(
    folder: &Path,
    text: &str,
    previous: Option<&Cache>,
) -> Result<(Loaded, Vec<String>), String> {
    let path = folder.join("config.yaml");
    std::fs::write(&path, text).unwrap();
    let loaded = load_on(&[], &path, previous, NOW);
    let loaded = loaded.map_err(|refused| {
        refused
            .report
            .headline()
            .replace(path.to_str().unwrap(), "f")
    })?;
    let warnings = loaded
        .report
        .findings
        .iter()
        .map(|finding| finding.message.clone())
        .collect();
    Ok((loaded, warnings))
}
