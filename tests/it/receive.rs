//! `hookgate receive` as a person or a script calls it, and the page for those who receive webhooks.
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hookgate::verify::{SecretText, SigningKey};
use serde_json::{Value, json};

use super::support::config::{self, SECRET};
use super::support::gate::hookgate;
use super::support::{http, outbound, sign};

const PAGE: &str = "docs/for-your-customers.md";
const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";
const OTHER: &str = "whsec_Dw4NDAsKCQgHBgUEAwIBAA8ODQwLCgkI";
const BODY: &str =
    r#"{"type":"invoice.paid","timestamp":"2026-11-24T12:00:00Z","data":{"text":"grüße 💡"}}"#;

/// Returns the three headers by which the gateway's own engine signs a body.
fn signed(secret: &str, id: &str, at: SystemTime, body: &[u8]) -> BTreeMap<String, String> {
    let key = SigningKey::new(&SecretText {
        name: "own".into(),
        text: secret.as_bytes().to_vec().into(),
        encodings: None,
        not_before: None,
        expires: None,
    });
    let headers = key.unwrap().sign(id, at, body).unwrap();
    headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect()
}

/// A receiver that runs; killed on drop.
struct Receiver {
    child: Child,
    address: SocketAddr,
    /// The first line of stderr.
    greeting: String,
}

impl Receiver {
    fn start(args: &[&str]) -> Self {
        let mut child = hookgate()
            .args(["receive", "--listen", "127.0.0.1:0"])
            .args(args)
            .env("LC_ALL", "C.UTF-8")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut greeting = String::new();
        // a byte at a time, so that what follows stays in the pipe
        let stderr = child.stderr.as_mut().unwrap();
        let mut byte = [0];
        while stderr.read(&mut byte).unwrap() == 1 && byte != *b"\n" {
            greeting.push(byte[0].into());
        }
        let address = greeting.strip_prefix("http://");
        let address = address.and_then(|rest| rest.split(' ').next());
        Self {
            address: address
                .and_then(|text| text.parse().ok())
                .unwrap_or_else(|| panic!("{greeting}")),
            child,
            greeting,
        }
    }

    fn send(&self, headers: &[(&str, &str)], body: &str) -> u16 {
        http::request(self.address, "POST", "/in", headers, body.as_bytes()).status
    }

    /// Ends it as Ctrl-C does. Returns the lines of its stdout and stderr, and its exit code.
    fn interrupt(mut self) -> (Vec<String>, String, Option<i32>) {
        let killed = Command::new("kill")
            .args(["-INT", &self.child.id().to_string()])
            .status();
        assert!(killed.unwrap().success());
        let lines = BufReader::new(self.child.stdout.take().unwrap()).lines();
        let lines = lines.map(Result::unwrap).collect();
        let mut stderr = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut stderr)
            .unwrap();
        (lines, stderr, self.child.wait().unwrap().code())
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn borrowed(headers: &BTreeMap<String, String>) -> Vec<(&str, &str)> {
    headers
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect()
}

#[test]
fn receive_prints_a_line_a_delivery_and_a_summary() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("whsec.txt").display().to_string();
    fs::write(&file, format!("{NEW}\n{OLD}\n")).unwrap();
    let receiver = Receiver::start(&["--secret-file", &file, "--fail", "1", "--json"]);
    assert!(
        receiver
            .greeting
            .ends_with(" receives; fails the first attempt of each event, then answers 200"),
        "{}",
        receiver.greeting
    );
    let good = signed(OLD, "msg_1", SystemTime::now(), BODY.as_bytes());
    let statuses = [
        receiver.send(&borrowed(&good), BODY),
        receiver.send(&borrowed(&good), BODY),
        receiver.send(&borrowed(&good), "{}"),
        receiver.send(&[], BODY),
    ];
    assert_eq!(statuses, [500, 200, 401, 401]);
    let (lines, stderr, code) = receiver.interrupt();
    let lines: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let told: Vec<_> = lines
        .iter()
        .map(|line| {
            (
                line["verdict"].as_str().unwrap(),
                line["status"].as_u64().unwrap(),
            )
        })
        .collect();
    let refused = ("refused", 401);
    assert_eq!(
        told,
        [("authentic", 500), ("authentic", 200), refused, refused]
    );
    assert_eq!(lines[0]["secret"], "secret-2");
    assert_eq!(lines[1]["attempt"], 2);
    assert_eq!(lines[2]["code"], "signature_mismatch");
    assert_eq!(lines[3]["code"], "signature_missing");
    assert_eq!(
        stderr,
        "4 deliveries of 1 event: 1 answered with success, 1 not; 2 not authentic\n"
    );
    assert_eq!(code, Some(130));
}

