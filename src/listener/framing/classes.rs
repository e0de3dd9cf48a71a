//! The sets of bytes that may occur in the parts of a head.

/// A set of bytes.
pub(super) type Class = [bool; 256];

/// The bytes of a token.
pub(super) const TOKEN: Class = class(b"!#$%&'*+-.^_`|~", false);
/// The bytes of a path: visible ASCII, without the bytes that pingora refuses or cuts off.
pub(super) const PATH: Class = class(b"!$%&'()*+,-./:;=@[\\]^_{|}~", false);
/// The bytes of a query: browsers do not escape a backtick there.
pub(super) const QUERY: Class = class(b"!$%&'()*+,-./:;=?@[\\]^_`{|}~", false);
/// The bytes of a value: blanks, tabs, visible ASCII, and non-ASCII.
pub(super) const VALUE: Class = class(b"\t !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", true);

/// Returns the class of letters, digits and `others`, and of all non-ASCII bytes if `beyond_ascii`.
#[allow(
    clippy::indexing_slicing,
    reason = "computed by the compiler, which checks it"
)]
const fn class(others: &[u8], beyond_ascii: bool) -> Class {
    let mut class = [false; 256];
    let mut byte = 0_u8;
    loop {
        class[byte as usize] = if byte.is_ascii() {
            byte.is_ascii_alphanumeric()
        } else {
            beyond_ascii
        };
        if byte == u8::MAX {
            break;
        }
        byte += 1;
    }
    let mut other = 0;
    while other < others.len() {
        class[others[other] as usize] = true;
        other += 1;
    }
    class
}

/// Returns whether a byte is in a class.
pub(super) fn is_in(class: &Class, byte: u8) -> bool {
    class.get(usize::from(byte)).copied().unwrap_or(false)
}

/// Returns how many bytes at the beginning are in a class. Eight bytes at a time take two thirds of the time.
pub(super) fn run(class: &Class, bytes: &[u8]) -> usize {
    let eights = bytes
        .chunks_exact(8)
        .take_while(|eight| {
            eight
                .iter()
                .fold(true, |all, byte| all & is_in(class, *byte))
        })
        .count();
    let rest = bytes.get(eights * 8..).unwrap_or_default();
    eights * 8
        + rest
            .iter()
            .position(|byte| !is_in(class, *byte))
            .unwrap_or(rest.len())
}

/// Returns how many bytes at the beginning are in [`VALUE`]. Without the table, the compiler judges sixteen bytes at once.
pub(super) fn run_of_value(bytes: &[u8]) -> usize {
    let (sixteens, _) = bytes.as_chunks::<16>();
    let whole = sixteens
        .iter()
        .take_while(|sixteen| {
            let is_value = |byte: u8| (byte >= b' ') & (byte != 0x7f) | (byte == b'\t');
            sixteen.iter().fold(true, |all, byte| all & is_value(*byte))
        })
        .count();
    let rest = bytes.get(whole * 16..).unwrap_or_default();
    whole * 16 + run(&VALUE, rest)
}

/// Returns whether a target is in origin form and has only bytes that a URI may have. It is neither decoded nor repaired.
pub(crate) fn is_target(target: &[u8]) -> bool {
    let (path, query) = target
        .split_at_checked(run(&PATH, target))
        .unwrap_or((target, b""));
    let is_query =
        query.is_empty() || query.first() == Some(&b'?') && run(&QUERY, query) == query.len();
    path.first() == Some(&b'/') && is_query
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Judging many bytes at once stops at the same byte as judging each by its class.
        #[test]
        fn value_ends_where_the_class_does(
            mut bytes in prop::collection::vec(prop_oneof![8 => b' '..=b'~', 1 => b'\x80'..=b'\xff', 1 => Just(b'\t')], 0..80),
            other in any::<u8>(),
            at in 0_usize..80,
        ) {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = other;
            }
            let expected = bytes.iter().position(|byte| !is_in(&VALUE, *byte));
            prop_assert_eq!(run_of_value(&bytes), expected.unwrap_or(bytes.len()));
        }
    }

    #[test]
    fn each_byte_of_a_value_is_judged_by_its_class() {
        for byte in 0..=u8::MAX {
            let run = run_of_value(&[byte; 16]);
            assert_eq!(run == 16, is_in(&VALUE, byte), "{byte}");
        }
    }
}
