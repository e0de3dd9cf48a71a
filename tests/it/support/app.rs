//! An app behind the gate that records its requests and answers as a test decides.
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A request as the app saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Seen {
    /// All values of a header.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// The only value of a header.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() <= 1, "{name} occurs {} times: {all:?}", all.len());
        all.first().copied()
    }
}

/// The app's reaction to a request.
#[derive(Clone, Debug)]
pub struct Act {
    pub after: Duration,
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Close without an answer.
    pub hang_up: bool,
}

impl Act {
    pub fn status(status: u16) -> Self {
        Self {
            after: Duration::ZERO,
            status,
            headers: Vec::new(),
            body: b"done".to_vec(),
            hang_up: false,
        }
    }

    pub fn after(self, after: Duration) -> Self {
        Self { after, ..self }
    }

    pub fn hang_up() -> Self {
        Self {
            hang_up: true,
            ..Self::status(200)
        }
    }
}

/// A running app; its listener closes on drop.
pub struct App {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: Arc<AtomicBool>,
}

impl App {
    /// An app that answers 200.
    pub fn start() -> Self {
        Self::answering(|_, _| Act::status(200))
    }

    /// An app that asks `act` what to do with request number n, counted from 0.
    pub fn answering(act: impl Fn(usize, &Seen) -> Act + Send + Sync + 'static) -> Self {
        Self::on("127.0.0.1:0".parse().unwrap(), act)
    }

    /// The same on a given address.
    pub fn on(
        address: SocketAddr,
        act: impl Fn(usize, &Seen) -> Act + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).expect("bind");
        let address = listener.local_addr().unwrap();
        let (seen, stop, act) = (
            Arc::new(Mutex::new(Vec::new())),
            Arc::new(AtomicBool::new(false)),
            Arc::new(act),
        );
        let app = Self {
            address,
            seen: Arc::clone(&seen),
            stop: Arc::clone(&stop),
        };
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let (seen, act, stop) = (Arc::clone(&seen), Arc::clone(&act), Arc::clone(&stop));
                std::thread::spawn(move || serve(stream, &seen, &*act, &stop));
            }
        });
        app
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    #[track_caller]
    pub fn last(&self) -> Seen {
        self.seen().pop().expect("the app saw no request")
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        TcpStream::connect(self.address).ok();
    }
}

fn serve(
    mut stream: TcpStream,
    seen: &Mutex<Vec<Seen>>,
    act: &(dyn Fn(usize, &Seen) -> Act + Send + Sync),
    stop: &AtomicBool,
) {
    stream.set_nodelay(true).ok();
    let mut buffer = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut buffer) {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let number = {
            let mut seen = seen.lock().unwrap();
            seen.push(request.clone());
            seen.len() - 1
        };
        let act = act(number, &request);
        std::thread::sleep(act.after);
        if act.hang_up {
            return;
        }
        let mut answer = format!("HTTP/1.1 {} X\r\n", act.status);
        for (name, value) in &act.headers {
            answer.push_str(&format!("{name}: {value}\r\n"));
        }
        if act.status != 204 {
            answer.push_str(&format!("Content-Length: {}\r\n", act.body.len()));
        }
        answer.push_str("\r\n");
        let mut answer = answer.into_bytes();
        if act.status != 204 {
            answer.extend_from_slice(&act.body);
        }
        if stream.write_all(&answer).is_err() {
            return;
        }
    }
}

fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Seen> {
    let head_end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        fill(stream, buffer)?;
    };
    let head = String::from_utf8_lossy(&buffer[..head_end]).into_owned();
    buffer.drain(..head_end);
    let mut lines = head.trim_end().split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let find = |name: &str| {
        headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.clone())
    };
    let body = if find("transfer-encoding").is_some() {
        read_chunks(stream, buffer)?
    } else {
        take(
            stream,
            buffer,
            find("content-length")
                .and_then(|length| length.parse().ok())
                .unwrap_or(0),
        )?
    };
    Some(Seen {
        method,
        target,
        headers,
        body,
    })
}

fn read_chunks(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let line_end = loop {
            if let Some(at) = buffer.windows(2).position(|window| window == b"\r\n") {
                break at + 2;
            }
            fill(stream, buffer)?;
        };
        let line = take(stream, buffer, line_end)?;
        let size = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16).ok()?;
        let chunk = take(stream, buffer, size + 2)?;
        if size == 0 {
            return Some(whole);
        }
        whole.extend_from_slice(&chunk[..size]);
    }
}

fn take(stream: &mut TcpStream, buffer: &mut Vec<u8>, count: usize) -> Option<Vec<u8>> {
    while buffer.len() < count {
        fill(stream, buffer)?;
    }
    Some(buffer.drain(..count).collect())
}

fn fill(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    let mut piece = [0; 64 * 1024];
    match stream.read(&mut piece) {
        Ok(0) | Err(_) => None,
        Ok(count) => {
            buffer.extend_from_slice(&piece[..count]);
            Some(())
        }
    }
}

/// Returns an address that no one listens on, and that is given to no other test.
/// The system takes the ports for `:0` from a range above these, so it cannot give this one to the app of another test.
pub fn unused_address() -> SocketAddr {
    const PORTS: std::ops::Range<u16> = 20_000..32_000;
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    loop {
        // two runs of the tests at the same time begin at different ports
        let number = GIVEN.fetch_add(1, Ordering::SeqCst) + (std::process::id() % 12_000) as u16;
        let address = ([127, 0, 0, 1], PORTS.start + number % PORTS.len() as u16).into();
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
