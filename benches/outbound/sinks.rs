//! The servers of customers: good ones, which note when an event came, and bad ones, each bad in its way.
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

/// The way in which a server is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    HangsBeforeHead,
    HangsInBody,
    Drips,
    Answers(u16),
    Resets,
    SlowDns,
}

impl Fault {
    pub(crate) const ALL: [Self; 7] = [
        Self::HangsBeforeHead,
        Self::HangsInBody,
        Self::Drips,
        Self::Answers(500),
        Self::Answers(429),
        Self::Resets,
        Self::SlowDns,
    ];

    pub(crate) fn words(self) -> String {
        match self {
            Self::HangsBeforeHead => "hangs before the head".into(),
            Self::HangsInBody => "hangs in the body".into(),
            Self::Drips => "drips".into(),
            Self::Answers(status) => format!("answers {status}"),
            Self::Resets => "resets".into(),
            Self::SlowDns => "has a slow DNS".into(),
        }
    }
}

/// The response of a good server.
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// Nanoseconds since 1970: the time that an event carries.
pub(crate) fn nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_nanos()).unwrap()
}

/// The times from publish to arrival at a good server.
#[derive(Default)]
pub(crate) struct Arrivals {
    pub(crate) took: Mutex<Vec<Duration>>,
    pub(crate) count: AtomicU64,
    /// The time of the last one.
    pub(crate) last: AtomicU64,
}

impl Arrivals {
    fn note(&self, body: &[u8]) {
        let now = nanos();
        self.count.fetch_add(1, Ordering::Relaxed);
        self.last.fetch_max(now, Ordering::Relaxed);
        if let Some(sent) = sent_at(body) {
            let took = Duration::from_nanos(now.saturating_sub(sent));
            self.took.lock().unwrap().push(took);
        }
    }

    /// Takes the times since it was asked last, sorted.
    pub(crate) fn take(&self) -> Vec<Duration> {
        let mut took = std::mem::take(&mut *self.took.lock().unwrap());
        took.sort_unstable();
        took
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

/// Finds the time in `"sent":…` of a body.
fn sent_at(body: &[u8]) -> Option<u64> {
    let at = body.windows(7).position(|part| part == b"\"sent\":")? + 7;
    let digits = body[at..].iter().take_while(|byte| byte.is_ascii_digit());
    String::from_utf8(digits.copied().collect())
        .ok()?
        .parse()
        .ok()
}

/// Starts a good server.
pub(crate) async fn good() -> (SocketAddr, Arc<Arrivals>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let arrivals = Arc::new(Arrivals::default());
    let noted = Arc::clone(&arrivals);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let arrivals = Arc::clone(&noted);
            tokio::spawn(async move {
                answer(stream, OK, Some(&arrivals)).await;
            });
        }
    });
    (address, arrivals)
}

/// Starts a bad server.
pub(crate) async fn bad(fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                match fault {
                    Fault::HangsBeforeHead => hang(&mut stream).await,
                    Fault::HangsInBody => {
                        let mut request = [0; 4096];
                        if stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
                            stream.write_all(head).await.ok();
                            hang(&mut stream).await;
                        }
                    }
                    Fault::Drips => {
                        let head = b"HTTP/1.1 200 OK\r\nX-A: "
                            .iter()
                            .chain(std::iter::repeat(&b'a'));
                        for byte in head {
                            if stream.write_all(&[*byte]).await.is_err() {
                                return;
                            }
                            tokio::time::sleep(Duration::from_millis(500)).await;
                        }
                    }
                    Fault::Answers(status) => {
                        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
                        answer(stream, head.as_bytes(), None).await;
                    }
                    Fault::Resets => {
                        stream.readable().await.ok();
                        stream.set_zero_linger().ok();
                    }
                    Fault::SlowDns => {
                        answer(stream, OK, None).await;
                    }
                }
            });
        }
    });
    address
}

async fn hang(stream: &mut TcpStream) {
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}

/// Answers each request of a connection with `response`.
async fn answer(mut stream: TcpStream, response: &[u8], arrivals: Option<&Arrivals>) {
    stream.set_nodelay(true).ok();
    let mut read = Vec::with_capacity(8 << 10);
    loop {
        while let Some((head, length)) = head(&read) {
            if read.len() < head + length {
                break;
            }
            if let Some(arrivals) = arrivals {
                arrivals.note(&read[head..head + length]);
            }
            read.drain(..head + length);
            if stream.write_all(response).await.is_err() {
                return;
            }
        }
        if !matches!(stream.read_buf(&mut read).await, Ok(1..)) {
            return;
        }
    }
}

/// Returns the lengths of a head and of the body that it announces.
fn head(read: &[u8]) -> Option<(usize, usize)> {
    let end = read.windows(4).position(|part| part == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    Some((end, length.unwrap_or(0)))
}

/// Starts a DNS server on port 53 that answers 127.0.0.1 to each question, after `wait`. It needs a network namespace of its own.
pub(crate) async fn dns(wait: Duration) {
    let socket = Arc::new(UdpSocket::bind("127.0.0.1:53").await.unwrap());
    tokio::spawn(async move {
        loop {
            let mut packet = vec![0; 512];
            let Ok((length, from)) = socket.recv_from(&mut packet).await else {
                continue;
            };
            packet.truncate(length);
            let socket = Arc::clone(&socket);
            tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                if let Some(answer) = dns_answer(&packet) {
                    socket.send_to(&answer, from).await.ok();
                }
            });
        }
    });
}

/// Answers a question for A with 127.0.0.1, and any other with nothing.
fn dns_answer(question: &[u8]) -> Option<Vec<u8>> {
    let mut end = 12;
    while *question.get(end)? != 0 {
        end += usize::from(question[end]) + 1;
    }
    let kind = question.get(end + 1..end + 3)?;
    let is_a = kind == [0, 1];
    let mut answer = question.get(..2)?.to_vec();
    answer.extend([0x81, 0x80, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0]);
    answer.extend(question.get(12..end + 5)?);
    if is_a {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1]);
    }
    Some(answer)
}
