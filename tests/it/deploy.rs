//! The files of deploy/ and the Dockerfile: judged by the tools of their systems, and played as far as one machine can.
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::support::app::App;
use super::support::config::{self, SECRET};
use super::support::gate::{Gate, hookgate, wait_for};
use super::support::http;
use super::support::sign::{self, github};

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn text_of(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The documents of deploy/kubernetes.yaml.
fn manifest() -> Vec<serde_yaml::Value> {
    read("deploy/kubernetes.yaml")
        .split("\n---\n")
        .map(|document| serde_yaml::from_str(document).unwrap())
        .collect()
}

fn of_kind<'a>(documents: &'a [serde_yaml::Value], kind: &str) -> &'a serde_yaml::Value {
    documents
        .iter()
        .find(|document| document["kind"] == kind)
        .unwrap()
}

/// Lines above INFO that the gateway logged.
fn warnings(gate: &Gate) -> Vec<String> {
    gate.log_lines()
        .into_iter()
        .filter(|line| {
            ["WARN", "ERROR", "\"warn\"", "\"error\""]
                .iter()
                .any(|level| line.contains(level))
        })
        .collect()
}

/// A gateway with a store on a config that can be changed.
fn with_store() -> (App, Arc<tempfile::TempDir>, Gate, String) {
    let app = App::start();
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let yaml = format!(
        "store: {{ path: state }}\n{}",
        config::forward(&app.url(), "")
    );
    let gate = Gate::start_in(Arc::clone(&dir), &yaml);
    (app, dir, gate, yaml)
}

/// Runs a command beside the gateway of `config`, with a runtime directory if there is one.
fn beside(config: &Path, runtime: Option<&Path>, args: &[&str]) -> Output {
    let mut command = hookgate();
    command
        .args(args)
        .env("HOOKGATE_CONFIG", config)
        .env_remove("RUNTIME_DIRECTORY");
    if let Some(runtime) = runtime {
        command.env("RUNTIME_DIRECTORY", runtime);
    }
    command.output().unwrap()
}

