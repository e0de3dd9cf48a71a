//! The usual parts of a head, judged as a whole: most arrive in one piece. The rules are those of [`Head::step`].
use super::{At, Head, MAX_METHOD};
use crate::listener::framing::classes::{TOKEN, run, run_of_value};
use crate::listener::framing::known::is_known;
use crate::request::Span;

/// The usual end of a request line.
const USUAL_VERSION: &[u8] = b"HTTP/1.1\r\n";

impl Head {
    /// Takes the next part of a head at once, if `bytes` begins with all of it and it is usual. Returns the bytes after it. Any other part is left to
    /// [`Self::step`], which judges byte by byte; nothing has changed then. `place` is the position of the first byte.
    pub(super) fn whole_part<'a>(&mut self, bytes: &'a [u8], place: usize) -> Option<&'a [u8]> {
        if self.at == At::Method(0) {
            self.whole_method(bytes, place)
        } else if self.at == At::Version(0) {
            let after = bytes.strip_prefix(USUAL_VERSION)?;
            self.at = At::LineStart;
            Some(after)
        } else if self.at == At::LineStart && !self.is_trailer {
            self.whole_line(bytes, place)
        } else {
            None
        }
    }

    /// Takes a method and the first byte of the target.
    fn whole_method<'a>(&mut self, bytes: &'a [u8], place: usize) -> Option<&'a [u8]> {
        let (method, after) = bytes.split_at_checked(run(&TOKEN, bytes))?;
        let after = after.strip_prefix(b" /")?;
        if method.is_empty() || method.len() > usize::from(MAX_METHOD) {
            return None;
        }
        let end = place + method.len();
        self.spans.method = Span { start: place, end };
        self.spans.target.start = end + 1;
        self.at = At::Path;
        Some(after)
    }

    /// Takes a header line whose name decides nothing.
    fn whole_line<'a>(&mut self, bytes: &'a [u8], place: usize) -> Option<&'a [u8]> {
        let (name, after) = bytes.split_at_checked(run(&TOKEN, bytes))?;
        let after = after.strip_prefix(b":")?;
        if name.is_empty() || is_known(name) {
            return None;
        }
        let (value, after) = after.split_at_checked(run_of_value(after))?;
        let after = after.strip_prefix(b"\r\n")?;
        self.lines = self.lines.checked_sub(1)?;
        let name = Span {
            start: place,
            end: place + name.len(),
        };
        let value = Span {
            start: name.end + 1,
            end: name.end + 1 + value.len(),
        };
        self.add_line((name, value));
        Some(after)
    }
}
