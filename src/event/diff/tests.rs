use serde_json::json;

use super::*;

mod property;

/// The changes as `verdict at keyword`.
fn changes(old: &Value, new: &Value) -> Vec<String> {
    let mut changes: Vec<String> = schemas(old, new)
        .iter()
        .map(|change| {
            format!("{:?} {} {}", change.verdict, change.at, change.message).to_lowercase()
        })
        .collect();
    changes.sort();
    changes
}

fn verdict(old: &Value, new: &Value) -> Verdict {
    schemas(old, new)
        .iter()
        .map(|change| change.verdict)
        .max()
        .unwrap_or(Verdict::Safe)
}

/// The table of docs/events.md: what is safe, and what is not.
#[test]
fn each_keyword_has_its_rule() {
    use Verdict::{Breaking, Safe, Unknown};
    let field = |schema: Value| json!({ "properties": { "a": schema } });
    let cases = [
        // type
        (
            json!({"type": ["string", "null"]}),
            json!({"type": "string"}),
            Safe,
        ),
        (json!({"type": "number"}), json!({"type": "integer"}), Safe),
        (
            json!({"type": "integer"}),
            json!({"type": "number"}),
            Breaking,
        ),
        (
            json!({"type": "string"}),
            json!({"type": ["string", "null"]}),
            Breaking,
        ),
        (json!({"type": "string"}), json!({}), Breaking),
        (json!({}), json!({"type": "string"}), Safe),
        (json!({"type": "string"}), json!({"enum": ["a", "b"]}), Safe),
        (
            json!({"type": "string"}),
            json!({"enum": ["a", null]}),
            Breaking,
        ),
        // enum, const
        (json!({"enum": [1, 2]}), json!({"enum": [1]}), Safe),
        (json!({"enum": [1, 2]}), json!({"const": 2}), Safe),
        (json!({"enum": [1]}), json!({"enum": [1, 2]}), Breaking),
        (json!({"const": 1}), json!({"enum": [1, 2]}), Breaking),
        (json!({"enum": [1]}), json!({}), Breaking),
        // bounds
        (json!({"minimum": 1}), json!({"minimum": 2}), Safe),
        (json!({"minimum": 1}), json!({"exclusiveMinimum": 1}), Safe),
        (
            json!({"exclusiveMinimum": 1}),
            json!({"minimum": 1}),
            Breaking,
        ),
        (
            json!({"exclusiveMinimum": 1}),
            json!({"minimum": 1.5}),
            Safe,
        ),
        (json!({"minimum": 2}), json!({"minimum": 1}), Breaking),
        (
            json!({"minimum": 9_007_199_254_740_993_u64}),
            json!({"minimum": 9_007_199_254_740_992_u64}),
            Breaking,
        ),
        (json!({"minimum": 2}), json!({"type": "string"}), Safe),
        (json!({"maximum": 2}), json!({"maximum": 1}), Safe),
        (json!({"maximum": 2}), json!({}), Breaking),
        (json!({"maxLength": 2}), json!({"maxLength": 3}), Breaking),
        (json!({"maxLength": 2}), json!({"maxLength": 1}), Safe),
        (json!({"minItems": 2}), json!({"minItems": 1}), Breaking),
        (json!({"minProperties": 0}), json!({}), Safe),
        (json!({}), json!({"maxProperties": 3, "minLength": 1}), Safe),
        (json!({"multipleOf": 3}), json!({"multipleOf": 6}), Safe),
        (json!({"multipleOf": 6}), json!({"multipleOf": 3}), Breaking),
        (json!({"multipleOf": 1}), json!({"type": "integer"}), Safe),
        // texts
        (
            json!({"pattern": "^a"}),
            json!({"pattern": "^a", "format": "uuid"}),
            Safe,
        ),
        (json!({"pattern": "^a"}), json!({"pattern": "^ab"}), Unknown),
        (json!({"format": "date"}), json!({}), Breaking),
        (
            json!({"format": "date"}),
            json!({"format": "date-time"}),
            Unknown,
        ),
        // fields
        (json!({}), field(json!({"type": "string"})), Safe),
        (field(json!({"type": "string"})), json!({}), Safe),
        (json!({"required": ["a"]}), json!({}), Breaking),
        (json!({}), json!({"required": ["a"]}), Safe),
        (
            field(json!({"type": "string"})),
            json!({"required": ["a"]}),
            Breaking,
        ),
        (
            field(json!({"type": "string"})),
            json!({"additionalProperties": {"type": "integer"}}),
            Breaking,
        ),
        (
            field(json!({"type": "string"})),
            json!({"patternProperties": {"^a": {"type": "string"}}}),
            Safe,
        ),
        (
            field(json!({"type": "string"})),
            json!({"patternProperties": {"^a": {}}}),
            Breaking,
        ),
        (
            json!({"additionalProperties": false}),
            field(json!({})),
            Breaking,
        ),
        (
            json!({"additionalProperties": {"type": "string"}}),
            field(json!({"type": "string"})),
            Safe,
        ),
        (
            json!({"additionalProperties": {"type": "string"}}),
            field(json!({})),
            Breaking,
        ),
        (
            json!({"patternProperties": {"^a": {"type": "string"}}}),
            field(json!({"type": "null"})),
            Breaking,
        ),
        (
            json!({"patternProperties": {"^b": {"type": "string"}}}),
            field(json!({"type": "null"})),
            Safe,
        ),
        (
            json!({"propertyNames": {"maxLength": 2}}),
            field(json!({})),
            Safe,
        ),
        (
            json!({"propertyNames": {"maxLength": 2}}),
            json!({"properties": {"abc": {}}}),
            Breaking,
        ),
        (
            json!({"dependentRequired": {"a": ["b"]}}),
            json!({"required": ["b"]}),
            Safe,
        ),
        (
            json!({"dependentRequired": {"a": ["b"]}}),
            field(json!({})),
            Breaking,
        ),
        // a field that a branch of NEW names is sent too
        (
            field(json!({"type": "string"})),
            json!({"anyOf": [field(json!({"type": "integer"}))]}),
            Breaking,
        ),
        (
            field(json!({"type": "string"})),
            json!({"allOf": [field(json!({"type": "string"}))]}),
            Safe,
        ),
        (
            field(json!({"type": "string"})),
            json!({"const": {"a": 1}}),
            Breaking,
        ),
        (
            field(field(json!({"type": "string"}))),
            json!({"const": {"a": {"a": 1}}}),
            Breaking,
        ),
        // lists
        (json!({"items": {"type": "string"}}), json!({}), Breaking),
        (
            json!({"items": {"type": "number"}}),
            json!({"items": {"type": "integer"}}),
            Safe,
        ),
        (
            json!({"items": {"type": "string"}}),
            json!({"prefixItems": [{"type": "null"}], "items": {"type": "string"}}),
            Breaking,
        ),
        (
            json!({"prefixItems": [{"type": "string"}]}),
            json!({"items": {"type": "string"}}),
            Safe,
        ),
        (json!({"uniqueItems": true}), json!({}), Breaking),
        (
            json!({"uniqueItems": false}),
            json!({"uniqueItems": true}),
            Safe,
        ),
        (
            json!({"contains": {"const": 1}}),
            json!({"contains": {"const": 2}}),
            Unknown,
        ),
        (json!({"contains": {"const": 1}}), json!({}), Breaking),
        // branches
        (
            json!({"anyOf": [{"type": "string"}, {"type": "null"}]}),
            json!({"anyOf": [{"type": "null"}]}),
            Safe,
        ),
        (
            json!({"anyOf": [{"type": "string"}, {"type": "null"}]}),
            json!({"type": "string"}),
            Safe,
        ),
        (
            json!({"anyOf": [{"type": "string"}]}),
            json!({"anyOf": [{"type": "string"}, {"type": "null"}]}),
            Breaking,
        ),
        (
            json!({"allOf": [{"minimum": 1}]}),
            json!({"minimum": 1}),
            Safe,
        ),
        (
            json!({"allOf": [{"minimum": 1}]}),
            json!({"allOf": []}),
            Breaking,
        ),
        (
            json!({"oneOf": [{"type": "string"}]}),
            json!({"oneOf": [{"type": "string", "title": "x"}]}),
            Safe,
        ),
        (
            json!({"oneOf": [{"type": "string"}]}),
            json!({"oneOf": [{"type": "null"}]}),
            Unknown,
        ),
        (json!({"not": {"type": "string"}}), json!({}), Unknown),
        (
            json!({"if": {"required": ["a"]}, "then": {"required": ["b"]}}),
            json!({"if": {"required": ["a"]}}),
            Unknown,
        ),
        (
            json!({"unevaluatedProperties": false}),
            json!({"unevaluatedProperties": false, "properties": {"a": {}}}),
            Unknown,
        ),
        // all else
        (json!({"contentEncoding": "base64"}), json!({}), Unknown),
        (
            json!({"title": "a", "x-owner": 1}),
            json!({"description": "b", "examples": [1], "default": 1}),
            Safe,
        ),
        (json!({"type": "string"}), json!(false), Safe),
        (json!(false), json!({"type": "string"}), Breaking),
        (json!({"type": "string"}), json!(true), Breaking),
    ];
    for (old, new, expected) in cases {
        assert_eq!(
            verdict(&old, &new),
            expected,
            "{old} -> {new}: {:?}",
            schemas(&old, &new)
        );
        // a rule holds at any depth
        let (old, new) = (
            json!({"items": {"properties": {"x": old}}}),
            json!({"items": {"properties": {"x": new}}}),
        );
        assert_eq!(verdict(&old, &new), expected, "{old} -> {new}");
    }
}

