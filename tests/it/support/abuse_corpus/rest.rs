//! Tricks with the bytes after a message, with upgrades and with early refusals; and honest requests, which pass.
use super::Expect::{One, OneThenClosed, Refused, Status};
use super::{Trick, group, sized};

pub fn all() -> Vec<Trick> {
    [
        pipelining(),
        early(),
        expectations(),
        upgrades(),
        old(),
        honest(),
    ]
    .concat()
}

/// Whole messages with a request behind them in the same packet.
fn pipelining() -> Vec<Trick> {
    let good = sized("Content-Length: 2\r\n");
    let forged = good.replacen("$S", "X-Hub-Signature-256: sha256=00\r\n", 1);
    [
        group(
            "pipelining",
            OneThenClosed,
            [
                ("behind a length", good.clone()),
                ("behind chunks", super::chunks("2\r\n{}\r\n0\r\n\r\n")),
                (
                    "behind a trailer",
                    super::chunks("2\r\n{}\r\n0\r\nX: y\r\n\r\n"),
                ),
                (
                    "behind a close",
                    sized("Content-Length: 2\r\nConnection: close\r\n"),
                ),
                (
                    "behind an empty line",
                    good.replacen("{}$HIDDEN", "{}\r\n$HIDDEN", 1),
                ),
                (
                    "behind junk",
                    good.replacen("{}$HIDDEN", "{}junk\0$HIDDEN", 1),
                ),
                (
                    "half a head",
                    good.replacen("$HIDDEN", "POST $P HTTP/1.1\r\nHost: g", 1),
                ),
            ],
        ),
        group(
            "pipelining",
            Status(401),
            [
                ("behind a forged one", forged.clone()),
                (
                    "behind an unsigned one",
                    forged.replacen("X-Hub-Signature-256: sha256=00\r\n", "", 1),
                ),
            ],
        ),
        group(
            "pipelining",
            Status(404),
            [(
                "behind one that has no route",
                good.replacen("$P", "/nowhere", 1),
            )],
        ),
    ]
    .concat()
}

/// Refused before the body is read: the body is a request, and is never read as one.
fn early() -> Vec<Trick> {
    let with = |line: &str, lines: &str| format!("{line}\r\n$H{lines}\r\n$HIDDEN$HIDDEN$HIDDEN");
    let nowhere = "POST /nowhere HTTP/1.1";
    let some = "Content-Length: 100000\r\n";
    [
        group(
            "early refusals",
            Status(404),
            [
                ("no route, a length", with(nowhere, some)),
                (
                    "no route, a short length",
                    with(nowhere, "Content-Length: 10\r\n"),
                ),
                (
                    "no route, chunks",
                    format!(
                        "{nowhere}\r\n$HTransfer-Encoding: chunked\r\n\r\n1000\r\n$HIDDEN$HIDDEN"
                    ),
                ),
                (
                    "no route, an invitation",
                    with(nowhere, &format!("{some}Expect: 100-continue\r\n")),
                ),
                (
                    "no route, keep-alive",
                    with(nowhere, &format!("{some}Connection: keep-alive\r\n")),
                ),
                (
                    "no route, HTTP/1.0 keep-alive",
                    with(
                        "POST /nowhere HTTP/1.0",
                        &format!("{some}Connection: keep-alive\r\n"),
                    ),
                ),
            ],
        ),
        group(
            "early refusals",
            Status(405),
            [
                ("another method", with("PUT $P HTTP/1.1", some)),
                ("TRACE with a body", with("TRACE $P HTTP/1.1", some)),
            ],
        ),
        group(
            "early refusals",
            Status(413),
            [
                (
                    "too large",
                    with("POST $P HTTP/1.1", "Content-Length: 999999999\r\n"),
                ),
                (
                    "too large for any number",
                    with("POST $P HTTP/1.1", "Content-Length: 999999999999999999\r\n"),
                ),
                (
                    "too large, an invitation",
                    with(
                        "POST $P HTTP/1.1",
                        "Content-Length: 999999999\r\nExpect: 100-continue\r\n",
                    ),
                ),
            ],
        ),
        group(
            "early refusals",
            // by its head alone, whether the broken body came together with it or not
            Status(404),
            [(
                "a broken chunk",
                format!("{nowhere}\r\n$HTransfer-Encoding: chunked\r\n\r\n10000\r\n$HIDDEN")
                    .replacen("10000", "10000\n", 1),
            )],
        ),
    ]
    .concat()
}

