//! Scans request line and header lines, whole or byte by byte, and the lines of a trailer.
use super::classes::{PATH, QUERY, TOKEN, is_in, run, run_of_value};
use super::known::{Known, Name, Word};
use super::spans::HeadSpans;
use super::violation::{Bad, Scanned, Violation};
use crate::request::Span;

mod whole;

/// The most bytes of a method: the longest registered one has 17.
const MAX_METHOD: u8 = 24;
/// The most header lines: pingora accepts no more.
const MAX_LINES: u16 = 256;
/// The most bytes of a trailer. They are read and dropped.
const MAX_TRAILER: usize = 8 * 1024;
/// The header lines for which there is room before the first ends.
const USUAL_LINES: usize = 16;
/// The most lines of a trailer.
const MAX_TRAILER_LINES: u16 = 64;
/// The most digits of a length: more would not fit every parser's number.
const MAX_DIGITS: u8 = 18;

/// The end of a request line, with the shortest end of a head.
const VERSION: &[u8] = b"HTTP/1.1\r\n\r\n";
/// The position of the version's last digit in it.
const MINOR: u8 = 7;
/// The position of the end of the line in it.
const LINE: u8 = 10;

/// The position of the next byte in a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// After this many bytes of the method.
    Method(u8),
    /// In an empty line before the request line. One is ignored (RFC 9112, section 2.2).
    EmptyLine,
    /// Before the target.
    TargetStart,
    Path,
    Query,
    /// After this many bytes of [`VERSION`].
    Version(u8),
    LineStart,
    Name,
    Value,
    /// In a length, after this many digits; and whether blanks followed them.
    Length(u8, bool),
    /// In a value that must be this word, after this many bytes of it; and whether blanks followed it.
    Word(Word, u8, bool),
    /// After the carriage return of a line.
    LineFeed,
    /// After the carriage return of the empty line.
    LastLineFeed,
    End,
}

/// The scan of a head or a trailer.
#[derive(Debug)]
pub(crate) struct Head {
    at: At,
    /// The bytes that may still arrive.
    room: usize,
    /// The lines that may still arrive.
    lines: u16,
    name: Name,
    has_empty_line: bool,
    is_trailer: bool,
    is_1_0: bool,
    has_host: bool,
    has_expect: bool,
    has_length: bool,
    is_chunked: bool,
    length: u64,
    /// The number of bytes scanned.
    scanned: usize,
    /// The line being scanned.
    line: (Span, Span),
    spans: HeadSpans,
}

impl Head {
    /// Returns a scan before the first byte of a head of at most `room` bytes.
    pub(crate) fn new(room: usize) -> Self {
        Self {
            at: At::Method(0),
            room,
            lines: MAX_LINES,
            name: Name::default(),
            has_empty_line: false,
            is_trailer: false,
            is_1_0: false,
            has_host: false,
            has_expect: false,
            has_length: false,
            is_chunked: false,
            length: 0,
            scanned: 0,
            line: <(Span, Span)>::default(),
            spans: HeadSpans::default(),
        }
    }

    /// Returns a scan before the first byte after the last chunk.
    pub(crate) fn trailer() -> Self {
        Self {
            at: At::LineStart,
            lines: MAX_TRAILER_LINES,
            is_trailer: true,
            ..Self::new(MAX_TRAILER)
        }
    }

    /// Returns whether the body is chunked.
    pub(crate) fn is_chunked(&self) -> bool {
        self.is_chunked
    }

    /// Returns the length of a body that is not chunked.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Returns the parts that were noted so far.
    pub(crate) fn spans(&self) -> &HeadSpans {
        &self.spans
    }

    /// Returns the parts of the head.
    pub(crate) fn into_spans(self) -> HeadSpans {
        self.spans
    }

    /// Notes where a part begins or ends: the byte at `place` moves the scan on to `next`.
    fn note(&mut self, next: At, place: usize) {
        match (self.at, next) {
            (At::Method(0), At::Method(1)) => self.spans.method.start = place,
            (At::Method(_), At::TargetStart) => self.spans.method.end = place,
            (At::TargetStart, At::Path) => self.spans.target.start = place,
            (At::Path | At::Query, At::Version(0)) => self.spans.target.end = place,
            (At::Version(MINOR), _) => self.spans.is_1_0 = self.is_1_0,
            (At::LineStart, At::Name) => self.line.0.start = place,
            (At::Name, At::Value | At::Length(..) | At::Word(..)) => {
                self.line.0.end = place;
                self.line.1.start = place + 1;
            }
            (At::Value | At::Length(..) | At::Word(..), At::LineFeed) if !self.is_trailer => {
                self.line.1.end = place;
                self.add_line(self.line);
            }
            _ => {}
        }
    }

