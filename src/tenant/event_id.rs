//! The public ID of an event.
use uuid::Uuid;

/// The text in front of the digits.
const PREFIX: &str = "msg_";
/// The digits behind it.
const DIGITS: usize = 32;

/// Returns the public ID of an event: `msg_` and 32 hexadecimal digits. It has no dot, as Standard Webhooks demands.
pub fn event_id(event: Uuid) -> String {
    format!("{PREFIX}{}", event.simple())
}

/// Parses a public ID.
pub fn parse_event_id(text: &str) -> Option<Uuid> {
    let digits = text.strip_prefix(PREFIX)?;
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if digits.len() != DIGITS || !digits.bytes().all(is_digit) {
        return None;
    }
    Uuid::try_parse(digits).ok()
}

/// A list of public IDs in JSON.
pub(super) mod list {
    use serde::{Deserialize, Deserializer, Serializer, de};
    use uuid::Uuid;

    pub(crate) fn serialize<S: Serializer>(events: &[Uuid], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(events.iter().copied().map(super::event_id))
    }

    pub(crate) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Vec<Uuid>, D::Error> {
        let texts = Vec::<String>::deserialize(from)?;
        let events = texts.iter().map(|text| super::parse_event_id(text));
        let events: Option<Vec<Uuid>> = events.collect();
        events.ok_or_else(|| de::Error::custom("this is no ID of an event"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn other_spellings_are_refused() {
        for text in [
            "",
            "msg_",
            "01935c00000070008000000000000001",
            "msg_01935C00000070008000000000000001",
            "msg_01935c00-0000-7000-8000-000000000001",
            "msg_01935c0000007000800000000000001",
            "msg_{1935c0000007000800000000000000}",
        ] {
            assert_eq!(parse_event_id(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn ids_are_read_as_written(number in any::<u128>()) {
            let event = Uuid::from_u128(number);
            prop_assert_eq!(parse_event_id(&event_id(event)), Some(event));
        }
    }
}