fn expectations() -> Vec<Trick> {
    let lines = [
        "Expect: 200-ok",
        "Expect:",
        "Expect: 100-continue, 100-continue",
        "Expect: 100-continue;a",
        "Expect: 100-continue\r\nExpect: 100-continue",
        "Expect: 100",
        "Expect: 100-continue\x0b",
        "Expect: x=y",
        "Expect : 100-continue",
        "Expect: \"100-continue\"",
        "Expect:\r\n 100-continue",
    ];
    group(
        "expect",
        Refused,
        lines.map(|line| {
            (
                format!("{line:?}"),
                sized(&format!("Content-Length: 2\r\n{line}\r\n")),
            )
        }),
    )
}

/// Nothing is upgraded on the way to a webhook, and nothing that speaks the other protocol is read.
fn upgrades() -> Vec<Trick> {
    let h2c = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let length = "Content-Length: 2\r\n";
    [
        group(
            "upgrade",
            OneThenClosed,
            [
                ("h2c, HTTP/1.1 behind", sized(&format!("{h2c}{length}"))),
                (
                    "h2c, the preface behind",
                    sized(&format!("{h2c}{length}")).replace("$HIDDEN", preface),
                ),
                (
                    "h2c without settings",
                    sized(&format!("Connection: Upgrade\r\nUpgrade: h2c\r\n{length}")),
                ),
                (
                    "h2c, not named in Connection",
                    sized(&format!(
                        "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n{length}"
                    )),
                ),
                (
                    "h2c in capitals",
                    sized(&format!("Connection: UPGRADE\r\nUpgrade: H2C\r\n{length}")),
                ),
                (
                    "TLS",
                    sized(&format!(
                        "Connection: Upgrade\r\nUpgrade: TLS/1.0, HTTP/1.1\r\n{length}"
                    )),
                ),
                (
                    "an unknown protocol",
                    sized(&format!("Connection: Upgrade\r\nUpgrade: cow\r\n{length}")),
                ),
            ],
        ),
        group(
            "upgrade",
            Refused,
            [(
                "h2c, a NUL in it",
                sized(&format!(
                    "Connection: Upgrade\r\nUpgrade: h2c\0\r\n{length}"
                )),
            )],
        ),
    ]
    .concat()
}

/// Whatever the app answers, what came with the wish to switch is neither a request nor the other protocol.
pub fn of_pass_routes() -> Vec<Trick> {
    let wish = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
    let get = |more: &str| format!("GET $P HTTP/1.1\r\n$H$S{wish}{more}\r\n");
    let good = sized("Content-Length: 2\r\n");
    [
        group(
            "upgrade",
            Refused,
            [
                ("WebSocket, a request behind", format!("{}$HIDDEN", get(""))),
                (
                    "WebSocket, a frame behind",
                    format!("{}\u{81}\u{80}\0\0\0\0$HIDDEN", get("")),
                ),
                (
                    "WebSocket, a body and a request behind",
                    format!("{}{{}}$HIDDEN", get("Content-Length: 2\r\n")),
                ),
            ],
        ),
        group(
            "a backtick",
            One,
            [(
                "in the query",
                good.replacen("$P", "$P?`a", 1).replacen("$HIDDEN", "", 1),
            )],
        ),
        group(
            "methods",
            Status(405),
            [
                ("TRACE", good.replacen("POST", "TRACE", 1)),
                ("CONNECT", good.replacen("POST", "CONNECT", 1)),
            ],
        ),
    ]
    .concat()
}

fn old() -> Vec<Trick> {
    let line = "POST $P HTTP/1.0\r\n";
    let coding = "Transfer-Encoding: chunked\r\n";
    let chunks = "2\r\n{}\r\n0\r\n\r\n$HIDDEN";
    [
        group(
            "HTTP/1.0",
            Refused,
            [
                ("a coding", format!("{line}$H$S{coding}\r\n{chunks}")),
                ("a coding, keep-alive", format!("{line}$H$S{coding}Connection: keep-alive\r\n\r\n{chunks}")),
                ("a coding and a length", format!("{line}$H$SContent-Length: 2\r\n{coding}\r\n{chunks}")),
                ("identity", format!("{line}$H$STransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\n{{}}$HIDDEN")),
                ("no host", format!("{line}$SContent-Length: 2\r\n\r\n{{}}$HIDDEN")),
                ("two hosts", format!("{line}$H$H$SContent-Length: 2\r\n\r\n{{}}$HIDDEN")),
                ("two lengths", format!("{line}$H$SContent-Length: 2\r\nContent-Length: 2\r\n\r\n{{}}$HIDDEN")),
            ],
        ),
        group("HTTP/1.0", Status(401), [("a body without a length", format!("{line}$H$S\r\n{{}}$HIDDEN"))]),
        group(
            "HTTP/1.0",
            OneThenClosed,
            [
                ("one behind", format!("{line}$H$SContent-Length: 2\r\n\r\n{{}}$HIDDEN")),
                ("one behind, keep-alive", format!("{line}$H$SContent-Length: 2\r\nConnection: keep-alive\r\n\r\n{{}}$HIDDEN")),
            ],
        ),
    ]
    .concat()
}

