//! The form in which a sender's text is shown.

/// Makes a sender's text fit for a line: escapes all but visible ASCII as `\\xNN`, and cuts and marks a text that is too long.
pub(super) fn shown(text: &[u8], longest: usize) -> Box<str> {
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && *byte != b'\\';
    if text.len() <= longest && text.iter().all(is_plain) {
        return String::from_utf8_lossy(text).into();
    }
    let mut shown = String::new();
    for byte in text.iter().take(longest) {
        match byte {
            b' ' => shown.push(' '),
            byte if is_plain(byte) => shown.push(char::from(*byte)),
            byte => shown.extend(format!("\\x{byte:02x}").chars()),
        }
        if shown.len() >= longest {
            break;
        }
    }
    if shown.len() >= longest && text.len() > 1 {
        shown.push('…');
    }
    shown.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The store keeps such a text, and not every store takes U+0000.
    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(&*shown(b"a\0b\n", 64), "a\\x00b\\x0a");
        assert_eq!(&*shown("\u{e9}".as_bytes(), 64), "\\xc3\\xa9");
    }
}
