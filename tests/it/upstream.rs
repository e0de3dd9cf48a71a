//! The client of an upstream against an app that misbehaves in every way it can.
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hookgate::clock::{Clock, Dates, SystemClock};
use hookgate::config::presets::RefusedBody;
use hookgate::config::snapshot::{
    Acknowledgement, Action, Allow, Authorities, Breaker, Deliver, Forward, Inline, Keep,
    LimitScope, Recording, RefusedAnswer, Upstream as Policy, UpstreamAddress, UpstreamTls,
    WebhookRoute,
};
use hookgate::delivery::{Answer, AttemptContext, Delivery, Fault, Outcome, TlsFault};
use hookgate::request::{Body, Client as Sender, Params, Received, RequestHead, RequestId};
use hookgate::retry::Schedule;
use hookgate::upstream::breaker::Shown;
use hookgate::upstream::client::{Client, RouteClient, Sent, Unusable};
use hookgate::upstream::fetch::{FetchError, Url, fetch};
use hookgate::upstream::{Lines, Outgoing};
use hookgate::verify::{Cleared, Handshakes, SecretLocations, Unverified};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use crate::support::upstream::{Act, Authority, Upstream, chunked, raw, reply};

const BUDGET: Duration = Duration::from_secs(5);

fn policy(address: SocketAddr) -> Policy {
    Policy {
        name: "app".into(),
        address: UpstreamAddress::Tcp {
            host: address.ip().to_string(),
            port: address.port(),
            tls: None,
        },
        connect_timeout: Duration::from_secs(1),
        timeout: None,
        idle_timeout: Duration::from_secs(4),
        own_host: false,
        breaker: Breaker {
            failures: 0,
            open: Duration::from_secs(5),
        },
    }
}

/// The same, to a name.
fn named(host: &str, address: SocketAddr) -> Policy {
    Policy {
        address: UpstreamAddress::Tcp {
            host: host.to_owned(),
            port: address.port(),
            tls: None,
        },
        ..policy(address)
    }
}

/// The same over TLS, to a host that is known under `host`.
fn over_tls(address: SocketAddr, host: &str, ca: &Authority) -> Policy {
    let tls = Some(UpstreamTls {
        ca: Some(ca.trusted()),
        identity: None,
    });
    Policy {
        address: UpstreamAddress::Tcp {
            host: host.to_owned(),
            port: address.port(),
            tls,
        },
        ..policy(address)
    }
}

fn client(address: SocketAddr) -> RouteClient {
    client_of(policy(address))
}

fn client_of(policy: Policy) -> RouteClient {
    Arc::new(Client::new(Arc::new(policy), Arc::new(SystemClock)).unwrap())
        .for_route(&"route".into())
}

/// The client after a reload.
fn reloaded(client: &RouteClient, policy: Policy) -> RouteClient {
    Arc::new(client.client().with_policy(Arc::new(policy)).unwrap()).for_route(&"route".into())
}

fn post(body: impl Into<Bytes>) -> Outgoing {
    let body = body.into();
    let mut headers = Lines::default();
    headers.push_text(&header::HOST, "app.example");
    headers.push(&header::CONTENT_LENGTH, &HeaderValue::from(body.len()));
    Outgoing {
        method: Method::POST,
        target: Bytes::from_static(b"/hook?x=1"),
        headers,
        body,
    }
}

async fn drain(answer: Option<Answer>) -> Result<Vec<u8>, Fault> {
    let mut answer = answer.expect("an answer");
    let mut whole = Vec::new();
    while let Some(piece) = answer.body.next().await? {
        whole.extend_from_slice(&piece);
    }
    Ok(whole)
}

/// Sends one request to a fresh app that follows `script`.
async fn once(script: Vec<Act>, budget: Duration) -> Sent {
    let app = Upstream::scripted(vec![script]).await;
    client(app.address).send(&post("{}"), budget).await
}

