//! Random pairs of schemas and data: what is called safe never lets data pass that OLD refuses.
#![expect(
    clippy::wildcard_enum_match_arm,
    clippy::needless_pass_by_value,
    reason = "the kinds of JSON are known, and strategies are given away"
)]
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, json};

use super::*;
use crate::event::schema::Schema;

/// The number of pairs of schemas.
const PAIRS: u32 = 3_000;
/// The number of documents for each pair.
const DOCUMENTS: usize = 40;

const KEYS: &[&str] = &["a", "b", "ab", "x1"];

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-1..4_i64).prop_map(Value::from),
        select(vec![json!(0.5), json!(1.0), json!(2.5)]),
        select(vec!["", "a", "ab", "abc", "x1", "b"]).prop_map(Value::from),
    ]
}

fn data() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            1 => proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            3 => proptest::collection::btree_map(select(KEYS), inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

/// One keyword with its value.
fn keyword(inner: BoxedStrategy<Value>) -> BoxedStrategy<(&'static str, Value)> {
    let names = || {
        select(vec![
            "null", "boolean", "object", "array", "string", "number", "integer", "object",
        ])
    };
    let types = prop_oneof![
        names().prop_map(Value::from),
        proptest::collection::btree_set(names(), 1..4).prop_map(|set| json!(set)),
    ];
    let small = 0..4_u64;
    let bound = prop_oneof![
        (-1..4_i64).prop_map(Value::from),
        select(vec![json!(0.5), json!(1.0), json!(1.5)])
    ];
    let keys = || proptest::collection::btree_set(select(KEYS), 0..3);
    let fields = proptest::collection::btree_map(select(KEYS), inner.clone(), 0..4);
    let by_pattern =
        proptest::collection::btree_map(select(vec!["^a", "b$", "^x", "."]), inner.clone(), 0..3);
    let schemas = || proptest::collection::vec(inner.clone(), 1..3);
    let refers = select(vec!["#/$defs/p", "#/$defs/q", "#"]).prop_map(Value::from);
    prop_oneof![
        4 => types.prop_map(|value| ("type", value)),
        2 => proptest::collection::vec(scalar(), 1..4).prop_map(|values| ("enum", json!(values))),
        1 => data().prop_map(|value| ("const", value)),
        3 => (select(vec!["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"]), bound),
        1 => (Just("multipleOf"), select(vec![json!(1), json!(2), json!(3), json!(0.5), json!(6)])),
        3 => (select(vec!["minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"]), small.prop_map(Value::from)),
        1 => (Just("pattern"), select(vec![json!("^a"), json!("b"), json!("1$")])),
        1 => (Just("uniqueItems"), any::<bool>().prop_map(Value::from)),
        6 => fields.prop_map(|fields| ("properties", json!(fields))),
        2 => keys().prop_map(|keys| ("required", json!(keys))),
        2 => by_pattern.prop_map(|fields| ("patternProperties", json!(fields))),
        2 => (Just("additionalProperties"), inner.clone()),
        1 => (Just("propertyNames"), inner.clone()),
        1 => (select(KEYS), keys()).prop_map(|(key, keys)| ("dependentRequired", json!({ key: keys }))),
        1 => (select(KEYS), inner.clone()).prop_map(|(key, schema)| ("dependentSchemas", json!({ key: schema }))),
        2 => (select(vec!["items", "contains", "not", "if", "then", "else", "unevaluatedProperties"]), inner.clone()),
        1 => schemas().prop_map(|list| ("prefixItems", json!(list))),
        2 => schemas().prop_map(|list| ("anyOf", json!(list))),
        1 => inner.clone().prop_map(|schema| ("anyOf", json!([{ "$ref": "#" }, schema]))),
        1 => schemas().prop_map(|list| ("allOf", json!(list))),
        1 => schemas().prop_map(|list| ("oneOf", json!(list))),
        1 => refers.prop_map(|to| ("$ref", to)),
    ]
    .boxed()
}

fn schema() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        1 => any::<bool>().prop_map(Value::from),
        6 => select(vec!["string", "integer", "object", "number", "null", "array"]).prop_map(|name| json!({ "type": name })),
        1 => Just(json!({})),
    ]
    .boxed();
    leaf.prop_recursive(3, 24, 4, |inner| {
        proptest::collection::vec(keyword(inner), 0..4)
            .prop_map(|keywords| {
                keywords
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect::<Map<_, _>>()
            })
            .prop_map(Value::from)
    })
    .boxed()
}

