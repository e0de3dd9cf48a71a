//! The commands against a gate in this process: what they ask, and how they end.
pub(in crate::cli) mod fake_gateway;

use serde_json::{Value, json};

use crate::cli::Exit;
use fake_gateway::{Fake, delivery};

const ID: &str = "01936000-0000-7000-8000-000000000001";

fn one(state: &str) -> Value {
    delivery(
        "evt_1",
        "invoice.paid",
        "2026-11-24T13:04:33Z",
        json!({ "state": state }),
    )
}

fn whole(state: &str) -> Value {
    let mut value = one(state);
    let request = json!({ "method": "POST", "path": "/a", "query": false, "host": "a", "headers": [], "client": null, "tls": false, "received_at": null,
        "request_id": null, "provider": null, "verified": true, "secret": null, "signed_at": null, "covers": null, "params": {}, "response_status": null });
    let more = json!({ "same_id_count": 0, "request": request, "body": { "size": 2, "sha256": "ab", "content_type": null }, "attempts": [] });
    value
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    value
}

fn plan(count: u64) -> Value {
    json!({ "count": count, "complete": true, "bytes": 10, "first_at": null, "last_at": null, "types": {}, "sample": [] })
}

fn replay(state: &str, delivered: u64, failed: u64) -> Value {
    json!({ "id": "r_1", "state": state, "stop_reason": null, "planned": 2, "counting": false, "done": 2, "delivered": delivered, "failed": failed, "skipped": 0,
            "not_attempted": 2 - delivered - failed, "rate": 20.0, "stop_after": 0, "filter": {}, "reason": "", "who": "admin", "started_at": "", "ended_at": null })
}

#[test]
fn list_reads_pages_until_its_limit() {
    let gate = Fake::start(|what, _| {
        let next = if what.contains("after=b") {
            Value::Null
        } else if what.contains("after=a") {
            json!("b")
        } else {
            json!("a")
        };
        (
            200,
            json!({ "deliveries": if what.contains("after=a") { vec![] } else { vec![one("dead")] }, "next": next }),
        )
    });
    assert_eq!(
        gate.run(&[
            "deliveries",
            "list",
            "--state",
            "dead,retrying",
            "--limit",
            "2"
        ]),
        Exit::DONE
    );
    let asked: Vec<String> = gate.asked().into_iter().map(|(what, _)| what).collect();
    assert_eq!(
        asked,
        [
            "GET /-/deliveries?state=dead%2Cretrying&order=newest&limit=2",
            "GET /-/deliveries?state=dead%2Cretrying&order=newest&limit=1&after=a",
            "GET /-/deliveries?state=dead%2Cretrying&order=newest&limit=1&after=b",
        ]
    );
    assert_eq!(
        gate.run(&["deliveries", "list", "--state", "ded"]),
        Exit::USAGE
    );
    assert_eq!(
        gate.run(&["deliveries", "list", "--since", "yesterday"]),
        Exit::USAGE
    );
}

#[test]
fn unknown_delivery_exits_1_and_no_gateway_exits_69() {
    let gate = Fake::start(|_, _| {
        (
            404,
            json!({ "error": "there is no such delivery", "help": "" }),
        )
    });
    assert_eq!(gate.run(&["deliveries", "show", "evt_1"]), Exit::NO);
    let gate = Fake::start(|_, _| {
        (
            401,
            json!({ "error": "the admin token is missing or wrong", "help": "send it" }),
        )
    });
    assert_eq!(
        gate.run(&["deliveries", "show", "evt_1", "--body"]),
        Exit::NO
    );
    let nobody = "127.0.0.1:1";
    for args in [
        vec!["list"],
        vec!["show", "x"],
        vec!["tail"],
        vec!["replay", "x"],
        vec!["export"],
    ] {
        let all = [
            vec!["hookgate", "deliveries"],
            args,
            vec!["--admin", nobody],
        ]
        .concat();
        assert_eq!(
            crate::cli::main(all.iter().map(std::ffi::OsString::from)),
            Exit::UNREACHED,
            "{all:?}"
        );
    }
}

#[test]
fn delivery_id_is_escaped_in_the_url() {
    let gate = Fake::start(|_, _| (200, whole("dead")));
    assert_eq!(
        gate.run(&["deliveries", "show", "a/../b?c#d é"]),
        Exit::DONE
    );
    assert_eq!(
        gate.asked()[0].0,
        "GET /-/deliveries/a%2F..%2Fb%3Fc%23d%20%C3%A9"
    );
}

#[test]
fn bulk_replay_shows_a_plan_and_needs_confirmation() {
    let answer = |what: &str, body: &Value| match (what, body["dry_run"].as_bool()) {
        ("POST /-/deliveries/replay", Some(true)) => (200, plan(2)),
        ("POST /-/deliveries/replay", _) => (202, json!({ "id": "r_1" })),
        _ => (200, replay("done", 2, 0)),
    };
    let gate = Fake::start(answer);
    let args = [
        "deliveries",
        "replay",
        "--route",
        "stripe",
        "--state",
        "dead",
        "--rate",
        "30/m",
        "--stop-after",
        "5",
    ];
    assert_eq!(gate.run(&args), Exit::USAGE, "nobody can be asked");
    assert_eq!(
        gate.run(&[&args[..], &["--yes"]].concat()),
        Exit::USAGE,
        "nor for a reason"
    );
    assert_eq!(gate.run(&[&args[..], &["--dry-run"]].concat()), Exit::DONE);
    assert!(
        gate.asked().iter().all(|(_, body)| body["dry_run"] == true),
        "nothing was changed: {:?}",
        gate.asked()
    );
    assert_eq!(
        gate.run(&[&args[..], &["--yes", "--reason", "it was down"]].concat()),
        Exit::DONE
    );
    let asked = gate.asked();
    let (_, order) = asked
        .iter()
        .find(|(what, body)| what.starts_with("POST") && body["dry_run"] == false)
        .unwrap();
    assert_eq!(
        (&order["reason"], &order["rate"], &order["stop_after"]),
        (&json!("it was down"), &json!(0.5), &json!(5))
    );
    assert_eq!(
        (&order["filter"], &order["order"]),
        (
            &json!({ "route": "stripe", "state": ["dead"] }),
            &json!("oldest")
        )
    );
    assert_eq!(gate.run(&["deliveries", "replay"]), Exit::USAGE, "which?");
    assert_eq!(
        gate.run(&["deliveries", "replay", "evt_1", "--route", "stripe"]),
        Exit::USAGE,
        "one or many?"
    );
}

