use super::*;

#[test]
fn type_is_words_joined_by_dots() {
    for good in [
        "a",
        "invoice.paid",
        "Invoice_2.paid.late",
        "_",
        "0",
        "hookgate_events",
        "my.hookgate",
    ] {
        let parsed = EventType::new(good).unwrap();
        assert_eq!((parsed.as_str(), parsed.to_string().as_str()), (good, good));
    }
    let longest = "a".repeat(MAX_LENGTH);
    assert!(EventType::new(&longest).is_ok());
    for (bad, why) in [
        ("", NotAType::Empty),
        (&*format!("{longest}a"), NotAType::TooLong),
        (".", NotAType::Malformed),
        ("a.", NotAType::Malformed),
        (".a", NotAType::Malformed),
        ("a..b", NotAType::Malformed),
        ("a b", NotAType::Malformed),
        ("a-b", NotAType::Malformed),
        ("a/b", NotAType::Malformed),
        ("../x", NotAType::Malformed),
        ("é", NotAType::Malformed),
        ("a.*", NotAType::Malformed),
        ("a\n", NotAType::Malformed),
        ("hookgate", NotAType::Reserved),
        ("hookgate.endpoint.paused", NotAType::Reserved),
    ] {
        assert_eq!(EventType::new(bad), Err(why), "{bad:?}");
    }
}

#[test]
fn type_is_a_json_string() {
    let parsed: EventType = serde_json::from_str("\"invoice\\u002epaid\"").unwrap();
    assert_eq!(parsed.as_str(), "invoice.paid");
    assert_eq!(serde_json::to_string(&parsed).unwrap(), "\"invoice.paid\"");
    let error = serde_json::from_str::<EventType>("\"a b\"").unwrap_err();
    assert!(
        error.to_string().contains("such as `invoice.paid`"),
        "{error}"
    );
}
