//! `hookgate events types --live` and `events check OLD NEW --live`, against a gateway that runs.
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::support::app::App;
use super::support::outbound::PUBLISHER;
use super::support::outbound_cli::{Sender, run, text};

const ONE: &str = r#"{ "type": "object", "description": "An invoice was paid.", "required": ["id", "amount_cents"], "properties": { "id": { "type": "string", "description": "Its number." }, "amount_cents": { "type": "integer" } } }"#;
const TWO: &str = r#"{ "type": "object", "description": "An invoice was paid.", "required": ["id", "amount"], "properties": { "id": { "type": "string", "description": "Its number." }, "amount": {
  "type": "object", "required": ["value"], "properties": { "value": { "type": "integer" }, "currency": { "enum": ["EUR", "USD"] } } } } }"#;
const TWO_TO_ONE: &str = "- move: { from: /amount/value, to: /amount_cents }\n- drop: /amount\n";
const TWO_EXAMPLE: &str = r#"{ "id": "in_1", "amount": { "value": 4200, "currency": "EUR" } }"#;

/// A file of a catalogue: the path within it, and the text.
type File<'a> = (&'a str, &'a str);

/// Returns the files of the catalogue that the gateway has: `invoice.paid` in two versions, and `order.created` in one.
fn catalogue() -> Vec<File<'static>> {
    vec![
        ("invoice.paid/about.md", "An invoice was paid.\n"),
        ("invoice.paid/1.schema.json", ONE),
        ("invoice.paid/2.schema.json", TWO),
        ("invoice.paid/2-to-1.yaml", TWO_TO_ONE),
        ("invoice.paid/2.example.json", TWO_EXAMPLE),
        ("order.created/1.schema.json", r#"{ "type": "object" }"#),
    ]
}

