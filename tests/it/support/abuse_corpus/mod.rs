//! Tricks of smuggling and parsing, as bytes. Behind each stands a signed request that must never arrive, and read leniently each is a
//! signed request itself: a gate that takes it for one lets it through.
//!
//! In a text every character is one byte (up to U+00FF), and these stand for more: `$P` the path, `$H` the `Host` line, `$S` the lines of
//! a signed delivery whose body is [`Trick::body`], `$h` and `$s` the same with bare line feeds, `$HIDDEN` a whole signed request behind.
mod framing;
mod lines;
mod rest;

/// The required outcome of a trick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// 400 and closed; the upstream sees nothing.
    Refused,
    /// This status and closed; the upstream sees nothing.
    Status(u16),
    /// The upstream sees one request, byte for byte.
    One,
    /// The same, and the connection is closed: something stands behind it.
    OneThenClosed,
}

/// Bytes of a sender who means no good, or, among the honest, of one who means no harm.
#[derive(Clone, Debug)]
pub struct Trick {
    pub group: &'static str,
    pub name: String,
    /// See the module.
    pub text: String,
    /// The bytes that are signed.
    pub body: String,
    pub expect: Expect,
}

/// Every trick, in groups.
pub fn all() -> Vec<Trick> {
    [framing::all(), lines::all(), rest::all()].concat()
}

/// Returns the tricks that have an effect only if the app itself can be reached.
pub fn of_pass_routes() -> Vec<Trick> {
    rest::of_pass_routes()
}

/// Tricks of one group that all come to the same.
fn group(
    group: &'static str,
    expect: Expect,
    tricks: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>,
) -> Vec<Trick> {
    let trick = |(name, text): (_, _)| Trick {
        group,
        name: String::into(name),
        text: String::into(text),
        body: "{}".into(),
        expect,
    };
    tricks
        .into_iter()
        .map(|(name, text)| trick((name.into(), text.into())))
        .collect()
}

/// A request with these lines and the body `{}`.
fn sized(lines: &str) -> String {
    format!("POST $P HTTP/1.1\r\n$H$S{lines}\r\n{{}}$HIDDEN")
}

/// A request with these lines and the body `{}` in one chunk.
fn chunked(lines: &str) -> String {
    format!("POST $P HTTP/1.1\r\n$H$S{lines}\r\n2\r\n{{}}\r\n0\r\n\r\n$HIDDEN")
}

/// A request whose body in chunks is this.
fn chunks(body: &str) -> String {
    format!("POST $P HTTP/1.1\r\n$H$STransfer-Encoding: chunked\r\n\r\n{body}$HIDDEN")
}
