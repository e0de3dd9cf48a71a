//! Tricks with the end of a message: lengths, codings, chunks, trailers.
use super::Expect::Refused;
use super::{Trick, chunked, chunks, group, sized};

pub fn all() -> Vec<Trick> {
    [lengths(), codings(), bodies(), trailers()].concat()
}

fn lengths() -> Vec<Trick> {
    let values = [
        "+2",
        "-2",
        "-0",
        "0x2",
        "2.0",
        "02",
        "002",
        "2 2",
        "2, 2",
        "2,",
        ",2",
        "2, 0",
        "0, 2",
        "",
        " ",
        "2\x0b",
        "\x0b2",
        "2\x0c",
        "2;a=b",
        "\"2\"",
        "'2'",
        "2e0",
        "2_0",
        "\u{b2}",
        "2\u{a0}",
        "18446744073709551618",
        "99999999999999999999",
        "0000000000000000002",
        "2\0",
        "2\0 0",
        "2\x7f",
        "0b10",
        "II",
        "2/2",
    ];
    let lines = [
        (
            "twice, the same",
            "Content-Length: 2\r\nContent-Length: 2\r\n",
        ),
        (
            "twice, first more",
            "Content-Length: 2\r\nContent-Length: 0\r\n",
        ),
        (
            "twice, last more",
            "Content-Length: 0\r\nContent-Length: 2\r\n",
        ),
        (
            "twice, in other cases",
            "content-length: 2\r\nCONTENT-LENGTH: 2\r\n",
        ),
        (
            "twice, apart",
            "Content-Length: 2\r\nX: y\r\nContent-Length: 900\r\n",
        ),
        ("with an underscore", "Content_Length: 2\r\n"),
        (
            "with an underscore beside",
            "Content-Length: 2\r\nContent_Length: 0\r\n",
        ),
        ("with a dot", "Content-Length: 2\r\nContent.Length: 0\r\n"),
        ("blank before the colon", "Content-Length : 2\r\n"),
        ("tab before the colon", "Content-Length\t: 2\r\n"),
        ("folded", "Content-Length:\r\n 2\r\n"),
        ("folded number", "Content-Length: 2\r\n 0\r\n"),
        ("behind a bare line feed", "X: y\nContent-Length: 2\r\n"),
        (
            "behind a bare carriage return",
            "X: y\rContent-Length: 2\r\n",
        ),
    ];
    let values = values.map(|value| {
        (
            format!("{value:?}"),
            sized(&format!("Content-Length: {value}\r\n")),
        )
    });
    let lines = lines.map(|(name, lines)| (name.to_owned(), sized(lines)));
    group("content-length", Refused, values.into_iter().chain(lines))
}