/// A whole document, with two definitions to refer to.
fn document() -> impl Strategy<Value = Value> {
    (
        proptest::collection::vec(keyword(schema()), 1..5),
        schema(),
        schema(),
    )
        .prop_map(|(keywords, p, q)| {
            let mut root: Map<String, Value> = keywords
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect();
            root.insert("$defs".to_owned(), json!({ "p": p, "q": q }));
            Value::from(root)
        })
}

/// Changes one place of a schema: most pairs of unrelated schemas break.
fn edit(schema: &mut Value, path: &mut impl Iterator<Item = u32>, keyword: &(&'static str, Value)) {
    let pick = path.next().unwrap_or_default() as usize;
    let added = json!({ keyword.0: keyword.1 });
    match schema {
        Value::Object(map) if !map.is_empty() => {
            let count = map.len();
            let key = map.keys().nth(pick % count).cloned().unwrap();
            match pick / count % 8 {
                0 if key != "$defs" => drop(map.remove(&key)),
                1 | 2 => drop(map.insert(keyword.0.to_owned(), keyword.1.clone())),
                3 if key != "$defs" => branch(map, &key, pick / count / 8, &added),
                _ => edit(map.get_mut(&key).unwrap(), path, keyword),
            }
        }
        Value::Array(list) if !list.is_empty() => {
            let count = list.len();
            match pick / count % 4 {
                0 => list.push(added),
                1 => drop(list.remove(pick % count)),
                _ => edit(&mut list[pick % count], path, keyword),
            }
        }
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or_default();
            *schema = json!(if pick.is_multiple_of(2) {
                number + 1.0
            } else {
                (number - 1.0).max(0.0)
            });
        }
        _ => {}
    }
}

/// Moves a keyword into a branch, where it may no longer hold.
fn branch(map: &mut Map<String, Value>, key: &str, pick: usize, other: &Value) {
    let Some(value) = map.remove(key) else { return };
    let moved = json!({ key: value });
    let (keyword, value) = match pick % 6 {
        0 => ("anyOf", json!([moved, {}])),
        1 => ("oneOf", json!([moved, other])),
        2 => ("allOf", json!([moved])),
        3 => ("anyOf", json!([other, moved])),
        4 => ("dependentSchemas", json!({ "a": moved })),
        _ => {
            map.insert("if".to_owned(), other.clone());
            ("then", moved)
        }
    };
    map.insert(keyword.to_owned(), value);
}

/// Collects the values that a schema lists: random data would never meet them.
fn listed(schema: &Value, into: &mut Vec<Value>) {
    match schema {
        Value::Object(map) => {
            into.extend(map.get("const").cloned());
            into.extend(
                map.get("enum")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                    .cloned(),
            );
            map.values().for_each(|inside| listed(inside, into));
        }
        Value::Array(list) => list.iter().for_each(|inside| listed(inside, into)),
        _ => {}
    }
}

