//! The least of HTTP/1.1 that the client and the upstream need.
use std::io::{BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};

/// Reads one answer with a length, and returns its status.
pub(crate) fn read_answer(connection: &mut impl std::io::Read) -> u16 {
    let head =
        read_head(connection).unwrap_or_else(|| panic!("the connection ended before an answer"));
    read_body(connection, &head);
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Reads to the end of a head, a byte at a time: what follows is left for the body. `None` at the end of the stream.
fn read_head(connection: &mut impl std::io::Read) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if connection.read(&mut byte).unwrap_or(0) == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    Some(String::from_utf8(head).unwrap().to_ascii_lowercase())
}

fn read_body(connection: &mut impl std::io::Read, head: &str) {
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .map_or(0, |value| value.trim().parse().unwrap());
    std::io::copy(&mut connection.take(length), &mut std::io::sink()).unwrap();
}

/// Starts an upstream. Returns its address, and a message for each request that it has answered.
pub(crate) fn upstream() -> (SocketAddr, Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (answered, answers) = channel();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let answered = answered.clone();
            std::thread::spawn(move || answer_all(connection.unwrap(), &answered));
        }
    });
    (address, answers)
}

/// Answers every request of a connection with an empty 200.
fn answer_all(connection: TcpStream, answered: &Sender<()>) {
    connection.set_nodelay(true).unwrap();
    let mut writing = connection.try_clone().unwrap();
    let mut reading = BufReader::new(connection);
    while let Some(head) = read_head(&mut reading) {
        read_body(&mut reading, &head);
        if writing
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .is_err()
        {
            return;
        }
        answered.send(()).ok();
    }
}