#[test]
fn health_judges_the_gateway_not_the_config_file() {
    let app = App::start();
    let (dir, runtime) = (
        Arc::new(tempfile::tempdir().unwrap()),
        tempfile::tempdir().unwrap(),
    );
    let mut command = hookgate();
    command.env("RUNTIME_DIRECTORY", runtime.path());
    let yaml = config::forward(&app.url(), "");
    let gate = Gate::start_by(command, Arc::clone(&dir), &yaml);
    let path = gate.config_path();
    let health = |args: &[&str]| beside(&path, Some(runtime.path()), args).status.code();
    assert_eq!(health(&["health"]), Some(0));
    for broken in [
        "routes: [",
        "",
        "listen: no\n",
        "health: { address: 127.0.0.1:1 }\n",
    ] {
        fs::write(&path, broken).unwrap();
        assert_eq!(
            (health(&["health"]), health(&["health", "--ready"])),
            (Some(0), Some(0)),
            "{broken:?}"
        );
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(
        health(&["health"]),
        Some(0),
        "the config is gone, the gateway serves"
    );
    assert_eq!(
        gate.post("/webhooks/github", &github(SECRET, "a", b"{}"), b"{}")
            .status,
        200
    );
    drop(gate);
    assert_eq!(
        health(&["health"]),
        Some(1),
        "a killed gateway leaves its file, and does not answer"
    );
    fs::write(&path, "routes: [").unwrap();
    assert_eq!(health(&["health"]), Some(1));
}

#[test]
fn health_finds_the_gateway_beside_its_store() {
    let (_app, dir, mut gate, yaml) = with_store();
    let path = gate.config_path();
    // port 0 in the config says nothing about the port in use
    assert_eq!(beside(&path, None, &["health"]).status.code(), Some(0));
    for broken in ["routes: 5 #", "routes: [", "routes: \0"] {
        fs::write(&path, yaml.replace("routes:", broken)).unwrap();
        assert_eq!(
            beside(&path, None, &["health"]).status.code(),
            Some(0),
            "{broken:?}"
        );
    }
    let file = dir.path().join("state/running.json");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    gate.signal("TERM");
    gate.wait(Duration::from_secs(10));
    assert!(!file.exists(), "the file goes with the gateway");
}

#[test]
fn a_draining_gateway_is_healthy_and_not_ready() {
    let app = App::start();
    let yaml =
        config::forward(&app.url(), "").replace("delay: 0s, grace: 5s", "delay: 2s, grace: 5s");
    let gate = Gate::start(&yaml);
    let address = gate.address("health").to_string();
    gate.signal("TERM");
    wait_for("not ready", || gate.health("/readyz").status == 503);
    let health = |more: &[&str]| {
        hookgate()
            .args(["health", "--address", &address])
            .args(more)
            .output()
            .unwrap()
    };
    assert_eq!(health(&[]).status.code(), Some(0));
    assert_eq!(health(&["--ready"]).status.code(), Some(1));
}

#[test]
fn reload_says_whether_the_config_was_taken() {
    let (_app, _dir, gate, yaml) = with_store();
    let path = gate.config_path();
    let taken = beside(&path, None, &["reload"]);
    assert_eq!(taken.status.code(), Some(0), "{}", text_of(&taken));
    assert!(
        text_of(&taken).contains("generation 2"),
        "{}",
        text_of(&taken)
    );
    fs::write(&path, yaml.replace("upstream: app", "upstream: ap")).unwrap();
    let refused = beside(&path, None, &["reload"]);
    assert_eq!(refused.status.code(), Some(1), "{}", text_of(&refused));
    assert!(
        text_of(&refused).contains("did you mean `app`?"),
        "{}",
        text_of(&refused)
    );
    fs::write(&path, "{").unwrap();
    let broken = beside(&path, Some(&gate.dir().join("state")), &["reload"]);
    assert_eq!(broken.status.code(), Some(1), "{}", text_of(&broken));
    assert_eq!(
        gate.post("/webhooks/github", &github(SECRET, "a", b"{}"), b"{}")
            .status,
        200
    );
    let other = gate.dir().join("other.yaml");
    fs::write(&other, "admin: { address: 127.0.0.1:1 }").unwrap();
    let elsewhere = beside(&other, Some(&gate.dir().join("state")), &["reload"]);
    assert_eq!(
        elsewhere.status.code(),
        Some(69),
        "another config means another gateway: {}",
        text_of(&elsewhere)
    );
}

#[test]
fn reload_uses_a_named_token_that_may_act() {
    let (_app, dir, mut gate, yaml) = with_store();
    gate.signal("TERM");
    gate.wait(Duration::from_secs(10));
    drop(gate);
    assert!(
        dir.path().join("state/admin-token").exists(),
        "an older token that is not one of the config"
    );
    let tokens = "[{ name: looks, insecure_inline: Looking-Token-0123456789abcdef }, { name: acts, file: acting, allow: [act] }]";
    fs::write(dir.path().join("acting"), "Acting-Token-0123456789abcdef").unwrap();
    let yaml = yaml.replace(
        "admin: { address: 127.0.0.1:0 }",
        &format!("admin: {{ address: 127.0.0.1:0, tokens: {tokens} }}"),
    );
    let gate = Gate::start_in(dir, &yaml);
    let taken = beside(&gate.config_path(), None, &["reload"]);
    assert_eq!(taken.status.code(), Some(0), "{}", text_of(&taken));
}

#[test]
fn reload_without_an_admin_listener_goes_by_signal() {
    let app = App::start();
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let yaml = format!(
        "store: {{ path: state }}\n{}",
        config::forward(&app.url(), "")
    )
    .replace("admin: { address: 127.0.0.1:0 }\n", "");
    let gate = Gate::start_in(dir, &yaml);
    let path = gate.config_path();
    let reload = |pid: Option<u32>| {
        let mut command = hookgate();
        command
            .arg("reload")
            .env("HOOKGATE_CONFIG", &path)
            .env_remove("RUNTIME_DIRECTORY")
            .env_remove("MAINPID");
        command
            .envs(pid.map(|pid| ("MAINPID", pid.to_string())))
            .output()
            .unwrap()
    };
    // as systemd calls it; the outcome is that of this reload, also where one follows the other at once
    for (from, to, code, word) in [
        ("upstream: app", "upstream: ap", 1, "did you mean `app`?"),
        ("upstream: app", "upstream: app", 0, "generation"),
        ("routes:", "routes: [", 1, "error"),
    ] {
        fs::write(&path, yaml.replace(from, to)).unwrap();
        let reloaded = reload(Some(gate.pid()));
        assert_eq!(
            reloaded.status.code(),
            Some(code),
            "{to}: {}",
            text_of(&reloaded)
        );
        assert!(
            text_of(&reloaded).contains(word),
            "{to}: {}",
            text_of(&reloaded)
        );
    }
    // nobody else is asked, and no process is guessed
    fs::write(&path, &yaml).unwrap();
    let unknown = reload(None);
    assert_eq!(unknown.status.code(), Some(69), "{}", text_of(&unknown));
    assert!(
        text_of(&unknown).contains("no admin listener") && text_of(&unknown).contains("SIGHUP"),
        "{}",
        text_of(&unknown)
    );
    let status = beside(&path, None, &["status"]);
    assert!(
        text_of(&status).contains("no admin listener"),
        "{}",
        text_of(&status)
    );
}

#[cfg(target_os = "linux")]
#[test]
fn the_unit_passes_systemd_analyze_and_reload_tells_the_truth() {
    let unit = read("deploy/hookgate.service");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hookgate.service");
    let binary = hookgate().get_program().to_str().unwrap().to_owned();
    fs::write(&path, unit.replace("/usr/local/bin/hookgate", &binary)).unwrap();
    let verified = Command::new("systemd-analyze")
        .arg("verify")
        .arg(&path)
        .output()
        .expect("systemd-analyze: run tools/setup test");
    assert!(
        verified.status.success() && verified.stderr.is_empty(),
        "{}",
        text_of(&verified)
    );
    for line in [
        "ExecReload=/usr/local/bin/hookgate reload",
        "StartLimitIntervalSec=0",
        "RestartSec=2",
        "RuntimeDirectory=hookgate",
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK",
    ] {
        assert!(
            unit.lines().any(|known| known == line),
            "the unit lacks {line}"
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_manifests_pass_kubernetes_validate() {
    // the oldest version that has the fields it uses, and the newest that the tool knows
    let manifests = ["deploy/kubernetes.yaml", "deploy/kubernetes-fleet.yaml"];
    let versions = [&["-k", "1.30"][..], &[]];
    for (manifest, version) in manifests
        .iter()
        .flat_map(|manifest| versions.map(|version| (manifest, version)))
    {
        let validated = Command::new("target/tools/bin/kubernetes-validate")
            .args(["--strict", "--quiet"])
            .args(version)
            .arg(manifest)
            .output();
        let validated = validated.expect("kubernetes-validate: run tools/setup test");
        assert!(
            validated.status.success() && validated.stderr.is_empty(),
            "{}",
            text_of(&validated)
        );
    }
}

#[test]
fn the_dockerfile_asks_the_running_gateway() {
    let dockerfile = read("Dockerfile");
    assert!(
        dockerfile.contains("CMD [\"/usr/local/bin/hookgate\", \"health\"]"),
        "{dockerfile}"
    );
    assert!(
        dockerfile.contains("RUNTIME_DIRECTORY=/var/lib/hookgate"),
        "{dockerfile}"
    );
}

/// How a Pod of the manifest ends: what the kubelet does at which time.
struct Ending {
    /// The app's preStop.
    app_stays: Duration,
    delay: Duration,
    grace: Duration,
    /// The whole time that the kubelet grants.
    granted: Duration,
}

fn ending() -> Ending {
    let documents = manifest();
    let pod = &of_kind(&documents, "Deployment")["spec"]["template"]["spec"];
    let gateway = pod["initContainers"]
        .as_sequence()
        .unwrap()
        .iter()
        .find(|container| container["name"] == "hookgate")
        .unwrap();
    assert_eq!(gateway["restartPolicy"], "Always", "a native sidecar");
    assert!(
        gateway["startupProbe"]["httpGet"]["path"] == "/livez"
            && gateway.get("lifecycle").is_none()
    );
    let app = pod["containers"]
        .as_sequence()
        .unwrap()
        .iter()
        .find(|container| container["name"] == "app")
        .unwrap();
    assert!(
        app["readinessProbe"].get("httpGet").is_some(),
        "the app is asked itself"
    );
    let seconds = |value: &serde_yaml::Value| Duration::from_secs(value.as_u64().unwrap());
    let written: serde_yaml::Value = serde_yaml::from_str(
        of_kind(&documents, "ConfigMap")["data"]["config.yaml"]
            .as_str()
            .unwrap(),
    )
    .unwrap();
    let of_config = |key: &str, unless: u64| {
        let text = written
            .get("shutdown")
            .and_then(|shutdown| shutdown.get(key))
            .and_then(serde_yaml::Value::as_str);
        text.map_or(Duration::from_secs(unless), |text| {
            humantime::parse_duration(text).unwrap()
        })
    };
    Ending {
        app_stays: seconds(&app["lifecycle"]["preStop"]["sleep"]["seconds"]),
        delay: of_config("delay", 5),
        grace: of_config("grace", 25),
        granted: seconds(&pod["terminationGracePeriodSeconds"]),
    }
}

#[test]
fn the_manifest_grants_the_time_that_the_end_needs() {
    let Ending {
        app_stays,
        delay,
        grace,
        granted,
    } = ending();
    assert!(
        app_stays >= delay + Duration::from_secs(5),
        "the app leaves before the gateway has stopped accepting"
    );
    assert!(
        granted > app_stays + delay + grace,
        "the kubelet kills before grace is over"
    );
}

/// Plays the end of a Pod, ten times as fast as the manifest has it, while a sender goes on sending until load balancers have noticed.
#[test]
fn the_end_of_a_pod_loses_no_delivery() {
    let Ending {
        app_stays,
        delay,
        grace,
        ..
    } = ending();
    let [app_stays, delay, grace] = [app_stays, delay, grace].map(|duration| duration / 10);
    // a native sidecar gets SIGTERM after the app has left, any other container at the same time
    for stopped_after_app in [true, false] {
        let mut app = Some(App::start());
        let url = app.as_ref().unwrap().url();
        let timing = format!(
            "delay: {}ms, grace: {}ms",
            delay.as_millis(),
            grace.as_millis()
        );
        let mut gate = Gate::start(
            &config::forward(&url, "")
                .replace("delay: 0s, grace: 5s", &timing)
                .replace("dedupe: { window: 24h }", ""),
        );
        let address = gate.address("senders");
        let (enough, begun) = (Arc::new(AtomicBool::new(false)), Instant::now());
        let sender = std::thread::spawn({
            let enough = Arc::clone(&enough);
            move || {
                let mut statuses = Vec::new();
                while !enough.load(Ordering::Relaxed) {
                    let headers = github(SECRET, &format!("id-{}", statuses.len()), b"{}");
                    statuses.push(
                        http::request(
                            address,
                            "POST",
                            "/webhooks/github",
                            &sign::borrowed(&headers),
                            b"{}",
                        )
                        .status,
                    );
                    std::thread::sleep(Duration::from_millis(3));
                }
                statuses
            }
        });
        if !stopped_after_app {
            gate.signal("TERM");
        }
        wait_for("the load balancers to notice", || {
            begun.elapsed() >= delay * 3 / 4
        });
        enough.store(true, Ordering::Relaxed);
        let statuses = sender.join().unwrap();
        wait_for("the app's preStop", || begun.elapsed() >= app_stays);
        let handled = app.take().map(|app| app.count());
        if stopped_after_app {
            gate.signal("TERM");
        }
        assert_eq!(gate.wait(Duration::from_secs(10)).code(), Some(0));
        assert!(
            statuses.len() > 5 && statuses.iter().all(|status| *status == 200),
            "stopped after the app: {stopped_after_app}: {statuses:?}"
        );
        assert_eq!(handled, Some(statuses.len()));
    }
}

/// A gateway with nothing to do says nothing: a repeating warning would fill logs and hide the one that matters.
#[test]
fn shipped_examples_are_quiet_when_idle() {
    let unit = read("deploy/hookgate.service");
    let of_unit: String = unit
        .split("config.yaml:\n#\n")
        .nth(1)
        .unwrap()
        .lines()
        .take_while(|line| line.starts_with('#'))
        .fold(String::new(), |config, line| {
            config + line.get(6..).unwrap() + "\n"
        });
    let documents = manifest();
    let of_manifest = of_kind(&documents, "ConfigMap")["data"]["config.yaml"]
        .as_str()
        .unwrap();
    let readme = read("README.md");
    let of_readme = readme
        .split("```yaml\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let example = read("config.example.yaml");
    let examples = [
        ("the unit", &*of_unit),
        ("the manifest", of_manifest),
        ("the README", of_readme),
        ("config.example.yaml", &example),
    ];
    let gates = examples.map(|(name, yaml)| (name, started(yaml)));
    let waits = Instant::now();
    // any loop of the gateway comes round within two seconds
    wait_for("a few rounds of every loop", || {
        waits.elapsed() >= Duration::from_millis(4_500)
    });
    for (name, gate) in gates {
        let after_ready = gate
            .log_lines()
            .into_iter()
            .skip_while(|line| !line.contains("\"ready\"") && !line.contains(" ready"))
            .collect::<Vec<_>>();
        assert!(!after_ready.is_empty(), "{name}");
        let loud = warnings(&gate)
            .into_iter()
            .filter(|line| after_ready.contains(line))
            .collect::<Vec<_>>();
        assert!(loud.is_empty(), "{name}: {loud:#?}");
    }
}

/// Starts a gateway on an example, on free ports, with the secrets that the example names.
fn started(yaml: &str) -> Gate {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let here = dir.path().display().to_string();
    let mut yaml = yaml.to_owned();
    for place in ["/run/secrets", "/etc/hookgate", "/var/lib/hookgate"] {
        yaml = yaml.replace(place, &format!("{here}{place}"));
    }
    let free_ports = |line: &str| -> String {
        let Some((before, rest)) = line
            .split_once("address: ")
            .filter(|(_, rest)| rest.starts_with(|c: char| c.is_ascii_digit()))
        else {
            return line.to_owned();
        };
        let end = rest.find([' ', '}', ',']).unwrap_or(rest.len());
        format!("{before}address: 127.0.0.1:0{}", &rest[end..])
    };
    let yaml: String = yaml.lines().map(|line| free_ports(line) + "\n").collect();
    copy_dir(Path::new("demo"), &dir.path().join("demo"));
    for (at, _) in yaml.match_indices(&format!("file: {here}")) {
        let path = Path::new(yaml[at + 6..].split([' ', ',', '}', '\n']).next().unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "a-secret-of-more-than-sixteen-bytes").unwrap();
    }
    Gate::start_in(dir, &yaml)
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            if entry.file_name() != "state" {
                copy_dir(&entry.path(), &target);
            }
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
