//! Judges the texts of secrets. None of them is ever shown.
use zeroize::Zeroizing;

/// Drops one line feed (or CR LF) at the end, and returns whether there was one.
pub(super) fn without_line_feed(mut bytes: Zeroizing<Vec<u8>>) -> (Zeroizing<Vec<u8>>, bool) {
    let dropped = bytes.pop_if(|last| *last == b'\n').is_some();
    if dropped {
        bytes.pop_if(|last| *last == b'\r');
    }
    (bytes, dropped)
}

/// Checks that `bytes` are one secret as text: not empty, not binary, nothing invisible.
///
/// # Errors
/// What is wrong, and what to do.
pub fn wholesome(bytes: &[u8], may_have_blanks: bool) -> Result<(), (&'static str, &'static str)> {
    const WRITE: &str = "write the secret into it, mode 0600";
    const PLAIN: &str = "write the secret alone, as plain UTF-8 text; a binary key as `base64` or `hex`, with its `encoding`";
    if bytes.is_empty() {
        return Err(("is empty", WRITE));
    }
    if [&b"\xef\xbb\xbf"[..], b"\xff\xfe", b"\xfe\xff"]
        .iter()
        .any(|mark| bytes.starts_with(mark))
    {
        return Err((
            "begins with a byte order mark",
            "save it as UTF-8 without one",
        ));
    }
    if bytes.contains(&0) {
        return Err(("holds a NUL byte: it is binary, or UTF-16", PLAIN));
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Err(("is not UTF-8 text", PLAIN));
    };
    let is_blank = char::is_whitespace;
    if text.chars().all(is_blank) {
        return Err(("holds nothing but white space", WRITE));
    }
    if text.starts_with(is_blank) || text.ends_with(is_blank) {
        return Err((
            "begins or ends with white space",
            "take it off: it is part of no secret",
        ));
    }
    if text
        .chars()
        .any(|char| is_invisible(char) && !is_blank(char))
    {
        return Err(("holds a control character, or one that nobody sees", PLAIN));
    }
    if !may_have_blanks && text.contains(is_blank) {
        return Err((
            "has white space inside",
            "write one secret alone, or say `allow_whitespace: true` if it is meant",
        ));
    }
    Ok(())
}

/// Returns whether the character takes no room, or stands for bytes that were lost. No provider makes secrets with such ones.
fn is_invisible(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}')
        || matches!(
            char,
            '\u{feff}' | '\u{fff9}'..='\u{fffd}' | '\u{fffe}' | '\u{ffff}'
        )
}

/// Returns whether the text stands between two quotes.
pub(super) fn is_quoted(bytes: &[u8]) -> bool {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let quotes = [
        ('"', '"'),
        ('\'', '\''),
        ('`', '`'),
        ('\u{201c}', '\u{201d}'),
        ('\u{201e}', '\u{201c}'),
        ('\u{2018}', '\u{2019}'),
    ];
    quotes.into_iter().any(|(first, last)| {
        text.strip_prefix(first)
            .is_some_and(|rest| rest.ends_with(last))
    })
}
