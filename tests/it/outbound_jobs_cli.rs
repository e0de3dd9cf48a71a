//! `hookgate endpoints recover`, `job` and `test`, against a gateway that runs.
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::support::app::{Act, App};
use super::support::gate::{wait_at_most, wait_for};
use super::support::outbound_cli::{Sender, command, run, text};

/// An endpoint `main` of the tenant `acme`, whose server answers with a status that the test sets.
struct Customer {
    app: App,
    status: Arc<AtomicU16>,
    sender: Sender,
}

impl Customer {
    fn start(status: u16) -> Self {
        let status = Arc::new(AtomicU16::new(status));
        let answer = Arc::clone(&status);
        let app = App::answering(move |_, _| Act::status(answer.load(Ordering::SeqCst)));
        let sender = Sender::start(&[&app], "");
        sender.customer("acme", &app);
        Self {
            app,
            status,
            sender,
        }
    }

    /// Starts one with events whose attempts are exhausted, and lets its server answer 200 from then on.
    fn with_dead_events(count: usize) -> Self {
        let customer = Self::start(500);
        customer.kill_events(count);
        customer.set(200);
        customer
    }

    fn set(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// Publishes events, and waits until they are dead.
    fn kill_events(&self, count: usize) {
        for number in 0..count {
            self.sender.api.publish("acme", &format!("dead-{number}"));
        }
        let dead = || self.plan()["count"] == json!(count);
        wait_at_most(Duration::from_secs(120), "the events to be dead", dead);
    }

    /// Returns the plan of a recovery of all events that failed.
    fn plan(&self) -> Value {
        let body = json!({ "what": "failed", "since": "2026-01-01T00:00:00Z", "dry_run": true });
        let path = "/v1/tenants/acme/endpoints/main/recover";
        let (status, plan) = self.sender.api.call("POST", path, Some(&body));
        assert_eq!(status, 200, "{plan}");
        plan
    }

    /// Returns the arguments of a recovery of all events that failed.
    fn recover<'a>(more: &[&'a str]) -> Vec<&'a str> {
        let args = ["endpoints", "recover", "acme", "main"];
        [&args, &["--what", "failed", "--since", "1h"][..], more].concat()
    }

    fn job(&self) -> Value {
        let mut shown = self
            .sender
            .json(&["endpoints", "job", "show", "acme", "main"]);
        shown.remove(0)
    }

    /// Begins a recovery of one event a second by a command that watches it.
    fn begin_slowly(&self) -> Watching {
        let args = Self::recover(&["--rate", "1/s", "--yes", "--reason", "slowly"]);
        let mut command = command(&self.sender.with_options(&args));
        let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Watching::new(piped.spawn().unwrap())
    }
}

/// A command that watches a recovery; killed on drop.
struct Watching {
    child: Child,
    stderr: BufReader<ChildStderr>,
}

impl Watching {
    /// Waits until it says that the recovery runs.
    fn new(mut child: Child) -> Self {
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let mut watching = Self { child, stderr };
        let mut line = String::new();
        while !line.contains("recover by app, running since ") {
            line.clear();
            let read = watching.stderr.read_line(&mut line).unwrap();
            assert!(read > 0, "the recovery does not run");
        }
        watching
    }

    fn signal(&self, name: &str) {
        let args = [format!("-{name}"), self.child.id().to_string()];
        assert!(Command::new("kill").args(args).status().unwrap().success());
    }