fn codings() -> Vec<Trick> {
    let values = [
        "xchunked",
        "x chunked",
        "chunked, chunked",
        "gzip, chunked",
        "identity, chunked",
        ", chunked",
        ",chunked",
        "chunked,",
        "chunked, identity",
        "identity",
        "chunked;q=1",
        "chunked ; a=b",
        "\"chunked\"",
        "'chunked'",
        "\x0bchunked",
        "chunked\x0b",
        "\u{a0}chunked",
        "chunked\0",
        "\0chunked",
        "",
        "chunke",
        "chunkedd",
        "chun ked",
        "chunked chunked",
        "cow",
        "c\u{fc}nked",
        "[chunked]",
        "chunked\x0c",
        "deflate",
        "chunked\x7f",
    ];
    let (length, coding) = ("Content-Length: 2\r\n", "Transfer-Encoding: chunked\r\n");
    let lines = [
        ("behind a length", format!("{length}{coding}")),
        ("before a length", format!("{coding}{length}")),
        (
            "beside a length of 0",
            format!("Content-Length: 0\r\n{coding}"),
        ),
        (
            "beside a long length",
            format!("{coding}Content-Length: 900\r\n"),
        ),
        (
            "in other cases beside a length",
            "content-length: 2\r\nTRANSFER-encoding: CHUNKED\r\n".to_owned(),
        ),
        ("twice", format!("{coding}{coding}")),
        (
            "then another",
            format!("{coding}Transfer-Encoding: cow\r\n"),
        ),
        (
            "behind another",
            format!("Transfer-Encoding: cow\r\n{coding}"),
        ),
        ("then none", format!("{coding}Transfer-Encoding:\r\n")),
        (
            "blank before the colon",
            "Transfer-Encoding : chunked\r\n".to_owned(),
        ),
        (
            "blank before the colon beside a length",
            format!("{length}Transfer-Encoding : chunked\r\n"),
        ),
        (
            "tab before the colon beside a length",
            format!("{length}Transfer-Encoding\t: chunked\r\n"),
        ),
        (
            "with an underscore beside a length",
            format!("{length}Transfer_Encoding: chunked\r\n"),
        ),
        (
            "with a dot beside a length",
            format!("{length}Transfer.Encoding: chunked\r\n"),
        ),
        (
            "with a tilde beside a length",
            format!("{length}transfer~encoding: chunked\r\n"),
        ),
        ("folded", "Transfer-Encoding:\r\n chunked\r\n".to_owned()),
        (
            "folded name",
            format!("{length}Transfer-Encoding\r\n : chunked\r\n"),
        ),
        (
            "folded into a line before",
            format!("{length}X: y\r\n Transfer-Encoding: chunked\r\n"),
        ),
        (
            "behind a bare line feed",
            format!("{length}X: y\nTransfer-Encoding: chunked\r\n"),
        ),
        (
            "behind a bare carriage return",
            format!("{length}X: y\rTransfer-Encoding: chunked\r\n"),
        ),
        (
            "behind a NUL",
            format!("{length}X: y\0Transfer-Encoding: chunked\r\n"),
        ),
        (
            "NUL in the name",
            format!("{length}Transfer-\0Encoding: chunked\r\n"),
        ),
        (
            "in quotes over a line",
            format!("{length}X: \"y\nTransfer-Encoding: chunked\r\nY: z\"\r\n"),
        ),
    ];
    let values = values.map(|value| {
        (
            format!("{value:?}"),
            chunked(&format!("Transfer-Encoding: {value}\r\n")),
        )
    });
    let lines = lines.map(|(name, lines)| (name.to_owned(), chunked(&lines)));
    // a gate that goes by the length takes this one
    let sized = [
        (
            "unknown beside a length",
            sized("Content-Length: 2\r\nTransfer-Encoding: cow\r\n"),
        ),
        (
            "empty beside a length",
            sized("Content-Length: 2\r\nTransfer-Encoding:\r\n"),
        ),
        (
            "identity beside a length",
            sized("Content-Length: 2\r\nTransfer-Encoding: identity\r\n"),
        ),
    ];
    let sized = sized.map(|(name, text)| (name.to_owned(), text));
    group(
        "transfer-encoding",
        Refused,
        values.into_iter().chain(lines).chain(sized),
    )
}

