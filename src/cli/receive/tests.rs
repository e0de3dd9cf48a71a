use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, Method};
use jiff::tz::TimeZone;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};

use super::data::DataVerdict;
use super::entry::{Attempt, Outcome, Summary};
use super::events::{EventKey, Events};
use super::judge::{Judged, Verdict, compact, judge};
use super::plan::Step;
use super::*;
use crate::clock::{Clock as _, FrozenClock, SystemClock};
use crate::upstream::fetch::{Url, fetch};
use crate::verify::{SecretText, SigningKey};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";
const BODY: &str =
    r#"{"type":"invoice.paid","timestamp":"2026-11-24T12:00:00Z","data":{"a": "b \" c"}}"#;

fn key(secret: &str) -> SigningKey {
    SigningKey::new(&SecretText {
        name: "own".into(),
        text: secret.as_bytes().to_vec().into(),
        encodings: None,
        not_before: None,
        expires: None,
    })
    .unwrap()
}

/// Returns the verifier for a secret file with this text.
fn verifier(text: &str) -> Result<crate::verify::Verifier, Error> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("whsec");
    std::fs::write(&path, text).unwrap();
    secrets::standard(&[path])
}

fn second(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600 + seconds)
}

/// Returns a request that is signed at second 0, with another body in place of its own.
fn request(secret: &str, signed: &str, sent: &str) -> String {
    let headers = key(secret)
        .sign("msg_1", second(0), signed.as_bytes())
        .unwrap();
    let lines: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap()))
        .collect();
    format!(
        "POST / HTTP/1.1\r\nHost: a\r\n{lines}Content-Length: {}\r\n\r\n{sent}",
        sent.len()
    )
}

fn judged(request: &str, has_verified: bool, seconds: u64) -> Judged {
    let now = FrozenClock(second(seconds)).now();
    judge(
        &verifier(SECRET).unwrap(),
        None,
        request.as_bytes(),
        has_verified,
        now,
    )
}

#[track_caller]
fn is_refused(request: &str, has_verified: bool, seconds: u64, code: &str, words: &str) {
    let judged = judged(request, has_verified, seconds);
    assert_eq!(judged.verdict.code(), Some(code), "{judged:?}");
    match &judged.verdict {
        Verdict::NotAuthentic { message, .. } => assert_eq!(message, words),
        Verdict::Unreadable { message, .. } => assert_eq!(*message, words),
        Verdict::Authentic { .. } => panic!("{judged:?}"),
    }
}

#[test]
fn authentic_delivery_is_described() {
    let request = request(SECRET, BODY, BODY);
    assert_eq!(
        judged(&request, false, 3),
        Judged {
            verdict: Verdict::Authentic {
                secret: "secret-1".to_owned(),
                signed_at: Some(second(0)),
                key: EventKey::new(Some("msg_1"), b""),
            },
            id: Some("msg_1".to_owned()),
            event_type: Some("invoice.paid".to_owned()),
            body_bytes: BODY.len(),
            data: None,
        }
    );
    let old_and_new = verifier(&format!("{OTHER}\n\n  {SECRET}\r\n")).unwrap();
    let judged = judge(
        &old_and_new,
        None,
        request.as_bytes(),
        false,
        FrozenClock(second(3)).now(),
    );
    assert!(
        matches!(&judged.verdict, Verdict::Authentic { secret, .. } if secret == "secret-2"),
        "{judged:?}"
    );
}