    /// Waits for its end, which must have this code. Returns stdout, and what it says on stderr from now on.
    #[track_caller]
    fn ends(mut self, code: i32) -> (String, String) {
        let (mut out, mut err) = (String::new(), String::new());
        self.stderr.read_to_string(&mut err).unwrap();
        let mut stdout = self.child.stdout.take().unwrap();
        stdout.read_to_string(&mut out).unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), Some(code), "{out}{err}");
        (out, err)
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn recover_shows_its_plan_before_it_asks() {
    let customer = Customer::with_dead_events(3);
    let sender = &customer.sender;
    let before = customer.app.count();
    let plan = [
        "plan: 3 failed events for main",
        "20/s, about 1 s; new retry budget; stops after 20 failures in a row",
        "invoice.paid 3",
    ];
    let unconfirmed = [&plan[..], &["nothing was changed", "--yes --reason"]].concat();
    sender.fails(&Customer::recover(&[]), 2, &unconfirmed);
    let without_reason = ["the audit log needs a reason", "--reason"];
    sender.fails(&Customer::recover(&["--yes"]), 2, &without_reason);
    sender.fails(&Customer::recover(&["--reason", "so"]), 2, &["--yes"]);
    let (out, err) = sender.ends(&Customer::recover(&["--dry-run"]), 0);
    assert!(out.is_empty() && err.contains(plan[0]), "{out}{err}");
    let options = ["--rate", "1/s", "--stop-after", "1", "--dry-run"];
    let (_, err) = sender.ends(&Customer::recover(&options), 0);
    assert!(
        err.contains("1/s, about 3 s; new retry budget; stops after the first failure"),
        "{err}"
    );
    let shown = &sender.json(&Customer::recover(&["--rate", "7/s", "--dry-run"]))[0];
    assert_eq!(
        (&shown["count"], &shown["missing"], &shown["rate"]),
        (&json!(3), &json!(0), &json!(7)),
        "{shown}"
    );
    assert_eq!(
        (&shown["types"], &shown["sample"].as_array().unwrap().len()),
        (&json!({ "invoice.paid": 3 }), &3),
        "{shown}"
    );
    let typed = Customer::recover(&["--types", "invoice.void*,order.*", "--dry-run"]);
    sender.fails(&typed, 1, &["/types"]);
    let typed = Customer::recover(&["--types", "order.*", "--dry-run"]);
    assert!(sender.ends(&typed, 0).1.contains("plan: 0 failed events"));
    // no plan began a job, or sent anything
    let job = ["endpoints", "job", "show", "acme", "main"];
    let (out, err) = sender.ends(&job, 1);
    assert!(out.is_empty() && err.contains("had no job"), "{out}{err}");
    assert_eq!(sender.json(&job), [Value::Null]);
    assert_eq!(customer.app.count(), before);
}

#[test]
fn recover_sends_what_failed_and_its_reason_is_in_the_audit_log() {
    let customer = Customer::with_dead_events(4);
    let sender = &customer.sender;
    let before = customer.app.count();
    let args = Customer::recover(&["--rate", "1000/s", "--yes", "--reason", "repaired"]);
    let (out, err) = sender.ends(&args, 0);
    assert!(err.contains("plan: 4 failed events for main"), "{err}");
    assert!(
        out.starts_with("✓ recover by app, done at ") && out.ends_with(": 4 of 4 events\n"),
        "{out}"
    );
    wait_for("the events", || customer.app.count() == before + 4);
    let job = customer.job();
    assert_eq!(
        (&job["state"], &job["done"], &job["reason"]),
        (&json!("done"), &json!(4), &json!("repaired")),
        "{job}"
    );
    let audit = sender.gate.admin("/-/audit").to_string();
    assert!(
        audit.contains("recover events") && audit.contains("repaired"),
        "{audit}"
    );
    // nothing is left, so it asks nothing and begins nothing
    wait_for("no dead event", || customer.plan()["count"] == 0);
    let (out, err) = sender.ends(&Customer::recover(&[]), 0);
    assert!(
        out.is_empty() && err.contains("plan: 0 failed events"),
        "{out}{err}"
    );
    // an event that is named is sent again, although it was delivered
    let first = sender.api.publish("acme", "named");
    wait_for("the event", || customer.app.count() == before + 5);
    let attempts = ["endpoints", "attempts", "acme", "main", "--limit", "500"];
    let delivered = || sender.json(&attempts)[0]["event"] == json!(first);
    wait_for("its attempt to be recorded", delivered);
    let main = ["endpoints", "recover", "acme", "main"];
    let named = ["--id", &first, "--yes", "--reason", "again", "--json"];
    let (out, err) = sender.ends(&[&main[..], &named].concat(), 0);
    assert!(err.contains("plan: 1 event for main"), "{err}");
    let job: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&job["kind"], &job["state"], &job["done"]),
        (&json!("recover"), &json!("done"), &json!(1)),
        "{job}"
    );
    wait_for("the event again", || customer.app.count() == before + 6);
    // events that it missed, because it wants their type only now
    let order = ["publish", "--tenant", "acme", "--type", "order.created"];
    sender.prints(&[&order[..], &["--data", "1"]].concat());
    sender.prints(&["endpoints", "edit", "acme", "main", "--types", "*"]);
    let both = [
        "--what", "both", "--since", "1h", "--yes", "--reason", "new",
    ];
    let (out, err) = sender.ends(&[&main[..], &both].concat(), 0);
    assert!(
        err.contains("plan: 1 event for main") && err.contains(": 0 failed, 1 missing"),
        "{err}"
    );
    assert!(out.ends_with(": 1 of 1 event\n"), "{out}");
    wait_for("the missed event", || customer.app.count() == before + 7);
}

