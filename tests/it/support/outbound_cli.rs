//! The commands of sending, against a gateway that runs.
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use serde_json::Value;

use super::app::App;
use super::gate::{Gate, hookgate};
use super::outbound::{Api, PUBLISHER, TOKEN, config};

/// Returns a command without a terminal and without a config in the environment.
pub fn command(args: &[&str]) -> Command {
    let mut command = hookgate();
    command
        .args(args)
        .env("LC_ALL", "C.UTF-8")
        .env_remove("HOOKGATE_CONFIG")
        .stdin(Stdio::null());
    command
}

/// Runs such a command to its end.
pub fn run(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A gateway, and the options that find it. Its events have two attempts.
pub struct Sender {
    pub gate: Gate,
    pub api: Api,
    pub address: String,
    config: String,
}

impl Sender {
    /// Starts a gateway that may send to these receivers.
    pub fn start(receivers: &[&App], more: &str) -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().unwrap()), receivers, more)
    }

    /// Does the same in a directory that may hold a catalogue already.
    pub fn start_in(dir: Arc<tempfile::TempDir>, receivers: &[&App], more: &str) -> Self {
        let ports = receivers.iter().map(|app| app.address.port());
        let ports: Vec<u16> = ports.chain([443]).collect();
        let yaml = config(more)
            .replace("STORE", dir.path().join("store").to_str().unwrap())
            .replace("PORTS", &format!("{ports:?}"))
            .replace("[1s, 1s, 1s]", "[100ms]");
        let gate = Gate::in_process_in(dir, &yaml);
        Self {
            api: Api::of(&gate),
            address: gate.address("outbound").to_string(),
            config: gate.config_path().display().to_string(),
            gate,
        }
    }

    /// Returns the arguments of a command that asks this gateway.
    pub fn with_options<'a>(&'a self, args: &[&'a str]) -> Vec<&'a str> {
        let options = ["--outbound", &self.address, "--config", &self.config];
        [args, &options].concat()
    }

    /// Runs a command that must end with this code. Returns stdout and stderr, which show no token.
    #[track_caller]
    pub fn ends(&self, args: &[&str], code: i32) -> (String, String) {
        let output = run(&self.with_options(args));
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{args:?}: {out}{err}");
        for token in [TOKEN, PUBLISHER] {
            assert!(!out.contains(token) && !err.contains(token), "{out}{err}");
        }
        (out, err)
    }

    /// Runs a command that fails with this code. Its error must have these words.
    #[track_caller]
    pub fn fails(&self, args: &[&str], code: i32, words: &[&str]) {
        let (out, err) = self.ends(args, code);
        assert!(out.is_empty(), "{args:?}: {out}");
        for word in words {
            assert!(err.contains(word), "{args:?}: {word}: {err}");
        }
    }

    /// Returns the stdout of a command that succeeds.
    #[track_caller]
    pub fn prints(&self, args: &[&str]) -> String {
        self.ends(args, 0).0
    }

    /// Returns the JSON lines of a command that succeeds.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Vec<Value> {
        let lines = self.prints(&[args, &["--json"]].concat());
        lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Makes a tenant with the endpoint `main`. Returns its secret.
    #[track_caller]
    pub fn customer(&self, tenant: &str, app: &App) -> String {
        self.prints(&["tenants", "create", tenant]);
        let url = format!("{}/in", app.url());
        self.prints(&[
            "endpoints",
            "create",
            tenant,
            "--url",
            &url,
            "--uid",
            "main",
            "--types",
            "invoice.*",
        ])
    }

    /// Publishes an event. Returns its ID.
    #[track_caller]
    pub fn publish(&self, tenant: &str) -> String {
        let args = [
            "publish",
            "--tenant",
            tenant,
            "--type",
            "invoice.paid",
            "--data",
            "{\"a\": 1.0}",
        ];
        let published = self.json(&args);
        published[0]["id"].as_str().unwrap().to_owned()
    }
}
