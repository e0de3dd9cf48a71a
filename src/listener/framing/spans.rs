//! The places of the parts of a head in its bytes.
use crate::request::Span;

/// The parts of a head, as far as it was scanned. A part that has not ended has an end before its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeadSpans {
    /// The method.
    pub method: Span,
    /// The target.
    pub target: Span,
    /// Whether the version is HTTP/1.0.
    pub is_1_0: bool,
    /// The name and the value of each header line that has ended. A value has the blanks around it still.
    pub lines: Vec<(Span, Span)>,
}