#[test]
fn recover_ends_with_3_when_it_stops_because_the_endpoint_fails() {
    let customer = Customer::with_dead_events(12);
    let sender = &customer.sender;
    customer.set(500);
    let options = [
        "--rate",
        "5/s",
        "--stop-after",
        "2",
        "--yes",
        "--reason",
        "a",
    ];
    let (out, err) = sender.ends(&Customer::recover(&options), 3);
    assert!(
        out.starts_with("✕ recover by app, stopped after failures in a row at ")
            && out.ends_with(" of 12 events\n"),
        "{out}"
    );
    assert!(
        err.contains("stops after 2 failures in a row")
            && err.contains("next: hookgate endpoints attempts acme main --config"),
        "{err}"
    );
    let job = customer.job();
    assert_eq!(
        (&job["state"], &job["stop_reason"]),
        (&json!("stopped"), &json!("failures")),
        "{job}"
    );
    assert!(job["done"].as_u64().unwrap() < 12, "{job}");
    let (out, err) = sender.ends(&["endpoints", "job", "show", "acme", "main"], 0);
    assert!(out.starts_with("✕ recover by app, stopped after"), "{out}");
    assert!(!err.contains("to stop it"), "{err}");
    let (out, _) = sender.ends(&Customer::recover(&[&options[..], &["--json"]].concat()), 3);
    let job: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(job["stop_reason"], "failures", "{job}");
}