fn bodies() -> Vec<Trick> {
    let end = "\r\n0\r\n\r\n";
    let sizes = [
        "",
        "0x2",
        "+2",
        "-2",
        " 2",
        "\t2",
        "2 ",
        "2\t",
        "2 ;a",
        "2\x0b",
        "\u{b2}",
        "2h",
        "2.",
        "2,",
        "2 2",
        "2_",
        "00000000000000002",
        "10000000000000002",
        "8000000000000002",
        "fffffffffffffffe",
        "ffffffffffffffff",
        "\"2\"",
        "2\0",
        "\0 2",
        "2\x7f",
        "G",
        "0x",
        "2;\x01",
        "2;a=\u{e4}",
        "2;a=\"\0\"",
        "2;a=\"\x7f\"",
    ];
    let sizes = sizes.map(|size| {
        (
            format!("size {size:?}"),
            chunks(&format!("{size}\r\n{{}}{end}")),
        )
    });
    let long = "e".repeat(257);
    let many = format!("1;{}\r\nx\r\n", "e".repeat(255)).repeat(260);
    let bodies = [
        ("size line ends in a line feed", format!("2\n{{}}{end}")),
        (
            "size line ends in a carriage return",
            format!("2\r{{}}{end}"),
        ),
        ("size line ends in two", format!("2\r\r\n{{}}{end}")),
        ("all lines end in a line feed", "2\n{}\n0\n\n".to_owned()),
        ("no end of data", "2\r\n{}0\r\n\r\n".to_owned()),
        ("data ends in a line feed", "2\r\n{}\n0\r\n\r\n".to_owned()),
        (
            "data ends in a carriage return",
            "2\r\n{}\r0\r\n\r\n".to_owned(),
        ),
        ("data ends in other bytes", "2\r\n{}xy0\r\n\r\n".to_owned()),
        ("more data than declared", "1\r\n{}\r\n0\r\n\r\n".to_owned()),
        ("less data than declared", "3\r\n{}\r\n0\r\n\r\n".to_owned()),
        ("an empty line for the end", "2\r\n{}\r\n\r\n".to_owned()),
        (
            "an empty line before a size",
            "\r\n2\r\n{}\r\n0\r\n\r\n".to_owned(),
        ),
        (
            "an empty line between chunks",
            "1\r\n{\r\n\r\n1\r\n}\r\n0\r\n\r\n".to_owned(),
        ),
        (
            "line feed in an extension",
            "2;a\nb\r\n{}\r\n0\r\n\r\n".to_owned(),
        ),
        (
            "line feed in quotes",
            "2;a=\"\n\"\r\n{}\r\n0\r\n\r\n".to_owned(),
        ),
        (
            "line end in quotes",
            "2;a=\"\r\n\"\r\n{}\r\n0\r\n\r\n".to_owned(),
        ),
        (
            "carriage return in an extension",
            "2;a\rb\r\n{}\r\n0\r\n\r\n".to_owned(),
        ),
        (
            "a whole request in quotes",
            "2;a=\"\n0\n\n$HIDDEN\"\r\n{}\r\n0\r\n\r\n".to_owned(),
        ),
        ("a long extension", format!("2;{long}\r\n{{}}{end}")),
        ("many extensions", format!("{many}0\r\n\r\n")),
        (
            "line feed behind the last chunk",
            "2\r\n{}\r\n0\n\r\n".to_owned(),
        ),
        (
            "line feed for the last line",
            "2\r\n{}\r\n0\r\n\n".to_owned(),
        ),
        (
            "carriage return for the last line",
            "2\r\n{}\r\n0\r\n\r".to_owned(),
        ),
        (
            "a last chunk with a sign",
            "2\r\n{}\r\n-0\r\n\r\n".to_owned(),
        ),
        (
            "a last chunk with a prefix",
            "2\r\n{}\r\n0x0\r\n\r\n".to_owned(),
        ),
        (
            "a last chunk in blanks",
            "2\r\n{}\r\n 0 \r\n\r\n".to_owned(),
        ),
        ("no framing at all", "{}".to_owned()),
    ];
    let bodies = bodies.map(|(name, body)| (name.to_owned(), chunks(&body)));
    group("chunk framing", Refused, sizes.into_iter().chain(bodies))
}

fn trailers() -> Vec<Trick> {
    let many = "X: y\r\n".repeat(65);
    let long = format!("X: {}\r\n", "y".repeat(8 * 1024));
    let trailers = [
        ("a length", "Content-Length: 900\r\n"),
        ("a coding", "Transfer-Encoding: chunked\r\n"),
        (
            "a coding with an underscore",
            "Transfer_Encoding: chunked\r\n",
        ),
        ("a host", "Host: other.test\r\n"),
        ("an expectation", "Expect: 100-continue\r\n"),
        ("no colon", "X\r\n"),
        ("an empty name", ": y\r\n"),
        ("blank before the colon", "X : y\r\n"),
        ("folded", "X: y\r\n z\r\n"),
        ("folded at once", " X: y\r\n"),
        ("ends in a line feed", "X: y\n"),
        ("ends in a carriage return", "X: y\r"),
        ("NUL in a value", "X: \0\r\n"),
        ("NUL in a name", "X\0: y\r\n"),
        ("a request", "GET /hidden HTTP/1.1\r\nX: y\r\n"),
        ("another chunk", "2\r\n{}\r\n0\r\n"),
        ("many", &many),
        ("long", &long),
    ];
    group(
        "trailers",
        Refused,
        trailers.map(|(name, lines)| (name, chunks(&format!("2\r\n{{}}\r\n0\r\n{lines}\r\n")))),
    )
}
