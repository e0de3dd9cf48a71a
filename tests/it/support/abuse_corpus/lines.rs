//! Tricks with the lines of a head, and with their ends.
use super::Expect::{OneThenClosed, Refused, Status};
use super::{Trick, group, sized};

pub fn all() -> Vec<Trick> {
    [
        line_ends(),
        names(),
        values(),
        request_lines(),
        methods(),
        hosts(),
    ]
    .concat()
}

fn line_ends() -> Vec<Trick> {
    let good = sized("Content-Length: 2\r\n");
    let at = |from: &str, to: &str| good.replacen(from, to, 1);
    let tricks = [
        (
            "line feeds all over",
            "POST $P HTTP/1.1\n$h$sContent-Length: 2\n\n{}$HIDDEN".to_owned(),
        ),
        (
            "line feed behind the request line",
            at("HTTP/1.1\r\n", "HTTP/1.1\n"),
        ),
        (
            "carriage return behind the request line",
            at("HTTP/1.1\r\n", "HTTP/1.1\r"),
        ),
        (
            "two carriage returns behind the request line",
            at("HTTP/1.1\r\n", "HTTP/1.1\r\r\n"),
        ),
        ("line feed behind a line", at("2\r\n", "2\n")),
        ("carriage return behind a line", at("2\r\n", "2\r")),
        ("two carriage returns behind a line", at("2\r\n", "2\r\r\n")),
        ("line feed and carriage return", at("2\r\n", "2\n\r")),
        ("empty line is a line feed", at("2\r\n\r\n", "2\r\n\n")),
        (
            "empty line is a carriage return",
            at("2\r\n\r\n", "2\r\n\r"),
        ),
        (
            "empty line has two carriage returns",
            at("2\r\n\r\n", "2\r\n\r\r\n"),
        ),
        ("both ends are line feeds", at("2\r\n\r\n", "2\n\n")),
        ("empty line has a blank", at("2\r\n\r\n", "2\r\n \r\n")),
        ("carriage return in a value", at("$S", "X: a\rb\r\n$S")),
        (
            "carriage return at the end of a value",
            at("$S", "X: a \r \r\n$S"),
        ),
        ("line feed in a value", at("$S", "X: a\nb: c\r\n$S")),
        ("two empty lines first", format!("\r\n\r\n{good}")),
        ("line feed first", format!("\n{good}")),
        ("carriage return first", format!("\r{good}")),
        ("blank first", format!(" {good}")),
        ("tab first", format!("\t{good}")),
        ("NUL first", format!("\0{good}")),
        ("byte order mark first", format!("\u{ef}\u{bb}\u{bf}{good}")),
        ("folded with a blank", at("$S", "X: a\r\n b\r\n$S")),
        ("folded with a tab", at("$S", "X: a\r\n\tb\r\n$S")),
        ("folded to nothing", at("$S", "X: a\r\n \r\n$S")),
        (
            "folded to a header",
            at("$S", "X: a\r\n Content-Length: 0\r\n$S"),
        ),
        ("folded behind the request line", at("$H", " X: a\r\n$H")),
        ("a line that begins with a blank", at("$S", " X: a\r\n$S")),
        ("form feed for a line end", at("$S", "X: a\x0cY: b\r\n$S")),
        ("next line for a line end", at("$S", "X\u{85}Y: b\r\n$S")),
    ];
    let tolerated = group(
        "an empty line",
        OneThenClosed,
        [("one before the request line", format!("\r\n{good}"))],
    );
    [group("line ends", Refused, tricks), tolerated].concat()
}

fn names() -> Vec<Trick> {
    let lines = [
        ("empty", ": y\r\n"),
        ("blank before the colon", "X : y\r\n"),
        ("tab before the colon", "X\t: y\r\n"),
        ("blank inside", "X Y: z\r\n"),
        ("no colon", "X\r\n"),
        ("no colon but a value", "X y\r\n"),
        ("NUL", "X\0: y\r\n"),
        ("NUL first", "\0X: y\r\n"),
        ("control byte", "X\x01: y\r\n"),
        ("DEL", "X\x7f: y\r\n"),
        ("vertical tab", "\x0bX: y\r\n"),
        ("carriage return", "X\rY: z\r\n"),
        ("parenthesis", "X(y): z\r\n"),
        ("quotes", "\"X\": y\r\n"),
        ("comma", "X,Y: z\r\n"),
        ("slash", "X/Y: z\r\n"),
        ("at sign", "X@Y: z\r\n"),
        ("semicolon", "X;Y: z\r\n"),
        ("equals sign", "X=Y: z\r\n"),
        ("brackets", "X[y]: z\r\n"),
        ("braces", "X{y}: z\r\n"),
        ("backslash", "X\\Y: z\r\n"),
        ("question mark", "X?: y\r\n"),
        ("not ASCII", "X\u{e4}: y\r\n"),
        ("high byte", "\u{ff}: y\r\n"),
        ("soft hyphen in a length", "Content\u{ad}Length: 0\r\n"),
    ];
    group(
        "header names",
        Refused,
        lines.map(|(name, line)| (name, sized(&format!("Content-Length: 2\r\n{line}")))),
    )
}

