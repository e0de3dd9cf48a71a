use super::*;

fn parsed(text: &str) -> Result<Option<Head>, BadHead> {
    Search::new(MAX_HEAD).take(&mut BytesMut::from(text))
}

fn head(text: &str) -> Head {
    parsed(text).unwrap().expect("a whole head")
}

#[test]
fn head_is_taken_off_and_the_rest_stays() {
    let mut bytes = BytesMut::from("HTTP/1.1 201 Created\r\nA: b\r\nA: c\r\n\r\nbody");
    let head = Search::new(MAX_HEAD).take(&mut bytes).unwrap().unwrap();
    assert_eq!((head.status, head.is_1_0), (StatusCode::CREATED, false));
    let values: Vec<_> = head.headers.get_all("a").iter().collect();
    assert_eq!(values, ["b", "c"]);
    assert_eq!(&bytes[..], b"body");
}

#[test]
fn head_is_found_however_its_bytes_are_cut() {
    let text = "\r\nHTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 0\r\n\r\n";
    for cut in 1..text.len() {
        let (first, second) = text.split_at(cut);
        let (mut bytes, mut search) = (BytesMut::from(first), Search::new(MAX_HEAD));
        assert_eq!(search.take(&mut bytes), Ok(None), "{cut}");
        bytes.extend_from_slice(second.as_bytes());
        assert_eq!(search.take(&mut bytes), Ok(Some(head(text))), "{cut}");
    }
}

#[test]
fn lenient_spellings_are_understood() {
    let plain = head("HTTP/1.1 200 OK\r\nA: b c\r\n\r\n");
    for other in [
        "HTTP/1.1 200 OK\nA: b c\n\n",
        "HTTP/1.1 200\r\nA: b c\r\n\r\n",
        "HTTP/1.1 200 All of it\r\nA :b c  \r\n\r\n",
        "\r\n\r\nHTTP/1.1 200 OK\r\nA: b c\r\n\r\n",
    ] {
        assert_eq!(head(other), plain, "{other:?}");
    }
    let folded = head("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n");
    assert_eq!(folded.headers.get("a").unwrap(), "b   c");
}

#[test]
fn other_bytes_are_malformed_at_once() {
    for text in [
        "SSH-2.0-OpenSSH_9.2\r\n",
        "<html>",
        "HTTP/2 200",
        "HTTP/1.1 20x OK\r\n\r\n",
        "HTTP/1.1 099 Low\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: \0\r\n\r\n",
    ] {
        assert_eq!(parsed(text), Err(BadHead::Malformed), "{text:?}");
    }
}

#[test]
fn heads_share_one_bound() {
    let text = "\r\nHTTP/1.1 103 Early\r\n\r\n";
    let (mut bytes, mut search) = (
        BytesMut::from(text.repeat(3).as_str()),
        Search::new(text.len() * 2),
    );
    for _ in 0..2 {
        assert!(matches!(search.take(&mut bytes), Ok(Some(_))));
    }
    assert_eq!(search.take(&mut bytes), Err(BadHead::TooLarge));
    let whole = BytesMut::from("HTTP/1.1 200 OK\r\nA: b\r\n\r\n");
    let taken = |max: usize| Search::new(max).take(&mut whole.clone());
    assert!(matches!(taken(whole.len()), Ok(Some(_))));
    assert_eq!(taken(whole.len() - 1), Err(BadHead::TooLarge));
}

#[test]
fn head_without_an_end_fails_once_it_is_too_large() {
    let (mut bytes, mut search) = (BytesMut::from("HTTP/1.1 200 OK\r\n"), Search::new(MAX_HEAD));
    let line = format!("A: {}\r\n", "x".repeat(1000));
    let read = (0..1000).find(|_| {
        bytes.extend_from_slice(line.as_bytes());
        search.take(&mut bytes) == Err(BadHead::TooLarge)
    });
    assert!(read.is_some_and(|read| read * line.len() < MAX_HEAD));
    let many = format!(
        "HTTP/1.1 200 OK\r\n{}\r\n",
        "A: b\r\n".repeat(MAX_LINES + 1)
    );
    assert_eq!(parsed(&many), Err(BadHead::Malformed));
}

#[test]
fn end_of_the_body_is_found_by_the_head() {
    let framing =
        |lines: &str| head(&format!("HTTP/1.1 200 OK\r\n{lines}\r\n")).framing(&Method::POST);
    for (lines, expected) in [
        ("", Framing::UntilClose),
        ("Content-Length: 5\r\n", Framing::Sized(5)),
        (
            "Content-Length: 5\r\nContent-Length: 5, 5\r\n",
            Framing::Sized(5),
        ),
        ("Transfer-Encoding: chunked\r\n", Framing::ChunkSize),
        ("Transfer-Encoding: gzip, Chunked\r\n", Framing::ChunkSize),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            Framing::ChunkSize,
        ),
        (
            "Transfer-Encoding: gzip\r\nContent-Length: 5\r\n",
            Framing::UntilClose,
        ),
    ] {
        assert_eq!(framing(lines), Ok(expected), "{lines:?}");
    }
    for wrong in ["5, 6", "+5", "-1", "", "5x", "18446744073709551616"] {
        let lines = format!("Content-Length: {wrong}\r\n");
        assert_eq!(framing(&lines), Err(Malformed), "{lines:?}");
    }
    let empty = |text: &str, method| head(text).framing(&method);
    let not_modified = "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(empty(not_modified, Method::POST), Ok(Framing::Sized(0)));
    let sized = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(empty(sized, Method::HEAD), Ok(Framing::Sized(0)));
}

#[test]
fn connection_is_kept_as_the_app_says() {
    let keeps = |version: &str, lines: &str| {
        head(&format!("HTTP/{version} 200 OK\r\n{lines}\r\n")).keeps_alive()
    };
    assert!(keeps("1.1", "") && !keeps("1.0", ""));
    let both = "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n";
    assert!(!keeps("1.1", both), "another reader could find another end");
    assert!(!keeps("1.1", "Connection: x, Close\r\n"));
    assert!(!keeps(
        "1.1",
        "Connection: keep-alive\r\nConnection: close\r\n"
    ));
    assert!(keeps("1.0", "Connection: Keep-Alive\r\n"));
    let coded = "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n";
    assert!(!keeps("1.0", coded));
}
