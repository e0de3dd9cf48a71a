//! The same path over HTTP/2: TLS, ALPN, bodies of all sizes, requests beside each other on one connection.

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;

use super::support::app::App;
use super::support::config::{self, SECRET};
use super::support::raw_app::{HALF, raw_app};
use super::support::sign;
use super::support::tls_gate::{connect, gate, gate_before, gate_with, runtime};

#[test]
fn bodies_of_all_sizes_arrive_byte_exact_on_one_connection() {
    let app = App::start();
    let (gate, certificate) = gate(&app);
    runtime().block_on(async {
        let mut connection = connect(&gate, certificate).await;
        for (number, size) in [0, 1, 65_535, 65_536, 65_537, 1 << 20, 25 << 20]
            .into_iter()
            .enumerate()
        {
            let body: Vec<u8> = (0..size)
                .map(|at: usize| (at.wrapping_mul(131) >> 5) as u8)
                .collect();
            let began = std::time::Instant::now();
            let status = post(&mut connection, &format!("h2-{number}"), body.clone()).await;
            eprintln!("{size} bytes over HTTP/2: {:?}", began.elapsed());
            assert_eq!(status, 200, "{size} bytes");
            assert!(app.last().body == body, "{size} bytes differ");
            assert_eq!(app.last().header("X-Forwarded-Proto"), Some("https"));
            assert_eq!(app.last().header("Host"), Some("gate.test"));
        }
    });
}

#[test]
fn streams_beside_each_other() {
    let app = App::start();
    let (gate, certificate) = gate(&app);
    runtime().block_on(async {
        let connection = connect(&gate, certificate).await;
        let posts = (0..20).map(|number| {
            let mut connection = connection.clone();
            tokio::spawn(async move {
                post(
                    &mut connection,
                    &format!("id-{number}"),
                    vec![b'x'; 1000 * number],
                )
                .await
            })
        });
        for posted in posts.collect::<Vec<_>>() {
            assert_eq!(posted.await.unwrap(), 200);
        }
    });
    assert_eq!(app.count(), 20);
}

#[test]
fn http_1_over_tls_and_a_forged_request() {
    let app = App::start();
    let (gate, certificate) = gate(&app);
    runtime().block_on(async {
        let mut connection = connect(&gate, certificate).await;
        let request = Request::post("https://gate.test/webhooks/github")
            .header("x-hub-signature-256", "sha256=00")
            .body(())
            .unwrap();
        let (answer, mut body) = connection.send_request(request, false).unwrap();
        body.send_data(Bytes::from_static(b"{}"), true).unwrap();
        assert_eq!(answer.await.unwrap().status(), 401);
        assert_eq!(post(&mut connection, "after", b"{}".to_vec()).await, 200);
    });
    assert_eq!(app.count(), 1);
}

/// Bodies that are reset half-way, and answers that come before the body: neither the connection nor the gate keeps anything of them.
#[test]
fn resets_and_early_answers_leave_nothing_behind() {
    let app = App::start();
    let (mut gate, certificate) = gate(&app);
    runtime().block_on(async {
        let mut connection = connect(&gate, certificate).await;
        for number in 0..100 {
            connection = connection.ready().await.unwrap();
            let request = Request::post("https://gate.test/webhooks/github");
            if number % 2 == 0 {
                let (_, mut body) = connection
                    .send_request(request.body(()).unwrap(), false)
                    .unwrap();
                body.send_data(Bytes::from_static(&[b'x'; 1000]), false)
                    .unwrap();
                tokio::task::yield_now().await;
                body.send_reset(h2::Reason::CANCEL);
            } else {
                let request = request
                    .header("content-length", 1_u64 << 40)
                    .body(())
                    .unwrap();
                let (answer, _body) = connection.send_request(request, false).unwrap();
                assert_eq!(answer.await.unwrap().status(), 413);
            }
        }
        assert_eq!(
            post(&mut connection, "after", vec![b'y'; 1 << 20]).await,
            200
        );
    });
    assert_eq!(app.count(), 1);
    // the grace is five seconds: nothing that is left holds it up
    gate.stop(std::time::Duration::from_secs(3));
}

