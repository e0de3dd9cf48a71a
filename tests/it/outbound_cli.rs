//! The commands of sending, against a gateway that runs.
use serde_json::json;

use super::support::app::{Act, App};
use super::support::gate::wait_for;
use super::support::outbound::PUBLISHER;
use super::support::outbound_cli::{Sender, run, text};

#[test]
fn tenants_are_made_listed_shown_and_removed() {
    let sender = Sender::start(&[], "");
    let (_, err) = sender.ends(&["tenants", "list"], 0);
    assert!(
        err.contains("there is no tenant") && err.contains("next: hookgate tenants create"),
        "{err}"
    );
    let make = [
        "tenants",
        "create",
        "acme",
        "--name",
        "Acme",
        "--endpoints",
        "10",
    ];
    let (out, err) = sender.ends(&make, 0);
    assert_eq!(out, "✓ tenant acme is saved\n");
    assert!(
        err.contains("next: hookgate endpoints create acme"),
        "{err}"
    );
    let (_, err) = sender.ends(&make, 1);
    assert!(
        err.contains("already") && err.contains("--replace"),
        "{err}"
    );
    let replaced = sender.json(&["tenants", "create", "acme", "--publish", "9/s", "--replace"]);
    assert_eq!(replaced[0]["limits"], json!({ "publish": "9/s" }));
    sender.prints(&["tenants", "create", "other"]);
    let list = sender.prints(&["tenants", "list"]);
    assert!(
        list.starts_with("TENANT") && list.contains("other"),
        "{list}"
    );
    assert_eq!(sender.json(&["tenants", "list", "--limit", "1"]).len(), 1);
    let all = sender.json(&["tenants", "list"]);
    assert_eq!([&all[0]["uid"], &all[1]["uid"]], ["acme", "other"]);
    let shown = sender.prints(&["tenants", "show", "acme"]);
    assert!(shown.contains("9/s events"), "{shown}");
    let (_, err) = sender.ends(&["tenants", "delete", "other"], 2);
    assert!(err.contains("--yes"), "{err}");
    sender.prints(&["tenants", "delete", "other", "--yes"]);
    assert_eq!(sender.json(&["tenants", "list"]).len(), 1);
}

#[test]
fn endpoint_is_made_published_to_and_shown() {
    let app = App::start();
    let sender = Sender::start(&[&app], "");
    let secret = sender.customer("acme", &app);
    assert!(
        secret.starts_with("whsec_") && secret.lines().count() == 1,
        "the secret stands alone: {secret}"
    );
    let plan = sender.ends(
        &[
            "publish",
            "--tenant",
            "acme",
            "--type",
            "invoice.paid",
            "--data",
            "1",
            "--dry-run",
        ],
        0,
    );
    assert!(
        plan.0.starts_with("  ENDPOINT") && app.count() == 0,
        "{plan:?}"
    );
    let (out, err) = sender.ends(
        &[
            "publish",
            "--tenant",
            "acme",
            "--type",
            "invoice.paid",
            "--data",
            "1",
            "--id",
            "k-1",
        ],
        0,
    );
    assert!(
        out.contains("invoice.paid 1, 1 endpoint, on disk in "),
        "{out}"
    );
    assert!(
        err.contains("next: hookgate events show acme msg_"),
        "{err}"
    );
    let again = [
        "publish",
        "--tenant",
        "acme",
        "--type",
        "invoice.paid",
        "--data",
        "1",
    ];
    let again = sender.prints(&[&again[..], &["--id", "k-1"]].concat());
    assert!(again.starts_with("! msg_") && again.contains("published before"));
    wait_for("the endpoint to get it", || app.count() == 1);
    let events = sender.json(&["events", "list", "acme", "--key", "k-1"]);
    let id = events[0]["id"].as_str().unwrap();
    wait_for("the attempt to be recorded", || {
        sender
            .prints(&["events", "show", "acme", id])
            .contains("delivered")
    });
    let shown = sender.prints(&["events", "show", "acme", id]);
    assert!(shown.contains("k-1") && shown.contains("200"), "{shown}");
    let data = sender.prints(&["events", "show", "acme", id, "--data"]);
    assert!(data.contains("\"data\":1"), "{data}");
    let list = sender.prints(&["events", "list", "acme", "--type", "invoice.paid"]);
    assert!(list.contains(id) && list.contains("k-1"), "{list}");
    let attempts = sender.json(&["endpoints", "attempts", "acme", "main"]);
    assert_eq!(
        (&attempts[0]["event"], &attempts[0]["status"]),
        (&json!(id), &json!(200))
    );
    let attempts = sender.prints(&["endpoints", "attempts", "acme", "main"]);
    assert!(
        attempts.contains("OUTCOME") && attempts.contains(id),
        "{attempts}"
    );
    let list = sender.prints(&["endpoints", "list", "acme"]);
    assert!(list.contains("main") && list.contains("✓ active"), "{list}");
    assert_eq!(
        sender.json(&["endpoints", "list", "acme"])[0]["uid"],
        "main"
    );
    let shown = sender.prints(&["endpoints", "show", "acme", "main"]);
    assert!(
        shown.contains("✓ active") && shown.contains("signed by standard"),
        "{shown}"
    );
    assert!(!shown.contains(secret.trim()), "{shown}");
}

