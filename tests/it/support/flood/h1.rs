//! Floods over HTTP/1.1, and those that never get as far.
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::super::{http, sign};
use super::arena::{SECRET, Target};
use super::honest::read_answer;
use super::{Flood, each};

/// Longer than the gate waits for anything.
const FOR_EVER: Duration = Duration::from_secs(90);
const FORGED: &[(&str, &str)] = &[(
    "X-Hub-Signature-256",
    "sha256=0000000000000000000000000000000000000000000000000000000000000000",
)];

/// The gate's reaction to a connection, and the seconds until it.
async fn fate(stream: &mut (impl AsyncRead + Unpin), begun: Instant) -> String {
    let what = match timeout(FOR_EVER, read_answer(stream)).await {
        Ok(Ok(answer)) => answer.status.to_string(),
        Ok(Err(_)) => "closed".to_owned(),
        Err(_) => "left open".to_owned(),
    };
    format!("{what} {}", after(begun))
}

/// Seconds, in coarse steps.
fn after(begun: Instant) -> &'static str {
    match begun.elapsed().as_secs() {
        0 => "at once",
        1..=3 => "in 1 to 4 s",
        4..=7 => "in 4 to 8 s",
        8..=15 => "in 8 to 16 s",
        _ => "later",
    }
}

fn head(length: Option<usize>) -> Vec<u8> {
    http::head("POST", "/webhooks/github", FORGED, length)
}

