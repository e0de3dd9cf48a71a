use super::*;
use crate::clock::{Clock as _, FrozenClock};

#[track_caller]
fn check(raw: &[u8], expect: Result<&[u8], Fault>) {
    assert_eq!(
        Message::parse(raw).map(|message| message.body.to_vec()),
        expect.map(<[u8]>::to_vec)
    );
}

#[track_caller]
fn unreadable(raw: &[u8], words: &str) {
    let Err(Fault::Unreadable(message)) = Message::parse(raw) else {
        panic!("{}", String::from_utf8_lossy(raw))
    };
    assert!(message.contains(words), "{message}");
}

#[track_caller]
fn malformed(raw: &[u8]) {
    assert!(
        matches!(Message::parse(raw), Err(Fault::Malformed(_))),
        "{}",
        String::from_utf8_lossy(raw)
    );
}

#[test]
fn body_is_the_exact_bytes_after_the_head() {
    check(b"POST /x HTTP/1.1\r\nHost: a\r\n\r\n", Ok(b""));
    check(
        b"POST /x HTTP/1.1\r\nHost: a\r\n\r\n{}\r\n\n",
        Ok(b"{}\r\n\n"),
    );
    check(
        b"POST /x HTTP/1.1\nHost: a\nX-Y:  b \n\n\n{}\x00\xff",
        Ok(b"\n{}\x00\xff"),
    );
    check(b"POST /x HTTP/1.0\r\n\r\nx", Ok(b"x"));
    check(
        b"POST /x HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
        Ok(b"{}"),
    );
    check(b"POST /x HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n2;a=b\r\n{}\r\nA\r\n0123456789\r\n0\r\n\r\n", Ok(b"{}0123456789"));
    check(
        b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Trailer: y\r\n\r\n",
        Ok(b""),
    );
}

#[test]
fn incomplete_request_is_unreadable() {
    unreadable(b"", "does not end");
    unreadable(b"POST /x HTTP/1.1\r\nHost: a\r\n", "does not end");
    unreadable(b"{\"id\": 1}\n\n", "POST /path HTTP/1.1");
    unreadable(b"POST /x HTTP/2\r\n\r\n", "POST /path HTTP/1.1");
    unreadable(b"POST /x HTTP/1.1\r\nA b: c\r\n\r\n", "name of a header");
    unreadable(b"POST /x HTTP/1.1\r\nA: \x01\r\n\r\n", "value of a header");
    unreadable(
        b"POST /x HTTP/1.1\r\nContent-Length: 3\r\n\r\n{}",
        "shorter",
    );
    unreadable(
        b"POST /x HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}\n",
        "longer",
    );
    for chunks in [
        "2\r\n{}\r\n",
        "2\r\n{}x\r\n0\r\n\r\n",
        "0\r\n\r\nx",
        "{}",
        "ffffffffffffffff\r\n{}",
        "3\r\n{}",
        "-1\r\n\r\n",
    ] {
        unreadable(
            format!("POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}").as_bytes(),
            "is not chunked",
        );
    }
}

#[test]
fn ambiguous_request_is_malformed() {
    malformed(b"POST /x HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n");
    malformed(b"POST /x HTTP/1.1\r\nHost: a/b\r\n\r\n");
    malformed(b"POST /x HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx");
    malformed(b"POST /x HTTP/1.1\r\nContent-Length: +1\r\n\r\nx");
    malformed(
        b"POST /x HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    );
    malformed(b"POST /x HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n");
}

#[test]
fn url_overrides_the_request_and_headers_stay_apart() {
    let message =
        Message::parse(b"POST /x?a=1 HTTP/1.1\r\nHost: inner:80\r\nX-S: 1\r\nx-s: 2\r\n\r\n")
            .unwrap();
    assert_eq!(
        message
            .headers
            .get_all(&HeaderName::from_static("x-s"))
            .count(),
        2
    );
    let now = FrozenClock::at_unix(0).now();
    let head = message.head(None, now).unwrap();
    assert_eq!(
        (head.authority.as_str(), &head.target[..], head.tls),
        ("inner:80", &b"/x?a=1"[..], true)
    );
    let url = SentTo::parse("http://hooks.example.com/y?b=%20").unwrap();
    let head = message.head(Some(&url), now).unwrap();
    assert_eq!(
        (head.authority.as_str(), &head.target[..], head.tls),
        ("hooks.example.com", &b"/y?b=%20"[..], false)
    );
    let url = SentTo::parse("HTTPS://h").unwrap();
    assert_eq!(
        &message.head(Some(&url), now).unwrap().target[..],
        b"/x?a=1"
    );
    assert_eq!(
        SentTo::parse("https://h?x=1#f").unwrap().target.unwrap(),
        "/?x=1"
    );
    for wrong in [
        "",
        "h/x",
        "ftp://h/x",
        "https:///x",
        "https://a@h/",
        "https://h/a b",
    ] {
        assert!(SentTo::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn absolute_target_needs_the_url_flag() {
    let message = Message::parse(b"POST https://h/x HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let now = FrozenClock::at_unix(0).now();
    assert!(message.head(None, now).is_err());
    assert!(
        message
            .head(Some(&SentTo::parse("https://h/x").unwrap()), now)
            .is_ok()
    );
}