/// Whether NEW names every field of the data, at any depth. This is written apart from the code under test, and allows no more.
fn is_named(root: &Value, schemas: &[&Value], data: &Value) -> bool {
    let mut all: Vec<&Map<String, Value>> = Vec::new();
    let mut queue: Vec<&Value> = schemas.to_vec();
    while let Some(schema) = queue.pop() {
        let Value::Object(map) = schema else { continue };
        if all.iter().any(|known| std::ptr::eq(*known, map)) {
            continue;
        }
        all.push(map);
        for (keyword, value) in map {
            match keyword.as_str() {
                "allOf" | "anyOf" | "oneOf" => queue.extend(value.as_array().into_iter().flatten()),
                "if" | "then" | "else" => queue.push(value),
                "dependentSchemas" => {
                    queue.extend(value.as_object().into_iter().flat_map(Map::values));
                }
                "$ref" => {
                    queue.extend(root.pointer(value.as_str().unwrap().trim_start_matches('#')));
                }
                _ => {}
            }
        }
    }
    // these name whatever is in the value, at any depth
    let names_all = |map: &&Map<String, Value>| {
        let mut values = Vec::new();
        values.extend(map.get("const"));
        values.extend(
            map.get("enum")
                .and_then(Value::as_array)
                .into_iter()
                .flatten(),
        );
        map.get("unevaluatedProperties")
            .is_some_and(Value::is_object)
            || values
                .iter()
                .any(|value| value.is_object() || value.is_array())
    };
    if all.iter().any(names_all) {
        return true;
    }
    match data {
        Value::Array(items) => items.iter().enumerate().all(|(index, item)| {
            let inside: Vec<&Value> = all
                .iter()
                .filter_map(|map| {
                    map.get("prefixItems")
                        .and_then(|list| list.get(index))
                        .or_else(|| map.get("items"))
                })
                .collect();
            is_named(root, &inside, item)
        }),
        Value::Object(fields) => fields.iter().all(|(key, value)| {
            let mut is_known = false;
            let mut inside = Vec::new();
            for map in &all {
                let count = inside.len();
                inside.extend(map.get("properties").and_then(|fields| fields.get(key)));
                for (pattern, schema) in map
                    .get("patternProperties")
                    .and_then(Value::as_object)
                    .into_iter()
                    .flatten()
                {
                    let matches = match pattern.as_str() {
                        "^a" => key.starts_with('a'),
                        "b$" => key.ends_with('b'),
                        "^x" => key.starts_with('x'),
                        _ => true,
                    };
                    inside.extend(matches.then_some(schema));
                }
                if inside.len() == count {
                    inside.extend(
                        map.get("additionalProperties")
                            .filter(|schema| schema.is_object()),
                    );
                }
                is_known |= map
                    .get("required")
                    .is_some_and(|names| names.as_array().unwrap().contains(&json!(key)));
            }
            (is_known || !inside.is_empty()) && is_named(root, &inside, value)
        }),
        _ => true,
    }
}

/// The number of pairs by verdict, and of documents that were checked against the pairs called safe.
#[derive(Debug, Default)]
struct Tally {
    safe: u32,
    unsafe_pairs: u32,
    judged: u32,
    truly_breaking: u32,
}

#[test]
fn safe_change_never_lets_data_pass_that_old_refuses() {
    let tally = std::cell::RefCell::new(Tally::default());
    let config = Config {
        cases: PAIRS,
        failure_persistence: None,
        max_global_rejects: PAIRS,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let pairs = (
        document(),
        document(),
        any::<bool>(),
        proptest::collection::vec(
            (
                proptest::collection::vec(any::<u32>(), 8),
                keyword(schema()),
            ),
            1..3,
        ),
        proptest::collection::vec(data(), DOCUMENTS),
    );
    let result = runner.run(&pairs, |(old, other, unrelated, edits, documents)| {
        let mut new = old.clone();
        for (path, keyword) in &edits {
            edit(&mut new, &mut path.iter().copied(), keyword);
        }
        if unrelated && edits.len() == 2 {
            new = other;
        }
        let (Ok(compiled_old), Ok(compiled_new)) = (Schema::compile(&old), Schema::compile(&new))
        else {
            return Ok(());
        };
        let is_safe = schemas(&old, &new).iter().all(Change::is_safe);
        let mut tally = tally.borrow_mut();
        *(if is_safe {
            &mut tally.safe
        } else {
            &mut tally.unsafe_pairs
        }) += 1;
        let mut is_broken = false;
        let mut all = documents;
        listed(&new, &mut all);
        for document in &all {
            if !compiled_new.is_valid(document) || !is_named(&new, &[&new], document) {
                continue;
            }
            let passes = compiled_old.is_valid(document);
            is_broken |= !passes;
            tally.judged += u32::from(is_safe);
            prop_assert!(
                !is_safe || passes,
                "called safe, but OLD refuses {}\nOLD {}\nNEW {}",
                document,
                old,
                new
            );
        }
        tally.truly_breaking += u32::from(is_broken);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let tally = tally.into_inner();
    // the test is worth something only if much was called safe, much data was judged, and much did break
    assert!(
        tally.safe > PAIRS / 10 && tally.judged > PAIRS && tally.truly_breaking > PAIRS / 20,
        "{tally:?}"
    );
}
