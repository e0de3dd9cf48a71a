//! The headers whose names and values decide the framing, the host or the continuation of a request.
use super::violation::Violation;

/// A value that is the only one allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Chunked,
    Continue,
}

impl Word {
    /// Returns the word, with the shortest end of a head.
    pub(super) const fn bytes(self) -> &'static [u8] {
        match self {
            Self::Chunked => b"chunked\r\n\r\n",
            Self::Continue => b"100-continue\r\n\r\n",
        }
    }

    /// Returns the length of the word.
    pub(super) const fn len(self) -> u8 {
        match self {
            Self::Chunked => 7,
            Self::Continue => 12,
        }
    }

    /// Returns the violation of any other value.
    pub(super) const fn violation(self) -> Violation {
        match self {
            Self::Chunked => Violation::Coding,
            Self::Continue => Violation::Expect,
        }
    }
}

/// A header that decides the framing, the host or the continuation of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Host,
    Expect,
    Length,
    Coding,
}

/// The first bytes of a header's name, as many as are needed to recognize it.
#[derive(Debug, Default)]
pub(super) struct Name {
    bytes: [u8; Self::BUFFER_LENGTH],
    len: usize,
}

impl Name {
    /// One more than the length of the longest known name.
    const BUFFER_LENGTH: usize = 18;
    const KNOWN: [(&'static [u8], Known); 4] = [
        (b"host", Known::Host),
        (b"expect", Known::Expect),
        (b"content-length", Known::Length),
        (b"transfer-encoding", Known::Coding),
    ];

    /// Appends bytes of the name, as far as they are needed.
    pub(super) fn push(&mut self, more: &[u8]) {
        let Some(room) = self.bytes.get_mut(self.len..) else {
            return;
        };
        let taken = room.len().min(more.len());
        if let (Some(room), Some(more)) = (room.get_mut(..taken), more.get(..taken)) {
            room.copy_from_slice(more);
        }
        self.len += taken;
    }

    /// Returns the known header of this name. A spelling such as `Content_Length`, which CGI reads as the header itself, is an error.
    pub(super) fn known(&self) -> Result<Option<Known>, Violation> {
        let name = self.bytes.get(..self.len).unwrap_or_default();
        let Some((exact, known)) = Self::KNOWN.iter().find(|(known, _)| is_like(name, known))
        else {
            return Ok(None);
        };
        if name.eq_ignore_ascii_case(exact) {
            Ok(Some(*known))
        } else {
            Err(Violation::Name)
        }
    }
}

/// Returns whether a name is known, or a spelling that is like a known one.
pub(super) fn is_known(name: &[u8]) -> bool {
    Name::KNOWN.iter().any(|(known, _)| is_like(name, known))
}

/// Returns whether two names are equal, ignoring case, where any sign counts as a hyphen.
fn is_like(name: &[u8], known: &[u8]) -> bool {
    let like = |(a, b): (&u8, &u8)| {
        a.eq_ignore_ascii_case(b) || (*b == b'-' && !a.is_ascii_alphanumeric())
    };
    name.len() == known.len() && name.iter().zip(known).all(like)
}
