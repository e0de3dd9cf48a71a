//! Makes texts from outside safe to print.
use std::fmt::Write as _;

/// Escapes a text from outside for a terminal: control characters and those that turn the reading order are written out, as `\x1b`.
pub fn clean(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' => {
                write!(shown, "\\x{:02x}", u32::from(char)).unwrap_or_default();
            }
            '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}'
            | '\u{feff}' => {
                write!(shown, "\\u{{{:x}}}", u32::from(char)).unwrap_or_default();
            }
            _ => shown.push(char),
        }
    }
    shown
}

/// Escapes bytes from outside for a terminal. Line feeds and tabs stay, for bodies.
pub fn clean_body(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.split('\n')
        .map(|line| line.split('\t').map(clean).collect::<Vec<_>>().join("\t"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(
            clean("a\x1b[31mb\r\n\u{9b}\u{202e}é"),
            "a\\x1b[31mb\\x0d\\x0a\\x9b\\u{202e}é"
        );
        assert_eq!(clean_body(b"a\tb\n\x1b\xff"), "a\tb\n\\x1b\u{fffd}");
    }
}
