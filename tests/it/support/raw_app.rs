//! An app that answers with bytes that a test chooses.
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

/// The first chunk of an answer, and no more.
pub const HALF: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n";

/// Starts an app that answers the first request of each connection with these bytes, and closes.
///
/// The request has no body, or a small one.
pub fn raw_app(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut request = [0; 64 * 1024];
                assert!(stream.read(&mut request).unwrap() > 0);
                stream.write_all(answer).unwrap();
                // the gate has read it before the end comes
                std::thread::sleep(Duration::from_millis(100));
            });
        }
    });
    address
}