#[tokio::test]
async fn bodies_arrive_byte_for_byte_over_one_connection() {
    let app = Upstream::scripted(vec![reply(201, &[("X-App", "yes")], b"done")]).await;
    // a machine that is busy takes long to make the large body
    let client = client_of(Policy {
        idle_timeout: Duration::from_secs(60),
        ..policy(app.address)
    });
    for size in [
        0,
        1,
        16 * 1024 - 1,
        16 * 1024,
        16 * 1024 + 1,
        64 * 1024 - 1,
        64 * 1024,
        64 * 1024 + 1,
        1024 * 1024,
        25 * 1024 * 1024,
    ] {
        let body: Vec<u8> = (0..=250_u8).cycle().take(size).collect();
        let sent = client
            .send(&post(body.clone()), Duration::from_secs(20))
            .await;
        assert_eq!(
            sent.outcome,
            Outcome::Answered(StatusCode::CREATED),
            "{size} bytes"
        );
        assert_eq!(sent.answer.as_ref().unwrap().headers["x-app"], "yes");
        assert_eq!(drain(sent.answer).await.unwrap(), b"done");
        let seen = app.seen().pop().unwrap();
        assert!(seen.body == body, "{size} bytes differ");
        assert_eq!(
            (seen.method.as_str(), seen.target.as_str()),
            ("POST", "/hook?x=1")
        );
        assert_eq!(seen.all("content-length"), [size.to_string()]);
    }
    assert_eq!(app.connections(), 1);
}

#[tokio::test]
async fn head_and_small_body_leave_in_one_piece() {
    let app = Upstream::ok().await;
    let body = vec![b'x'; 10_000];
    let sent = client(app.address).send(&post(body), BUDGET).await;
    assert_eq!(sent.outcome, Outcome::Answered(StatusCode::OK));
    let first = app.seen()[0].first_read;
    assert!(first > 10_000, "the first read had {first} bytes");
}