#[test]
fn reason_names_the_likely_cause() {
    let good = request(SECRET, BODY, BODY);
    let mismatch = |request: &str, has_verified, hint: &str| {
        let words = format!("the signature matches no secret: {hint}");
        is_refused(request, has_verified, 3, "signature_mismatch", &words);
    };
    let unknown = "is it the secret of another endpoint, or was the body changed?";
    mismatch(&request(OTHER, BODY, BODY), false, unknown);
    mismatch(&good.replace("paid", "void"), false, unknown);
    mismatch(&good.replace("paid", "void"), true, "was the body changed?");
    mismatch(
        &request(SECRET, BODY, &format!("{BODY}\n")),
        false,
        "white space was added at the end of the body",
    );
    mismatch(
        &request(SECRET, &format!("{BODY}\n"), BODY),
        false,
        "the line feed at the end of the body was lost",
    );
    mismatch(
        &request(
            SECRET,
            &String::from_utf8(compact(BODY.as_bytes())).unwrap(),
            BODY,
        ),
        true,
        "white space was added to the JSON: the body must stay as it was sent",
    );
    is_refused(
        &good,
        false,
        720,
        "timestamp_stale",
        "it was signed 12 m ago, and more than 5 m is too old",
    );
    // an old request with a wrong signature is one with a wrong signature
    let words = format!("the signature matches no secret: {unknown}");
    is_refused(
        &request(OTHER, BODY, BODY),
        false,
        720,
        "signature_mismatch",
        &words,
    );
}

#[test]
fn missing_headers_are_named() {
    let good = request(SECRET, BODY, BODY);
    let without = |names: &[&str]| -> String {
        let lines = good.split_inclusive('\n');
        lines
            .filter(|line| !names.iter().any(|name| line.starts_with(name)))
            .collect()
    };
    for (names, words) in [
        (
            &["webhook-signature"][..],
            "the header webhook-signature is missing",
        ),
        (&["webhook-id"], "the header webhook-id is missing"),
        (
            &["webhook-timestamp"],
            "the header webhook-timestamp is missing",
        ),
        (
            &["webhook-"],
            "the headers webhook-id, webhook-signature and webhook-timestamp are missing",
        ),
    ] {
        let judged = judged(&without(names), false, 3);
        let Verdict::NotAuthentic { message, .. } = &judged.verdict else {
            panic!("{judged:?}");
        };
        let sorted = |text: &str| {
            let mut words: Vec<String> = text
                .replace(',', "")
                .split(' ')
                .map(str::to_owned)
                .collect();
            words.sort();
            words
        };
        assert_eq!(sorted(message), sorted(words), "{names:?}");
    }
    is_refused(
        "GARBAGE\r\n\r\n",
        false,
        3,
        "malformed",
        "the first line must read `POST /path HTTP/1.1`",
    );
}