/// The app broke off: the stream is reset, so that half an answer does not look like a whole one. The connection lives on.
#[test]
fn an_answer_that_breaks_off_is_reset() {
    let app = raw_app(HALF);
    let (gate, certificate) = gate_before(&format!("http://{app}"));
    runtime().block_on(async {
        let mut connection = connect(&gate, certificate).await;
        for id in ["a", "b"] {
            let mut request = Request::post("https://gate.test/webhooks/github");
            for (name, value) in sign::github(SECRET, id, b"") {
                request = request.header(name.to_lowercase(), value);
            }
            connection = connection.ready().await.unwrap();
            let (answer, _) = connection
                .send_request(request.body(()).unwrap(), true)
                .unwrap();
            let mut body = answer.await.unwrap().into_body();
            let mut last = body.data().await;
            while matches!(last, Some(Ok(_))) {
                last = body.data().await;
            }
            assert!(
                matches!(last, Some(Err(ref error)) if error.is_reset()),
                "{last:?}"
            );
        }
    });
}

/// An authority is held to the same rules as a `Host` line.
#[test]
fn an_authority_with_a_user_is_refused() {
    let app = App::start();
    let (gate, certificate) = gate(&app);
    runtime().block_on(async {
        let mut connection = connect(&gate, certificate).await;
        let request = Request::post("https://admin@gate.test/webhooks/github")
            .body(())
            .unwrap();
        let (answer, _) = connection.send_request(request, true).unwrap();
        assert_eq!(answer.await.unwrap().status(), 400);
        assert_eq!(post(&mut connection, "after", b"{}".to_vec()).await, 200);
    });
}

/// A long target and a large head have different statuses, as over HTTP/1.
#[test]
fn a_large_head_is_431_and_a_long_target_414() {
    let app = App::start();
    let (gate, certificate) = gate_with(&format!(
        "limits: {{ header_bytes: 8KiB }}\n{}",
        config::forward(&app.url(), "")
    ));
    runtime().block_on(async {
        let mut connection = connect(&gate, certificate).await;
        for (path, header, status) in [
            ("x", 9 << 10, 431),
            ("x", 60 << 10, 431),
            (&*"x".repeat(9 << 10), 10, 414),
        ] {
            connection = connection.ready().await.unwrap();
            let request = Request::post(format!("https://gate.test/{path}"))
                .header("x-large", "y".repeat(header))
                .body(())
                .unwrap();
            let (answer, _) = connection.send_request(request, true).unwrap();
            assert_eq!(
                answer.await.unwrap().status(),
                status,
                "{} and {header} bytes",
                path.len()
            );
        }
        assert_eq!(post(&mut connection, "after", b"{}".to_vec()).await, 200);
    });
}

async fn post(connection: &mut SendRequest<Bytes>, id: &str, body: Vec<u8>) -> u16 {
    let mut ready = connection.clone().ready().await.unwrap();
    let mut request = Request::post("https://gate.test/webhooks/github");
    for (name, value) in sign::github(SECRET, id, &body) {
        request = request.header(name.to_lowercase(), value);
    }
    let (answer, mut stream) = ready
        .send_request(request.body(()).unwrap(), body.is_empty())
        .unwrap();
    let mut rest = Bytes::from(body);
    while !rest.is_empty() {
        stream.reserve_capacity(rest.len());
        // a gate that refuses early resets the stream after its answer
        let Some(room) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else {
            break;
        };
        let room = room.unwrap();
        let piece = rest.split_to(room.min(rest.len()));
        stream.send_data(piece, rest.is_empty()).unwrap();
    }
    let answer = answer.await.unwrap();
    let status = answer.status().as_u16();
    let mut body = answer.into_body();
    while let Some(piece) = body.data().await {
        let piece = piece.unwrap();
        body.flow_control().release_capacity(piece.len()).unwrap();
    }
    status
}