#[tokio::test]
async fn every_framing_of_an_answer_is_read_to_its_end() {
    let close = |answer: &str| [raw(answer), vec![Act::Close]].concat();
    let table = [
        (
            "chunked",
            chunked(200, &["first ", "second"]),
            200,
            "first second",
        ),
        (
            "until close",
            close("HTTP/1.1 200 OK\r\n\r\nall of it"),
            200,
            "all of it",
        ),
        ("http/1.0", close("HTTP/1.0 200 OK\r\n\r\nold"), 200, "old"),
        (
            "no content",
            raw("HTTP/1.1 204 No Content\r\n\r\n"),
            204,
            "",
        ),
        (
            "not modified, with a length",
            raw("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
            304,
            "",
        ),
        (
            "interim first",
            raw(
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            ),
            200,
            "ok",
        ),
        (
            "redirects are not followed",
            reply(302, &[("Location", "/elsewhere")], b""),
            302,
            "",
        ),
        ("500", reply(500, &[], b"oops"), 500, "oops"),
    ];
    for (what, script, status, body) in table {
        let sent = once(script, BUDGET).await;
        assert_eq!(
            sent.outcome,
            Outcome::Answered(StatusCode::from_u16(status).unwrap()),
            "{what}"
        );
        assert_eq!(drain(sent.answer).await.unwrap(), body.as_bytes(), "{what}");
    }
}

#[tokio::test]
async fn kinds_of_missing_answers_are_distinguished() {
    let short = Duration::from_millis(300);
    let send = |text: &str| Act::Send(text.as_bytes().to_vec());
    let table = [
        (
            "hangs before the head",
            vec![Act::ReadBody, Act::Hang],
            Fault::Timeout,
        ),
        (
            "hangs within the head",
            vec![Act::ReadBody, send("HTTP/1.1 200 OK\r\nX-"), Act::Hang],
            Fault::Timeout,
        ),
        (
            "drips the head",
            vec![
                Act::ReadBody,
                Act::Drip(
                    b"HTTP/1.1 200 A very long reason".to_vec(),
                    Duration::from_millis(20),
                ),
            ],
            Fault::Timeout,
        ),
        (
            "endless interim heads",
            vec![
                Act::ReadBody,
                send("HTTP/1.1 100 Continue\r\n\r\n"),
                Act::Hang,
            ],
            Fault::Timeout,
        ),
        ("closes", vec![Act::ReadBody, Act::Close], Fault::Reset),
        ("resets", vec![Act::ReadBody, Act::Reset], Fault::Reset),
        (
            "closes within the head",
            vec![Act::ReadBody, send("HTTP/1.1 20"), Act::Close],
            Fault::Reset,
        ),
        ("garbage", raw("SSH-2.0-OpenSSH\r\n\r\n"), Fault::Malformed),
        (
            "unasked upgrade",
            raw("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"),
            Fault::Malformed,
        ),
        (
            "status out of range",
            raw("HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n"),
            Fault::Malformed,
        ),
        (
            "two lengths",
            raw("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
            Fault::Malformed,
        ),
    ];
    for (what, script, fault) in table {
        let sent = once(script, short).await;
        assert_eq!(sent.outcome, Outcome::Ambiguous(fault), "{what}");
        assert!(sent.answer.is_none(), "{what}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_error_of_its_body() {
    let send = |text: &str| Act::Send(text.as_bytes().to_vec());
    let head = send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    let chunk = send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n");
    let table = [
        (
            "closed",
            vec![Act::ReadBody, head.clone(), Act::Close],
            Fault::Reset,
        ),
        (
            "reset",
            vec![
                Act::ReadBody,
                head.clone(),
                Act::Wait(Duration::from_millis(50)),
                Act::Reset,
            ],
            Fault::Reset,
        ),
        (
            "hung",
            vec![Act::ReadBody, head.clone(), Act::Hang],
            Fault::Timeout,
        ),
        (
            "dripped",
            vec![
                Act::ReadBody,
                head,
                Act::Drip(vec![b'x'; 90], Duration::from_millis(20)),
            ],
            Fault::Timeout,
        ),
        (
            "broken chunks",
            vec![Act::ReadBody, chunk, Act::Hang],
            Fault::Malformed,
        ),
    ];
    for (what, script, fault) in table {
        let app = Upstream::scripted(vec![script, reply(200, &[], b"")]).await;
        let client = client(app.address);
        let began = SystemClock.now();
        let sent = client.send(&post("{}"), Duration::from_millis(400)).await;
        assert_eq!(sent.outcome, Outcome::Answered(StatusCode::OK), "{what}");
        assert_eq!(drain(sent.answer).await, Err(fault), "{what}");
        assert!(
            SystemClock.now().mono - began.mono < Duration::from_millis(1200),
            "{what}"
        );
        let next = client.send(&post("{}"), BUDGET).await;
        assert_eq!(
            next.outcome,
            Outcome::Answered(StatusCode::OK),
            "{what}: its connection must not be used again"
        );
        assert_eq!(app.connections(), 2, "{what}");
    }
}

#[tokio::test]
async fn closed_port_is_unreached() {
    let nowhere = Upstream::nowhere().await;
    assert_eq!(
        client(nowhere).send(&post("{}"), BUDGET).await.outcome,
        Outcome::Unreached(Fault::Refused)
    );
    let unknown = named("nobody.invalid", nowhere);
    assert_eq!(
        client_of(unknown).send(&post("{}"), BUDGET).await.outcome,
        Outcome::Unreached(Fault::Resolve)
    );
}

#[tokio::test]
async fn a_name_is_resolved_and_every_address_tried() {
    let app = Upstream::ok().await;
    // `localhost` is ::1 as well on most machines, where nobody listens.
    let named = named("localhost", app.address);
    assert_eq!(
        client_of(named).send(&post("{}"), BUDGET).await.outcome,
        Outcome::Answered(StatusCode::OK)
    );
}

/// A kept connection that turns out closed is distinguished from one that breaks, and the next attempt uses a new one.
#[tokio::test]
async fn a_stale_connection_is_told_apart() {
    let stale = vec![Act::Close];
    let app = Upstream::scripted(vec![
        reply(200, &[], b""),
        stale.clone(),
        reply(202, &[], b""),
    ])
    .await;
    let client = client(app.address);
    client.send(&post("1"), BUDGET).await;
    assert_eq!(
        client.send(&post("2"), BUDGET).await.outcome,
        Outcome::Ambiguous(Fault::Stale)
    );
    assert_eq!(
        client.send(&post("2"), BUDGET).await.outcome,
        Outcome::Answered(StatusCode::ACCEPTED)
    );
    assert_eq!(
        app.seen()
            .iter()
            .map(|seen| seen.connection)
            .collect::<Vec<_>>(),
        [1, 1, 2]
    );

    // On the connection in its pool the app begins to answer, then dies: it may have done its work.
    let begun = vec![Act::ReadBody, Act::Send(b"HTTP/1.1 2".to_vec()), Act::Close];
    let app = Upstream::scripted(vec![reply(200, &[], b""), begun]).await;
    let client = client_of(policy(app.address));
    client.send(&post("1"), BUDGET).await;
    assert_eq!(
        client.send(&post("2"), BUDGET).await.outcome,
        Outcome::Ambiguous(Fault::Reset)
    );

    // A new connection that dies is not stale.
    let app = Upstream::scripted(vec![reply(200, &[], b""), stale]).await;
    let client = client_of(policy(app.address));
    client.send(&post("1"), BUDGET).await;
    assert_eq!(
        client.send(&post("2"), BUDGET).await.outcome,
        Outcome::Ambiguous(Fault::Stale)
    );
    assert_eq!(
        client.send(&post("2"), BUDGET).await.outcome,
        Outcome::Ambiguous(Fault::Reset)
    );
}

/// If one kept connection is closed, connections that have been idle for longer are closed as well.
#[tokio::test]
async fn one_stale_connection_empties_the_pool() {
    let slow = [
        vec![Act::Wait(Duration::from_millis(100))],
        reply(200, &[], b""),
    ]
    .concat();
    let app = Upstream::scripted(vec![
        slow.clone(),
        slow,
        vec![Act::Close],
        reply(200, &[], b""),
    ])
    .await;
    let client = client(app.address);
    let out = post("1");
    tokio::join!(client.send(&out, BUDGET), client.send(&out, BUDGET));
    assert_eq!(app.connections(), 2);
    assert_eq!(
        client.send(&out, BUDGET).await.outcome,
        Outcome::Ambiguous(Fault::Stale)
    );
    client.send(&out, BUDGET).await;
    assert_eq!(app.connections(), 3);
}

#[tokio::test]
async fn an_early_answer_counts_and_its_connection_is_not_used_again() {
    let answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig".to_vec();
    let app = Upstream::scripted(vec![
        vec![Act::Send(answer.clone()), Act::Close],
        reply(200, &[], b""),
    ])
    .await;
    let client = client(app.address);
    let sent = client.send(&post(vec![0; 8 * 1024 * 1024]), BUDGET).await;
    assert_eq!(
        sent.outcome,
        Outcome::Answered(StatusCode::PAYLOAD_TOO_LARGE)
    );
    assert_eq!(drain(sent.answer).await.unwrap(), b"big");
    client.send(&post("{}"), BUDGET).await;
    assert_eq!(app.connections(), 2);

    // It answers, reads nothing more and stays: the answer is found when the time for sending is over.
    let sent = once(
        vec![Act::Send(answer), Act::Hang],
        Duration::from_millis(300),
    )
    .await;
    assert_eq!(
        sent.outcome,
        Outcome::Answered(StatusCode::PAYLOAD_TOO_LARGE)
    );
}

#[tokio::test]
async fn a_connection_is_kept_only_after_a_complete_exchange() {
    let long = "x".repeat(2 * 1024 * 1024);
    let app = Upstream::scripted(vec![
        reply(200, &[], long.as_bytes()),
        reply(200, &[("Connection", "close")], b""),
    ])
    .await;
    let client = client(app.address);
    let dropped = client.send(&post("{}"), BUDGET).await;
    drop(dropped);
    for connections in 2..5 {
        client.send(&post("{}"), BUDGET).await;
        assert_eq!(app.connections(), connections);
    }
}

/// Bytes that come late after an answer without content are not taken for the next answer.
#[tokio::test]
async fn a_connection_whose_answer_may_not_be_over_ends() {
    let late = |head: &str| {
        let pause = Act::Wait(Duration::from_millis(30));
        [
            raw(head),
            vec![
                pause,
                Act::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()),
            ],
        ]
        .concat()
    };
    let table = [
        ("HTTP/1.1 204 No Content\r\nContent-Length: 38\r\n\r\n", 204),
        (
            "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
            204,
        ),
        (
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 38\r\n\r\n",
            304,
        ),
        (
            "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
            304,
        ),
        (
            "HTTP/1.1 103 Early Hints\r\nContent-Length: 38\r\n\r\nHTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n",
            202,
        ),
        (
            "HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\nHTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n",
            202,
        ),
    ];
    for (head, status) in table {
        let app = Upstream::scripted(vec![late(head), reply(500, &[], b"")]).await;
        let client = client(app.address);
        let first = client.send(&post("1"), BUDGET).await;
        assert_eq!(
            first.outcome,
            Outcome::Answered(StatusCode::from_u16(status).unwrap()),
            "{head}"
        );
        let second = client.send(&post("2"), BUDGET).await;
        assert_eq!(
            second.outcome,
            Outcome::Answered(StatusCode::INTERNAL_SERVER_ERROR),
            "{head}"
        );
        assert_eq!(app.connections(), 2, "{head}");
    }
    let certain = [
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok",
    ];
    for head in certain {
        let app = Upstream::scripted(vec![raw(head)]).await;
        let client = client(app.address);
        for _ in 0..3 {
            drain(client.send(&post("1"), BUDGET).await.answer)
                .await
                .unwrap();
        }
        assert_eq!(app.connections(), 1, "{head}");
    }
}

/// Bytes that an app sends before a request are no answer to it.
#[tokio::test]
async fn bytes_before_a_request_end_the_connection() {
    let unasked = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec();
    let pause = Act::Wait(Duration::from_millis(20));
    for between in [vec![], vec![pause]] {
        let first = [
            reply(202, &[], b""),
            between,
            vec![Act::Send(unasked.clone())],
        ]
        .concat();
        let app = Upstream::scripted(vec![first, reply(500, &[], b"")]).await;
        let client = client(app.address);
        client.send(&post("1"), BUDGET).await;
        app.finished(1).await;
        assert_eq!(
            client.send(&post("2"), BUDGET).await.outcome,
            Outcome::Answered(StatusCode::INTERNAL_SERVER_ERROR)
        );
        assert_eq!(app.connections(), 2);
    }
}

#[tokio::test]
async fn an_idle_connection_ends_with_its_time() {
    let app = Upstream::ok().await;
    let client = client_of(Policy {
        idle_timeout: Duration::from_millis(100),
        ..policy(app.address)
    });
    client.send(&post("{}"), BUDGET).await;
    client.send(&post("{}"), BUDGET).await;
    assert_eq!(app.connections(), 1);
    let deadline = Instant::now() + Duration::from_secs(10);
    while app.connections() < 2 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(150)).await;
        client.send(&post("{}"), BUDGET).await;
    }
    assert_eq!(app.connections(), 2);
}

#[tokio::test]
async fn a_connection_that_ended_in_the_pool_is_noticed() {
    let app = Upstream::scripted(vec![
        [reply(200, &[], b""), vec![Act::Close]].concat(),
        reply(200, &[], b""),
    ])
    .await;
    let client = client(app.address);
    client.send(&post("{}"), BUDGET).await;
    app.finished(1).await;
    let sent = client.send(&post("{}"), BUDGET).await;
    assert_eq!(
        (sent.outcome, app.connections()),
        (Outcome::Answered(StatusCode::OK), 2)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_share_few_connections() {
    let app = Upstream::scripted(vec![chunked(200, &["ok"])]).await;
    let client = Arc::new(client(app.address));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let client = Arc::clone(&client);
        tasks.spawn(async move {
            for _ in 0..50 {
                let sent = client.send(&post(vec![b'x'; 20_000]), BUDGET).await;
                assert_eq!(sent.outcome, Outcome::Answered(StatusCode::OK));
                assert_eq!(drain(sent.answer).await.unwrap(), b"ok");
            }
        });
    }
    tasks.join_all().await;
    assert!(app.connections() <= 32, "{} connections", app.connections());
    assert_eq!(app.seen().len(), 1600);
    assert!(app.seen().iter().all(|seen| seen.body.len() == 20_000));
}

#[tokio::test]
async fn the_answer_to_head_has_no_body() {
    let app =
        Upstream::scripted(vec![raw("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")]).await;
    let sent = client(app.address)
        .send(
            &Outgoing {
                method: Method::HEAD,
                ..post("")
            },
            BUDGET,
        )
        .await;
    assert_eq!(sent.outcome, Outcome::Answered(StatusCode::OK));
    assert_eq!(drain(sent.answer).await.unwrap(), b"");
}

#[tokio::test]
async fn headers_between_two_hops_end_here() {
    let headers = [
        ("Connection", "keep-alive, X-Between"),
        ("Keep-Alive", "timeout=5"),
        ("X-Between", "1"),
        ("X-End", "1"),
        ("Set-Cookie", "a=1"),
    ];
    let sent = once(reply(200, &headers, b"ok"), BUDGET).await;
    let answer = sent.answer.unwrap();
    let names: Vec<_> = answer
        .headers
        .keys()
        .map(http::HeaderName::as_str)
        .collect();
    assert_eq!(names, ["x-end", "set-cookie", "content-length"]);
}

#[tokio::test]
async fn the_breaker_opens_and_a_probe_closes_it() {
    let nowhere = Upstream::nowhere().await;
    let breaker = Breaker {
        failures: 2,
        open: Duration::from_millis(200),
    };
    let client = client_of(Policy {
        breaker,
        ..policy(nowhere)
    });
    for _ in 0..2 {
        assert_eq!(
            client.send(&post("{}"), BUDGET).await.outcome,
            Outcome::Unreached(Fault::Refused)
        );
    }
    let sent = client.send(&post("{}"), BUDGET).await;
    assert!(
        matches!(sent.outcome, Outcome::Unreached(Fault::BreakerOpen(after)) if after <= Duration::from_millis(200))
    );

    // A reload that is refused in the end has changed nothing: the policy counts once the new client is used.
    let never = Breaker {
        failures: 0,
        ..breaker
    };
    let refused = reloaded(
        &client,
        Policy {
            breaker: never,
            ..policy(nowhere)
        },
    );
    assert!(matches!(
        refused.send(&post("{}"), BUDGET).await.outcome,
        Outcome::Unreached(Fault::BreakerOpen(_))
    ));

    // A reload keeps it open.
    let client = reloaded(
        &client,
        Policy {
            connect_timeout: Duration::from_secs(2),
            breaker,
            ..policy(nowhere)
        },
    );
    assert!(matches!(
        client.send(&post("{}"), BUDGET).await.outcome,
        Outcome::Unreached(Fault::BreakerOpen(_))
    ));
    let _app = Upstream::at(nowhere, vec![reply(500, &[], b"")]).await;
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut outcome = client.send(&post("{}"), BUDGET).await.outcome;
    while matches!(outcome, Outcome::Unreached(Fault::BreakerOpen(_))) && Instant::now() < deadline
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
        outcome = client.send(&post("{}"), BUDGET).await.outcome;
    }
    assert_eq!(
        outcome,
        Outcome::Answered(StatusCode::INTERNAL_SERVER_ERROR)
    );
    assert_eq!(
        client.client().breaker().state(SystemClock.now().mono),
        Shown::Closed { failures: 0 }
    );
}

/// A handler that hangs has a breaker of its own; its neighbours on the same upstream go on.
#[tokio::test]
async fn a_hanging_handler_leaves_its_neighbours_alone() {
    let hang = vec![Act::ReadBody, Act::Hang];
    let app = Upstream::scripted([vec![hang; 4], vec![reply(200, &[], b"")]].concat()).await;
    let breaker = Breaker {
        failures: 2,
        open: Duration::from_secs(60),
    };
    let slow = client_of(Policy {
        breaker,
        ..policy(app.address)
    });
    let fast = slow.client().for_route(&"fast".into());
    let short = Duration::from_millis(100);
    // attempts that are made at the same time count once
    let out = post("{}");
    let (a, b, c) = tokio::join!(
        slow.send(&out, short),
        slow.send(&out, short),
        slow.send(&out, short)
    );
    assert_eq!(
        [a.outcome, b.outcome, c.outcome],
        [Outcome::Ambiguous(Fault::Timeout); 3]
    );
    assert_eq!(
        slow.handler().state(SystemClock.now().mono),
        Shown::Closed { failures: 1 }
    );
    slow.send(&post("{}"), short).await;
    assert!(matches!(
        slow.send(&post("{}"), short).await.outcome,
        Outcome::Unreached(Fault::BreakerOpen(_))
    ));
    for _ in 0..5 {
        assert_eq!(
            fast.send(&post("{}"), BUDGET).await.outcome,
            Outcome::Answered(StatusCode::OK)
        );
    }
    // a reload keeps it open; one that moves the upstream does not
    let kept = reloaded(
        &slow,
        Policy {
            connect_timeout: Duration::from_secs(2),
            breaker,
            ..policy(app.address)
        },
    );
    assert!(matches!(
        kept.send(&post("{}"), short).await.outcome,
        Outcome::Unreached(Fault::BreakerOpen(_))
    ));
    let other = Upstream::ok().await;
    let moved = reloaded(
        &slow,
        Policy {
            breaker,
            ..policy(other.address)
        },
    );
    assert_eq!(
        moved.send(&post("{}"), BUDGET).await.outcome,
        Outcome::Answered(StatusCode::OK)
    );
}

/// A corrected address does not inherit the breaker of the wrong one.
#[tokio::test]
async fn a_breaker_belongs_to_an_address() {
    let nowhere = Upstream::nowhere().await;
    let breaker = Breaker {
        failures: 1,
        open: Duration::from_secs(60),
    };
    let wrong = client_of(Policy {
        breaker,
        ..policy(nowhere)
    });
    wrong.send(&post("{}"), BUDGET).await;
    assert!(matches!(
        wrong.send(&post("{}"), BUDGET).await.outcome,
        Outcome::Unreached(Fault::BreakerOpen(_))
    ));
    let app = Upstream::ok().await;
    let right = reloaded(
        &wrong,
        Policy {
            breaker,
            ..policy(app.address)
        },
    );
    assert_eq!(
        right.send(&post("{}"), BUDGET).await.outcome,
        Outcome::Answered(StatusCode::OK)
    );
}

#[tokio::test]
async fn a_reload_keeps_connections_where_the_app_is_the_same() {
    let app = Upstream::ok().await;
    let first = client(app.address);
    first.send(&post("{}"), BUDGET).await;
    let second = reloaded(
        &first,
        Policy {
            connect_timeout: Duration::from_secs(3),
            ..policy(app.address)
        },
    );
    second.send(&post("{}"), BUDGET).await;
    assert_eq!(app.connections(), 1);
    let other = Upstream::ok().await;
    let third = reloaded(&second, policy(other.address));
    third.send(&post("{}"), BUDGET).await;
    assert_eq!((app.connections(), other.connections()), (1, 1));
}

#[tokio::test]
async fn tls_is_verified() {
    let (known, unknown) = (Authority::new(), Authority::new());
    let tls = |address, ca: &Authority| over_tls(address, "127.0.0.1", ca);

    let app = Upstream::tls(vec![reply(200, &[], b"safe")], known.server("127.0.0.1")).await;
    let good = client_of(tls(app.address, &known));
    for _ in 0..2 {
        let sent = good.send(&post(vec![7; 100_000]), BUDGET).await;
        assert_eq!(sent.outcome, Outcome::Answered(StatusCode::OK));
        assert_eq!(drain(sent.answer).await.unwrap(), b"safe");
    }
    assert_eq!(app.connections(), 1);
    let by_name = Upstream::tls(vec![reply(200, &[], b"")], known.server("localhost")).await;
    let named = over_tls(by_name.address, "localhost", &known);
    assert_eq!(
        client_of(named).send(&post("{}"), BUDGET).await.outcome,
        Outcome::Answered(StatusCode::OK)
    );

    let stranger = client_of(tls(app.address, &unknown))
        .send(&post("{}"), BUDGET)
        .await;
    assert_eq!(
        stranger.outcome,
        Outcome::Unreached(Fault::Tls(TlsFault::Issuer)),
        "a CA nobody named"
    );
    let misnamed = client_of(tls(by_name.address, &known))
        .send(&post("{}"), BUDGET)
        .await;
    assert_eq!(
        misnamed.outcome,
        Outcome::Unreached(Fault::Tls(TlsFault::Name)),
        "a certificate for another name"
    );
    assert_eq!(
        (app.seen().len(), by_name.seen().len()),
        (2, 1),
        "nothing was sent to either"
    );

    // A plain app never shakes hands.
    let silent = Upstream::scripted(vec![vec![Act::Hang]]).await;
    let slow = Policy {
        connect_timeout: Duration::from_millis(200),
        ..tls(silent.address, &known)
    };
    assert_eq!(
        client_of(slow).send(&post("{}"), BUDGET).await.outcome,
        Outcome::Unreached(Fault::ConnectTimeout)
    );
}

#[tokio::test]
async fn a_changed_ca_file_counts_from_the_reload_on() {
    let (old, new) = (Authority::new(), Authority::new());
    let app = Upstream::tls(vec![reply(200, &[], b"")], new.server("127.0.0.1")).await;
    let client = client_of(over_tls(app.address, "127.0.0.1", &old));
    assert_eq!(
        client.send(&post("{}"), BUDGET).await.outcome,
        Outcome::Unreached(Fault::Tls(TlsFault::Issuer))
    );
    std::fs::copy(&new.file, &old.file).unwrap();
    let client = reloaded(&client, over_tls(app.address, "127.0.0.1", &old));
    assert_eq!(
        client.send(&post("{}"), BUDGET).await.outcome,
        Outcome::Answered(StatusCode::OK)
    );
}

#[test]
fn a_ca_file_that_cannot_be_used_is_an_error_and_no_panic() {
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    for file in [empty, directory.path().join("missing.pem")] {
        let tls = Some(UpstreamTls {
            ca: Some(Arc::new(Authorities {
                file,
                certificates: Vec::new(),
            })),
            identity: None,
        });
        let address = UpstreamAddress::Tcp {
            host: "127.0.0.1".to_owned(),
            port: 1,
            tls,
        };
        let policy = Policy {
            address,
            ..policy("127.0.0.1:1".parse().unwrap())
        };
        assert!(matches!(
            Client::new(Arc::new(policy), Arc::new(SystemClock)),
            Err(Unusable::Ca { .. })
        ));
    }
}

#[tokio::test]
async fn a_command_asks_over_tcp_and_over_a_unix_socket() {
    let app = Upstream::scripted(vec![chunked(200, &["{", "}"])]).await;
    let url = Url::parse(&format!("http://{}/-/status?x=1", app.address)).unwrap();
    let headers =
        HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static("Bearer x"))]);
    let (status, _, body) = fetch(&url, Method::GET, headers, Bytes::new(), BUDGET)
        .await
        .unwrap();
    assert_eq!((status, &body[..]), (StatusCode::OK, &b"{}"[..]));
    let seen = app.seen();
    assert_eq!(
        (seen[0].target.as_str(), seen[0].all("host")),
        ("/-/status?x=1", vec![app.address.to_string().as_str()])
    );
    assert_eq!(seen[0].all("authorization"), ["Bearer x"]);

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("admin.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let read = tokio::io::AsyncReadExt::read(&mut stream, &mut request)
            .await
            .unwrap();
        tokio::io::AsyncWriteExt::write_all(
            &mut stream,
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nunix",
        )
        .await
        .unwrap();
        String::from_utf8_lossy(&request[..read]).into_owned()
    });
    let (_, _, body) = fetch(
        &Url::unix(&path, "/-/status"),
        Method::GET,
        HeaderMap::new(),
        Bytes::new(),
        BUDGET,
    )
    .await
    .unwrap();
    assert_eq!(&body[..], b"unix");
    assert!(
        serving
            .await
            .unwrap()
            .starts_with("GET /-/status HTTP/1.1\r\nhost: localhost\r\n")
    );

    let nobody = Url::unix(directory.path().join("nobody.sock"), "/");
    let refused = fetch(&nobody, Method::GET, HeaderMap::new(), Bytes::new(), BUDGET).await;
    assert!(matches!(
        refused,
        Err(FetchError::Unreached(Fault::Refused))
    ));
    for text in ["", "ftp://x/", "localhost:80", "http://u:p@h/", "http:///x"] {
        assert!(Url::parse(text).is_err(), "{text}");
    }
}