#[test]
fn compact_json_keeps_its_strings() {
    assert_eq!(
        compact(br#" { "a b" : [ 1 , "\" c\\" , "d" ] } "#),
        br#"{"a b":[1,"\" c\\","d"]}"#
    );
    let pretty = serde_json::json!({ "a": [1, { "b": "c d" }], "e": "\\\"" });
    assert_eq!(
        compact(serde_json::to_string_pretty(&pretty).unwrap().as_bytes()),
        pretty.to_string().as_bytes()
    );
}

#[test]
fn plan_reacts_by_attempt() {
    let ok = StatusCode::OK;
    let plan = Plan::failing(2, None, ok, Duration::from_secs(2));
    let failure = Step::answer(StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(plan.step(1), (failure, Some(2)));
    assert_eq!(plan.step(2), (failure, Some(2)));
    assert_eq!(plan.step(3).0.reaction, Reaction::Answer(ok));
    assert_eq!(plan.step(3).0.delay, Duration::from_secs(2));
    let plan = Plan::failing(1, Some(Reaction::Hang), ok, Duration::ZERO);
    assert_eq!(plan.step(1).0.reaction, Reaction::Hang);
    assert_eq!(plan.step(2).0, Step::answer(ok));
    let plan = Plan::failing(0, Some(Reaction::Drop), ok, Duration::ZERO);
    assert_eq!(plan.step(1).0.reaction, Reaction::Drop);
}

#[test]
fn plan_describes_itself() {
    let ok = StatusCode::OK;
    let seconds = Duration::from_secs;
    let texts = [
        Plan::failing(0, None, ok, Duration::ZERO),
        Plan::failing(3, None, ok, seconds(2)),
        Plan::failing(
            1,
            Some(Reaction::Drop),
            StatusCode::ACCEPTED,
            Duration::ZERO,
        ),
        Plan::failing(0, Some(Reaction::Hang), ok, Duration::ZERO),
        Plan::failing(0, Some(Reaction::Drip(ok)), ok, seconds(20)),
        Plan::script("500\n200\n").unwrap(),
    ]
    .map(|plan| plan.describe());
    insta::assert_snapshot!("plans", texts.join("\n"));
}

#[test]
fn script_has_a_step_a_line() {
    let plan = Plan::script("# first\n500\n\n  503 2s \nhang\ndrop 500ms\ndrip\n204").unwrap();
    let steps: Vec<Step> = (1..9).map(|attempt| plan.step(attempt).0).collect();
    let step = |reaction, milliseconds| Step {
        reaction,
        delay: Duration::from_millis(milliseconds),
    };
    let answer = |status| Reaction::Answer(StatusCode::from_u16(status).unwrap());
    assert_eq!(
        steps,
        [
            step(answer(500), 0),
            step(answer(503), 2_000),
            step(Reaction::Hang, 0),
            step(Reaction::Drop, 500),
            step(Reaction::Drip(StatusCode::OK), 0),
            step(answer(204), 0),
            step(answer(204), 0),
            step(answer(204), 0),
        ]
    );
    for (script, words) in [
        ("", "the script has no step"),
        ("# nothing\n", "the script has no step"),
        (
            "200\n5oo\n",
            "line 2: `5oo` is no step: write a status from 200 to 599",
        ),
        ("100", "line 1: `100` is no step"),
        ("200 soon", "line 1: "),
        (
            "200 2s now",
            "line 1: there is more than a status and a delay",
        ),
    ] {
        let error = Plan::script(script).unwrap_err();
        assert!(error.starts_with(words), "{error}");
    }
}

#[test]
fn remembered_events_are_bounded() {
    let mut events = Events::with_limit(2);
    let [a, b, c] = ["a", "b", "c"].map(|id| EventKey::new(Some(id), b""));
    assert_eq!(events.count(a).attempts, 1);
    events.set_delivered(a);
    let history = events.count(a);
    assert!(history.attempts == 2 && history.delivered);
    events.count(b);
    events.count(c);
    assert_eq!(events.count(b).attempts, 2);
    let history = events.count(a);
    assert!(history.attempts == 1 && !history.delivered, "{history:?}");
    assert_ne!(EventKey::new(Some("a"), b""), EventKey::new(None, b"a"));
}

#[test]
fn secret_files_are_judged() {
    for text in ["", "\n \n", "whsec_!", &format!("{SECRET}\nnot base64!")] {
        assert_eq!(verifier(text).unwrap_err().exit, Exit::USAGE, "{text:?}");
    }
    assert!(verifier(&format!("{SECRET}\n").repeat(17)).is_err());
    assert_eq!(
        verifier(&format!("{SECRET}\n{OTHER}"))
            .unwrap()
            .secrets()
            .listed()
            .len(),
        2
    );
}

/// Returns entries of each kind.
fn entries() -> Vec<Entry> {
    let judged = |verdict| Judged {
        verdict,
        id: Some("msg_01936f0c4e7a7d1e9b1f6a2c8d4e0b57".to_owned()),
        event_type: Some("invoice.paid".to_owned()),
        body_bytes: 1_204,
        data: None,
    };
    let authentic = || {
        judged(Verdict::Authentic {
            secret: "secret-1".to_owned(),
            signed_at: Some(second(46_872)),
            key: EventKey::new(Some("a"), b""),
        })
    };
    let attempt = |number, failing, delivered_before| {
        Some(Attempt {
            number,
            failing,
            delivered_before,
        })
    };
    let entry = |judged, attempt, outcome| Entry {
        received_at: second(46_873),
        judged,
        attempt,
        outcome,
    };
    let status = |status| StatusCode::from_u16(status).unwrap();
    let not_authentic = judged(Verdict::NotAuthentic {
        code: "signature_mismatch",
        message: "the signature matches no secret: was the body changed?".to_owned(),
    });
    let with_data = |data| Judged {
        data: Some(data),
        ..authentic()
    };
    let invalid = DataVerdict::Invalid {
        version: Some(2),
        at: Some("/amount".to_owned()),
        message: "`/amount` is not an integer".to_owned(),
    };
    vec![
        entry(
            with_data(DataVerdict::Valid(2)),
            attempt(2, None, false),
            Outcome::Answered(status(200)),
        ),
        entry(
            with_data(invalid),
            attempt(2, None, false),
            Outcome::Answered(status(200)),
        ),
        entry(
            authentic(),
            attempt(1, Some(3), false),
            Outcome::Answered(status(500)),
        ),
        entry(authentic(), attempt(2, Some(3), false), Outcome::Hanging),
        entry(authentic(), attempt(3, Some(3), false), Outcome::Dropped),
        entry(
            authentic(),
            attempt(4, None, false),
            Outcome::Answered(status(200)),
        ),
        entry(
            authentic(),
            attempt(5, None, true),
            Outcome::Answered(status(200)),
        ),
        entry(
            authentic(),
            attempt(1, None, false),
            Outcome::Dripping(status(200)),
        ),
        entry(
            authentic(),
            attempt(1, None, false),
            Outcome::GaveUp(Duration::from_secs(15)),
        ),
        entry(not_authentic, None, Outcome::Answered(status(401))),
        entry(
            Judged::unreadable("the body is larger than 1 MiB", status(413)),
            None,
            Outcome::Answered(status(413)),
        ),
    ]
}

fn look(width: Option<usize>) -> Look {
    Look {
        width,
        utf8: true,
        zone: TimeZone::UTC,
    }
}

#[test]
fn line_of_each_kind() {
    let lines = |width| -> String {
        let lines = entries().into_iter();
        lines.map(|entry| entry.text(&look(width)) + "\n").collect()
    };
    let plain = |text: &str| anstream::adapter::strip_str(text).to_string();
    insta::assert_snapshot!("lines_plain", plain(&lines(None)));
    insta::assert_snapshot!("lines_coloured", lines(Some(100)).replace('\x1b', "^"));
    let json: Vec<String> = entries()
        .iter()
        .map(|entry| entry.json().to_string())
        .collect();
    insta::assert_snapshot!("lines_json", json.join("\n"));
    let mut summary = Summary::default();
    assert_eq!(
        summary.text(),
        "0 deliveries of 0 events: 0 answered with success, 0 not"
    );
    entries().iter().for_each(|entry| summary.add(entry));
    assert_eq!(
        summary.text(),
        "11 deliveries of 3 events: 4 answered with success, 5 not; 2 not authentic"
    );
}

/// A receiver that runs, with its entries.
struct Running {
    url: String,
    entries: mpsc::UnboundedReceiver<(Option<String>, Outcome)>,
    stop: oneshot::Sender<()>,
    served: tokio::task::JoinHandle<Result<Summary, Error>>,
}

impl Running {
    async fn start(plan: Plan) -> Self {
        let listener = echo::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let url = format!("http://{}/hooks", listener.local_addr().unwrap());
        let receiver = Arc::new(Receiver::new(verifier(SECRET).unwrap(), None, plan));
        let (shown, entries) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(async move {
            let mut show = |entry: &Entry| {
                let id = entry.judged.id.clone();
                shown.send((id, entry.outcome)).unwrap();
                Ok(())
            };
            let stopped = async {
                stopped.await.unwrap();
                Ok(())
            };
            serve(&listener, &receiver, &mut show, stopped).await
        });
        Self {
            url,
            entries,
            stop,
            served,
        }
    }

    /// Sends an event. Returns the status of the answer, if there is one.
    async fn send(&self, id: &str, secret: &str, timeout: Duration) -> Option<u16> {
        let headers = key(secret)
            .sign(id, SystemClock.now().wall, BODY.as_bytes())
            .unwrap();
        let headers = HeaderMap::from_iter(headers);
        let url = Url::parse(&self.url).unwrap();
        let answer = fetch(&url, Method::POST, headers, Bytes::from(BODY), timeout).await;
        answer.ok().map(|(status, ..)| status.as_u16())
    }

    async fn outcome(&mut self) -> Outcome {
        self.entries.recv().await.unwrap().1
    }

    async fn end(self) -> String {
        self.stop.send(()).unwrap();
        self.served.await.unwrap().unwrap().text()
    }
}

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn deliveries_are_answered_by_the_plan() {
    let plan = Plan::failing(2, None, StatusCode::ACCEPTED, Duration::from_millis(1));
    let receiver = Running::start(plan).await;
    let mut statuses = Vec::new();
    for (id, secret) in [
        ("a", SECRET),
        ("a", OTHER),
        ("a", SECRET),
        ("b", SECRET),
        ("a", SECRET),
        ("b", SECRET),
        ("b", SECRET),
    ] {
        statuses.push(receiver.send(id, secret, PATIENCE).await.unwrap());
    }
    assert_eq!(statuses, [500, 401, 500, 500, 202, 500, 202]);
    assert_eq!(
        receiver.end().await,
        "7 deliveries of 2 events: 2 answered with success, 4 not; 1 not authentic"
    );
}

#[tokio::test]
async fn connection_is_dropped_dripped_or_kept() {
    let mut receiver = Running::start(Plan::script("drop\ndrip\nhang\n200 1h\n204").unwrap()).await;
    assert_eq!(receiver.send("a", SECRET, PATIENCE).await, None);
    assert_eq!(receiver.outcome().await, Outcome::Dropped);
    let short = Duration::from_millis(50);
    assert_eq!(receiver.send("a", SECRET, short).await, None);
    assert_eq!(receiver.outcome().await, Outcome::Dripping(StatusCode::OK));
    assert_eq!(receiver.send("a", SECRET, short).await, None);
    assert_eq!(receiver.outcome().await, Outcome::Hanging);
    assert_eq!(receiver.send("a", SECRET, short).await, None);
    let outcome = receiver.outcome().await;
    assert!(matches!(outcome, Outcome::GaveUp(_)), "{outcome:?}");
    assert_eq!(receiver.send("a", SECRET, PATIENCE).await, Some(204));
    assert_eq!(
        receiver.end().await,
        "5 deliveries of 1 event: 1 answered with success, 4 not"
    );
}

/// Returns what the receiver answers to these bytes.
async fn exchange(receiver: &Running, bytes: &[u8]) -> String {
    let address = receiver.url.strip_prefix("http://").unwrap();
    let address = address.strip_suffix("/hooks").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn request_is_read_whole_and_bounded() {
    let plan = Plan::failing(0, None, StatusCode::NO_CONTENT, Duration::ZERO);
    let receiver = Running::start(plan).await;
    let headers = key(SECRET)
        .sign("a", SystemClock.now().wall, BODY.as_bytes())
        .unwrap();
    let lines: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap()))
        .collect();
    let head = format!("POST /hooks HTTP/1.1\r\nHost: a\r\n{lines}");
    let (first, second) = BODY.split_at(10);
    let chunked = format!(
        "{head}Transfer-Encoding: chunked\r\n\r\na\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n",
        second.len()
    );
    let answer = exchange(&receiver, chunked.as_bytes()).await;
    assert_eq!(
        answer,
        "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
    );
    let continued = format!(
        "{head}Expect: 100-continue\r\nContent-Length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    let answer = exchange(&receiver, continued.as_bytes()).await;
    assert!(
        answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 "),
        "{answer}"
    );
    for (request, status) in [
        (format!("{head}Content-Length: 1048577\r\n\r\n"), "413"),
        (
            format!("{head}Content-Length: 1\r\nContent-Length: 2\r\n\r\n{{"),
            "400",
        ),
        (
            format!("POST / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(66_000)),
            "431",
        ),
        ("nonsense\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "401"),
    ] {
        let answer = exchange(&receiver, request.as_bytes()).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{status}: {answer}"
        );
    }
    assert_eq!(
        receiver.end().await,
        "7 deliveries of 1 event: 2 answered with success, 0 not; 5 not authentic"
    );
}
