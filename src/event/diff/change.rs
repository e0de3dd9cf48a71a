//! One change between two schemas, and what it means.

/// The meaning of a change for the receivers of the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// All data that NEW allows is allowed by OLD.
    Safe,
    /// It breaks no receiver, but needs attention.
    Warning,
    /// It cannot be judged. It counts as breaking.
    Unknown,
    /// NEW allows data that OLD refuses.
    Breaking,
}

/// A change between two schemas.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Change {
    /// The meaning.
    pub verdict: Verdict,
    /// The JSON pointer of the value in the data. `*` stands for any item, or any other field.
    pub at: String,
    /// The keyword of the schema; empty if it is not about one.
    pub keyword: String,
    /// The change in words.
    pub message: String,
}

impl Change {
    /// Returns a change.
    pub(super) fn new(
        verdict: Verdict,
        at: &str,
        keyword: &str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            verdict,
            at: at.to_owned(),
            keyword: keyword.to_owned(),
            message: message.into(),
        }
    }

    /// Returns a change that breaks.
    pub(super) fn breaking(at: &str, keyword: &str, message: impl Into<String>) -> Self {
        Self::new(Verdict::Breaking, at, keyword, message)
    }

    /// Returns a change that cannot be judged.
    pub(super) fn unknown(at: &str, keyword: &str, message: impl Into<String>) -> Self {
        Self::new(Verdict::Unknown, at, keyword, message)
    }

    /// Returns whether the change breaks no receiver.
    pub fn is_safe(&self) -> bool {
        matches!(self.verdict, Verdict::Safe | Verdict::Warning)
    }
}