/// Without these a gate that refuses all would be as good.
fn honest() -> Vec<Trick> {
    let alone = |text: String| text.replace("$HIDDEN", "");
    let chunks = |body: &str| alone(super::chunks(body));
    let texts = [
        ("a length", alone(sized("Content-Length: 2\r\n"))),
        (
            "a length in blanks",
            alone(sized("content-length:\t 2 \t\r\n")),
        ),
        (
            "a length without a blank",
            alone(sized("CONTENT-LENGTH:2\r\n")),
        ),
        ("one chunk", chunks("2\r\n{}\r\n0\r\n\r\n")),
        (
            "a chunk for each byte",
            chunks("1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"),
        ),
        ("leading zeros", chunks("0002\r\n{}\r\n000\r\n\r\n")),
        ("extensions", chunks("2;a=b;c=\"d e\"\r\n{}\r\n0;f\r\n\r\n")),
        (
            "a trailer",
            chunks("2\r\n{}\r\n0\r\nX-Checksum: y\r\nX-Empty:\r\n\r\n"),
        ),
        (
            "a coding in capitals",
            chunks("2\r\n{}\r\n0\r\n\r\n").replacen("chunked", "CHUNKED ", 1),
        ),
        (
            "an old coding",
            chunks("2\r\n{}\r\n0\r\n\r\n").replacen(
                "Transfer-Encoding: chunked",
                "TE: trailers\r\nTransfer-Encoding:chunked",
                1,
            ),
        ),
        (
            "values beyond ASCII",
            alone(sized("Content-Length: 2\r\nX: \u{c3}\u{a4} \u{ff}\r\n")),
        ),
        (
            "empty values",
            alone(sized("Content-Length: 2\r\nX:\r\nY: \t \r\n")),
        ),
        (
            "odd names",
            alone(sized("Content-Length: 2\r\n!#$%&'*+.^_`|~1: y\r\n")),
        ),
        (
            "an invitation",
            alone(sized("Content-Length: 2\r\nExpect: 100-Continue\r\n")),
        ),
        (
            "HTTP/1.0",
            alone(sized("Content-Length: 2\r\n")).replacen("1.1", "1.0", 1),
        ),
        (
            "an odd query",
            alone(sized("Content-Length: 2\r\n")).replacen("$P", "$P?a=%zz&b=%00;{}|^\\[]", 1),
        ),
        (
            "h2c, as a client of Java asks",
            alone(sized(
                "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nContent-Length: 2\r\n",
            )),
        ),
        (
            "a port",
            alone(sized("Content-Length: 2\r\n")).replacen("$H", "Host: gate.test:8443\r\n", 1),
        ),
        (
            "an IPv6 host",
            alone(sized("Content-Length: 2\r\n")).replacen("$H", "host:[::1]:80\r\n", 1),
        ),
        (
            "200 lines",
            alone(sized(&format!(
                "{}Content-Length: 2\r\n",
                "X: y\r\n".repeat(200)
            ))),
        ),
    ];
    let mut honest = group("honest", One, texts);
    // a request as the body of another is a body
    let hidden = "POST /hidden HTTP/1.1\r\nHost: gate.test\r\nContent-Length: 0\r\n\r\n";
    let length = hidden.len();
    for (name, text) in [
        (
            "a request for a body",
            format!("POST $P HTTP/1.1\r\n$H$SContent-Length: {length}\r\n\r\n{hidden}"),
        ),
        (
            "a request for a chunk",
            format!(
                "POST $P HTTP/1.1\r\n$H$STransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{hidden}\r\n0\r\n\r\n"
            ),
        ),
    ] {
        honest.push(Trick {
            group: "honest",
            name: name.into(),
            text,
            body: hidden.into(),
            expect: One,
        });
    }
    honest
}
