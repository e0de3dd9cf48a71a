//! Finds requests that are in a loop, by RFC 8586.
use std::sync::LazyLock;

use http::{HeaderName, HeaderValue};

use crate::request::HeaderLines;

/// The header in which each hop adds its name.
pub(crate) const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");
/// The gateway's name in it.
const NAME: &[u8] = b"hookgate";
/// The most gateways, of whichever process, that one request may pass.
const MAX_HOPS: usize = 8;

/// The ID of this process. It is random, so that no sender can guess it.
static ID: LazyLock<String> = LazyLock::new(|| uuid::Uuid::new_v4().simple().to_string());
static ENTRY: LazyLock<HeaderValue> = LazyLock::new(|| {
    HeaderValue::from_str(&format!("hookgate; id={}", &*ID))
        .unwrap_or(HeaderValue::from_static("hookgate"))
});

/// Returns the value that this process adds.
pub(crate) fn entry() -> &'static HeaderValue {
    &ENTRY
}

/// Returns whether a request has passed this process already, or too many gateways.
pub(crate) fn is_loop(headers: &HeaderLines) -> bool {
    // most requests have no such header
    headers.contains(&CDN_LOOP) && judge(headers.get_all(&CDN_LOOP), ID.as_bytes())
}

fn judge<'v>(lines: impl Iterator<Item = &'v [u8]>, own: &[u8]) -> bool {
    let mut hops = 0_usize;
    for entry in lines.flat_map(|line| split(line, b',')) {
        let mut parts = split(entry, b';');
        if !parts
            .next()
            .is_some_and(|name| name.trim_ascii().eq_ignore_ascii_case(NAME))
        {
            continue;
        }
        hops += 1;
        if hops > MAX_HOPS || parts.any(|parameter| is_own(parameter, own)) {
            return true;
        }
    }
    false
}

/// Returns whether a parameter is `id=` and this ID, quoted or not.
fn is_own(parameter: &[u8], own: &[u8]) -> bool {
    let Some(at) = parameter.iter().position(|byte| *byte == b'=') else {
        return false;
    };
    let (name, value) = parameter.split_at(at);
    let value = value.get(1..).unwrap_or_default().trim_ascii();
    name.trim_ascii().eq_ignore_ascii_case(b"id")
        && (value == own || unquoted(value).is_some_and(|value| value == own))
}

/// Returns the text of a quoted string.
fn unquoted(value: &[u8]) -> Option<Vec<u8>> {
    let inner = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let mut escaped = false;
    let mut text = Vec::with_capacity(inner.len());
    for byte in inner {
        if *byte == b'\\' && !escaped {
            escaped = true;
        } else {
            escaped = false;
            text.push(*byte);
        }
    }
    Some(text)
}

/// Returns the parts between separators that are not within quotes.
fn split(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |byte| {
        let is_end = *byte == separator && !quoted;
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
        is_end
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn judged(lines: &[&str]) -> bool {
        judge(lines.iter().map(|line| line.as_bytes()), b"0123abcd")
    }

    #[test]
    fn own_id_is_found_in_any_spelling() {
        for lines in [
            &["hookgate; id=0123abcd"][..],
            &["HookGate;ID=0123abcd"],
            &["hookgate ; a=b ; id = \"0123abcd\""],
            &["hookgate; id=\"0\\123abcd\""],
            &["cloudflare, hookgate;id=0123abcd, fastly; x=\"a,b\""],
            &[
                "cloudflare",
                "hookgate;id=ffff",
                "other, hookgate;id=0123abcd",
            ],
            &[",,hookgate;id=0123abcd,"],
        ] {
            assert!(judged(lines), "{lines:?}");
        }
        let mut lines = HeaderLines::default();
        lines.append(&CDN_LOOP, entry());
        assert!(is_loop(&lines));
    }

    #[test]
    fn entries_of_others_are_no_loop() {
        for lines in [
            &[][..],
            &["", ","],
            &["cloudflare; loops=1"],
            &["hookgate"],
            &["hookgate; id=0123abce"],
            &["hookgate; note=0123abcd"],
            &["other; id=0123abcd"],
            &["other; x=\"a, hookgate; id=0123abcd\""],
            &["other; x=\"\\\", hookgate; id=0123abcd\""],
            &["hookgate; x=\"; id=0123abcd\""],
            &["hookgate-2; id=0123abcd"],
            &["other; x=\"unclosed, hookgate; id=0123abcd"],
        ] {
            assert!(!judged(lines), "{lines:?}");
        }
        assert!(!is_loop(&HeaderLines::default()));
    }

    #[test]
    fn request_may_pass_eight_gateways() {
        assert!(!judged(&["hookgate; id=a"; 8]) && judged(&["hookgate; id=a"; 9]));
        assert!(
            !judged(&["hookgate, ".repeat(8).as_str()])
                && judged(&["hookgate, ".repeat(9).as_str()])
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic(lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..4)) {
            judge(lines.iter().map(Vec::as_slice), b"id");
        }

        /// Entries of others around it, in any number of lines, hide nothing.
        #[test]
        fn own_entry_is_found_among_others(before in prop::collection::vec("[a-z.]{1,9}(; ?[a-z]{1,5}=(\"[a-z,; =]{0,9}\"|[a-z]{1,5})){0,2}", 0..5), same_line in any::<bool>()) {
            let own = "hookgate; id=0123abcd".to_owned();
            let all: Vec<String> = before.into_iter().chain([own]).collect();
            let lines = if same_line { vec![all.join(" , ")] } else { all };
            prop_assert!(judge(lines.iter().map(|line| line.as_bytes()), b"0123abcd"));
        }
    }
}