fn values() -> Vec<Trick> {
    let bytes = [0, 1, 2, 7, 8, 0x0b, 0x0c, 0x0e, 0x1a, 0x1b, 0x1f, 0x7f].map(char::from);
    let inside = bytes.iter().map(|byte| {
        (
            format!("{byte:?}"),
            sized(&format!("Content-Length: 2\r\nX: a{byte}b\r\n")),
        )
    });
    let lines = [
        ("NUL first", "X: \0y\r\n"),
        ("NUL last", "X: y\0\r\n"),
        ("nothing but NUL", "X:\0\r\n"),
        ("NUL hides a header", "X: y\0Content-Length: 0\r\n"),
        ("backspaces hide a header", "X: y\x08\x08\x08\r\n"),
        ("NUL in a cookie", "Cookie: a=b\0; c=d\r\n"),
        ("NUL in a connection", "Connection: keep-alive\0\r\n"),
        ("vertical tab in a connection", "Connection: close\x0b\r\n"),
    ];
    let lines = lines.map(|(name, line)| {
        (
            name.to_owned(),
            sized(&format!("Content-Length: 2\r\n{line}")),
        )
    });
    let many = "X: y\r\n".repeat(260);
    let long = format!("X: {}\r\n", "y".repeat(40 * 1024));
    let large = [
        ("260 lines", sized(&format!("{many}Content-Length: 2\r\n"))),
        ("40 KiB", sized(&format!("{long}Content-Length: 2\r\n"))),
    ];
    [
        group("header values", Refused, inside.chain(lines)),
        group(
            "large heads",
            Status(431),
            large.map(|(name, text)| (name.to_owned(), text)),
        ),
    ]
    .concat()
}

fn request_lines() -> Vec<Trick> {
    let good = sized("Content-Length: 2\r\n");
    let line = |line: &str| good.replacen("POST $P HTTP/1.1", line, 1);
    let lines = [
        "POST http://gate.test$P HTTP/1.1",
        "POST https://gate.test$P HTTP/1.1",
        "POST HTTP://gate.test$P HTTP/1.1",
        "POST http://other.test$P HTTP/1.1",
        "POST http:$P HTTP/1.1",
        "POST ftp://gate.test$P HTTP/1.1",
        "POST http://user@gate.test$P HTTP/1.1",
        "POST gate.test$P HTTP/1.1",
        "POST gate.test:80 HTTP/1.1",
        "POST * HTTP/1.1",
        "POST \\webhooks\\github HTTP/1.1",
        "POST ?a HTTP/1.1",
        "POST webhooks/github HTTP/1.1",
        "POST ./webhooks HTTP/1.1",
        "POST %2Fwebhooks/github HTTP/1.1",
        "POST $P a HTTP/1.1",
        "POST  $P HTTP/1.1",
        "POST $P  HTTP/1.1",
        "POST\t$P HTTP/1.1",
        "POST $P\tHTTP/1.1",
        "POST \t$P HTTP/1.1",
        "POST $P HTTP/1.1 ",
        "POST $P HTTP/1.1\t",
        "POST $P?a\0b HTTP/1.1",
        "POST $P?a\x01b HTTP/1.1",
        "POST $P?a\x7fb HTTP/1.1",
        "POST $P#a HTTP/1.1",
        "POST $P?a#b HTTP/1.1",
        "POST $P?\u{c3}\u{a4} HTTP/1.1",
        "POST $P?\u{ff} HTTP/1.1",
        "POST $P?<a HTTP/1.1",
        "POST $P?a> HTTP/1.1",
        "POST $P?\"a HTTP/1.1",
        "POST $P/\"a HTTP/1.1",
        "POST $P?a\x0b HTTP/1.1",
        "POST $P?a\rb HTTP/1.1",
        "POST $P?a\nb HTTP/1.1",
        "POST $P",
        "POST $P ",
        "POST $P HTTP/0.9",
        "POST $P HTTP/1.2",
        "POST $P HTTP/1.10",
        "POST $P HTTP/1.11",
        "POST $P HTTP/2.0",
        "POST $P HTTP/2",
        "POST $P HTTP/3.0",
        "POST $P HTTP/11",
        "POST $P HTTP/1",
        "POST $P HTTP/1.",
        "POST $P HTTP/01.1",
        "POST $P HTTP/1.01",
        "POST $P HTTP/+1.1",
        "POST $P http/1.1",
        "POST $P Http/1.1",
        "POST $P HTTPS/1.1",
        "POST $P HTTP /1.1",
        "POST $P HTTP/ 1.1",
        "POST $P HTTP-1.1",
        "POST $P ICAP/1.1",
        "POST $P HTTP/1,1",
        "POST $P HTTP/1.1x",
        "POST $P HTTP/1.1 HTTP/1.1",
        "POST $P HTTP/1.1;a",
        "POST $P\0HTTP/1.1",
        "POST",
        "$P HTTP/1.1",
        "",
    ];
    let raw = [
        ("HTTP/0.9", "GET $P\r\n\r\n$HIDDEN".to_owned()),
        (
            "the preface of HTTP/2",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0$HIDDEN".to_owned(),
        ),
        (
            "a TLS client",
            "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03$HIDDEN".to_owned(),
        ),
        (
            "a PROXY header",
            format!("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n{good}"),
        ),
        (
            "an answer",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n$HIDDEN".to_owned(),
        ),
    ];
    let lines = lines.map(|text| (format!("{text:?}"), line(text)));
    let long = format!("POST $P?{} HTTP/1.1", "a".repeat(40 * 1024));
    [
        group(
            "request line and target",
            Refused,
            lines
                .into_iter()
                .chain(raw.map(|(name, text)| (name.to_owned(), text))),
        ),
        group("long targets", Status(414), [("40 KiB", line(&long))]),
        // browsers leave it as it is, no provider does
        group(
            "a backtick on a webhook route",
            Status(400),
            [("in the query", line("POST $P?`a HTTP/1.1"))],
        ),
    ]
    .concat()
}

