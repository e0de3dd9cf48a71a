//! A name that moves, with real connections.
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::atomic::AtomicUsize;

use bytes::Bytes;
use http::Method;
use http::header::{CONTENT_LENGTH, HOST, HeaderValue};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, getsockname, listen, socket,
};
use parking_lot::Mutex;

use super::*;
use crate::upstream::answer_head::MAX_HEAD;
use crate::upstream::resolve::tests::{Answers, Moved, asking, settle};

/// An app that answers every request with 200; its connections stay open.
struct App {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
    connections: Arc<Mutex<Vec<TcpStream>>>,
}

impl App {
    fn at(host: &str, port: u16) -> Self {
        let listener = TcpListener::bind((host, port)).unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, connections) = (
            Arc::<AtomicUsize>::default(),
            Arc::<Mutex<Vec<TcpStream>>>::default(),
        );
        let (count, open) = (Arc::clone(&requests), Arc::clone(&connections));
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                open.lock().push(stream.try_clone().unwrap());
                let count = Arc::clone(&count);
                std::thread::spawn(move || {
                    let mut piece = [0; 4096];
                    while let Ok(1..) = stream.read(&mut piece) {
                        count.fetch_add(1, Ordering::SeqCst);
                        stream
                            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                            .unwrap();
                    }
                });
            }
        });
        Self {
            address,
            requests,
            connections,
        }
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    fn connections(&self) -> usize {
        self.connections.lock().len()
    }
}

struct Bench {
    wire: Wire,
    answers: Arc<Answers>,
    clock: Arc<Moved>,
}

impl Bench {
    fn new(addresses: &[SocketAddr]) -> Self {
        Self::with(Moved::new(), addresses)
    }

    fn with(clock: Arc<Moved>, addresses: &[SocketAddr]) -> Self {
        let answers = Arc::<Answers>::default();
        answers.set(addresses);
        let shared = Arc::clone(&clock) as Arc<dyn Clock>;
        let wire = Wire::over(
            "app.test",
            None,
            Some(asking(&answers, &clock)),
            None,
            shared,
        )
        .unwrap();
        Self {
            wire,
            answers,
            clock,
        }
    }

    /// Sends a request. Returns its status, or the fault for which it was not sent.
    async fn send(&self) -> Result<u16, Fault> {
        self.send_within(Duration::from_secs(5), Duration::from_secs(5))
            .await
    }

    async fn send_within(&self, connect: Duration, limit: Duration) -> Result<u16, Fault> {
        let headers = [(HOST, "app.test"), (CONTENT_LENGTH, "0")]
            .map(|(name, value)| (name, HeaderValue::from_static(value)))
            .into_iter()
            .collect();
        let outgoing = Outgoing {
            method: Method::POST,
            target: Bytes::from_static(b"/"),
            headers,
            body: Bytes::new(),
        };
        let bounds = Bounds {
            connect,
            deadline: self.clock.mono() + limit,
            idle: Duration::from_secs(3600),
            max_head: MAX_HEAD,
        };
        match self
            .wire
            .exchange(&outgoing, bounds, &mut SendFacts::default())
            .await
        {
            Ok(answer) => Ok(answer.status.as_u16()),
            Err(Failure::Unreached(fault) | Failure::Ambiguous(fault)) => Err(fault),
        }
    }
}

/// An address that does not answer: its listener takes no connection, and all that may wait do.
struct Silent {
    address: SocketAddr,
    _listener: OwnedFd,
    _waiting: Vec<TcpStream>,
}

impl Silent {
    fn new() -> Self {
        let listener = socket(
            AddressFamily::Inet,
            SockType::Stream,
            SockFlag::empty(),
            None,
        )
        .unwrap();
        bind(listener.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
        listen(&listener, Backlog::new(0).unwrap()).unwrap();
        let bound: SockaddrIn = getsockname(listener.as_raw_fd()).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], bound.port()));
        let waiting = (0..16)
            .map_while(|_| TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok())
            .collect();
        Self {
            address,
            _listener: listener,
            _waiting: waiting,
        }
    }
}

/// Starts two apps at the same port of two addresses.
fn two_apps() -> (App, App) {
    let old = App::at("127.0.0.1", 0);
    let new = App::at("127.0.0.2", old.address.port());
    (old, new)
}

