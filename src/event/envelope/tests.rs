use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap()
}

fn paid() -> EventType {
    EventType::new("invoice.paid").unwrap()
}

/// These bytes are signed, stored and compared by receivers: they must not change between releases.
#[test]
fn envelope_is_these_bytes() {
    let at = SystemTime::UNIX_EPOCH + Duration::from_micros(1_795_525_473_118_999);
    let envelope = render(
        &paid(),
        at,
        &raw("{ \"id\" : 1.10,\n\"n\":12345678901234567890123}"),
    );
    assert_eq!(
        envelope.bytes,
        "{\"type\":\"invoice.paid\",\"timestamp\":\"2026-11-24T13:04:33.118Z\",\"data\":{ \"id\" : 1.10,\n\"n\":12345678901234567890123}}"
    );
    assert_eq!(envelope.data_at, 69);
    let whole = render(&paid(), SystemTime::UNIX_EPOCH, &raw("null"));
    assert_eq!(
        whole.bytes,
        r#"{"type":"invoice.paid","timestamp":"1970-01-01T00:00:00.000Z","data":null}"#
    );
}

#[test]
fn wrong_offset_gives_no_data() {
    let Envelope { bytes, data_at } = render(&paid(), SystemTime::UNIX_EPOCH, &raw("[1]"));
    assert_eq!(data(&bytes, data_at).unwrap(), "[1]");
    for wrong in [0, 1, data_at - 1, data_at + 1, bytes.len(), usize::MAX] {
        assert_eq!(data(&bytes, wrong), None, "{wrong}");
    }
    assert_eq!(data(&Bytes::new(), 0), None);
    assert_eq!(data(&bytes.slice(..data_at + 1), data_at), None);
}

/// JSON values as an app may write them, with blanks and repeated keys.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        Just("1.50".to_owned()),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| format!("[ {} ]", items.join(" ,"))),
            proptest::collection::vec(inner, 0..4).prop_map(|items| format!(
                "{{{}}}",
                items
                    .iter()
                    .map(|item| format!("\"data\" :{item}"))
                    .collect::<Vec<_>>()
                    .join(",\n")
            )),
        ]
    })
}

proptest! {
    #[test]
    fn cut_gives_the_data_back(json in json(), words in "[a-z_]{1,9}(\\.[A-Z0-9]{1,9}){0,3}", millis in 0..10_u64.pow(14)) {
        let event_type = EventType::new(&words).unwrap();
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
        let Envelope { bytes, data_at } = render(&event_type, at, &raw(&json));
        prop_assert_eq!(data(&bytes, data_at).unwrap(), json.trim().as_bytes());
        let parsed: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&bytes).unwrap();
        prop_assert_eq!(parsed.len(), 3);
        prop_assert_eq!(&parsed["type"], &words);
        let written: jiff::Timestamp = parsed["timestamp"].as_str().unwrap().parse().unwrap();
        prop_assert_eq!(SystemTime::try_from(written).unwrap(), at);
    }
}
