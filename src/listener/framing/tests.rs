//! Checks which messages pass, where others are cut and why, and that the result does not depend on how the bytes are split.
use proptest::prelude::*;

use super::*;

const ROOM: usize = 8 * 1024;
const GOOD: &str =
    "POST /a?b=%zz HTTP/1.1\r\nHost: a.example\r\nX-Empty:\r\nX-Y_z: a\tb \u{e4}\r\n\r\n";

/// Scans all bytes in one chunk. Returns the number of messages, whether the last one has ended, and the cut.
fn whole(bytes: &[u8]) -> (u64, bool, Option<Cut>) {
    let mut scanner = Scanner::new(ROOM);
    let cut = scanner.scan(bytes).err();
    (scanner.messages(), scanner.is_between(), cut)
}

/// Scans the bytes in several chunks. `valid` counts over all of them.
fn split(bytes: &[u8], at: &[usize]) -> (u64, bool, Option<Cut>) {
    let mut scanner = Scanner::new(ROOM);
    let (mut rest, mut before) = (bytes, 0);
    let sizes = at.iter().copied().chain(std::iter::repeat(1));
    for size in sizes {
        if rest.is_empty() {
            break;
        }
        let (piece, later) = rest.split_at(size.clamp(1, rest.len()));
        if let Err(cut) = scanner.scan(piece) {
            return (
                scanner.messages(),
                scanner.is_between(),
                Some(Cut {
                    valid: before + cut.valid,
                    ..cut
                }),
            );
        }
        (rest, before) = (later, before + piece.len());
    }
    (scanner.messages(), scanner.is_between(), None)
}

/// Checks that `text` passes as complete messages.
#[track_caller]
fn passes(text: &str, messages: u64) {
    assert_eq!(whole(text.as_bytes()), (messages, true, None), "{text:?}");
    assert_eq!(
        split(text.as_bytes(), &[]),
        (messages, true, None),
        "{text:?}"
    );
}

/// Checks that `text` is cut before `rest` because of `why`, and that the rest with its ending is a valid head.
#[track_caller]
fn cut_before(text: &str, rest: &str, why: Violation) {
    let (messages, _, cut) = whole(text.as_bytes());
    let found = cut.unwrap_or_else(|| panic!("{text:?} passes"));
    assert_eq!(
        (text.get(found.valid..), found.why),
        (Some(rest), why),
        "{text:?}"
    );
    assert_eq!(
        split(text.as_bytes(), &[]),
        (messages, false, cut),
        "{text:?}"
    );
    ends_well(text.as_bytes(), found);
}

/// Checks that a cut head with its ending is a head that every parser accepts.
#[track_caller]
fn ends_well(bytes: &[u8], cut: Cut) {
    let mut passed = bytes.get(..cut.valid).unwrap().to_vec();
    passed.extend_from_slice(cut.ending);
    let (_, _, again) = whole(&passed);
    // the violations that an ending cannot repair
    assert!(
        again.is_none_or(|cut| matches!(cut.why, Violation::Host | Violation::TooLarge)),
        "{:?}: {again:?}",
        passed.escape_ascii().to_string()
    );
    if cut.ending.is_empty() {
        return;
    }
    let begin = passed
        .windows(4)
        .rposition(|window| window == b"\r\n\r\n")
        .unwrap();
    assert_eq!(begin + 4, passed.len());
    let mut headers = [httparse::EMPTY_HEADER; 300];
    let mut request = httparse::Request::new(&mut headers);
    if whole(&passed).0 == 1 {
        assert_eq!(
            request.parse(&passed),
            Ok(httparse::Status::Complete(passed.len())),
            "{:?}",
            passed.escape_ascii().to_string()
        );
    }
}

