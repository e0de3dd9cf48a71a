//! An app that fails on demand: for single requests, or altogether. It keeps requests without their bodies, so that there can be many.
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};
use sha2::{Digest as _, Sha256};

/// The reaction to one request, once it was read.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// An answer as it should be.
    Answer(u16),
    /// The same, with a header.
    With(u16, &'static str, String),
    /// An answer on a connection that is kept.
    Keep(u16),
    /// Nothing is sent until the other side leaves.
    HangBeforeHead,
    /// A head, and nothing of the body that it promises.
    HangAfterHead(u16),
    /// Half of the body, then a reset.
    ResetMidBody(u16),
    /// A reset instead of an answer.
    Reset,
    /// Closed without an answer.
    Close,
    /// The answer comes byte by byte.
    Drip(u16, Duration),
    /// Less comes than `Content-Length` says.
    TooShort(u16),
    /// More comes than `Content-Length` says.
    TooLong(u16),
    /// No HTTP at all.
    Garbage,
}

/// A request, completely read.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its `Hookgate-Delivery-Id`.
    pub id: String,
    /// Its `Hookgate-Attempt`.
    pub attempt: u32,
    pub target: String,
    /// The SHA-256 of its body.
    pub digest: [u8; 32],
    pub at: Instant,
    /// The reaction to it.
    pub fault: Fault,
}

type Script = dyn Fn(usize, &Request) -> Fault + Send + Sync;

struct Shared {
    script: Box<Script>,
    seen: Mutex<Vec<Request>>,
    count: AtomicUsize,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    /// Counted from 1 while it listens; 0 while it does not.
    life: usize,
    lives: usize,
    connections: Vec<Weak<TcpStream>>,
}

/// A running server; it is gone when dropped.
pub struct FaultServer {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

impl FaultServer {
    /// Asks `script` what to do with request number n, counted from 0.
    pub fn start(script: impl Fn(usize, &Request) -> Fault + Send + Sync + 'static) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), script)
    }

    /// The same on a given address.
    pub fn at(
        address: SocketAddr,
        script: impl Fn(usize, &Request) -> Fault + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, count, open) = (Mutex::default(), AtomicUsize::new(0), Mutex::default());
        let shared = Arc::new(Shared {
            script: Box::new(script),
            seen,
            count,
            open,
        });
        listen(&shared, listener);
        Self { address, shared }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn seen(&self) -> Vec<Request> {
        self.shared.seen.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.shared.seen.lock().unwrap().len()
    }

    /// Refuses connections from now on, and cuts those that are open.
    pub fn go_down(&self) {
        let mut open = self.shared.open.lock().unwrap();
        if std::mem::take(&mut open.life) != 0 {
            for stream in open
                .connections
                .drain(..)
                .filter_map(|stream| stream.upgrade())
            {
                stream.shutdown(Shutdown::Both).ok();
            }
            drop(open);
            // the thread that accepts lets the address go
            drop(TcpStream::connect(self.address));
        }
    }

    /// Takes connections again.
    pub fn come_back(&self) {
        if self.shared.open.lock().unwrap().life != 0 {
            return;
        }
        let begun = Instant::now();
        let listener = loop {
            match TcpListener::bind(self.address) {
                Ok(listener) => break listener,
                Err(error) => assert!(begun.elapsed() < Duration::from_secs(10), "{error}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        listen(&self.shared, listener);
    }
}

impl Drop for FaultServer {
    fn drop(&mut self) {
        self.go_down();
    }
}

fn listen(shared: &Arc<Shared>, listener: TcpListener) {
    let shared = Arc::clone(shared);
    let life = {
        let mut open = shared.open.lock().unwrap();
        open.lives += 1;
        open.life = open.lives;
        open.life
    };
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut open = shared.open.lock().unwrap();
            if open.life != life {
                return;
            }
            let stream = Arc::new(stream);
            open.connections.retain(|stream| stream.strong_count() > 0);
            open.connections.push(Arc::downgrade(&stream));
            drop(open);
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || serve(&stream, &shared));
        }
    });
}