#[test]
fn replay_with_failed_deliveries_exits_3() {
    for (state, delivered, failed, exit) in [
        ("done", 2, 0, Exit::DONE),
        ("done", 1, 1, Exit::UNFINISHED),
        ("stopped", 0, 1, Exit::UNFINISHED),
        ("cancelled", 1, 0, Exit::UNFINISHED),
    ] {
        let gate = Fake::start(move |_, _| (200, replay(state, delivered, failed)));
        assert_eq!(
            gate.run(&["deliveries", "replay", "--resume", "r_1", "--rate", "5/s"]),
            exit,
            "{state}"
        );
        assert_eq!(
            gate.asked()[0],
            (
                "POST /-/replays/r_1/resume".to_owned(),
                json!({ "rate": 5.0 })
            )
        );
        assert_eq!(
            gate.run(&["deliveries", "replay", "--stop", "r_1"]),
            Exit::DONE
        );
    }
}

#[test]
fn single_delivery_is_replayed_without_a_plan() {
    for (done, exit) in [(1, Exit::DONE), (0, Exit::NO)] {
        let gate = Fake::start(move |_, _| (200, json!({ "id": ID, "done": done })));
        assert_eq!(
            gate.run(&[
                "deliveries",
                "replay",
                "evt_1",
                "--include-delivered",
                "--reason",
                "so"
            ]),
            exit
        );
        let body = json!({ "reason": "so", "include_delivered": true, "bypass_dedupe": false });
        assert_eq!(
            gate.asked(),
            [("POST /-/deliveries/evt_1/replay".to_owned(), body)]
        );
    }
}

#[test]
fn cancel_and_purge_repeat_until_all_are_done() {
    let steps = std::sync::atomic::AtomicU64::new(0);
    let gate = Fake::start(move |what, body| {
        if what.starts_with("GET") {
            return (200, whole("retrying"));
        }
        if body["dry_run"] == true {
            return (200, plan(1500));
        }
        let step = steps.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        (200, json!({ "done": 750, "more": step.is_multiple_of(2) }))
    });
    assert_eq!(
        gate.run(&["deliveries", "cancel", "evt_1", "--reason", "twice"]),
        Exit::DONE
    );
    assert_eq!(
        gate.asked()[1].1,
        json!({ "ids": [ID], "reason": "twice", "dry_run": false, "include_waiting": false })
    );
    let purge = ["deliveries", "purge", "--route", "old", "--include-waiting"];
    assert_eq!(gate.run(&purge), Exit::USAGE);
    let before = gate.asked().len();
    assert_eq!(
        gate.run(&[&purge[..], &["--yes", "--reason", "gone"]].concat()),
        Exit::DONE
    );
    let orders: Vec<Value> = gate
        .asked()
        .split_off(before)
        .into_iter()
        .map(|(_, body)| body)
        .collect();
    assert_eq!(orders[0]["dry_run"], true);
    let order = json!({ "filter": { "route": "old", "state": [] }, "reason": "gone", "dry_run": false, "include_waiting": true });
    assert!(
        orders[1..].len() == 2
            && orders[1..]
                .iter()
                .all(|body| body["reason"] == order["reason"] && body["include_waiting"] == true),
        "{orders:?}"
    );
    assert_eq!(gate.run(&["deliveries", "cancel"]), Exit::USAGE);
}

#[test]
fn export_has_the_exact_bytes_in_a_private_file() {
    use std::os::unix::fs::PermissionsExt as _;
    let gate = Fake::start(|what, _| {
        if what.ends_with("/http") {
            (
                200,
                json!("POST /a?x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"),
            )
        } else if what.contains("?") {
            (200, json!({ "deliveries": [one("dead")], "next": null }))
        } else {
            (200, whole("dead"))
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out");
    let to = path.to_str().unwrap();
    let run = |form: &[&str]| {
        assert_eq!(
            gate.run(
                &[
                    &["deliveries", "export", "--route", "stripe", "--to", to],
                    form
                ]
                .concat()
            ),
            Exit::DONE
        );
        std::fs::read_to_string(&path).unwrap()
    };
    let lines = run(&[]);
    let line: Value = serde_json::from_str(lines.trim_end()).unwrap();
    assert_eq!(
        (
            line["id"].as_str(),
            line["raw_text"].as_str().unwrap().ends_with("\r\n\r\n{}")
        ),
        (Some(ID), true)
    );
    assert_eq!(
        run(&["--curl"]),
        "curl -sS -i -X POST 'http://a/a?x' \\\n  --data-binary '{}'\n"
    );
    assert!(run(&["--http"]).starts_with("POST /a?x HTTP/1.1\r\n"));
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
}
