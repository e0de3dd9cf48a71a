//! The source of a body: the interface between a server and the reader of bodies.
use bytes::Bytes;

use crate::gateway::buffer::Buffer;

/// The reason why no more of a body arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gateway) enum BodyFault {
    /// The framing is malformed, or the sender has left.
    Broken,
}

/// A source of the body of a request.
pub(in crate::gateway) trait BodySource: Send {
    /// Sends `100 Continue` to a sender that expects it.
    fn invite_body(&mut self) -> impl Future<Output = ()> + Send;
    /// Returns the next bytes of the body, never an empty chunk; `None` after the last.
    fn next_chunk(&mut self) -> impl Future<Output = Result<Option<Bytes>, BodyFault>> + Send;
    /// Reads the next bytes of a body of declared size, at most `most`, into a buffer that has room for them if the source can; else returns them.
    fn next_into(
        &mut self,
        _buffer: &mut Buffer,
        _most: usize,
    ) -> impl Future<Output = Result<Next, BodyFault>> + Send {
        async {
            let chunk = self.next_chunk().await?;
            Ok(chunk.map_or(Next::End, Next::Chunk))
        }
    }
}

/// The next bytes of a body.
#[derive(Debug)]
pub(in crate::gateway) enum Next {
    /// This many bytes, which are in the buffer.
    Filled(usize),
    /// These bytes, which are not.
    Chunk(Bytes),
    /// None: the body has ended.
    End,
}

impl Next {
    /// Returns the number of the bytes.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Filled(bytes) => *bytes,
            Self::Chunk(chunk) => chunk.len(),
            Self::End => 0,
        }
    }
}
