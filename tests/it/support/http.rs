//! A blocking HTTP/1.1 client that sends exactly what a test says.
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A connection that is kept open.
pub struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Self {
        Self::try_open(address).expect("connect")
    }

    pub fn try_open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            read: Vec::new(),
        })
    }

    /// Like [`Self::request`], for a gate that may die meanwhile.
    pub fn try_request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Answer> {
        self.send(&head(method, target, headers, Some(body.len())))?;
        self.send(body)?;
        self.answer()
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a request with a declared length.
    pub fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        self.send(&head(method, target, headers, Some(body.len())))
            .expect("send head");
        self.send(body).expect("send body");
        self.answer().expect("an answer")
    }

    /// Sends a request in chunks of `size` bytes.
    pub fn chunked(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        size: usize,
    ) -> Answer {
        self.send(&head(method, target, headers, None))
            .expect("send head");
        for chunk in body.chunks(size.max(1)) {
            self.send(format!("{:x}\r\n", chunk.len()).as_bytes())
                .expect("send chunk head");
            self.send(chunk).expect("send chunk");
            self.send(b"\r\n").expect("send chunk end");
        }
        self.send(b"0\r\n\r\n").expect("send last chunk");
        self.answer().expect("an answer")
    }

    /// Reads one answer; 1xx are skipped.
    pub fn answer(&mut self) -> io::Result<Answer> {
        loop {
            let (status, headers) = self.answer_head()?;
            if (100..200).contains(&status) {
                continue;
            }
            let body = self.answer_body(status, &headers)?;
            return Ok(Answer {
                status,
                headers,
                body,
            });
        }
    }

    /// Whether the other side closed: the next read ends or fails.
    pub fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        matches!(self.stream.read(&mut byte), Ok(0))
            || self
                .stream
                .read(&mut byte)
                .is_err_and(|e| e.kind() == io::ErrorKind::ConnectionReset)
    }

    /// Reads the head of an answer, of an interim one as well.
    pub fn answer_head(&mut self) -> io::Result<(u16, Vec<(String, String)>)> {
        let end = loop {
            if let Some(at) = self
                .read
                .windows(4)
                .position(|window| window == b"\r\n\r\n")
            {
                break at + 4;
            }
            self.fill()?;
        };
        let head = String::from_utf8_lossy(&self.read[..end]).into_owned();
        self.read.drain(..end);
        let mut lines = head.trim_end().split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1))
            .and_then(|code| code.parse().ok())
            .expect("a status line");
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        Ok((status, headers))
    }

    fn answer_body(&mut self, status: u16, headers: &[(String, String)]) -> io::Result<Vec<u8>> {
        let find = |name: &str| {
            headers
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.as_str())
        };
        if status == 204 || status == 304 {
            return Ok(Vec::new());
        }
        if find("transfer-encoding").is_some() {
            return self.chunks();
        }
        if let Some(length) = find("content-length").and_then(|length| length.parse().ok()) {
            return self.take(length);
        }
        while self.fill().is_ok() {}
        Ok(std::mem::take(&mut self.read))
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut whole = Vec::new();
        loop {
            let line = loop {
                if let Some(at) = self.read.windows(2).position(|window| window == b"\r\n") {
                    break self.take(at + 2)?;
                }
                self.fill()?;
            };
            let size = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16)
                .expect("a chunk size");
            let chunk = self.take(size + 2)?;
            if size == 0 {
                return Ok(whole);
            }
            whole.extend_from_slice(&chunk[..size]);
        }
    }

    /// Reads so many bytes.
    pub fn read_exactly(&mut self, count: usize) -> io::Result<Vec<u8>> {
        self.take(count)
    }

    fn take(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.read.len() < count {
            self.fill()?;
        }
        Ok(self.read.drain(..count).collect())
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut buffer = [0; 64 * 1024];
        let count = loop {
            match self.stream.read(&mut buffer) {
                // a process that was stopped and goes on hears of it so
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        match count {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.read.extend_from_slice(&buffer[..count]);
                Ok(())
            }
        }
    }
}

/// The head of a request; without a length it is chunked.
pub fn head(
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    length: Option<usize>,
) -> Vec<u8> {
    let mut head = format!("{method} {target} HTTP/1.1\r\n");
    if !headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("host"))
    {
        head.push_str("Host: gate.test\r\n");
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    match length {
        Some(length) => head.push_str(&format!("Content-Length: {length}\r\n\r\n")),
        None => head.push_str("Transfer-Encoding: chunked\r\n\r\n"),
    }
    head.into_bytes()
}

/// One request on a connection of its own.
pub fn request(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    Connection::open(address).request(method, target, headers, body)
}