fn methods() -> Vec<Trick> {
    let good = sized("Content-Length: 2\r\n");
    let method = |method: &str| (format!("{method:?}"), good.replacen("POST", method, 1));
    let long = "A".repeat(25);
    let odd = [
        "PO\0ST",
        "PO ST",
        "P@ST",
        "POST:",
        "(POST)",
        "P\u{d6}ST",
        "PO\x7fST",
        "POST\x0b",
        "PO/ST",
        "\"POST\"",
        "POST,",
        long.as_str(),
    ];
    let authority = good.replacen("POST $P", "CONNECT gate.test:80", 1);
    let path = good.replacen("POST", "CONNECT", 1);
    [
        group("methods", Refused, odd.map(method)),
        group(
            "methods",
            Status(405),
            ["TRACE", "GET", "post", "Post", "PATCH", "OPTIONS", "X"].map(method),
        ),
        group("methods", Refused, [("CONNECT to an authority", authority)]),
        group("methods", Status(405), [("CONNECT to a path", path)]),
    ]
    .concat()
}

fn hosts() -> Vec<Trick> {
    let good = sized("Content-Length: 2\r\n");
    let hosts = [
        "",
        " ",
        "gate test",
        "gate.test, other.test",
        "gate.test/",
        "gate.test/webhooks",
        "user@gate.test",
        "user:secret@gate.test",
        "gate.test:",
        "gate.test:http",
        "gate.test:65536",
        "gate.test:000080",
        "gate.test:80:80",
        "gate.test:-1",
        "gate.test:+80",
        ":80",
        "http://gate.test",
        "//gate.test",
        "[gate.test]",
        "[127.0.0.1]",
        "[::1",
        "::1",
        "[::1]]",
        "[::1]x",
        "[::1%25eth0]",
        "[]",
        "gate%2etest",
        "gate.test%00",
        "gate.test?",
        "gate.test#",
        "gate.test;",
        "gate.test\\",
        "g\u{e4}te.test",
        "*",
        "gate.test\tother",
        "\"gate.test\"",
        "<gate>",
        "gate.test\0",
        "gate.test\x0b",
    ];
    let lines = [
        ("none", ""),
        ("two, the same", "$H$H"),
        ("two, the second another", "$HHost: other.test\r\n"),
        ("two, the first another", "Host: other.test\r\n$H"),
        ("two, in other cases", "$HHOST: gate.test\r\n"),
        ("two, the second empty", "$HHost:\r\n"),
        ("two, the first empty", "Host:\r\n$H"),
        ("two, the second folded", "$HX: y\r\n Host: other.test\r\n"),
        (
            "two, the second behind a line feed",
            "$HX: y\nHost: other.test\r\n",
        ),
        ("blank before the colon", "Host : gate.test\r\n"),
        (
            "two, one with a blank before the colon",
            "$HHost : other.test\r\n",
        ),
        ("folded", "Host:\r\n gate.test\r\n"),
        ("a tab before the name", "\tHost: gate.test\r\n"),
    ];
    let hosts = hosts.map(|host| {
        (
            format!("{host:?}"),
            good.replacen("$H", &format!("Host: {host}\r\n"), 1),
        )
    });
    let lines = lines.map(|(name, lines)| (name.to_owned(), good.replacen("$H", lines, 1)));
    group("host", Refused, hosts.into_iter().chain(lines))
}
