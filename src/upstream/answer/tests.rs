//! Compares the reading of answers with that of pingora.
use http::{HeaderMap, Method};
use pingora::protocols::http::v1::client::HttpSession;
use proptest::prelude::*;
use tokio::io::AsyncWriteExt as _;

use super::*;
use crate::clock::{Clock as _, SystemClock, Timer};
use crate::upstream::answer_head::MAX_HEAD;

/// The reading of an answer: status, header lines and body. A body that breaks off is an error.
type Reading = Result<(StatusCode, HeaderMap, Result<Vec<u8>, ()>), ()>;

/// Returns a connection on which these parts arrive one by one, and which ends then.
fn connection(parts: [Vec<u8>; 2]) -> Stream {
    let (mut app, stream) = tokio::io::duplex(1 << 16);
    tokio::spawn(async move {
        for part in parts {
            app.write_all(&part).await.unwrap_or_default();
            tokio::task::yield_now().await;
        }
    });
    Box::new(stream)
}

async fn ours(mut stream: Stream) -> Reading {
    let mut bytes = BytesMut::new();
    let head = final_head(&mut stream, &mut bytes, MAX_HEAD).await;
    let Final { head, .. } = head.map_err(|_| ())?;
    let mut rest = Rest {
        open: Some(Open {
            connection: Connection {
                stream,
                timer: Timer::new(SystemClock.mono()),
            },
            bytes,
            framing: head.framing(&Method::POST).map_err(|_| ())?,
            peer: Arc::new(HttpPeer::new("127.0.0.1:1", false, String::new())),
            pool: Pool::new(1, Arc::new(SystemClock)),
            idle: Duration::from_secs(60),
            is_reusable: false,
        }),
        deadline: SystemClock.mono() + Duration::from_secs(60),
    };
    let mut body = Ok(Vec::new());
    loop {
        match rest.next().await {
            Ok(Some(piece)) => body
                .iter_mut()
                .for_each(|body| body.extend_from_slice(&piece)),
            Ok(None) => break,
            Err(_) => {
                body = Err(());
                break;
            }
        }
    }
    Ok((head.status, head.headers, body))
}

async fn pingoras(stream: Stream) -> Reading {
    let mut session = HttpSession::new(stream);
    let status = loop {
        session.read_response().await.map_err(|_| ())?;
        let status = session.get_status().ok_or(())?;
        if status == StatusCode::SWITCHING_PROTOCOLS || status.as_u16() > 599 {
            return Err(());
        }
        if !status.is_informational() {
            break status;
        }
    };
    let headers = session.resp_header().ok_or(())?.headers.clone();
    let mut body = Ok(Vec::new());
    loop {
        match session.read_body_bytes().await {
            Ok(Some(piece)) => body
                .iter_mut()
                .for_each(|body| body.extend_from_slice(&piece)),
            Ok(None) => break,
            Err(_) => {
                body = Err(());
                break;
            }
        }
    }
    Ok((status, headers, body))
}

fn answer() -> impl Strategy<Value = Vec<u8>> {
    let line = prop::sample::select(vec![
        "Content-Length: 5\r\n",
        "Content-Length: 5\r\n",
        "Content-Length: 0\r\n",
        "content-length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 7\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\n",
        "transfer-encoding: gzip, Chunked\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Connection: close\r\n",
        "Connection: keep-alive\r\n",
        "X-Y : z\r\n",
        "Set-Cookie: a=b\r\n",
        "no colon\r\n",
        "Server: \u{e9}\r\n",
    ]);
    let body = prop::sample::select(vec![
        "",
        "hello",
        "hel",
        "hello, you",
        "5\r\nhello\r\n0\r\n\r\n",
        "3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nTrailer: x\r\n\r\n",
        "5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        "5\r\nhello\r\n0\r\n",
        "5\r\nhello!\r\n0\r\n\r\n",
        "z\r\n",
    ]);
    let first = prop::sample::select(vec![
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.0 200 OK\r\n",
        "HTTP/1.1 204 No Content\r\n",
        "HTTP/1.1 304 Not Modified\r\n",
        "HTTP/1.1 503\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n",
        "HTTP/1.1 700 What\r\n",
        "HTTP/1.1 2000 OK\r\n",
        "\r\nHTTP/1.1 200 OK\r\n",
        "HTTP/2 200 OK\r\n",
        "hello\r\n",
    ]);
    (first, prop::collection::vec(line, 0..3), body)
        .prop_map(|(first, lines, body)| format!("{first}{}\r\n{body}", lines.concat()).into())
}

proptest! {
    #[test]
    fn answers_that_pingora_reads_are_read_alike(answer in answer(), cut in any::<prop::sample::Index>()) {
        let (first, second) = answer.split_at(cut.index(answer.len()));
        let parts = [first.to_vec(), second.to_vec()];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (ours, pingoras) = runtime.block_on(async {
            (ours(connection(parts.clone())).await, pingoras(connection(parts)).await)
        });
        if pingoras.is_ok() {
            prop_assert_eq!(ours, pingoras);
        }
    }
}