#[test]
fn receive_verifies_the_scheme_of_a_route() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    fs::write(
        path("config.yaml"),
        config::forward("http://127.0.0.1:3000", ""),
    )
    .unwrap();
    fs::write(path("secret"), "another-secret-of-sixteen-bytes\n").unwrap();
    let config = path("config.yaml");
    let own = ["--scheme", "github", "--config", &config];
    for (args, secret) in [
        (own.to_vec(), SECRET),
        (
            [&own[..], &["--secret-file", &path("secret")]].concat(),
            "another-secret-of-sixteen-bytes",
        ),
    ] {
        let receiver = Receiver::start(&args);
        let headers = sign::github(secret, "d-1", b"{}");
        assert_eq!(receiver.send(&sign::borrowed(&headers), "{}"), 200);
        assert_eq!(receiver.send(&sign::borrowed(&headers), "[]"), 401);
    }
    let output = hookgate()
        .args(["receive", "--scheme", "gitub", "--config", &config])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("no route is called `gitub`"), "{said}");
}

#[test]
fn receive_verifies_a_scheme_of_sending() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let yaml = outbound::config("  schemes: { acme: { provider: github } }\n")
        .replace("STORE", &path("store"))
        .replace("PORTS", "[443]");
    fs::write(path("config.yaml"), yaml).unwrap();
    let text = "another-secret-of-sixteen-bytes";
    fs::write(path("secret"), text).unwrap();
    let (config, secret) = (path("config.yaml"), path("secret"));
    let scheme = ["--scheme", "acme", "--config", &config];
    let receiver = Receiver::start(&[&scheme[..], &["--secret-file", &secret]].concat());
    let headers = sign::github(text, "d-1", b"{}");
    assert_eq!(receiver.send(&sign::borrowed(&headers), "{}"), 200);
    assert_eq!(receiver.send(&sign::borrowed(&headers), "[]"), 401);
    let output = hookgate().arg("receive").args(scheme).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("--secret-file FILE"), "{said}");
}

#[test]
fn receive_holds_data_against_a_catalogue() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("whsec.txt").display().to_string();
    fs::write(&file, NEW).unwrap();
    let receiver = Receiver::start(&["--secret-file", &file, "--events", "demo/events", "--json"]);
    let example = fs::read_to_string("demo/events/invoice.paid/2.example.json").unwrap();
    let valid = format!("{{\"type\":\"invoice.paid\",\"data\":{example}}}");
    for (id, body) in [("msg_1", &*valid), ("msg_2", BODY)] {
        let headers = signed(NEW, id, SystemTime::now(), body.as_bytes());
        assert_eq!(receiver.send(&borrowed(&headers), body), 200);
    }
    assert_eq!(receiver.send(&[], BODY), 401);
    let (lines, ..) = receiver.interrupt();
    let lines: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let valid: Vec<&Value> = lines.iter().map(|line| &line["data_valid"]).collect();
    assert_eq!(valid, [&json!(true), &json!(false), &Value::Null]);
    assert_eq!(lines[0]["data_version"], 2);
    let message = lines[1]["data_message"].as_str().unwrap();
    assert!(
        !message.is_empty() && !message.contains("gr\u{fc}"),
        "{message}"
    );
}

/// Returns the code of a language in the section of the page under a heading.
fn block(heading: &str, language: &str) -> String {
    let page = fs::read_to_string(PAGE).unwrap();
    let section = page.split(&format!("\n{heading}\n")).nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let block = section.split(&format!("```{language}\n")).nth(1);
    block
        .unwrap_or_else(|| panic!("{heading} has no {language}"))
        .split("```")
        .next()
        .unwrap()
        .to_owned()
}