#[test]
fn endpoint_is_changed_paused_resumed_and_removed() {
    let app = App::start();
    let sender = Sender::start(&[&app], "");
    let first = sender.customer("acme", &app);
    let main = |command: &'static str| ["endpoints", command, "acme", "main"];
    let with = |command, more: &[&'static str]| [&main(command)[..], more].concat();
    let (_, err) = sender.ends(&main("edit"), 2);
    assert!(err.contains("no setting is given"), "{err}");
    let changed = with("edit", &["--rate", "10/s", "--header", "X-Team: blue"]);
    assert!(sender.prints(&changed).contains("headers, rate"));
    let shown = &sender.json(&main("show"))[0];
    assert_eq!(
        (&shown["rate"], &shown["headers"]),
        (&json!("10/s"), &json!(["x-team"]))
    );
    sender.prints(&with("edit", &["--unset", "rate"]));
    assert!(sender.json(&main("show"))[0]["rate"].is_null());
    let second = sender.prints(&with("rotate", &["--overlap", "1h"]));
    assert!(second.starts_with("whsec_") && second != first, "{second}");
    assert_eq!(second.lines().count(), 1);
    let rotated = sender.json(&with("rotate", &["--overlap", "0s"]));
    assert!(rotated[0]["secret"].as_str().unwrap().starts_with("whsec_"));
    let paused = sender.prints(&with("pause", &["--reason", "asked for"]));
    assert!(paused.contains("is paused"), "{paused}");
    let (_, err) = sender.ends(&main("pause"), 1);
    assert!(err.contains("hookgate endpoints show"), "{err}");
    sender.publish("acme");
    let (out, err) = sender.ends(&main("show"), 0);
    assert!(out.contains("paused: by hand"), "{out}");
    assert!(
        err.contains("next: hookgate endpoints resume acme main --waiting all"),
        "{err}"
    );
    sender.prints(&with(
        "resume",
        &["--waiting", "all", "--reason", "done", "--yes"],
    ));
    wait_for("the event to be sent", || app.count() == 1);
    let (_, err) = sender.ends(&main("delete"), 2);
    assert!(
        err.contains("plan: removes") && err.contains("--yes"),
        "{err}"
    );
    sender.prints(&with("delete", &["--yes"]));
    let (_, err) = sender.ends(&main("show"), 1);
    assert!(err.contains("hookgate endpoints list acme"), "{err}");
}

#[test]
fn errors_say_what_to_do() {
    let sender = Sender::start(&[], "");
    let dir = sender.gate.dir().to_owned();
    let file = |name: &str, token: &str| {
        let path = dir.join(name);
        std::fs::write(&path, token).unwrap();
        path.display().to_string()
    };
    let (publisher, wrong) = (file("publisher", PUBLISHER), file("wrong", "wrong"));
    let ends = |args: &[&str], code: i32, wanted: &[&str]| {
        let output = run(args);
        let err = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {err}");
        assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
        for wanted in wanted {
            assert!(err.contains(wanted), "{args:?}: {wanted}: {err}");
        }
    };
    let at = ["--outbound", &sender.address];
    let list = |more: &[&'static str]| [&["tenants", "list"][..], more].concat();
    ends(
        &[&list(&[])[..], &at].concat(),
        2,
        &["a token is missing", "--config FILE"],
    );
    let args = [&list(&[])[..], &at, &["--token-file", &wrong]].concat();
    ends(
        &args,
        1,
        &["the token is missing or wrong", "--token-file FILE"],
    );
    let args = [&list(&[])[..], &at, &["--token-file", &publisher]].concat();
    ends(
        &args,
        1,
        &["lacks `read`", "--token-file FILE with a token that may"],
    );
    let args = [
        &list(&[])[..],
        &["--outbound", "127.0.0.1:1", "--token-file", &wrong],
    ]
    .concat();
    ends(
        &args,
        69,
        &["the gateway does not answer", "hookgate run --config FILE"],
    );
    let args = [
        "tenants",
        "list",
        "--outbound",
        "ftp://x",
        "--token-file",
        &wrong,
    ];
    ends(&args, 2, &["not an address of a listener"]);
    let (_, err) = sender.ends(&["endpoints", "list", "nobody"], 1);
    assert!(
        err.contains("there is no tenant `nobody`") && err.contains("tenants create nobody"),
        "{err}"
    );
    let unknown = [
        "publish", "--tenant", "nobody", "--type", "a", "--data", "1",
    ];
    assert!(sender.ends(&unknown, 1).1.contains("there is no tenant"));
    let bad = [
        "publish", "--tenant", "nobody", "--type", "a", "--data", "{",
    ];
    assert!(sender.ends(&bad, 2).1.contains("the data is not JSON"));
    sender.prints(&["tenants", "create", "acme"]);
    let private = ["endpoints", "create", "acme", "--url", "http://10.0.0.1/"];
    let (out, err) = sender.ends(&private, 1);
    assert!(out.is_empty() && err.contains("/url"), "{err}");
    let (_, err) = sender.ends(&["events", "show", "acme", "msg_x"], 1);
    assert!(err.contains("hookgate events list acme"), "{err}");
}

/// A listener that closes the first connection, refuses the second for a while, and takes the third.
#[test]
fn publish_is_repeated_with_the_same_key() {
    let app = App::answering(|n, _| {
        match n {
        0 => Act::hang_up(),
        1 => Act {
            body: br#"{"code":"leaving","error":"the gateway is stopping","help":""}"#.to_vec(),
            ..Act::status(503)
        },
        _ => Act {
            body: br#"{"id":"msg_1","type":"a","version":1,"targets":1,"accepted_at":"","repeated":false}"#.to_vec(),
            ..Act::status(202)
        },
    }
    });
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "t").unwrap();
    let address = app.address.to_string();
    let output = run(&[
        "publish",
        "--tenant",
        "acme",
        "--type",
        "a",
        "--data",
        "{\"n\": 1.0}",
        "--outbound",
        &address,
        "--token-file",
        token.to_str().unwrap(),
    ]);
    let err = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert!(err.contains("repeated with the same key"), "{err}");
    let seen = app.seen();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|one| one.body == seen[0].body), "one key");
    let body = text(&seen[0].body);
    assert!(
        body.contains("\"id\":\"cli-") && body.contains("\"data\":{\"n\": 1.0}"),
        "{body}"
    );
    assert_eq!(seen[0].header("authorization"), Some("Bearer t"));
}

#[test]
fn completions_name_the_commands_of_sending() {
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&["completions", shell]);
        let script = text(&output.stdout);
        for name in ["publish", "tenants", "endpoints", "recover", "--dry-run"] {
            let name = if shell == "fish" {
                name.trim_start_matches('-')
            } else {
                name
            };
            assert!(script.contains(name), "{shell}: {name}");
        }
    }
}
