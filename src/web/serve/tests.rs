use axum::http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpStream;

use super::*;

const BOUNDS: Bounds = Bounds {
    connections: 1,
    lifetime: Lifetime::Total(Duration::from_millis(200)),
    head: Duration::from_secs(10),
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
    (Timed::new(near, None, &Arc::default(), bounds), far)
}

async fn kind_of_read(io: &mut Timed<DuplexStream>) -> Option<io::ErrorKind> {
    io.read(&mut [0; 64]).await.err().map(|error| error.kind())
}

#[tokio::test(start_paused = true)]
async fn idle_time_starts_anew_with_each_byte() {
    let pause = Duration::from_secs(50);
    let (mut io, mut far) = timed(Lifetime::Idle(Duration::from_secs(75)), None);
    let _served = io.connection.begin_request();
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
    let _served = io.connection.begin_request();
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

const IDLE: Lifetime = Lifetime::Idle(Duration::from_secs(75));

/// A client that sends a byte now and then does not hold a connection.
#[tokio::test(start_paused = true)]
async fn time_for_a_head_is_bounded_in_all() {
    let (mut io, mut far) = timed(IDLE, None);
    for _ in 0..3 {
        far.write_all(b"G").await.unwrap();
        assert_eq!(kind_of_read(&mut io).await, None);
        sleep(Duration::from_secs(3)).await;
    }
    let reading = tokio::time::timeout(Duration::from_secs(2), kind_of_read(&mut io));
    assert_eq!(reading.await, Ok(Some(io::ErrorKind::TimedOut)));
    assert!(io.write_all(b"a").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn connection_that_is_kept_alive_stays_open_between_requests() {
    let (mut io, mut far) = timed(IDLE, None);
    for _ in 0..5 {
        far.write_all(b"head").await.unwrap();
        assert_eq!(kind_of_read(&mut io).await, None);
        sleep(Duration::from_secs(5)).await;
        far.write_all(b"end of the head").await.unwrap();
        assert_eq!(kind_of_read(&mut io).await, None);
        let served = io.connection.begin_request();
        for _ in 0..3 {
            sleep(Duration::from_secs(20)).await;
            far.write_all(b"body").await.unwrap();
            assert_eq!(kind_of_read(&mut io).await, None, "a body may take longer");
        }
        drop(served);
        io.write_all(b"answer").await.unwrap();
        sleep(Duration::from_secs(60)).await;
    }
    far.write_all(b"h").await.unwrap();
    assert_eq!(kind_of_read(&mut io).await, None);
    let reading = tokio::time::timeout(Duration::from_secs(11), kind_of_read(&mut io));
    assert_eq!(reading.await, Ok(Some(io::ErrorKind::TimedOut)));
}

/// Sends a request over a connection. Returns the first line of the answer; none if the connection was closed.
async fn ask(connection: &mut TcpStream, path: &str) -> Option<String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    connection.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match connection.read(&mut byte).await {
            Ok(1..) => answer.extend(byte),
            Ok(0) | Err(_) => return None,
        }
    }
    let answer = String::from_utf8(answer).unwrap();
    answer.lines().next().map(str::to_owned)
}

/// Connections without a valid token use up the limit again and again; a client whose token is right gets in, and stays.
#[tokio::test]
async fn unauthenticated_connections_do_not_keep_others_out() {
    let bounds = Bounds {
        connections: 4,
        lifetime: IDLE,
        max_read: None,
        ..BOUNDS
    };
    let known = |ConnectInfo(connection): ConnectInfo<Connection>| async move {
        connection.admit();
        StatusCode::NO_CONTENT
    };
    let router = Router::new().route("/known", axum::routing::get(known));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (_stop, stopped) = watch::channel(false);
    let serving = tokio::spawn(serve_tcp(listener, router, bounds, stopped));
    let connect = async || TcpStream::connect(address).await.unwrap();
    let mut unauthenticated = Vec::new();
    for number in 0..4 {
        let mut connection = connect().await;
        if number % 2 == 0 {
            connection.write_all(b"GET / HTT").await.unwrap();
        } else {
            let answer = ask(&mut connection, "/").await.unwrap();
            assert!(answer.contains("404"), "{answer}");
        }
        unauthenticated.push(connection);
    }
    let mut kept = connect().await;
    assert!(ask(&mut kept, "/known").await.unwrap().contains("204"));
    for _ in 0..20 {
        let mut connection = connect().await;
        assert!(ask(&mut connection, "/").await.unwrap().contains("404"));
        unauthenticated.push(connection);
    }
    assert!(ask(&mut kept, "/known").await.unwrap().contains("204"));
    assert_eq!(ask(&mut unauthenticated[0], "/").await, None);
    assert!(
        ask(unauthenticated.last_mut().unwrap(), "/")
            .await
            .is_some()
    );
    serving.abort();
}