#[test]
fn references_are_followed() {
    let list = |kind: &str, reference: &str| {
        json!({
            "$defs": { "node": { "properties": { "value": { "type": kind }, "next": { "$ref": reference } } } },
            "$ref": "#/$defs/node"
        })
    };
    let old = list("number", "#/$defs/node");
    assert_eq!(verdict(&old, &old), Verdict::Safe);
    assert_eq!(
        verdict(&old, &list("integer", "#/$defs/node")),
        Verdict::Safe
    );
    assert_eq!(
        verdict(&old, &list("string", "#/$defs/node")),
        Verdict::Breaking
    );
    // the same words, another target
    let by_name = |kind: &str| json!({ "$defs": { "x": { "type": kind } }, "oneOf": [{ "$ref": "#/$defs/x" }] });
    assert_eq!(
        verdict(&by_name("string"), &by_name("string")),
        Verdict::Safe
    );
    assert_eq!(
        verdict(&by_name("string"), &by_name("null")),
        Verdict::Unknown
    );
    // a schema that is its own branch says nothing by that
    let own = json!({ "anyOf": [{ "$ref": "#" }, { "type": "integer" }] });
    assert_eq!(
        verdict(&own, &json!({ "type": "string" })),
        Verdict::Breaking
    );
    assert_eq!(
        verdict(&json!({ "$ref": "#/nowhere" }), &json!({})),
        Verdict::Unknown
    );
}

