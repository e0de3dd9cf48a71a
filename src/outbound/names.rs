//! The names that an app gives to tenants and endpoints.

/// The longest name, in bytes.
const MAX_NAME: usize = 128;

/// Returns whether this can be such a name. `.` and `..` cannot: a client would take them out of a path.
pub(super) fn is_name(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    !text.is_empty()
        && text.len() <= MAX_NAME
        && !matches!(text, "." | "..")
        && text.bytes().all(is_plain)
}
