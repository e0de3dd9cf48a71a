//! An honest sender: signed requests at a steady pace, on new and on kept connections, over HTTP/1.1 and HTTP/2.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::super::{http as support_http, sign};
use super::arena::{Arena, SECRET, Target};

/// Between two requests of the honest sender.
const PAUSE: Duration = Duration::from_millis(20);
/// The longest time of an honest request that has not failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// The outcomes of honest requests.
#[derive(Debug)]
pub struct Figures {
    pub answered: usize,
    /// 503 with `Retry-After`.
    pub told_to_wait: usize,
    /// Anything else, counted.
    pub failed: BTreeMap<String, usize>,
    pub p50: Duration,
    pub p99: Duration,
}

/// A sender on a thread of its own.
pub struct Honest {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Vec<(Duration, Outcome)>>,
}

#[derive(Debug)]
enum Outcome {
    Answered,
    ToldToWait,
    Failed(String),
}

impl Honest {
    pub fn start(arena: &Arena) -> Self {
        let (stop, target) = (Arc::new(AtomicBool::new(false)), arena.target());
        let over = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(send(target, &over))
        });
        Self { stop, thread }
    }

    pub fn stop(self) -> Figures {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.thread.join().expect("the honest sender");
        let mut times: Vec<_> = sent.iter().map(|(took, _)| *took).collect();
        times.sort();
        let last = times.len().saturating_sub(1);
        let at = |hundredths: usize| {
            times
                .get((times.len() * hundredths / 100).min(last))
                .copied()
                .unwrap_or_default()
        };
        let mut figures = Figures {
            answered: 0,
            told_to_wait: 0,
            failed: BTreeMap::new(),
            p50: at(50),
            p99: at(99),
        };
        for (_, outcome) in sent {
            match outcome {
                Outcome::Answered => figures.answered += 1,
                Outcome::ToldToWait => figures.told_to_wait += 1,
                Outcome::Failed(how) => *figures.failed.entry(how).or_default() += 1,
            }
        }
        figures
    }
}

async fn send(target: Target, over: &AtomicBool) -> Vec<(Duration, Outcome)> {
    let (mut sent, mut kept, mut h2) = (Vec::new(), None, None);
    let mut number = 0;
    while !over.load(Ordering::Relaxed) {
        number += 1;
        let id = uuid::Uuid::new_v4().to_string();
        let body = vec![b'x'; 2000];
        let headers = sign::github(SECRET, &id, &body);
        let begun = Instant::now();
        let outcome = match number % 3 {
            0 => {
                tokio::time::timeout(PATIENCE, over_h1(&mut None, target.plain, &headers, &body))
                    .await
            }
            1 => {
                tokio::time::timeout(PATIENCE, over_h1(&mut kept, target.plain, &headers, &body))
                    .await
            }
            _ => tokio::time::timeout(PATIENCE, over_h2(&mut h2, &target, &headers, &body)).await,
        };
        let outcome = match outcome {
            Ok(Ok((200, _))) => Outcome::Answered,
            Ok(Ok((503, true))) => Outcome::ToldToWait,
            Ok(Ok((status, _))) => Outcome::Failed(format!("{} {status}", number % 3)),
            Ok(Err(error)) => Outcome::Failed(format!("{} {error}", number % 3)),
            Err(_) => Outcome::Failed(format!("{} no answer", number % 3)),
        };
        if !matches!(outcome, Outcome::Answered) {
            (kept, h2) = (None, None);
        }
        sent.push((begun.elapsed(), outcome));
        tokio::time::sleep(PAUSE).await;
    }
    sent
}

/// The status of an answer, and whether it says when to try again.
type Answer = std::io::Result<(u16, bool)>;

async fn over_h1(
    kept: &mut Option<TcpStream>,
    to: SocketAddr,
    headers: &[(String, String)],
    body: &[u8],
) -> Answer {
    let mut stream = match kept.take() {
        Some(stream) => stream,
        None => TcpStream::connect(to).await?,
    };
    stream.set_nodelay(true)?;
    let mut request = support_http::head(
        "POST",
        "/webhooks/github",
        &sign::borrowed(headers),
        Some(body.len()),
    );
    request.extend_from_slice(body);
    stream.write_all(&request).await?;
    let answer = read_answer(&mut stream).await?;
    if !answer.head.contains("connection: close") {
        *kept = Some(stream);
    }
    Ok((answer.status, answer.head.contains("\r\nretry-after: ")))
}

async fn over_h2(
    kept: &mut Option<h2::client::SendRequest<Bytes>>,
    target: &Target,
    headers: &[(String, String)],
    body: &[u8],
) -> Answer {
    let sender = match kept.take() {
        Some(sender) => sender,
        None => {
            // the honest sender's address is not an attacker's
            let tls = target.tls(25_000 - 100, true).await?;
            let (sender, connection) = h2::client::handshake(tls)
                .await
                .map_err(std::io::Error::other)?;
            tokio::spawn(async move { connection.await.ok() });
            sender
        }
    };
    let mut sender = sender.ready().await.map_err(std::io::Error::other)?;
    let mut request = Request::post("https://gate.test/webhooks/github");
    for (name, value) in headers {
        request = request.header(name.to_lowercase(), value);
    }
    let (answer, mut stream) = sender
        .send_request(request.body(()).unwrap(), false)
        .map_err(std::io::Error::other)?;
    stream
        .send_data(Bytes::copy_from_slice(body), true)
        .map_err(std::io::Error::other)?;
    let answer = answer.await.map_err(std::io::Error::other)?;
    let found = (
        answer.status().as_u16(),
        answer.headers().contains_key("retry-after"),
    );
    let mut body = answer.into_body();
    while let Some(piece) = body.data().await {
        let piece = piece.map_err(std::io::Error::other)?;
        body.flow_control()
            .release_capacity(piece.len())
            .map_err(std::io::Error::other)?;
    }
    *kept = Some(sender);
    Ok(found)
}

/// One answer, read from a stream.
pub struct Read {
    pub status: u16,
    /// The head in lower case.
    pub head: String,
}

/// Reads one answer with a declared length.
pub async fn read_answer(
    stream: &mut (impl tokio::io::AsyncRead + Unpin),
) -> std::io::Result<Read> {
    let mut read = Vec::new();
    let end = loop {
        if let Some(at) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut read).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    };
    let head = String::from_utf8_lossy(&read[..end]).to_lowercase();
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or(0);
    let length: usize = head
        .split("\r\n")
        .find_map(|line| line.strip_prefix("content-length: "))
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    while read.len() < end + length {
        if stream.read_buf(&mut read).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Read { status, head })
}