/// The sample request is signed as the page says, and so is the one with two signatures.
#[test]
fn sample_of_the_page_is_signed() {
    let request = block("## What arrives", "http");
    let (head, body) = request.split_once("\n\n").unwrap();
    let head: BTreeMap<_, _> = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .collect();
    let at = UNIX_EPOCH + Duration::from_secs(head["webhook-timestamp"].parse().unwrap());
    let sign = |secret| {
        signed(secret, head["webhook-id"], at, body.trim_end().as_bytes())["webhook-signature"]
            .clone()
    };
    assert_eq!(head["webhook-signature"], sign(OLD));
    assert!(fs::read_to_string(PAGE).unwrap().contains(OLD));
    let rotated = block("## The secret, and how it is rotated", "http");
    assert_eq!(
        rotated.trim_end(),
        format!("webhook-signature: {} {}", sign(NEW), sign(OLD))
    );
}

/// A request, and whether the code of the page must take it.
struct Case {
    name: &'static str,
    secret: &'static str,
    headers: BTreeMap<String, String>,
    body: &'static str,
    is_authentic: bool,
}

fn cases() -> Vec<Case> {
    let now = SystemTime::now();
    let at = |at| signed(OLD, "msg_1", at, BODY.as_bytes());
    let good = || at(now);
    let with = |name: &str, value: &str| {
        let mut headers = good();
        headers.insert(name.to_owned(), value.to_owned());
        headers
    };
    let without = |name: &str| {
        let mut headers = good();
        headers.remove(name);
        headers
    };
    let of = |secret| signed(secret, "msg_1", now, BODY.as_bytes())["webhook-signature"].clone();
    let minutes = |count: u64| Duration::from_secs(60 * count);
    let signatures = |all: &[String]| with("webhook-signature", &all.join(" "));
    let mut cases = Vec::new();
    let mut add = |name, headers, is_authentic| {
        cases.push(Case {
            name,
            secret: OLD,
            headers,
            body: BODY,
            is_authentic,
        });
    };
    add("good", good(), true);
    add("four minutes old", at(now - minutes(4)), true);
    add("ten minutes old", at(now - minutes(10)), false);
    add("ten minutes ahead", at(now + minutes(10)), false);
    add("the second of two", signatures(&[of(NEW), of(OLD)]), true);
    add(
        "after one of another kind",
        signatures(&["v1a,AAAA".to_owned(), of(OLD)]),
        true,
    );
    add("two wrong ones", signatures(&[of(NEW), of(OTHER)]), false);
    add(
        "of another kind",
        signatures(&[of(OLD).replace("v1,", "v2,")]),
        false,
    );
    add("no signature", without("webhook-signature"), false);
    add("empty signature", with("webhook-signature", ""), false);
    add(
        "no kind",
        with("webhook-signature", of(OLD).trim_start_matches("v1,")),
        false,
    );
    add("no ID", without("webhook-id"), false);
    add("another ID", with("webhook-id", "msg_2"), false);
    add("no time", without("webhook-timestamp"), false);
    add("no number", with("webhook-timestamp", "now"), false);
    cases.push(Case {
        name: "another body",
        secret: OLD,
        headers: good(),
        body: "{}",
        is_authentic: false,
    });
    cases.push(Case {
        name: "another secret",
        secret: OTHER,
        headers: good(),
        body: BODY,
        is_authentic: false,
    });
    cases
}

/// A language of the page: how its code is run.
struct Language {
    name: &'static str,
    heading: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
    /// The files: names, and what they hold. `CODE` stands for the code of the page.
    files: &'static [(&'static str, &'static str)],
    is_required: bool,
}