/// A head with these lines after a good beginning.
fn with(lines: &str) -> String {
    format!("POST /x HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

#[test]
fn valid_messages_pass() {
    passes(GOOD, 1);
    passes(&GOOD.repeat(3), 3);
    passes(&format!("\r\n{GOOD}\r\n{GOOD}"), 2);
    passes(&GOOD.replacen("%zz", "%zz`?`", 1), 1);
    passes(
        &format!(
            "{}hello",
            with("Content-Length: 5\r\n").replace("1.1", "1.0")
        ),
        1,
    );
    passes(
        &format!("{}hello{GOOD}", with("Content-Length: \t5 \r\n")),
        2,
    );
    passes(&format!("{}{GOOD}", with("content-LENGTH:0\r\n")), 2);
    passes(
        &format!(
            "{}2;a=\"b\"\r\n{{}}\r\n00\r\nX-T: 1\r\n\r\n{GOOD}",
            with("TRANSFER-encoding: Chunked\t\r\n")
        ),
        2,
    );
    passes(
        &format!("{}0\r\n\r\n{GOOD}", with("Transfer-Encoding:chunked\r\n")),
        2,
    );
    passes(
        &with("Expect: 100-Continue\r\nUpgrade: h2c\r\nContent-Lengths: x\r\nHosts:\r\n"),
        1,
    );
    passes(&with(&"x:y\r\n".repeat(255)), 1);
}

#[test]
fn request_line_must_be_strict() {
    use Violation::{LineEnd, Method, Target, Version};
    for (line, rest, why) in [
        ("\r\n\r\n", "\r\n", Method),
        ("\r\n\n", "\n", Method),
        ("\rGET", "GET", LineEnd),
        ("\r\n GET", " GET", Method),
        ("GET /`?a ", "`?a ", Target),
        ("\nGET", "\nGET", Method),
        (" GET / HTTP/1.1\r\n", " GET / HTTP/1.1\r\n", Method),
        ("G\0T /", "\0T /", Method),
        ("GET\t/", "\t/", Method),
        ("GET\r\n", "\r\n", Method),
        ("ABCDEFGHIJKLMNOPQRSTUVWXYZ /", "YZ /", Method),
        ("\u{16}\u{3}\u{1}", "\u{16}\u{3}\u{1}", Method),
        ("GET  /", " /", Target),
        ("GET \t/", "\t/", Target),
        ("GET http://a/ ", "http://a/ ", Target),
        ("CONNECT a:80 ", "a:80 ", Target),
        ("OPTIONS * ", "* ", Target),
        (
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "* HTTP/2.0\r\n\r\nSM\r\n\r\n",
            Target,
        ),
        ("GET /a\0 ", "\0 ", Target),
        ("GET /a#b ", "#b ", Target),
        ("GET /a<b ", "<b ", Target),
        ("GET /?\"", "\"", Target),
        ("GET /\u{e4} ", "\u{e4} ", Target),
        ("GET /a\tb ", "\tb ", Target),
        ("GET /\r\n", "\r\n", Target),
        ("GET /a b HTTP/1.1", "b HTTP/1.1", Version),
        ("GET /  HTTP/1.1", " HTTP/1.1", Version),
        ("GET / http/1.1", "http/1.1", Version),
        ("GET / HTTP/1.2", "2", Version),
        ("GET / HTTP/2.0", "2.0", Version),
        ("GET / HTTP/0.9", "0.9", Version),
        ("GET / HTTP/1.1 \r\n", " \r\n", LineEnd),
        ("GET / HTTP/1.10\r\n", "0\r\n", LineEnd),
        ("GET / HTTP/1.1\nHost", "\nHost", LineEnd),
        ("GET / HTTP/1.1\rHost", "Host", LineEnd),
    ] {
        cut_before(line, rest, why);
    }
}

#[test]
fn header_lines_must_be_strict() {
    use Violation::{Fold, Host, LineEnd, Name, TooLarge, Value};
    for (lines, rest, why) in [
        ("X: a\n", "\n", LineEnd),
        ("X: a\r\r\n", "\r\n", LineEnd),
        ("X: a\rY: b\r\n", "Y: b\r\n", LineEnd),
        ("\nX: a\r\n", "\nX: a\r\n", LineEnd),
        ("X: a\r\n b\r\n", " b\r\n", Fold),
        ("\tb: c\r\n", "\tb: c\r\n", Fold),
        ("X : a\r\n", " : a\r\n", Name),
        ("X\t: a\r\n", "\t: a\r\n", Name),
        (": a\r\n", ": a\r\n", Name),
        ("X\r\n", "\r\n", Name),
        ("X\0: a\r\n", "\0: a\r\n", Name),
        ("X(: a\r\n", "(: a\r\n", Name),
        ("\u{e4}: a\r\n", "\u{e4}: a\r\n", Name),
        ("Content_Length: 5\r\n", ": 5\r\n", Name),
        ("TRANSFER.ENCODING: x\r\n", ": x\r\n", Name),
        ("X: \0\r\n", "\0\r\n", Value),
        ("X: \u{7f}\r\n", "\u{7f}\r\n", Value),
        ("X: \u{b}\r\n", "\u{b}\r\n", Value),
        ("host: a\r\n", ": a\r\n", Host),
    ] {
        cut_before(&with(lines), &format!("{rest}\r\n"), why);
    }
    cut_before("GET / HTTP/1.1\r\nX: y\r\n\r\n", "\r\n", Host);
    cut_before("GET / HTTP/1.0\r\n\r\n", "\r\n", Host);
    cut_before(&with(&"x:y\r\n".repeat(256)), "x:y\r\n\r\n", TooLarge);
    let target = format!("GET /{}", "a".repeat(ROOM));
    let cut = Cut {
        valid: ROOM,
        ending: b" HTTP/1.1\r\n\r\n",
        why: Violation::TargetTooLong,
    };
    assert_eq!(
        (
            whole(target.as_bytes()).2,
            whole(target.replacen("aa", "?a", 1).as_bytes()).2
        ),
        (Some(cut), Some(cut))
    );
    let long = with(&format!("X: {}\r\n", "y".repeat(ROOM)));
    assert_eq!(
        whole(long.as_bytes()).2,
        Some(Cut {
            valid: ROOM,
            ending: b"\r\n\r\n",
            why: TooLarge
        })
    );
}

#[test]
fn framing_and_expectation_must_be_strict() {
    use Violation::{Coding, Expect, Length};
    for (value, rest) in [
        ("", ""),
        ("+5", "+5"),
        ("-0", "-0"),
        ("05", "5"),
        ("00", "0"),
        ("5 5", "5"),
        ("5, 5", ", 5"),
        ("5,", ","),
        ("0x5", "x5"),
        ("5.0", ".0"),
        ("1e1", "e1"),
        ("5;a", ";a"),
        ("\"5\"", "\"5\""),
        ("5\u{b}", "\u{b}"),
        ("1234567890123456789", "9"),
        ("\u{662}", "\u{662}"),
    ] {
        cut_before(
            &with(&format!("Content-Length: {value}\r\n")),
            &format!("{rest}\r\n\r\n"),
            Length,
        );
    }
    for (value, rest) in [
        ("", ""),
        ("xchunked", "xchunked"),
        ("chunkedx", "x"),
        ("chunked, x", ", x"),
        ("gzip, chunked", "gzip, chunked"),
        ("chunked,", ","),
        (",chunked", ",chunked"),
        ("\"chunked\"", "\"chunked\""),
        ("chunked;q=1", ";q=1"),
        ("chun ked", " ked"),
        ("chunked\u{b}", "\u{b}"),
        ("chunked chunked", "chunked"),
        ("identity", "identity"),
        ("chunke", ""),
        ("\u{a0}chunked", "\u{a0}chunked"),
        ("\u{212a}", "\u{212a}"),
    ] {
        cut_before(
            &with(&format!("Transfer-Encoding: {value}\r\n")),
            &format!("{rest}\r\n\r\n"),
            Coding,
        );
    }
    for (value, rest) in [
        ("", ""),
        ("200-ok", "200-ok"),
        ("100-continue, x", ", x"),
        ("100-continue;a", ";a"),
        ("1", ""),
    ] {
        cut_before(
            &with(&format!("Expect: {value}\r\n")),
            &format!("{rest}\r\n\r\n"),
            Expect,
        );
    }
    let (length, coding, expect) = (
        "Content-Length: 1\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Expect: 100-continue\r\n",
    );
    cut_before(&with(&format!("{length}{length}")), ": 1\r\n\r\n", Length);
    cut_before(&with(&format!("{coding}{length}")), ": 1\r\n\r\n", Length);
    cut_before(
        &with(&format!("{length}{coding}")),
        ": chunked\r\n\r\n",
        Coding,
    );
    cut_before(
        &with(&format!("{coding}{coding}")),
        ": chunked\r\n\r\n",
        Coding,
    );
    cut_before(
        &with(coding).replace("1.1", "1.0"),
        ": chunked\r\n\r\n",
        Coding,
    );
    cut_before(
        &with(&format!("{expect}{expect}")),
        ": 100-continue\r\n\r\n",
        Expect,
    );
}

#[test]
fn chunked_body_must_be_strict() {
    use Violation::{Chunk, Extension, Trailer};
    let head = with("Transfer-Encoding: chunked\r\n");
    for (body, rest, why) in [
        ("\r\n", "\r\n", Chunk),
        (";a\r\n", ";a\r\n", Chunk),
        ("x\r\n", "x\r\n", Chunk),
        ("0x2\r\n", "x2\r\n", Chunk),
        ("+2\r\n", "+2\r\n", Chunk),
        ("-2\r\n", "-2\r\n", Chunk),
        (" 2\r\n", " 2\r\n", Chunk),
        ("2 \r\n", " \r\n", Chunk),
        ("2\t;a\r\n", "\t;a\r\n", Chunk),
        ("2_0\r\n", "_0\r\n", Chunk),
        ("00000000000000002\r\n", "2\r\n", Chunk),
        ("4000000000000000\r\n", "0\r\n", Chunk),
        ("ffffffffffffffff\r\n", "f\r\n", Chunk),
        ("2\n{}\r\n", "\n{}\r\n", Chunk),
        ("2\r{}\r\n", "{}\r\n", Chunk),
        ("2\r\n{}0\r\n", "0\r\n", Chunk),
        ("2\r\n{}\n0\r\n", "\n0\r\n", Chunk),
        ("2\r\n{}\r0\r\n", "0\r\n", Chunk),
        ("2\r\n{}\r\n\r\n", "\r\n", Chunk),
        ("1\r\n{}\r\n", "}\r\n", Chunk),
        ("3\r\n{}\r\n0\r\n", "\n0\r\n", Chunk),
        ("\u{ff12}\r\n", "\u{ff12}\r\n", Chunk),
        ("2;a\n{}", "\n{}", Extension),
        ("2;a=\"\n\"\r\n", "\n\"\r\n", Extension),
        ("2;a=\"\0\"\r\n", "\0\"\r\n", Extension),
        ("2;\u{e4}\r\n", "\u{e4}\r\n", Extension),
        ("2;a\rb\r\n", "b\r\n", Chunk),
        ("0\r\nX : a\r\n\r\n", " : a\r\n\r\n", Trailer),
        ("0\r\n X: a\r\n\r\n", " X: a\r\n\r\n", Trailer),
        ("0\r\nX: a\n\r\n", "\n\r\n", Trailer),
        ("0\r\nX: \0\r\n\r\n", "\0\r\n\r\n", Trailer),
        ("0\r\nContent-Length: 5\r\n\r\n", ": 5\r\n\r\n", Trailer),
        ("0\r\ntransfer_encoding: x\r\n\r\n", ": x\r\n\r\n", Trailer),
        ("0\r\nHost: a\r\n\r\n", ": a\r\n\r\n", Trailer),
        (
            "0\r\nGET / HTTP/1.1\r\n\r\n",
            " / HTTP/1.1\r\n\r\n",
            Trailer,
        ),
        ("0\r\n\n", "\n", Trailer),
        ("0\r\n\r\r\n", "\r\n", Trailer),
    ] {
        cut_before(&format!("{head}{body}"), rest, why);
    }
    let chunk = |extension: usize| format!("1;{}\r\nx\r\n", "e".repeat(extension));
    passes(&format!("{head}{}0\r\n\r\n", chunk(256)), 1);
    cut_before(&format!("{head}{}", chunk(257)), "e\r\nx\r\n", Extension);
    passes(&format!("{head}{}0\r\n\r\n", chunk(256).repeat(256)), 1);
    cut_before(
        &format!("{head}{}", chunk(256).repeat(256) + &chunk(1)),
        "e\r\nx\r\n",
        Extension,
    );
    passes(&format!("{head}0\r\n{}\r\n", "x:y\r\n".repeat(64)), 1);
    cut_before(
        &format!("{head}0\r\n{}\r\n", "x:y\r\n".repeat(65)),
        "x:y\r\n\r\n",
        Trailer,
    );
}

/// A cut belongs to the message that it is in, and what came before it counts.
#[test]
fn message_before_a_violation_is_complete() {
    let first = format!("{}hello", with("Content-Length: 5\r\n"));
    let (messages, _, cut) = whole(format!("{first}GET /\0 HTTP/1.1\r\n").as_bytes());
    assert_eq!(
        (messages, cut.unwrap().valid),
        (2, first.len() + "GET /".len())
    );
}

/// Returns the first head and its parts, if the scanner lets it through in chunks of these sizes.
fn first_head<'b>(bytes: &'b [u8], sizes: &[usize]) -> Option<(&'b [u8], HeadSpans)> {
    let mut scanner = Scanner::new(ROOM);
    let mut scanned = 0;
    for size in sizes.iter().copied().chain(std::iter::repeat(usize::MAX)) {
        let rest = bytes.get(scanned..).filter(|rest| !rest.is_empty())?;
        let (piece, _) = rest.split_at(size.min(rest.len()));
        let step = scanner.advance(piece, &mut |_| {}).ok()?;
        scanned += step.used;
        if let Some(spans) = step.head {
            return Some((&bytes[..scanned], spans));
        }
    }
    None
}

/// The parts of a head: method, target, whether it is HTTP/1.0, and the lines.
type Parts = (String, String, bool, Vec<(String, Vec<u8>)>);

fn by_spans(head: &[u8], spans: &HeadSpans) -> Parts {
    let text = |span: crate::request::Span| String::from_utf8(span.of(head).to_vec()).unwrap();
    let lines = spans.lines.iter().map(|(name, value)| {
        let value = value.trimmed(head).of(head);
        (text(*name), value.to_vec())
    });
    (
        text(spans.method),
        text(spans.target),
        spans.is_1_0,
        lines.collect(),
    )
}

fn by_httparse(head: &[u8]) -> Parts {
    let mut lines = [httparse::EMPTY_HEADER; 300];
    let mut request = httparse::Request::new(&mut lines);
    assert_eq!(
        request.parse(head),
        Ok(httparse::Status::Complete(head.len()))
    );
    let lines = request.headers.iter();
    (
        request.method.unwrap().to_owned(),
        request.path.unwrap().to_owned(),
        request.version == Some(0),
        lines
            .map(|line| (line.name.to_owned(), line.value.to_vec()))
            .collect(),
    )
}

/// A message in strict normal form.
fn honest() -> impl Strategy<Value = Vec<u8>> {
    let name =
        "[A-Za-z][A-Za-z0-9!#$%&'*+.^_`|~-]{0,20}".prop_filter("none that is known", |name| {
            !["host", "expect"].contains(&&*name.to_ascii_lowercase())
                && ![14, 17].contains(&name.len())
        });
    let value = prop::collection::vec(prop_oneof![0x20_u8..0x7f, Just(b'\t'), 0x80_u8..], 0..40);
    let lines = prop::collection::vec((name, value), 0..12);
    let body = prop::option::of(prop::collection::vec(any::<u8>(), 0..300));
    let head = (
        "[A-Z]{1,24}",
        "/[!$-;=?-_a-~]{0,60}",
        lines,
        any::<prop::sample::Index>(),
    );
    (head, body, prop::option::of(1..50_usize)).prop_map(
        |((method, target, lines, position), body, chunks)| {
            let mut lines: Vec<Vec<u8>> = lines
                .into_iter()
                .map(|(name, value)| [name.as_bytes(), b":", &value].concat())
                .collect();
            lines.insert(
                position.index(lines.len() + 1),
                b"Host: a.example:8080".to_vec(),
            );
            let mut payload = Vec::new();
            match (body, chunks) {
                (None, _) => {}
                (Some(body), None) => {
                    lines.insert(
                        position.index(lines.len() + 1),
                        format!("Content-Length: {}", body.len()).into_bytes(),
                    );
                    payload = body;
                }
                (Some(body), Some(size)) => {
                    lines.insert(
                        position.index(lines.len() + 1),
                        b"Transfer-Encoding: chunked".to_vec(),
                    );
                    for chunk in body.chunks(size) {
                        payload.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
                        payload.extend_from_slice(chunk);
                        payload.extend_from_slice(b"\r\n");
                    }
                    payload.extend_from_slice(b"0\r\n\r\n");
                }
            }
            let mut message = format!("{method} {target} HTTP/1.1\r\n").into_bytes();
            for line in lines {
                message.extend_from_slice(&line);
                message.extend_from_slice(b"\r\n");
            }
            [message.as_slice(), b"\r\n", &payload].concat()
        },
    )
}

/// Returns the length of the head of a message.
fn head_of(message: &[u8]) -> usize {
    message
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap()
        + 4
}

proptest! {
    #[test]
    fn message_in_normal_form_passes(messages in prop::collection::vec(honest(), 1..4)) {
        let bytes = messages.concat();
        prop_assert_eq!(whole(&bytes), (messages.len() as u64, true, None));
    }

    #[test]
    fn spans_are_what_another_parser_reads(
        message in honest(),
        noise in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        at in prop::collection::vec(1..60_usize, 0..20),
    ) {
        let mut bytes = message;
        for (place, byte) in noise {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        let found = first_head(&bytes, &[]);
        prop_assert_eq!(&found, &first_head(&bytes, &at));
        // a single byte is judged by the rule for bytes, never as a part of a head that is whole
        prop_assert_eq!(&found, &first_head(&bytes, &vec![1; bytes.len()]));
        if let Some((head, spans)) = found {
            prop_assert_eq!(by_spans(head, &spans), by_httparse(head));
        }
    }

    #[test]
    fn verdict_does_not_depend_on_the_split(
        message in honest(),
        noise in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        at in prop::collection::vec(1..60_usize, 0..20),
    ) {
        let mut bytes = [message.as_slice(), &message].concat();
        for (position, byte) in noise {
            let position = position.index(bytes.len());
            bytes[position] = byte;
        }
        prop_assert_eq!(whole(&bytes), split(&bytes, &at));
        prop_assert_eq!(whole(&bytes), split(&bytes, &[]));
        if let (_, _, Some(cut)) = whole(&bytes) {
            ends_well(&bytes, cut);
        }
    }

    /// A control byte put anywhere into a head is found at once, or, a carriage return, at the byte behind it.
    #[test]
    fn a_control_byte_in_a_head_is_never_missed(message in honest(), position in any::<prop::sample::Index>(), byte in prop::sample::select(&b"\0\r\n\x0b\x7f\x01"[..])) {
        let end = head_of(&message);
        let position = position.index(end);
        // the last line feed twice: the second is behind the head, and may well be a body's
        prop_assume!((position, byte) != (end - 1, b'\n'));
        let mut bytes = message;
        bytes.insert(position, byte);
        let (messages, _, cut) = whole(&bytes);
        let cut = cut.expect("it passes");
        prop_assert_eq!(messages, 1);
        // beside a line end of its own kind it is that one that is too many
        prop_assert!((position..=position + 3).contains(&cut.valid), "{} for {position}", cut.valid);
    }

    /// Nothing makes it panic, and what it lets through as a head other parsers take for the same head.
    #[test]
    fn httparse_reads_the_same_head(bytes in prop::collection::vec(prop::sample::select(&b"GPOST / HTTP/1.1\r\n\r\nHost:a Content-Length: 3 Transfer-Encoding: chunked\r\n\0\t;#"[..]), 0..200)) {
        let bytes = [b"POST / HTTP/1.1\r\nHost: a\r\n".as_slice(), &bytes].concat();
        let (_, _, cut) = whole(&bytes);
        let passed = &bytes[..cut.map_or(bytes.len(), |cut| cut.valid)];
        let Some(end) = passed.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(()) };
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut headers);
        prop_assert_eq!(request.parse(passed), Ok(httparse::Status::Complete(end + 4)));
    }
}
