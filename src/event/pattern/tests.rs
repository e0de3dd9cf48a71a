use proptest::prelude::*;

use super::*;

/// The rule of patterns, segment by segment.
fn slowly(pattern: &[&str], words: &[&str]) -> bool {
    match (pattern, words) {
        (["*"], words) => !words.is_empty(),
        ([], []) => true,
        ([first, pattern @ ..], [word, words @ ..]) => first == word && slowly(pattern, words),
        ([], _) | (_, []) => false,
    }
}

fn words() -> impl Strategy<Value = String> {
    proptest::collection::vec("[ab_]{1,2}", 1..4).prop_map(|words| words.join("."))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn pattern_matches_as_the_slow_model(pattern in words(), star in any::<bool>(), all in 0..8_u8, event_type in words()) {
        let pattern = if all == 0 { "*".to_owned() } else if star { pattern + ".*" } else { pattern };
        let parsed = Pattern::new(&pattern).unwrap();
        let segments: Vec<&str> = pattern.split('.').collect();
        let words: Vec<&str> = event_type.split('.').collect();
        prop_assert_eq!(parsed.matches(&EventType::new(&event_type).unwrap()), slowly(&segments, &words));
        prop_assert_eq!(parsed.to_string(), pattern);
    }
}

#[test]
fn star_is_one_last_word_or_more() {
    for (pattern, event_type, is_match) in [
        ("*", "invoice", true),
        ("*", "invoice.paid", true),
        ("invoice.*", "invoice.paid", true),
        ("invoice.*", "invoice.paid.late", true),
        ("invoice.*", "invoice", false),
        ("invoice.*", "invoices.paid", false),
        ("invoice.paid", "invoice.paid", true),
        ("invoice.paid", "invoice.paid.late", false),
        ("invoice.paid", "Invoice.paid", false),
    ] {
        let (pattern, event_type) = (
            Pattern::new(pattern).unwrap(),
            EventType::new(event_type).unwrap(),
        );
        assert_eq!(
            pattern.matches(&event_type),
            is_match,
            "{pattern} {event_type}"
        );
    }
}

#[test]
fn bad_pattern_says_what_to_write() {
    for (bad, why) in [
        ("", NotAPattern::Type(NotAType::Empty)),
        ("**", NotAPattern::Star),
        ("*.paid", NotAPattern::Star),
        ("invoice.*.late", NotAPattern::Star),
        ("invoice*", NotAPattern::Star),
        ("invoice.*.*", NotAPattern::Star),
        (".*", NotAPattern::Type(NotAType::Empty)),
        ("a b.*", NotAPattern::Type(NotAType::Malformed)),
        ("hookgate.*", NotAPattern::Type(NotAType::Reserved)),
    ] {
        assert_eq!(Pattern::new(bad), Err(why), "{bad:?}");
    }
    let parsed: Vec<Pattern> =
        serde_json::from_str(r#"["*","invoice.*","order.created"]"#).unwrap();
    assert_eq!(
        serde_json::to_string(&parsed).unwrap(),
        r#"["*","invoice.*","order.created"]"#
    );
}
