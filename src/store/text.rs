//! Texts that every store can keep.
use std::borrow::Cow;

/// Replaces U+0000 by U+FFFD: PostgreSQL refuses it in a text, and with it all that is written in the same batch. A text that a person or a
/// sender wrote passes through this where it becomes part of a row, and where rows are searched for it.
pub fn storable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn only_the_null_character_is_replaced(
            chars in prop::collection::vec(prop_oneof![Just('\0'), any::<char>()], 0..40),
        ) {
            let text: String = chars.iter().collect();
            let stored = storable(&text);
            let expected: String = chars
                .iter()
                .map(|one| if *one == '\0' { '\u{fffd}' } else { *one })
                .collect();
            prop_assert_eq!(&*stored, expected.as_str());
            prop_assert_eq!(matches!(stored, Cow::Borrowed(_)), !chars.contains(&'\0'));
            prop_assert_eq!(storable(&expected), expected.as_str());
        }
    }
}