/// The branches of a schema name fields for each other. A part that did not change is still safe.
#[test]
fn schema_without_a_change_is_safe() {
    let branch =
        |name: &str| json!({ "patternProperties": { name: { "type": "string" } }, "title": "x" });
    let old = json!({ "anyOf": [branch("^a"), branch("^b")], "unevaluatedProperties": { "type": "null" } });
    let mut new = old.clone();
    new["anyOf"][0]["title"] = json!("y");
    assert_eq!(schemas(&old, &new), []);
}

#[test]
fn changes_are_said_in_words() {
    let old = json!({
        "type": "object",
        "required": ["id", "status"],
        "properties": {
            "id": { "type": "string", "maxLength": 40 },
            "status": { "enum": ["open", "paid"] },
            "amount": { "type": "integer", "minimum": 1 },
            "old": {},
            "lines": { "items": { "type": "object", "properties": { "sku": { "pattern": "^a" } } } }
        }
    });
    let new = json!({
        "type": "object",
        "required": ["id"],
        "properties": {
            "id": { "type": ["string", "null"], "maxLength": 20 },
            "status": { "enum": ["open", "paid", "void"] },
            "amount": { "type": "integer", "minimum": 0 },
            "memo": { "type": "string" },
            "lines": { "maxItems": 9, "items": { "type": "object", "properties": { "sku": { "pattern": "^b" } } } }
        }
    });
    assert_eq!(
        changes(&old, &new),
        [
            "breaking /amount `minimum` was lowered",
            "breaking /id `type` also allows null",
            "breaking /status a value was added to `enum`: void",
            "breaking /status the field is no longer required",
            "safe /id `maxlength` became narrower",
            "safe /lines `maxitems` was added",
            "safe /memo optional field added",
            "safe /old optional field removed",
            "unknown /lines/*/sku `pattern` was changed",
        ]
    );
}

