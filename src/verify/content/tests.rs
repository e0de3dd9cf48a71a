use proptest::prelude::*;

use super::*;

/// Counts the ways to cut `content` into values of the parts.
fn readings(parts: &[Part], content: &[u8]) -> usize {
    let Some((part, rest)) = parts.split_first() else {
        return usize::from(content.is_empty());
    };
    if let Part::Literal(literal) = part {
        return content
            .strip_prefix(&**literal)
            .map_or(0, |content| readings(rest, content));
    }
    let longest = content
        .iter()
        .take_while(|byte| part.may_hold(**byte, Format::Unix))
        .count();
    (0..=longest)
        .map(|length| readings(rest, &content[length..]))
        .sum()
}

proptest! {
    /// Checks that content whose borders count as certain can be read in one way only.
    #[test]
    fn unambiguous_content_has_one_reading(
        names in prop::collection::vec(prop::sample::select(vec!["{id}", "{path}", "{header:a}", "{timestamp}", "{url}", "{body}"]), 1..4),
        literals in prop::collection::vec("[.1? \n]{0,2}", 3),
        values in prop::collection::vec("[.1? \n/]{0,4}", 3),
    ) {
        let text: String = names.iter().zip(&literals).flat_map(|(name, literal)| [*name, literal.as_str()]).collect();
        let template = Template::parse(&text).unwrap();
        prop_assume!(template.ambiguous_border(Format::Unix).is_none());
        let mut values = values.iter();
        let mut content = Vec::new();
        for part in template.parts() {
            if let Part::Literal(literal) = part {
                content.extend_from_slice(literal);
            } else {
                content.extend(values.next().unwrap().bytes().filter(|byte| part.may_hold(*byte, Format::Unix)));
            }
        }
        prop_assert_eq!(readings(template.parts(), &content), 1, "{}", text);
    }
}