    fn add_line(&mut self, line: (Span, Span)) {
        if self.spans.lines.is_empty() {
            self.spans.lines.reserve(USUAL_LINES);
        }
        self.spans.lines.push(line);
    }

    /// Scans the next bytes.
    pub(crate) fn scan(&mut self, bytes: &[u8]) -> Scanned {
        let (chunk, beyond) = bytes.split_at_checked(self.room).unwrap_or((bytes, b""));
        let mut rest = chunk;
        loop {
            if let Some(after) = self.whole_part(rest, self.scanned + chunk.len() - rest.len()) {
                rest = after;
                continue;
            }
            let Some((byte, after)) = self.skip_run(rest).split_first() else {
                break;
            };
            let used = chunk.len() - after.len();
            let next = self.step(*byte).map_err(|why| Bad { at: used - 1, why })?;
            self.note(next, self.scanned + used - 1);
            self.at = next;
            rest = after;
            if self.at == At::End {
                return Ok(Some(used));
            }
        }
        self.room -= chunk.len();
        self.scanned += chunk.len();
        let in_target = matches!(self.at, At::TargetStart | At::Path | At::Query);
        let why = if in_target {
            Violation::TargetTooLong
        } else {
            Violation::TooLarge
        };
        if beyond.is_empty() {
            Ok(None)
        } else {
            Err(Bad {
                at: chunk.len(),
                why,
            })
        }
    }

