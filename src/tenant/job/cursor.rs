//! The position of a job.

/// The position of a job: the events before it are done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobCursor {
    /// The phase, of jobs that go through events more than once.
    pub phase: u8,
    /// The position within the phase, in the encoding of the code that does the work; empty at the beginning.
    pub after: Vec<u8>,
}

impl JobCursor {
    /// Returns the bytes that the store keeps.
    pub fn to_bytes(&self) -> Vec<u8> {
        [&[self.phase], &*self.after].concat()
    }

    /// Reads the bytes that the store keeps.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (phase, after) = bytes.split_first()?;
        Some(Self {
            phase: *phase,
            after: after.to_vec(),
        })
    }
}