const LANGUAGES: &[Language] = &[
    Language {
        name: "python",
        heading: "### Python",
        program: "python3",
        arguments: &["verify.py", "cases.json"],
        files: &[(
            "verify.py",
            "CODE
import json, sys
for case in json.load(open(sys.argv[1])):
    print(str(verify(case['secret'], case['headers'], base64.b64decode(case['body']))).lower())
",
        )],
        is_required: true,
    },
    Language {
        name: "js",
        heading: "### Node.js",
        program: "node",
        arguments: &["verify.mjs", "cases.json"],
        files: &[(
            "verify.mjs",
            "CODE
import { readFileSync } from 'node:fs';
for (const { secret, headers, body } of JSON.parse(readFileSync(process.argv[2])))
  console.log(verify(secret, headers, Buffer.from(body, 'base64')));
",
        )],
        is_required: false,
    },
    Language {
        name: "go",
        heading: "### Go",
        program: "go",
        arguments: &["run", "verify.go", "main.go", "cases.json"],
        files: &[
            ("verify.go", "CODE"),
            (
                "main.go",
                "package main
import (\"encoding/json\"; \"fmt\"; \"net/http\"; \"os\")
func main() {
	var cases []struct { Secret string; Headers map[string]string; Body []byte }
	text, _ := os.ReadFile(os.Args[1])
	if err := json.Unmarshal(text, &cases); err != nil { panic(err) }
	for _, one := range cases {
		header := http.Header{}
		for name, value := range one.Headers { header.Set(name, value) }
		fmt.Println(Verify(one.Secret, header, one.Body))
	}
}
",
            ),
        ],
        is_required: false,
    },
    Language {
        name: "php",
        heading: "### PHP",
        program: "php",
        arguments: &["verify.php", "cases.json"],
        files: &[(
            "verify.php",
            "CODE
foreach (json_decode(file_get_contents($argv[1]), true) as $case) {
    echo verify($case['secret'], $case['headers'], base64_decode($case['body'])) ? \"true\\n\" : \"false\\n\";
}
",
        )],
        is_required: false,
    },
    Language {
        name: "ruby",
        heading: "### Ruby",
        program: "ruby",
        arguments: &["verify.rb", "cases.json"],
        files: &[(
            "verify.rb",
            "CODE
require 'json'
JSON.parse(File.read(ARGV[0])).each { |one| puts verify(one['secret'], one['headers'], one['body'].unpack1('m')) }
",
        )],
        is_required: false,
    },
];

/// The code of the page, in each language that this machine has, takes what the gateway signs and nothing else.
#[test]
fn code_of_the_page_verifies_what_the_gateway_signs() {
    let mut left_out = Vec::new();
    for language in LANGUAGES {
        let found = Command::new(language.program)
            .arg(if language.name == "go" {
                "version"
            } else {
                "--version"
            })
            .output();
        if !found.is_ok_and(|output| output.status.success()) {
            assert!(!language.is_required, "{} is missing", language.program);
            left_out.push(language.program);
            continue;
        }
        let dir = tempfile::tempdir().unwrap();
        let cases = cases();
        let verdicts = run(language, dir.path(), &cases);
        assert_eq!(
            verdicts.len(),
            cases.len(),
            "{}: {verdicts:?}",
            language.name
        );
        for (case, verdict) in cases.iter().zip(verdicts) {
            assert_eq!(
                verdict,
                case.is_authentic.to_string(),
                "{}: {}",
                language.name,
                case.name
            );
        }
    }
    eprintln!("not on this machine, so not tested: {left_out:?}");
}

/// Runs the code of the page. Returns a verdict for each case.
fn run(language: &Language, dir: &Path, cases: &[Case]) -> Vec<String> {
    let code = block(language.heading, language.name).replace("package webhook", "package main");
    for (name, text) in language.files {
        fs::write(dir.join(name), text.replace("CODE", &code)).unwrap();
    }
    let cases: Vec<Value> = cases
        .iter()
        .map(|case| json!({ "secret": case.secret, "headers": case.headers, "body": STANDARD.encode(case.body) }))
        .collect();
    fs::write(
        dir.join("cases.json"),
        serde_json::to_string(&cases).unwrap(),
    )
    .unwrap();
    let output = Command::new(language.program)
        .args(language.arguments)
        .current_dir(dir)
        .env("GOCACHE", dir.join("cache"))
        .env("GO111MODULE", "off")
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {error}", language.name);
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}
