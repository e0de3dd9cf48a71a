use tokio::io::AsyncReadExt as _;

use super::*;
use crate::clock::SystemClock;
use crate::listener::client_address::Peer;
use crate::listener::framing::Violation;

/// Reads all that one side of a pipe sends, in reads of `size` bytes. Returns it, and whether it ended in an error.
async fn read_all(sent: &[u8], size: usize) -> (String, bool, Arc<ConnectionState>) {
    let (mut sender, io) = tokio::io::duplex(4096);
    let state = Arc::new(ConnectionState::new(SystemClock.mono()));
    let info = ConnectionInfo {
        peer: Peer::Unix,
        certificate: None,
        state: None,
        streams: None,
        judged: None,
    };
    let mut stream = ScannedStream::new(
        Box::new(io),
        info,
        Arc::clone(&state),
        1024,
        Arc::new(SystemClock),
    );
    sender.write_all(sent).await.unwrap();
    drop(sender);
    let (mut whole, mut piece) = (Vec::new(), vec![0; size]);
    loop {
        match stream.read(&mut piece).await {
            Ok(0) => return (String::from_utf8(whole).unwrap(), false, state),
            Ok(read) => whole.extend_from_slice(&piece[..read]),
            Err(_) => return (String::from_utf8(whole).unwrap(), true, state),
        }
    }
}

#[tokio::test]
async fn head_is_cut_and_completed_in_reads_of_any_size() {
    for size in [1, 3, 4096] {
        let good = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let (read, broken, state) = read_all(good.as_bytes(), size).await;
        assert_eq!(
            (read.as_str(), broken, state.violation.get()),
            (good, false, None)
        );
        let (read, broken, state) =
            read_all(b"GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\nmore", size).await;
        assert_eq!(
            (read.as_str(), broken),
            ("GET / HTTP/1.1\r\nHost: a\r\nX-:\r\n\r\n", true)
        );
        assert_eq!(state.violation(), None, "no request is served yet");
        state.begin_request();
        assert_eq!(state.violation(), Some(Violation::Name));
    }
}

#[tokio::test]
async fn violation_in_the_next_request_does_not_affect_this_one() {
    let (read, broken, state) = read_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n\nGET", 4096).await;
    assert_eq!(
        (read.as_str(), broken),
        (
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n- / HTTP/1.1\r\n\r\n",
            true
        )
    );
    state.begin_request();
    assert_eq!((state.violation(), state.is_overrun()), (None, true));
    state.begin_request();
    assert_eq!(
        (state.violation(), state.is_overrun()),
        (Some(Violation::Method), false)
    );
}

#[tokio::test]
async fn cut_body_ends_in_an_error() {
    for size in [1, 4096] {
        let head = "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let (read, broken, state) =
            read_all(format!("{head}2\r\n{{}}\n0\r\n\r\n").as_bytes(), size).await;
        assert_eq!((read, broken), (format!("{head}2\r\n{{}}"), true));
        state.begin_request();
        assert_eq!(state.violation(), Some(Violation::Chunk));
    }
}