fn serve(stream: &TcpStream, shared: &Shared) {
    stream.set_nodelay(true).ok();
    let mut buffer = Vec::new();
    while let Some(request) = read(stream, &mut buffer) {
        let number = shared.count.fetch_add(1, Ordering::SeqCst);
        let fault = (shared.script)(number, &request);
        shared.seen.lock().unwrap().push(Request {
            fault: fault.clone(),
            ..request
        });
        if !act(stream, &fault) {
            return;
        }
    }
}

/// Whether the connection is kept.
fn act(mut stream: &TcpStream, fault: &Fault) -> bool {
    let whole = |status: u16, more: &str, length: usize, body: &str| {
        format!("HTTP/1.1 {status} X\r\n{more}Content-Length: {length}\r\n\r\n{body}").into_bytes()
    };
    let close = "Connection: close\r\n";
    let answer = match fault {
        Fault::Answer(status) => whole(*status, close, 4, "done"),
        Fault::With(status, name, value) => {
            whole(*status, &format!("{close}{name}: {value}\r\n"), 4, "done")
        }
        Fault::Keep(status) => whole(*status, "", 4, "done"),
        Fault::HangAfterHead(status) | Fault::TooShort(status) => whole(*status, close, 40, ""),
        Fault::ResetMidBody(status) => whole(*status, close, 40, "half of it is twenty"),
        Fault::TooLong(status) => whole(*status, close, 2, "more than two"),
        Fault::Drip(status, _) => whole(*status, close, 4, "done"),
        Fault::Garbage => b"\x16\x03\x01 this is no HTTP\r\n\r\n".to_vec(),
        Fault::HangBeforeHead | Fault::Reset | Fault::Close => Vec::new(),
    };
    let pieces = if matches!(fault, Fault::Drip(..)) {
        1
    } else {
        answer.len().max(1)
    };
    for piece in answer.chunks(pieces) {
        if stream.write_all(piece).is_err() {
            return false;
        }
        if let Fault::Drip(_, pause) = fault {
            std::thread::sleep(*pause);
        }
    }
    match fault {
        Fault::Keep(_) => return true,
        // ends when the other side leaves
        Fault::HangBeforeHead | Fault::HangAfterHead(_) => {
            while stream.read(&mut [0; 64]).is_ok_and(|read| read > 0) {}
        }
        Fault::Reset => reset(stream),
        Fault::ResetMidBody(_) => {
            // long enough for the other side to have the head
            std::thread::sleep(Duration::from_millis(100));
            reset(stream);
        }
        Fault::Answer(_)
        | Fault::With(..)
        | Fault::Close
        | Fault::Drip(..)
        | Fault::TooShort(_)
        | Fault::TooLong(_)
        | Fault::Garbage => {}
    }
    false
}

/// The connection is reset once it is closed.
fn reset(stream: &TcpStream) {
    setsockopt(
        stream,
        sockopt::Linger,
        &libc::linger {
            l_onoff: 1,
            l_linger: 0,
        },
    )
    .unwrap();
}

fn read(stream: &TcpStream, buffer: &mut Vec<u8>) -> Option<Request> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        fill(stream, buffer)?;
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    let find = |name: &str| {
        let of_line = |line: &str| {
            line.split_once(':')
                .filter(|(known, _)| known.eq_ignore_ascii_case(name))
                .map(|(_, v)| v.trim().to_owned())
        };
        head.lines().find_map(of_line)
    };
    let length: usize = find("content-length").map_or(0, |length| length.parse().unwrap());
    while buffer.len() < end + length {
        fill(stream, buffer)?;
    }
    let request = Request {
        id: find("hookgate-delivery-id").unwrap_or_default(),
        attempt: find("hookgate-attempt")
            .and_then(|number| number.parse().ok())
            .unwrap_or(0),
        target: head.split(' ').nth(1).unwrap_or_default().to_owned(),
        digest: digest(&buffer[end..end + length]),
        at: Instant::now(),
        fault: Fault::Close,
    };
    buffer.drain(..end + length);
    Some(request)
}

pub fn digest(body: &[u8]) -> [u8; 32] {
    Sha256::digest(body).into()
}

fn fill(mut stream: &TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    let mut piece = [0; 64 << 10];
    let read = stream.read(&mut piece).ok().filter(|read| *read > 0)?;
    buffer.extend_from_slice(&piece[..read]);
    Some(())
}