#[test]
fn recover_is_refused_where_the_arguments_or_the_state_forbid_it() {
    let customer = Customer::with_dead_events(1);
    let sender = &customer.sender;
    let main = ["endpoints", "recover", "acme", "main"];
    let with = |more: &[&'static str]| [&main[..], more].concat();
    sender.fails(&main, 2, &["--what"]);
    sender.fails(&with(&["--what", "failed"]), 2, &["--since"]);
    let all = with(&["--what", "all", "--since", "1h"]);
    sender.fails(&all, 2, &["failed, missing, both"]);
    let id = with(&["--id", "msg_1", "--since", "1h"]);
    sender.fails(&id, 2, &["cannot be used with"]);
    sender.fails(&with(&["--id", "msg_1"]), 1, &["/ids/0"]);
    sender.fails(&Customer::recover(&["--rate", "30/m"]), 2, &["`20/s`"]);
    let fast = Customer::recover(&["--rate", "1001/s"]);
    sender.fails(&fast, 1, &["/rate"]);
    let nobody = ["endpoints", "recover", "acme", "nobody", "--id", "msg_1"];
    sender.fails(&nobody, 1, &["/ids/0"]);
    let nobody = ["endpoints", "recover", "acme", "nobody", "--what", "failed"];
    let nobody = [&nobody[..], &["--since", "1h"]].concat();
    sender.fails(&nobody, 1, &["hookgate endpoints list acme"]);
    sender.prints(&["endpoints", "pause", "acme", "main"]);
    let confirmed = Customer::recover(&["--yes", "--reason", "a"]);
    let words = [
        "the endpoint is paused",
        "resume it",
        "`--dry-run` prints the plan",
    ];
    sender.fails(&confirmed, 1, &words);
    let (_, err) = sender.ends(&Customer::recover(&["--dry-run"]), 0);
    assert!(err.contains("plan: 1 failed event"), "{err}");
    let stop = ["endpoints", "job", "stop", "acme", "main"];
    let words = [
        "no recovery of the endpoint runs",
        "hookgate endpoints job show",
    ];
    sender.fails(&stop, 1, &words);
}

#[test]
fn job_is_shown_while_it_runs_and_stopped_by_a_person() {
    let customer = Customer::with_dead_events(40);
    let sender = &customer.sender;
    let watching = customer.begin_slowly();
    let (out, err) = sender.ends(&["endpoints", "job", "show", "acme", "main"], 0);
    assert!(
        out.starts_with("! recover by app, running since ") && out.contains(" of 40 events"),
        "{out}"
    );
    assert!(
        err.contains("to stop it: hookgate endpoints job stop acme main --config"),
        "{err}"
    );
    let second = Customer::recover(&["--yes", "--reason", "a"]);
    let words = [
        "a job of the endpoint is not over",
        "hookgate endpoints job stop",
    ];
    sender.fails(&second, 1, &words);
    // Ctrl-C ends the watching alone
    watching.signal("INT");
    let (out, err) = watching.ends(130);
    assert!(out.is_empty(), "{out}");
    assert!(
        err.contains("the job continues in the gateway; to stop it: hookgate endpoints job stop"),
        "{err}"
    );
    assert_eq!(customer.job()["state"], "running");
    let stop = ["endpoints", "job", "stop", "acme", "main"];
    let (out, _) = sender.ends(&stop, 0);
    assert!(
        out.starts_with("✕ recover by app, stopped by a person at "),
        "{out}"
    );
    let job = customer.job();
    assert_eq!(
        (&job["state"], &job["stop_reason"], &job["planned"]),
        (&json!("stopped"), &json!("person"), &json!(40)),
        "{job}"
    );
    // one that is watched when it is stopped ends with 3
    let watching = customer.begin_slowly();
    let stopped = &sender.json(&stop)[0];
    assert_eq!(stopped["stop_reason"], "person", "{stopped}");
    let (out, _) = watching.ends(3);
    assert!(out.contains("stopped by a person"), "{out}");
    // the next one sends what is left
    let rest = customer.plan()["count"].as_u64().unwrap();
    assert!(rest > 0, "both were stopped before their end");
    let args = Customer::recover(&["--rate", "1000/s", "--yes", "--reason", "the rest"]);
    sender.prints(&args);
    wait_for("no dead event", || customer.plan()["count"] == 0);
}

/// Runs a test of the endpoint, which is limited to one a second.
#[track_caller]
fn run_test(customer: &Customer, more: &[&str], code: i32) -> (String, String) {
    let args = [&["endpoints", "test", "acme", "main"][..], more].concat();
    let mut output = (String::new(), String::new());
    wait_for("the next test", || {
        let found = run(&customer.sender.with_options(&args));
        output = (text(&found.stdout), text(&found.stderr));
        let is_early = output.1.contains("an endpoint is tested once a second");
        assert_eq!(
            found.status.code(),
            Some(if is_early { 1 } else { code }),
            "{output:?}"
        );
        !is_early
    });
    output
}

#[test]
fn test_sends_an_event_and_ends_with_the_outcome() {
    let customer = Customer::start(200);
    let (out, _) = run_test(&customer, &[], 0);
    assert!(out.starts_with("✓ 200 in "), "{out}");
    let sent = |index: usize| {
        let body = &customer.app.seen()[index].body;
        serde_json::from_slice::<Value>(body).unwrap()
    };
    assert_eq!(sent(0)["type"], "hookgate.test");
    customer.set(500);
    let (out, _) = run_test(&customer, &[], 1);
    assert!(
        out.starts_with("✕ 500 in ") && out.ends_with(": 127.0.0.1 failed (500)\n"),
        "{out}"
    );
    let (out, _) = run_test(&customer, &["--json"], 1);
    let attempt: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&attempt["status"], &attempt["cause"]),
        (&json!(500), &json!("test")),
        "{attempt}"
    );
    customer.set(200);
    let sender = &customer.sender;
    sender.prints(&["endpoints", "pause", "acme", "main"]);
    let typed = ["--type", "invoice.paid", "--data", "{\"id\": 7.0}"];
    let (out, _) = run_test(&customer, &typed, 0);
    assert!(out.starts_with("✓ 200 in "), "{out}");
    assert_eq!(sent(3)["type"], "invoice.paid");
    let body = text(&customer.app.last().body);
    assert!(body.contains("\"data\":{\"id\": 7.0}"), "{body}");
    assert_eq!(customer.app.count(), 4, "a test is not repeated");
    let main = ["endpoints", "test", "acme", "main"];
    let with = |more: &[&'static str]| [&main[..], more].concat();
    sender.fails(&with(&["--data", "{"]), 2, &["the data is not JSON"]);
    sender.fails(&with(&["--version", "1"]), 2, &["--type"]);
    let nobody = ["endpoints", "test", "acme", "nobody"];
    sender.fails(&nobody, 1, &["hookgate endpoints list acme"]);
    let reserved = with(&["--type", "hookgate.endpoint.gone"]);
    sender.fails(&reserved, 1, &["/type"]);
}
