//! The scan of an HTTP/1 connection in front of the parser.
//!
//! The same bytes get through however they are split; another parser accepts a head that gets through, and reads the same parts of it; and every
//! line of it ends in CR LF.
use hookgate::listener::framing::Scanner;

const MAX_HEAD: usize = 1024;

/// Scans a connection that arrives in these chunks. Returns the bytes that the parser gets, whether they were cut, and the number of
/// messages that began.
fn scan<'b>(chunks: impl IntoIterator<Item = &'b [u8]>, max_head: usize) -> (Vec<u8>, bool, u64) {
    let mut scanner = Scanner::new(max_head);
    let mut parsed = Vec::new();
    for chunk in chunks {
        match scanner.scan(chunk) {
            Ok(()) => parsed.extend_from_slice(chunk),
            Err(cut) => {
                parsed.extend_from_slice(&chunk[..cut.valid]);
                parsed.extend_from_slice(cut.ending);
                return (parsed, true, scanner.messages());
            }
        }
    }
    (parsed, false, scanner.messages())
}

pub fn run(bytes: &[u8]) {
    let whole = scan([bytes], MAX_HEAD);
    let cut = bytes
        .first()
        .map_or(0, |byte| usize::from(*byte) % (bytes.len() + 1));
    let (before, after) = bytes.split_at(cut);
    assert_eq!(scan([before, after], MAX_HEAD), whole);
    assert_eq!(scan(bytes.chunks(1), MAX_HEAD), whole);
    assert_eq!(scan(bytes.chunks(7), MAX_HEAD), whole);
    spans(bytes);
    let (seen, was_cut, messages) = whole;
    assert!(was_cut || seen == bytes);
    assert_ne!(messages > 0, bytes.is_empty());
    // bytes that got through get through again
    if !was_cut {
        assert!(!scan([&seen[..], b""], MAX_HEAD).1);
    }
    let Some(end) = seen.windows(4).position(|window| window == b"\r\n\r\n") else {
        return;
    };
    head(&seen[..end + 4]);
}

fn head(head: &[u8]) {
    for (at, byte) in head.iter().enumerate() {
        match byte {
            b'\r' => assert_eq!(head.get(at + 1), Some(&b'\n')),
            b'\n' => assert_eq!(head.get(at.wrapping_sub(1)), Some(&b'\r')),
            0 => panic!("a NUL gets through"),
            _ => {}
        }
    }
    let mut lines = vec![httparse::EMPTY_HEADER; 512];
    let mut request = httparse::Request::new(&mut lines);
    assert!(
        request.parse(head).is_ok_and(|status| status.is_complete()),
        "another parser refuses {:?}",
        String::from_utf8_lossy(head)
    );
    assert!(request.path.is_some_and(|path| path.starts_with('/')));
    let count = |name: &str| {
        request
            .headers
            .iter()
            .filter(|header| header.name.eq_ignore_ascii_case(name))
            .count()
    };
    assert!(
        count("content-length") + count("transfer-encoding") <= 1,
        "two framings"
    );
    assert!(count("host") <= 1);
    for header in request.headers.iter() {
        if header.name.eq_ignore_ascii_case("transfer-encoding") {
            assert!(header.value.eq_ignore_ascii_case(b"chunked"));
        }
        if header.name.eq_ignore_ascii_case("content-length") {
            assert!(header.value.iter().all(u8::is_ascii_digit) && !header.value.is_empty());
        }
    }
}

/// Checks that the parts of the first head are those that another parser reads.
fn spans(bytes: &[u8]) {
    let Ok(step) = Scanner::new(MAX_HEAD).advance(bytes, &mut |_| {}) else {
        return;
    };
    let Some(spans) = step.head else {
        return;
    };
    let head = &bytes[..step.used];
    let mut lines = vec![httparse::EMPTY_HEADER; 512];
    let mut request = httparse::Request::new(&mut lines);
    assert_eq!(
        request.parse(head),
        Ok(httparse::Status::Complete(head.len()))
    );
    let text = |span: hookgate::request::Span| String::from_utf8_lossy(span.of(head));
    assert_eq!(request.method, Some(&*text(spans.method)));
    assert_eq!(request.path, Some(&*text(spans.target)));
    assert_eq!(request.version == Some(0), spans.is_1_0);
    assert_eq!(request.headers.len(), spans.lines.len());
    for (line, (name, value)) in request.headers.iter().zip(&spans.lines) {
        assert_eq!(line.name, text(*name));
        assert_eq!(line.value, value.trimmed(head).of(head));
    }
}