#[test]
fn large_schemas_end() {
    // each level has two branches that both lead on: all paths would be 2^40
    let mut defs = serde_json::Map::new();
    for level in 0..40 {
        let next = json!({ "$ref": format!("#/$defs/n{}", level + 1) });
        defs.insert(
            format!("n{level}"),
            json!({ "anyOf": [{ "properties": { "a": next } }, { "properties": { "b": next } }] }),
        );
    }
    defs.insert("n40".to_owned(), json!({ "type": "string" }));
    let old = json!({ "$defs": defs, "$ref": "#/$defs/n0" });
    let mut new = old.clone();
    new["$defs"]["n40"] = json!({ "type": "null" });
    assert_ne!(verdict(&old, &new), Verdict::Safe);
}

#[test]
fn catalogues_are_compared_by_type_and_version() {
    let compile = |files: &[(&str, &str)]| {
        let files = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()))
            .collect();
        Catalogue::compile(&files).0
    };
    let old = compile(&[
        (
            "a/1.schema.json",
            r#"{"properties":{"x":{"type":"string"}}}"#,
        ),
        ("b/1.schema.json", "{}"),
        ("c/1.schema.json", "{}"),
        ("c/2.schema.json", "{}"),
        ("d/1.schema.json", r#"{"properties":{"x":{"pattern":"a"}}}"#),
    ]);
    let new = compile(&[
        (
            "a/1.schema.json",
            r#"{"properties":{"x":{"type":"string"}}}"#,
        ),
        (
            "a/2.schema.json",
            r#"{"properties":{"x":{"type":"integer"}}}"#,
        ),
        (
            "a/3.schema.json",
            r#"{"properties":{"x":{"type":"integer", "minimum": 1}}}"#,
        ),
        ("c/1.schema.json", "{}"),
        ("d/1.schema.json", r#"{"properties":{"x":{"pattern":"b"}}}"#),
        ("d/1.example.json", r#"{"x":"b"}"#),
        ("e/1.schema.json", "{}"),
    ]);
    let found: Vec<String> = compare(&old, &new)
        .iter()
        .flat_map(|changes| {
            changes.changes.iter().map(|change| {
                format!(
                    "{} {:?} {:?} {} {}",
                    changes.event_type, changes.version, change.verdict, change.at, change.message
                )
            })
        })
        .collect();
    assert_eq!(
        found,
        [
            "a Some(2) Warning  version added; write 2-to-1.yaml: endpoints that are pinned to 1 could not read it",
            "a Some(3) Safe  version added",
            "b None Breaking  the type was removed",
            "c Some(2) Breaking  the version was removed",
            "d Some(1) Breaking /x OLD refuses the example of NEW: it does not match `pattern`",
            "d Some(1) Unknown /x `pattern` was changed",
            "e None Safe  the type was added",
        ]
    );
}