#[tokio::test]
async fn nothing_goes_to_the_old_address_after_a_pause() {
    let (old, new) = two_apps();
    let bench = Bench::new(&[old.address]);
    assert_eq!(bench.send().await, Ok(200));
    bench.answers.set(&[new.address]);
    bench.clock.by(Duration::from_secs(30));
    assert_eq!(bench.send().await, Ok(200));
    assert_eq!(
        (old.requests(), new.requests()),
        (1, 1),
        "a stranger may have the old address"
    );
}

#[tokio::test]
async fn a_request_follows_a_name_whose_old_address_is_dead() {
    let dead = ([127, 0, 0, 1], 1).into();
    let bench = Bench::new(&[dead]);
    assert_eq!(bench.send().await, Err(Fault::Refused));
    let new = App::at("127.0.0.2", 0);
    bench.answers.set(&[new.address]);
    bench.clock.by(Duration::from_secs(1));
    for _ in 0..5 {
        assert_eq!(bench.send().await, Ok(200));
    }
    assert_eq!(new.requests(), 5);
}

/// The wait for a look-up is over when the time to connect would be; the last good addresses still serve.
#[tokio::test]
async fn a_hanging_look_up_leaves_time_to_connect() {
    let app = App::at("127.0.0.1", 0);
    let (connect, long) = (Duration::from_millis(300), Duration::from_secs(5));
    // the deadline of the request may also be shorter than the time to connect
    for (connect, limit) in [(connect, long), (long, 2 * connect)] {
        let bench = Bench::with(Moved::running(), &[app.address]);
        assert_eq!(bench.send().await, Ok(200));
        bench.wire.dialer.pool().keep_only(&[]);
        bench.answers.hang();
        bench.clock.by(Duration::from_secs(30));
        assert_eq!(
            bench.send_within(connect, limit).await,
            Ok(200),
            "{connect:?} of {limit:?}"
        );
        bench.wire.dialer.pool().keep_only(&[]);
        bench.clock.by(Duration::from_secs(5));
        assert!(
            bench.wire.peers_for_streams(connect).await.is_ok(),
            "a stream has them, too"
        );
    }
}

/// Packets to the old address are lost: the connection times out, and only then the name is looked up again.
#[tokio::test]
async fn a_request_follows_a_name_whose_old_address_is_silent() {
    let silent = Silent::new();
    let bench = Bench::with(Moved::running(), &[silent.address]);
    let connect = Duration::from_millis(300);
    assert_eq!(
        bench.send_within(connect, Duration::from_secs(5)).await,
        Err(Fault::ConnectTimeout)
    );
    let new = App::at("127.0.0.2", 0);
    bench.answers.set(&[new.address]);
    bench.clock.by(Duration::from_secs(1));
    assert_eq!(
        bench.send_within(connect, Duration::from_secs(5)).await,
        Ok(200)
    );
}

#[tokio::test]
async fn idle_connections_to_lost_addresses_are_closed() {
    let (remaining, lost) = two_apps();
    let bench = Bench::new(&[lost.address]);
    assert_eq!(bench.send().await, Ok(200));
    bench.answers.set(&[remaining.address, lost.address]);
    bench.clock.by(Duration::from_secs(10));
    // the first of these begins the look-up, and uses what is there
    assert_eq!(bench.send().await, Ok(200));
    settle().await;
    assert_eq!(
        (bench.send().await, lost.requests(), lost.connections()),
        (Ok(200), 3, 1),
        "the address is still the name's"
    );
    bench.answers.set(&[remaining.address]);
    bench.clock.by(Duration::from_secs(30));
    assert_eq!((bench.send().await, remaining.requests()), (Ok(200), 1));
    let mut connection = lost.connections.lock().remove(0);
    connection
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    assert!(matches!(connection.read(&mut [0]), Ok(0)), "it is closed");
    bench.answers.set(&[remaining.address, lost.address]);
    bench.clock.by(Duration::from_secs(30));
    assert_eq!(
        (
            bench.send().await,
            remaining.requests(),
            remaining.connections()
        ),
        (Ok(200), 2, 1),
        "the other one stays"
    );
}