    /// Skips the bytes that do not change the position, which are most of a head.
    fn skip_run<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let skipped = match self.at {
            At::Path => run(&PATH, bytes),
            At::Query => run(&QUERY, bytes),
            At::Name => run(&TOKEN, bytes),
            At::Value => run_of_value(bytes),
            At::Method(_)
            | At::EmptyLine
            | At::TargetStart
            | At::Version(_)
            | At::LineStart
            | At::Length(..)
            | At::Word(..) => {
                return bytes;
            }
            At::LineFeed | At::LastLineFeed | At::End => return bytes,
        };
        let (skipped, rest) = bytes.split_at_checked(skipped).unwrap_or((bytes, b""));
        if self.at == At::Name {
            self.name.push(skipped);
        }
        rest
    }

    /// Returns the position after one more byte.
    fn step(&mut self, byte: u8) -> Result<At, Violation> {
        match self.at {
            At::Method(0)
                if byte == b'\r' && !std::mem::replace(&mut self.has_empty_line, true) =>
            {
                Ok(At::EmptyLine)
            }
            At::EmptyLine => if_is(byte, b'\n', At::Method(0), Violation::LineEnd),
            At::Method(len) => match byte {
                b' ' if len > 0 => Ok(At::TargetStart),
                _ if is_in(&TOKEN, byte) && len < MAX_METHOD => Ok(At::Method(len + 1)),
                _ => Err(Violation::Method),
            },
            At::TargetStart => if_is(byte, b'/', At::Path, Violation::Target),
            At::Path if byte == b'?' => Ok(At::Query),
            At::Path | At::Query => if_is(byte, b' ', At::Version(0), Violation::Target),
            At::Version(MINOR) if byte == b'0' => {
                self.is_1_0 = true;
                Ok(At::Version(MINOR + 1))
            }
            At::Version(len) => {
                let next = if len + 1 == LINE {
                    At::LineStart
                } else {
                    At::Version(len + 1)
                };
                let why = if len > MINOR {
                    Violation::LineEnd
                } else {
                    Violation::Version
                };
                VERSION
                    .get(usize::from(len))
                    .filter(|expected| **expected == byte)
                    .map(|_| next)
                    .ok_or(why)
            }
            At::LineStart => self.line_start(byte),
            At::Name => {
                if byte == b':' {
                    self.colon()
                } else {
                    Err(Violation::Name)
                }
            }
            At::Value => match byte {
                b'\r' => Ok(At::LineFeed),
                b'\n' => Err(Violation::LineEnd),
                _ => Err(Violation::Value),
            },
            At::Length(digits, over) => self.length_step(digits, over, byte),
            At::Word(word, len, over) => word_step(word, len, over, byte),
            At::LineFeed => if_is(byte, b'\n', At::LineStart, Violation::LineEnd),
            At::LastLineFeed => if_is(byte, b'\n', At::End, Violation::LineEnd),
            At::End => Err(Violation::LineEnd),
        }
    }

    fn line_start(&mut self, byte: u8) -> Result<At, Violation> {
        match byte {
            b'\r' if self.has_host || self.is_trailer => Ok(At::LastLineFeed),
            b'\r' => Err(Violation::Host),
            b'\n' => Err(Violation::LineEnd),
            b' ' | b'\t' => Err(Violation::Fold),
            _ if !is_in(&TOKEN, byte) => Err(Violation::Name),
            _ => {
                self.lines = self.lines.checked_sub(1).ok_or(Violation::TooLarge)?;
                self.name = Name::default();
                self.name.push(&[byte]);
                Ok(At::Name)
            }
        }
    }

    /// Returns the position after the colon, by the name of the header.
    fn colon(&mut self) -> Result<At, Violation> {
        let known = self.name.known()?;
        if known.is_some() && self.is_trailer {
            return Err(Violation::Trailer);
        }
        match known {
            None => Ok(At::Value),
            Some(Known::Host) => once(&mut self.has_host, At::Value, Violation::Host),
            Some(Known::Expect) => once(
                &mut self.has_expect,
                At::Word(Word::Continue, 0, false),
                Violation::Expect,
            ),
            Some(Known::Length) if self.is_chunked => Err(Violation::Length),
            Some(Known::Length) => once(
                &mut self.has_length,
                At::Length(0, false),
                Violation::Length,
            ),
            Some(Known::Coding) if self.has_length || self.is_1_0 => Err(Violation::Coding),
            Some(Known::Coding) => once(
                &mut self.is_chunked,
                At::Word(Word::Chunked, 0, false),
                Violation::Coding,
            ),
        }
    }

    /// Returns the position after a byte of a length: digits without a leading zero, blanks around them.
    fn length_step(&mut self, digits: u8, over: bool, byte: u8) -> Result<At, Violation> {
        match byte {
            b' ' | b'\t' => Ok(At::Length(digits, digits > 0)),
            b'\r' if digits > 0 => Ok(At::LineFeed),
            b'0'..=b'9' if !over && digits < MAX_DIGITS && (digits == 0 || self.length > 0) => {
                self.length = self.length * 10 + u64::from(byte - b'0');
                Ok(At::Length(digits + 1, false))
            }
            _ => Err(Violation::Length),
        }
    }

    /// Returns the shortest end of the head from here: with it, the bytes up to the cut are a head in normal form.
    pub(crate) fn ending(&self) -> &'static [u8] {
        let from = |whole: &'static [u8], at: u8| whole.get(usize::from(at)..).unwrap_or_default();
        match self.at {
            At::Method(0) => b"- / HTTP/1.1\r\n\r\n",
            At::Method(_) => b" / HTTP/1.1\r\n\r\n",
            At::EmptyLine => b"\n- / HTTP/1.1\r\n\r\n",
            At::TargetStart => b"/ HTTP/1.1\r\n\r\n",
            At::Path | At::Query => b" HTTP/1.1\r\n\r\n",
            At::Version(len) => from(VERSION, len),
            At::LineStart => b"\r\n",
            // one byte more, so that it is not a known name
            At::Name => b"-:\r\n\r\n",
            At::Length(0, _) => b"0\r\n\r\n",
            At::Value | At::Length(..) => b"\r\n\r\n",
            At::Word(word, len, _) => from(word.bytes(), len),
            At::LineFeed => b"\n\r\n",
            At::LastLineFeed => b"\n",
            At::End => b"",
        }
    }
}

fn if_is(byte: u8, expected: u8, next: At, why: Violation) -> Result<At, Violation> {
    if byte == expected { Ok(next) } else { Err(why) }
}

fn once(is_set: &mut bool, next: At, why: Violation) -> Result<At, Violation> {
    if std::mem::replace(is_set, true) {
        Err(why)
    } else {
        Ok(next)
    }
}

fn word_step(word: Word, len: u8, over: bool, byte: u8) -> Result<At, Violation> {
    let is_whole = len == word.len();
    match byte {
        b' ' | b'\t' if len == 0 || is_whole => Ok(At::Word(word, len, is_whole)),
        b'\r' if is_whole => Ok(At::LineFeed),
        _ if over || is_whole => Err(word.violation()),
        _ if word
            .bytes()
            .get(usize::from(len))
            .is_some_and(|expected| expected.eq_ignore_ascii_case(&byte)) =>
        {
            Ok(At::Word(word, len + 1, false))
        }
        _ => Err(word.violation()),
    }
}
