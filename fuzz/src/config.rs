//! A config and the files around it: parsed, compiled and reported without a panic, the same way twice, and without a secret.
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use hookgate::clock::{Clock as _, FrozenClock};
use hookgate::config::load::{Loaded, RefusedConfig, load};
use hookgate::request::Received;

use super::request;

/// The secrets that no report may show.
const SECRETS: [&str; 3] = [
    "Secret-0f-the-variable",
    "Secret-0f-the-file",
    "Secret-0f-the-table",
];
/// Between the config and the files that it may name.
const NEXT: &str = "\n=====\n";
/// The files, in the order of the input.
const FILES: [&str; 4] = [
    "config.yaml",
    "conf.d/more.yaml",
    "presets.d/own.yaml",
    "table.yaml",
];

pub fn run(bytes: &[u8]) {
    thread_local!(static DIR: tempfile::TempDir = prepared());
    // the origin of these texts is not known any more, and a path out of the directory reads the machine
    let text = String::from_utf8_lossy(bytes);
    if SECRETS.iter().any(|secret| text.contains(secret)) || leads_out(&text) {
        return;
    }
    DIR.with(|dir| {
        let mut rest = bytes;
        for name in FILES {
            let (file, after) = split(rest, NEXT.as_bytes());
            fs::write(dir.path().join(name), file).unwrap();
            rest = after;
        }
        check(&dir.path().join(FILES[0]));
    });
}

fn check(config: &Path) {
    let env = |name: &str| (name != "UNSET").then(|| OsString::from(SECRETS[0]));
    let try_it = |previous: Option<&Loaded>| {
        load(
            config,
            &env,
            previous.map(|loaded| &loaded.cache),
            1,
            FrozenClock::at_unix(request::NOW).now(),
        )
    };
    let first = try_it(None);
    let report = report(&first);
    for secret in SECRETS {
        assert!(!report.contains(secret), "a secret is shown: {report}");
    }
    let again = try_it(first.as_ref().ok());
    match (&first, &again) {
        (Ok(one), Ok(two)) => assert_eq!(one.snapshot.hash, two.snapshot.hash),
        (Err(one), Err(two)) => assert_eq!(one.report.render(false), two.report.render(false)),
        (Ok(_), Err(_)) | (Err(_), Ok(_)) => panic!("two verdicts on the same files: {report}"),
    }
    match first {
        Ok(loaded) => runs(&loaded),
        Err(refused) => assert!(
            refused.report.errors() > 0 && !refused.report.headline().is_empty(),
            "refused without a reason"
        ),
    }
}

/// All that is ever shown of a load.
fn report(loaded: &Result<Loaded, RefusedConfig>) -> String {
    let report = match loaded {
        Ok(loaded) => &loaded.report,
        Err(refused) => &refused.report,
    };
    for line in report.json_lines().lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
    let more = loaded
        .as_ref()
        .map(|loaded| format!("{} {:?} {:?}", loaded.summary(), loaded.notes, loaded.stale))
        .unwrap_or_default();
    format!(
        "{loaded:?}{more}{}{}{}{}",
        report.render(true),
        report.render(false),
        report.json_lines(),
        report.headline()
    )
}

/// Checks that an accepted config can be run: every route is found under its own path, and refuses a request without a proof.
fn runs(loaded: &Loaded) {
    assert_eq!(loaded.report.errors(), 0);
    let snapshot = &loaded.snapshot;
    assert!(!snapshot.listeners.is_empty() && snapshot.files.len() < 10_000);
    for webhook in &snapshot.webhooks {
        let head = request::head(
            "POST",
            &webhook.path.replace(['{', '}', '*'], ""),
            Vec::new(),
        );
        if let Some(verifier) = &webhook.verifier {
            let received = Received {
                head,
                body: bytes::Bytes::from_static(b"{}").into(),
            };
            assert!(
                verifier
                    .verify(received, &request::params(), request::now())
                    .is_err(),
                "{} lets anyone in",
                webhook.name
            );
        }
    }
}

fn prepared() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["conf.d", "presets.d", "tenants"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    for (name, text) in [
        ("secret", SECRETS[1]),
        ("tenants/acme", SECRETS[2]),
        ("empty", ""),
        ("binary", "\0\u{1}"),
    ] {
        fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

fn leads_out(text: &str) -> bool {
    text.contains("..")
        || text.contains("**")
        || [
            "include",
            "providers",
            "dir",
            "file",
            "certificate",
            "key",
            "ca",
            "path",
        ]
        .iter()
        .any(|key| {
            let after = text
                .match_indices(key)
                .filter_map(|(at, _)| text.get(at + key.len()..));
            after
                .map(|rest| rest.trim_start_matches([':', ' ', '"', '\'', '[', '\n', '-', ',']))
                .any(|rest| rest.starts_with('/') && *key != "path")
        })
}

fn split<'b>(bytes: &'b [u8], at: &[u8]) -> (&'b [u8], &'b [u8]) {
    match bytes.windows(at.len()).position(|window| window == at) {
        Some(found) => (&bytes[..found], &bytes[found + at.len()..]),
        None => (bytes, b""),
    }
}
