use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpStream;

use super::*;

const BOUNDS: Bounds = Bounds {
    connections: 1,
    lifetime: Lifetime::Total(Duration::from_millis(200)),
    max_read: Some(64),
    shutdown: Duration::from_secs(1),
};

#[tokio::test]
async fn a_silent_connection_is_closed_after_its_lifetime() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (_stop, stopped) = watch::channel(false);
    let serving = tokio::spawn(serve_tcp(listener, Router::new(), BOUNDS, stopped));
    let mut silent = TcpStream::connect(address).await.unwrap();
    silent.write_all(b"GET / HTTP/1.1\r\nHost:").await.unwrap();
    let mut next = TcpStream::connect(address).await.unwrap();
    next.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    next.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert_eq!(silent.read(&mut [0; 1]).await.unwrap_or(0), 0);
    serving.abort();
}

/// Makes a connection with these bounds, and its other side.
fn timed(lifetime: Lifetime, max_read: Option<usize>) -> (Timed<DuplexStream>, DuplexStream) {
    let (near, far) = duplex(1024);
    let bounds = Bounds {
        lifetime,
        max_read,
        ..BOUNDS
    };
    (Timed::new(near, None, bounds), far)
}

async fn kind_of_read(io: &mut Timed<DuplexStream>) -> Option<io::ErrorKind> {
    io.read(&mut [0; 64]).await.err().map(|error| error.kind())
}

#[tokio::test(start_paused = true)]
async fn idle_time_starts_anew_with_each_byte() {
    let pause = Duration::from_secs(50);
    let (mut io, mut far) = timed(Lifetime::Idle(Duration::from_secs(75)), None);
    for round in 0..6 {
        sleep(pause).await;
        if round % 2 == 0 {
            far.write_all(b"a").await.unwrap();
            assert_eq!(kind_of_read(&mut io).await, None);
        } else {
            io.write_all(b"b").await.unwrap();
        }
    }
    sleep(pause).await;
    let reading = tokio::time::timeout(Duration::from_secs(26), kind_of_read(&mut io));
    assert_eq!(reading.await, Ok(Some(io::ErrorKind::TimedOut)));
    assert!(
        io.write_all(b"c").await.is_err(),
        "a closed connection stays closed"
    );
}

#[tokio::test(start_paused = true)]
async fn total_time_ends_a_busy_connection() {
    let (mut io, mut far) = timed(Lifetime::Total(Duration::from_secs(60)), None);
    sleep(Duration::from_secs(50)).await;
    far.write_all(b"a").await.unwrap();
    assert_eq!(kind_of_read(&mut io).await, None);
    far.write_all(b"a").await.unwrap();
    sleep(Duration::from_secs(10)).await;
    assert_eq!(kind_of_read(&mut io).await, Some(io::ErrorKind::TimedOut));
}

#[tokio::test(start_paused = true)]
async fn bytes_are_counted_only_with_a_maximum() {
    for (max_read, rounds) in [(Some(128), 2), (Some(65), 2), (None, 64)] {
        let (mut io, mut far) = timed(Lifetime::Idle(Duration::from_secs(75)), max_read);
        for _ in 0..rounds {
            far.write_all(&[b'a'; 64]).await.unwrap();
            assert_eq!(kind_of_read(&mut io).await, None);
        }
        far.write_all(b"a").await.unwrap();
        assert_eq!(
            kind_of_read(&mut io).await,
            max_read.map(|_| io::ErrorKind::InvalidData)
        );
    }
}
