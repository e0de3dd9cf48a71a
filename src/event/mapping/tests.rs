use proptest::prelude::*;
use serde_json::json;

use super::*;

fn apply(steps: &str, data: &str) -> Result<String, CannotMap> {
    let data = RawValue::from_string(data.to_owned()).unwrap();
    let mapped = Mapping::parse(steps).unwrap().apply(&data)?;
    Ok(mapped.get().to_owned())
}

#[test]
fn steps_are_done_in_order() {
    let steps = "
- move: { from: /amount/value, to: /amount_cents }
- drop: /amount
- drop: /lines/0
- set: { at: /currency, to: EUR }
- set: { at: /meta/from/version, to: 2 }
- move: { from: /currency, to: /money/currency }
";
    let data = r#"{"id":"in_1","amount":{"value":12.50,"x":1},"lines":[{"a":1},{"b":2}]}"#;
    assert_eq!(
        apply(steps, data).unwrap(),
        r#"{"id":"in_1","lines":[{"b":2}],"amount_cents":12.50,"meta":{"from":{"version":2}},"money":{"currency":"EUR"}}"#
    );
}

#[test]
fn missing_value_is_neither_moved_nor_dropped() {
    let steps =
        "[{ move: { from: /a/b/c, to: /d } }, { drop: /x }, { drop: /list/7 }, { drop: /list/b }]";
    let data = r#"{"a":{"b":1},"list":[1]}"#;
    assert_eq!(apply(steps, data).unwrap(), data);
    assert_eq!(apply(steps, "3").unwrap(), "3");
}

#[test]
fn untouched_values_keep_their_bytes() {
    let data = r#"{"n":12345678901234567890123.10, "s":"\u00e9\/", "o":{ "k" : 1e2 }, "a":1}"#;
    assert_eq!(
        apply("[{ drop: /a }]", data).unwrap(),
        r#"{"n":12345678901234567890123.10,"s":"\u00e9\/","o":{ "k" : 1e2 }}"#
    );
    assert_eq!(apply("[]", data).unwrap(), data);
}

#[test]
fn value_cannot_be_written_into_a_scalar_or_past_a_list() {
    for (steps, data, at) in [
        ("[{ set: { at: /a/b, to: 1 } }]", r#"{"a":1}"#, "/a/b"),
        ("[{ set: { at: /a/1, to: 1 } }]", r#"{"a":[0]}"#, "/a/1"),
        ("[{ set: { at: /a, to: 1 } }]", "[]", "/a"),
        (
            "[{ move: { from: /x, to: /a/b } }]",
            r#"{"x":0,"a":null}"#,
            "/a/b",
        ),
    ] {
        let error = apply(steps, data).unwrap_err();
        assert_eq!(error, CannotMap::NoObject(at.to_owned()), "{steps}");
        assert!(error.to_string().contains(at));
    }
    assert_eq!(
        apply("[{ set: { at: /a/0, to: [x] } }]", r#"{"a":[0]}"#).unwrap(),
        r#"{"a":[["x"]]}"#
    );
}

#[test]
fn bad_mapping_says_what_to_write() {
    for (text, message) in [
        ("x", "a mapping is a list of steps"),
        (
            "- rename: { from: /a, to: /b }",
            "a mapping is a list of steps",
        ),
        (
            "- move: { from: /a, too: /b }",
            "a mapping is a list of steps",
        ),
        ("- {}", "step 1: write exactly one"),
        (
            "- drop: /a\n- { drop: /a, set: { at: /b, to: 1 } }",
            "step 2: write exactly one",
        ),
        ("- drop: a", "step 1: a place is a JSON pointer"),
        ("- drop: ''", "step 1: a place is a JSON pointer"),
        (
            "- set: { at: /~2, to: 1 }",
            "step 1: a place is a JSON pointer",
        ),
        (
            "- move: { from: /a, to: /a/b }",
            "step 1: a value cannot be moved",
        ),
    ] {
        let error = Mapping::parse(text).unwrap_err();
        assert!(error.message.starts_with(message), "{text}: {error}");
    }
    let error = Mapping::parse("- drop: /a\n- move: 3\n").unwrap_err();
    assert_eq!(error.line, Some(2));
    assert!(Mapping::parse(&"- drop: /a\n".repeat(MAX_STEPS + 1)).is_err());
}

/// The steps on a built value, for comparison.
fn slowly(steps: &[(u8, String, String)], mut data: Value) -> Value {
    for (kind, a, b) in steps {
        let taken = || data.as_object().and_then(|object| object.get(a)).cloned();
        match kind {
            0 => {
                if let Some(value) = taken() {
                    data.as_object_mut().unwrap().remove(a);
                    data[b] = value;
                }
            }
            1 => {
                data.as_object_mut().unwrap().remove(a);
            }
            _ => data[a] = json!([b]),
        }
    }
    data
}

proptest! {
    #[test]
    fn mapping_agrees_with_the_slow_model(
        keys in proptest::collection::btree_map("[a-d~/]", -5..5_i64, 0..5),
        steps in proptest::collection::vec((0..3_u8, "[a-d~/]", "[a-d~/]"), 0..6),
    ) {
        let steps: Vec<_> = steps.into_iter().filter(|(kind, a, b)| *kind != 0 || a != b).collect();
        let written: Vec<Value> = steps
            .iter()
            .map(|(kind, a, b)| match kind {
                0 => json!({ "move": { "from": pointer::step(a), "to": pointer::step(b) } }),
                1 => json!({ "drop": pointer::step(a) }),
                _ => json!({ "set": { "at": pointer::step(a), "to": [b] } }),
            })
            .collect();
        let data = json!(keys);
        let mapped = apply(&Value::from(written).to_string(), &data.to_string()).unwrap();
        prop_assert_eq!(serde_json::from_str::<Value>(&mapped).unwrap(), slowly(&steps, data));
    }
}