#[tokio::test]
async fn a_delivery_is_handed_on_as_its_route_says() {
    let app = Upstream::scripted(vec![reply(202, &[], b"taken")]).await;
    let client = client(app.address);
    let hook = WebhookRoute {
        secret_origins: Vec::new(),
        secret_locations: SecretLocations::default(),
        observe_until: None,
        handshakes: Handshakes::default(),
        name: "open".into(),
        previously: Vec::new(),
        path: "/in".to_owned(),
        methods: vec![Method::POST],
        max_body: 1024,
        allow: Allow::default(),
        provider: None,
        verifier: None,
        rate_limits: Vec::new(),
        dedupe: None,
        forward: Forward {
            upstream: Arc::clone(client.client().policy()),
            path: None,
            keep_query: false,
            dropped: SecretLocations::default(),
            timeout: BUDGET,
            resign: false,
            sign: None,
        },
        action: Action::Forward(Inline {
            spill: None,
            record: Recording::None,
            resend: true,
        }),
        deliver: Deliver {
            schedule: Schedule::fixed([BUDGET], BUDGET).unwrap(),
            rate: None,
            rate_scope: LimitScope::Gateway,
            concurrency: 1,
            fifo: None,
        },
        keep: Keep {
            age: BUDGET,
            dead: BUDGET,
            bytes: None,
        },
        id_with_body: false,
        answer: Acknowledgement {
            status: StatusCode::OK,
            body: Bytes::new(),
            content_type: None,
        },
        quarantine: None,
        refused: RefusedAnswer {
            status: StatusCode::UNAUTHORIZED,
            body: RefusedBody::Json,
        },
        answer_within: None,
        retries_for: None,
        retry_keeps_time: false,
        disables_after: None,
    };
    let received = SystemClock.now();
    let head = RequestHead {
        certificate: None,
        request_id: RequestId::from_u128(7),
        method: Method::POST,
        target: Bytes::from_static(b"/in?x=1"),
        authority: "hooks.example".to_owned(),
        tls: false,
        headers: [("content-type", &b"text/plain"[..])].into_iter().collect(),
        declared_size: Some(5),
        client: Sender {
            ip: IpAddr::from([127, 0, 0, 1]),
            own: false,
            behind_trusted_proxy: false,
        },
        received,
    };
    let received = Received {
        head,
        body: Body::from(Bytes::from_static(b"hello")),
    };
    let delivery = Delivery::new(
        "open".into(),
        Params::default(),
        Cleared::Unverified(Unverified::by_config(received)),
    );
    let attempt = AttemptContext {
        number: 1,
        received_at: SystemClock.now().wall,
        budget: BUDGET,
        at: SystemClock.now().wall,
        dates: Dates::at(SystemClock.now().wall),
        inline: true,
        id_unchecked: false,
    };
    let Sent {
        outcome, answer, ..
    } = client.deliver(&delivery, &hook, &attempt).await;
    assert_eq!(outcome, Outcome::Answered(StatusCode::ACCEPTED));
    assert_eq!(drain(answer).await.unwrap(), b"taken");
    let seen = app.seen().remove(0);
    assert_eq!(
        (seen.target.as_str(), seen.body.as_slice()),
        ("/in", &b"hello"[..])
    );
    assert_eq!(
        (seen.all("host"), seen.all("hookgate-verified")),
        (vec!["hooks.example"], vec!["false"])
    );
    assert_eq!(seen.all("x-request-id"), ["00000000000000000000000007"]);
}
