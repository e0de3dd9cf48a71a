//! Checks the texts of secrets. None of them is ever shown.
use zeroize::Zeroizing;

/// The largest size of a secret file, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;
/// The length below which a secret is weak, in bytes.
pub const WEAK_BELOW: usize = 16;

/// Removes one trailing newline (LF or CR LF), and returns whether there was one.
pub fn without_line_feed(mut bytes: Zeroizing<Vec<u8>>) -> (Zeroizing<Vec<u8>>, bool) {
    let dropped = bytes.pop_if(|last| *last == b'\n').is_some();
    if dropped {
        bytes.pop_if(|last| *last == b'\r');
    }
    (bytes, dropped)
}

/// Checks that `bytes` are one secret as text: not empty, not binary, without invisible characters.
///
/// # Errors
/// The error, and the fix.
pub fn check_secret_text(
    bytes: &[u8],
    may_have_blanks: bool,
) -> Result<(), (&'static str, &'static str)> {
    const WRITE: &str = "write the secret into it, mode 0600";
    const PLAIN: &str = "write only the secret, as UTF-8 text; write a binary key as `base64` or `hex` and set its `encoding`";
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
        return Err(("contains a NUL byte: it is binary or UTF-16", PLAIN));
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Err(("is not UTF-8 text", PLAIN));
    };
    let is_blank = char::is_whitespace;
    if text.chars().all(is_blank) {
        return Err(("contains only white space", WRITE));
    }
    if text.starts_with(is_blank) || text.ends_with(is_blank) {
        return Err(("begins or ends with white space", "remove the white space"));
    }
    if text
        .chars()
        .any(|char| is_invisible(char) && !is_blank(char))
    {
        return Err(("contains a control or invisible character", PLAIN));
    }
    if !may_have_blanks && text.contains(is_blank) {
        return Err((
            "contains white space",
            "write only one secret, or add `allow_whitespace: true` if the white space is intended",
        ));
    }
    Ok(())
}

/// Returns whether the character is invisible, or a replacement for lost bytes. No provider creates secrets with such characters.
fn is_invisible(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}')
        || matches!(
            char,
            '\u{feff}' | '\u{fff9}'..='\u{fffd}' | '\u{fffe}' | '\u{ffff}'
        )
}

/// Returns whether the text is in quotes.
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
