//! The place up to which a job has come.
use uuid::Uuid;

/// The place up to which a job has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobCursor {
    /// The phase, of jobs that go through events more than once.
    pub phase: u8,
    /// The time of the last event's next attempt, in the store's own time, where they are in that order; else 0.
    pub run_at: i64,
    /// The last event; `None` before the first.
    pub after: Option<Uuid>,
}

impl JobCursor {
    /// Returns the bytes that the store keeps.
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = vec![self.phase];
        bytes.extend(self.run_at.to_be_bytes());
        if let Some(after) = self.after {
            bytes.extend(after.into_bytes());
        }
        bytes
    }

    /// Reads the bytes that the store keeps.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (phase, rest) = bytes.split_first()?;
        let (run_at, rest) = rest.split_first_chunk()?;
        let after = match rest {
            [] => None,
            after => Some(Uuid::from_slice(after).ok()?),
        };
        Some(Self {
            phase: *phase,
            run_at: i64::from_be_bytes(*run_at),
            after,
        })
    }
}