fn write(dir: &Path, files: &[File<'_>]) {
    for (name, text) in files {
        let path = dir.join("events").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

/// Starts a gateway with this catalogue.
fn start(receivers: &[&App]) -> Sender {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    write(dir.path(), &catalogue());
    Sender::start_in(dir, receivers, "  events: { dir: events }\n")
}

/// A catalogue that is not yet that of the gateway.
struct Proposed<'a> {
    sender: &'a Sender,
    old: String,
    new: String,
    _dir: tempfile::TempDir,
}

impl<'a> Proposed<'a> {
    /// Writes the catalogue of the gateway with these files in place of its own; one without a text is left out.
    fn new(sender: &'a Sender, changes: &[File<'_>]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let is_own = |file: &File<'_>| !changes.iter().any(|change| change.0 == file.0);
        let own = catalogue().into_iter().filter(is_own);
        let changed = changes.iter().copied().filter(|file| !file.1.is_empty());
        write(dir.path(), &own.chain(changed).collect::<Vec<_>>());
        let events = |dir: &Path| dir.join("events").display().to_string();
        Self {
            sender,
            old: events(sender.gate.dir()),
            new: events(dir.path()),
            _dir: dir,
        }
    }

    /// Compares both, asks the gateway, and returns what is printed. The command must end with this code.
    #[track_caller]
    fn check(&self, more: &[&str], code: i32) -> String {
        let args = ["events", "check", &self.old, &self.new, "--live"];
        self.sender.ends(&[&args[..], more].concat(), code).0
    }

    /// Returns the lines of `--json`.
    #[track_caller]
    fn json(&self, code: i32) -> Vec<Value> {
        let text = self.check(&["--json"], code);
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// Publishes an event of `invoice.paid` in version 2. Returns its ID.
#[track_caller]
fn publish(sender: &Sender, key: &str, amount: &Value) -> String {
    let event =
        json!({ "type": "invoice.paid", "id": key, "data": { "id": "in_1", "amount": amount } });
    let (status, answer) = sender
        .api
        .call("POST", "/v1/tenants/acme/events", Some(&event));
    assert_eq!(status, 202, "{answer}");
    answer["id"].as_str().unwrap().to_owned()
}

#[test]
fn types_of_a_running_gateway_are_listed_and_shown() {
    let sender = start(&[]);
    let types = ["events", "types", "--live"];
    let with = |more: &[&'static str]| [&types[..], more].concat();
    let (out, err) = sender.ends(&types, 0);
    let row = |name: &str| out.lines().find(|line| line.starts_with(name)).unwrap();
    assert!(out.starts_with("TYPE"), "{out}");
    assert!(
        row("invoice.paid").contains("1, 2") && row("invoice.paid").contains("was paid"),
        "{out}"
    );
    assert!(row("order.created").contains('1'), "{out}");
    assert!(err.contains("next: hookgate events types TYPE"), "{err}");
    let list = sender.json(&types);
    assert_eq!(list.len(), 2);
    assert_eq!(
        (&list[0]["type"], &list[0]["versions"], &list[0]["mappings"]),
        (
            &json!("invoice.paid"),
            &json!([1, 2]),
            &json!([{ "from": 2, "to": 1 }])
        )
    );
    let out = sender.prints(&with(&["invoice.paid"]));
    for part in ["versions    1, 2", "mappings    2 to 1", "Its number."] {
        assert!(out.contains(part), "{part}: {out}");
    }
    let shown = &sender.json(&with(&["invoice.paid"]))[0];
    let fields = shown["fields"].as_array().unwrap().iter();
    let paths: Vec<&str> = fields.map(|one| one["path"].as_str().unwrap()).collect();
    assert!(
        paths.contains(&"amount.currency") || paths.contains(&"/amount/currency"),
        "{paths:?}"
    );
    // the same as a directory has
    let of_dir = sender.gate.dir().join("events").display().to_string();
    let printed = run(&["events", "types", "--json", "--dir", &of_dir]);
    let lines = text(&printed.stdout);
    let of_dir: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(of_dir, list);
    let words = [
        "the catalogue has no such type",
        "hookgate events types --live",
    ];
    sender.fails(&with(&["invoice.lost"]), 1, &words);
    sender.fails(&with(&["--dir", "events"]), 2, &["cannot be used with"]);
}

#[test]
fn types_of_a_gateway_that_cannot_be_asked_end_with_an_error() {
    let sender = Sender::start(&[], "");
    let types = ["events", "types", "--live"];
    sender.fails(&types, 1, &["catalogue"]);
    let token = sender.gate.dir().join("publisher");
    std::fs::write(&token, PUBLISHER).unwrap();
    let token = token.display().to_string();
    let may_not = [&types[..], &["--token-file", &token]].concat();
    sender.fails(&may_not, 1, &["lacks `read`"]);
    let nobody = ["--outbound", "127.0.0.1:1", "--token-file", &token];
    let output = run(&[&types[..], &nobody].concat());
    assert_eq!(output.status.code(), Some(69));
    assert!(text(&output.stderr).contains("the gateway does not answer"));
}

#[test]
fn check_says_who_gets_what_breaks_and_which_events_it_would_refuse() {
    let app = App::start();
    let sender = start(&[&app]);
    for tenant in ["acme", "other"] {
        sender.customer(tenant, &app);
    }
    sender.prints(&["endpoints", "create", "acme", "--url", &app.url()]);
    publish(&sender, "old", &json!({ "value": 1 }));
    let euro = publish(&sender, "new", &json!({ "value": 2, "currency": "EUR" }));
    // a value that an endpoint does not know yet, and a field that the older event does not have
    let changed = TWO
        .replace(r#""USD""#, r#""USD", "GBP""#)
        .replace(r#"["value"]"#, r#"["value", "currency"]"#);
    let proposed = Proposed::new(&sender, &[("invoice.paid/2.schema.json", &changed)]);
    let report = proposed.check(&[], 1);
    for line in [
        "! invoice.paid 2: 2 tenants get it, at 3 endpoints",
        "✕ invoice.paid: 1 of the last 2 events would be refused, such as msg_",
        "in version 2: `/amount/currency` is missing",
    ] {
        assert!(report.contains(line), "{line}: {report}");
    }
    assert!(
        !report.contains(&euro) && !report.contains("order.created: the last"),
        "{report}"
    );
    let lines = proposed.json(1);
    let receivers = lines.iter().find(|line| line["tenants"].is_u64()).unwrap();
    assert_eq!(
        receivers,
        &json!({ "type": "invoice.paid", "version": 2, "tenants": 2, "endpoints": 3 })
    );
    let judged = lines.iter().find(|line| line["judged"].is_u64()).unwrap();
    assert_eq!(
        (
            &judged["judged"],
            &judged["refused"],
            &judged["first"]["version"]
        ),
        (&json!(2), &json!(1), &json!(2)),
        "{judged}"
    );
    let github = proposed.check(&["--format", "github"], 1);
    for (level, words) in [
        ("warning", "2 tenants get it"),
        ("error", "would be refused"),
    ] {
        let is_it = |line: &&str| line.starts_with(&format!("::{level} ")) && line.contains(words);
        assert!(github.lines().any(|line| is_it(&line)), "{words}: {github}");
    }
    // the data of events is in no answer
    assert!(!report.contains("in_1") && !github.contains("in_1"));
}

#[test]
fn check_of_a_safe_change_ends_with_0_and_that_of_a_removed_type_with_1() {
    let app = App::start();
    let sender = start(&[&app]);
    sender.customer("acme", &app);
    publish(&sender, "one", &json!({ "value": 1 }));
    let more = TWO.replace(
        r#""amount": {"#,
        r#""memo": { "type": "string" }, "amount": {"#,
    );
    assert_ne!(more, TWO);
    let safe = [
        ("invoice.paid/2.schema.json", more.as_str()),
        ("invoice.void/1.schema.json", r#"{ "type": "object" }"#),
    ];
    let proposed = Proposed::new(&sender, &safe);
    let report = proposed.check(&[], 0);
    assert!(
        report.contains("✓ invoice.paid: the last event is valid") && !report.contains("tenant"),
        "{report}"
    );
    let removed = catalogue().into_iter().map(|(name, _)| (name, ""));
    let removed: Vec<File<'_>> = removed
        .filter(|(name, _)| name.starts_with("invoice.paid/"))
        .collect();
    let proposed = Proposed::new(&sender, &removed);
    let report = proposed.check(&[], 1);
    assert!(
        report.contains("invoice.paid 2: 1 tenant gets it, at 1 endpoint"),
        "{report}"
    );
    // one that nobody can ask about is compared, and the command says that nobody answered
    let args = ["events", "check", &proposed.old, &proposed.new, "--live"];
    let token = sender.gate.dir().join("token");
    std::fs::write(&token, PUBLISHER).unwrap();
    let token = token.display().to_string();
    let nobody = ["--outbound", "127.0.0.1:1", "--token-file", &token];
    let output = run(&[&args[..], &nobody].concat());
    assert_eq!(output.status.code(), Some(69));
    let out = text(&output.stdout);
    assert!(
        out.contains("invoice.paid") && !out.contains("tenant"),
        "{out}"
    );
    let words = ["<NEW>"];
    sender.fails(&["events", "check", &proposed.old, "--live"], 2, &words);
}
