use proptest::prelude::*;
use serde_json::json;

use super::*;

#[expect(
    clippy::needless_pass_by_value,
    reason = "callers write the JSON in place"
)]
fn read(fields: Value) -> Result<EndpointSettings, Invalid> {
    EndpointSettings::read(fields.as_object().unwrap())
}

fn full() -> Value {
    json!({
        "types": ["invoice.*", "order.created"], "versions": { "invoice.paid": 2 }, "payload": "raw", "sign": "acme-2019", "rate": "20/s",
        "concurrency": 8, "ordered": true, "on_dead": "pause", "timeout": 30, "description": "Küche"
    })
}

#[test]
fn all_fields_are_read_and_stored() {
    let settings = read(full()).unwrap();
    assert_eq!(serde_json::to_value(&settings).unwrap(), full());
    assert_eq!(
        EndpointSettings::from_json(&settings.to_json()).unwrap(),
        settings
    );
    let mut names: Vec<String> = full().as_object().unwrap().keys().cloned().collect();
    let mut known = EndpointSettings::FIELDS.map(str::to_owned);
    names.sort();
    known.sort();
    assert_eq!(names, known);
    assert!(settings.wants(&EventType::new("invoice.paid").unwrap()));
    assert!(!settings.wants(&EventType::new("order.paid").unwrap()));
}

#[test]
fn defaults_are_stored_as_written() {
    let settings = read(json!({})).unwrap();
    assert_eq!(settings, EndpointSettings::default());
    assert_eq!(
        settings.to_json(),
        r#"{"types":["*"],"payload":"envelope","sign":"standard","ordered":false,"on_dead":"continue"}"#
    );
    assert_eq!(EndpointSettings::from_json("{}").unwrap(), settings);
    assert!(EndpointSettings::from_json(r#"{"url":"x"}"#).is_err());
}

#[test]
fn null_resets_a_field_and_others_stay() {
    let before = read(full()).unwrap();
    for name in EndpointSettings::FIELDS {
        let fields = json!({ name: null, "on_dead": null });
        let after =
            serde_json::to_value(before.changed(fields.as_object().unwrap()).unwrap()).unwrap();
        let default = serde_json::to_value(EndpointSettings::default()).unwrap();
        for other in EndpointSettings::FIELDS {
            let expected = if other == name || other == "on_dead" {
                default.get(other).cloned()
            } else {
                full().get(other).cloned()
            };
            assert_eq!(after.get(other).cloned(), expected, "{name} {other}");
        }
    }
}

#[test]
fn faults_name_the_field_and_the_remedy() {
    for (fields, at, help) in [
        (json!({ "type": ["*"] }), "/type", "did you mean `types`?"),
        (json!({ "types": "*" }), "/types", "write `[…]`"),
        (json!({ "types": [] }), "/types", "`[\"*\"]` for all"),
        (json!({ "types": ["a", 1] }), "/types/1", "write `\"…\"`"),
        (json!({ "types": ["a.*.b"] }), "/types/0", "`invoice.*`"),
        (json!({ "types": vec!["a"; 101] }), "/types", "at most 100"),
        (
            json!({ "versions": { "a b": 1 } }),
            "/versions/a b",
            "joined by dots",
        ),
        (
            json!({ "versions": { "a.b": 0 } }),
            "/versions/a.b",
            "from 1 to 65535",
        ),
        (
            json!({ "payload": "thin" }),
            "/payload",
            "`envelope`, `raw`",
        ),
        (json!({ "sign": "" }), "/sign", "`standard`"),
        (json!({ "rate": 20 }), "/rate", "write `\"…\"`"),
        (json!({ "rate": "20" }), "/rate", "`100/s`"),
        (json!({ "rate": "0/s" }), "/rate", "`100/s`"),
        (json!({ "concurrency": 65 }), "/concurrency", "from 1 to 64"),
        (json!({ "ordered": "yes" }), "/ordered", "`true` or `false`"),
        (
            json!({ "on_dead": "stop" }),
            "/on_dead",
            "`continue`, `pause`",
        ),
        (
            json!({ "on_dead": "pause" }),
            "/on_dead",
            "\"ordered\": true",
        ),
        (json!({ "timeout": 31 }), "/timeout", "from 1 to 30"),
        (json!({ "description": "a\nb" }), "/description", "one line"),
        (
            json!({ "description": "x".repeat(1001) }),
            "/description",
            "at most 1000",
        ),
    ] {
        let fault = read(fields.clone()).unwrap_err();
        assert_eq!(fault.at, at, "{fields}");
        assert!(fault.help.contains(help), "{fields}: {fault}");
    }
}

#[test]
fn tenants_are_read_and_changed() {
    let read = |fields: Value| TenantSettings::read(fields.as_object().unwrap());
    let full = json!({ "name": "Acme", "limits": { "publish": "100/s", "endpoints": 5 } });
    let settings = read(full.clone()).unwrap();
    assert_eq!(serde_json::to_value(&settings).unwrap(), full);
    assert_eq!(
        TenantSettings::from_json(&settings.to_json()).unwrap(),
        settings
    );
    let changed = settings
        .changed(
            json!({ "limits": { "publish": null } })
                .as_object()
                .unwrap(),
        )
        .unwrap();
    assert_eq!(changed.limits.endpoints, Some(5));
    assert_eq!(changed.limits.publish, None);
    assert_eq!(
        read(json!({ "name": "" })).unwrap(),
        TenantSettings::default()
    );
    for (fields, at) in [
        (json!({ "nam": 1 }), "/nam"),
        (json!({ "name": 1 }), "/name"),
        (json!({ "limits": [] }), "/limits"),
        (json!({ "limits": { "endpoint": 1 } }), "/limits/endpoint"),
        (
            json!({ "limits": { "endpoints": 1001 } }),
            "/limits/endpoints",
        ),
    ] {
        assert_eq!(read(fields.clone()).unwrap_err().at, at, "{fields}");
    }
}

proptest! {
    /// Whatever is read is stored and restored without a loss.
    #[test]
    fn settings_survive_the_store(types in prop::collection::vec("[a-z]{1,4}(\\.[a-z_]{1,4}){0,2}(\\.\\*)?", 1..5), rate in 1..u32::MAX, unit in prop::sample::select(vec!["s", "m", "h", "d"]), timeout in 1..=30_u64, version in 1..=u16::MAX, ordered in any::<bool>()) {
        let fields = json!({ "types": types, "rate": format!("{rate}/{unit}"), "timeout": timeout, "ordered": ordered, "versions": { "a.b": version } });
        let settings = read(fields).unwrap();
        prop_assert_eq!(EndpointSettings::from_json(&settings.to_json()).unwrap(), settings);
    }
}
