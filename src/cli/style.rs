//! The five styles of the output, each with one meaning.
use anstyle::{AnsiColor, Style};

/// The style of a good state.
pub const GREEN: Style = AnsiColor::Green.on_default();
/// The style of a bad state.
pub const RED: Style = AnsiColor::Red.on_default();
/// The style of a state that needs attention.
pub const YELLOW: Style = AnsiColor::Yellow.on_default();
/// The style of the thing that the user asked about.
pub const BOLD: Style = Style::new().bold();
/// The style of text that can be skipped.
pub const DIM: Style = Style::new().dimmed();
/// The style of all other text.
pub const PLAIN: Style = Style::new();