/// Writes `piece` every `pause` until the gate has answered or closed.
async fn drip(
    mut stream: TcpStream,
    piece: &'static [u8],
    pause: Duration,
    begun: Instant,
) -> String {
    let (mut reader, mut writer) = stream.split();
    let dripping = async {
        while writer.write_all(piece).await.is_ok() {
            sleep(pause).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! { what = fate(&mut reader, begun) => what, () = dripping => String::new() }
}

/// A flood of `count` connections that do the same.
fn crowd<F>(
    name: &'static str,
    size: String,
    count: usize,
    attack: impl Fn(Target, usize) -> F + Send + Sync + 'static,
) -> Flood
where
    F: Future<Output = std::io::Result<String>> + Send + 'static,
{
    let run = move |target: Target| -> super::Running {
        Box::pin(async move {
            each(count, |number| {
                let attack = attack(target.clone(), number);
                async move {
                    attack
                        .await
                        .unwrap_or_else(|error| format!("{:?}", error.kind()))
                }
            })
            .await
        })
    };
    Flood {
        name,
        size,
        run: Box::new(run),
    }
}

/// Heads that come a line a second.
pub fn slow_heads(count: usize) -> Flood {
    crowd(
        "slow heads",
        format!("{count} connections, a line a second"),
        count,
        |target, number| async move {
            let (mut stream, begun) = (super::connect(target.plain, number).await?, Instant::now());
            stream
                .write_all(b"POST /webhooks/github HTTP/1.1\r\nHost: gate.test\r\n")
                .await?;
            Ok(drip(stream, b"X: y\r\n", Duration::from_secs(1), begun).await)
        },
    )
}

/// Bodies that come a byte a second.
pub fn slow_bodies(count: usize) -> Flood {
    crowd(
        "slow bodies",
        format!("{count} connections, a byte a second"),
        count,
        |target, number| async move {
            let (mut stream, begun) = (super::connect(target.plain, number).await?, Instant::now());
            stream
                .write_all(&head(if number % 2 == 0 { Some(1000) } else { None }))
                .await?;
            let piece: &[u8] = if number % 2 == 0 { b"x" } else { b"1\r\nx\r\n" };
            Ok(drip(stream, piece, Duration::from_secs(1), begun).await)
        },
    )
}

/// Large bodies that stop after `sent` bytes; a third of them in chunks, a third after an invitation.
pub fn stalled_bodies(count: usize, declared: usize, sent: usize) -> Flood {
    let size = format!(
        "{count} × {} MiB, stalled at {} KiB",
        declared >> 20,
        sent >> 10
    );
    crowd(
        "stalled bodies",
        size,
        count,
        move |target, number| async move {
            let (mut stream, begun) = (super::connect(target.plain, number).await?, Instant::now());
            let (mut reader, mut writer) = stream.split();
            let piece = [b'x'; 16 * 1024];
            let sending = async {
                if number % 3 == 0 {
                    writer.write_all(&head(None)).await?;
                    for _ in 0..sent / piece.len() {
                        writer.write_all(b"4000\r\n").await?;
                        writer.write_all(&piece).await?;
                        writer.write_all(b"\r\n").await?;
                    }
                } else {
                    writer.write_all(&head(Some(declared))).await?;
                    for _ in 0..sent / piece.len() {
                        writer.write_all(&piece).await?;
                    }
                }
                std::future::pending::<std::io::Result<()>>().await
            };
            // a refused sender goes on sending into a closed connection: the answer is read all the same
            let stalled = async {
                if sending.await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            Ok(
                tokio::select! { what = fate(&mut reader, begun) => what, () = stalled => String::new() },
            )
        },
    )
}

/// Connections that say nothing, the half of them to the TLS listener; one in four has been served once.
pub fn idle(count: usize) -> Flood {
    crowd(
        "idle connections",
        format!("{count}, half of them TLS"),
        count,
        |target, number| async move {
            let begun = Instant::now();
            match number % 4 {
                0 => Ok(fate(&mut super::connect(target.plain, number).await?, begun).await),
                1 => Ok(fate(&mut super::connect(target.tls, number).await?, begun).await),
                2 => served_once(super::connect(target.plain, number).await?, number).await,
                _ => served_once(target.tls(number, false).await?, number).await,
            }
        },
    )
}

async fn served_once(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    number: usize,
) -> std::io::Result<String> {
    let body = b"{}";
    let headers = sign::github(SECRET, &format!("{number}-{}", uuid::Uuid::new_v4()), body);
    let mut request = http::head(
        "POST",
        "/webhooks/github",
        &sign::borrowed(&headers),
        Some(body.len()),
    );
    request.extend_from_slice(body);
    stream.write_all(&request).await?;
    let first = read_answer(&mut stream).await?.status;
    let begun = Instant::now();
    Ok(format!("{first}, then {}", fate(&mut stream, begun).await))
}

/// Heads of too many lines, of one huge line, and of small packets.
pub fn header_bombs(count: usize) -> Flood {
    crowd(
        "header bombs",
        format!("{count}: many lines, 30 KiB, endless, 1-byte packets"),
        count,
        |target, number| async move {
            let (mut stream, begun) = (super::connect(target.plain, number).await?, Instant::now());
            let mut head = b"POST /webhooks/github HTTP/1.1\r\nHost: gate.test\r\n".to_vec();
            match number % 8 {
                0..=2 => (0..400)
                    .for_each(|line| head.extend_from_slice(format!("x{line}: y\r\n").as_bytes())),
                3..=4 => head.extend_from_slice(
                    format!("x: {}\r\nContent-Length: 9\r\n\r\n", "y".repeat(30_000)).as_bytes(),
                ),
                5..=6 => head.extend_from_slice(format!("x: {}", "y".repeat(1 << 20)).as_bytes()),
                _ => head.extend_from_slice(format!("x: {}", "y".repeat(3000)).as_bytes()),
            }
            let (mut reader, mut writer) = stream.split();
            let sending = async {
                if number % 8 == 7 {
                    for byte in &head {
                        writer.write_all(std::slice::from_ref(byte)).await?;
                        tokio::task::yield_now().await;
                    }
                } else {
                    writer.write_all(&head).await?;
                }
                std::future::pending::<std::io::Result<()>>().await
            };
            let stalled = async {
                if sending.await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            Ok(
                tokio::select! { what = fate(&mut reader, begun) => what, () = stalled => String::new() },
            )
        },
    )
}

/// Signed requests for large answers that nobody reads, for as long as `patience`.
pub fn slow_readers(count: usize, patience: Duration) -> Flood {
    let size = format!(
        "{count} answers of {} MiB, unread for {} s",
        super::arena::LARGE >> 20,
        patience.as_secs()
    );
    crowd(
        "slow readers",
        size,
        count,
        move |target, number| async move {
            let mut stream = super::connect(target.plain, number).await?;
            let headers = sign::github(SECRET, &uuid::Uuid::new_v4().to_string(), b"{}");
            let mut request = http::head(
                "POST",
                "/webhooks/large",
                &sign::borrowed(&headers),
                Some(2),
            );
            request.extend_from_slice(b"{}");
            stream.write_all(&request).await?;
            sleep(patience).await;
            let mut read = vec![0; 4096];
            Ok(
                match timeout(Duration::from_secs(1), stream.read(&mut read)).await {
                    Ok(Ok(0)) | Err(_) => "nothing".to_owned(),
                    Ok(Ok(_)) => "begun".to_owned(),
                    Ok(Err(error)) => format!("{:?}", error.kind()),
                },
            )
        },
    )
}

/// Forged requests of a trusted proxy, each for another client: `count` keys over `connections`.
pub fn client_keys(count: usize, connections: usize) -> Flood {
    let run = move |target: Target| -> super::Running {
        Box::pin(async move {
            let tallies: Vec<_> = (0..connections)
                .map(|place| {
                    tokio::spawn(keys(
                        target.clone(),
                        place * (count / connections),
                        count / connections,
                    ))
                })
                .collect();
            let mut all = super::Tally::new();
            for tally in tallies {
                for (what, count) in tally.await.expect("an attacker") {
                    *all.entry(what).or_default() += count;
                }
            }
            all
        })
    };
    Flood {
        name: "client keys",
        size: format!("{count} addresses, v4 and v6"),
        run: Box::new(run),
    }
}

async fn keys(target: Target, first: usize, count: usize) -> super::Tally {
    let mut tally = super::Tally::new();
    let mut stream = None;
    for key in first..first + count {
        let bytes = u32::try_from(key).unwrap_or(0).to_be_bytes();
        let client = if key % 2 == 0 {
            format!("198.{}.{}.{}", bytes[1], bytes[2], bytes[3])
        } else {
            format!("2001:db8:{:x}:{:x}::1", key >> 16, key & 0xffff)
        };
        let head = format!(
            "POST /webhooks/github HTTP/1.1\r\nHost: gate.test\r\nX-Forwarded-For: {client}\r\nContent-Length: 0\r\n\r\n"
        );
        let what = match one(&mut stream, &target, head.as_bytes()).await {
            Ok(status) => status.to_string(),
            Err(error) => format!("{:?}", error.kind()),
        };
        *tally.entry(what).or_default() += 1;
    }
    tally
}

async fn one(
    kept: &mut Option<TcpStream>,
    target: &Target,
    request: &[u8],
) -> std::io::Result<u16> {
    let mut stream = match kept.take() {
        Some(stream) => stream,
        None => {
            let socket = tokio::net::TcpSocket::new_v4()?;
            socket.bind(([127, 0, 9, 1], 0).into())?;
            socket.connect(target.plain).await?
        }
    };
    stream.write_all(request).await?;
    let answer = read_answer(&mut stream).await?;
    if !answer.head.contains("connection: close") {
        *kept = Some(stream);
    }
    Ok(answer.status)
}
