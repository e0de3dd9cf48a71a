//! The keywords of JSON Schema that hold schemas.
use serde_json::{Map, Value};

use crate::event::pointer;

/// The form in which a keyword holds schemas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// The value is a schema.
    One,
    /// The value is a list of schemas.
    List,
    /// The value is an object of schemas.
    Map,
}

/// Returns the form in which a keyword holds schemas; `None` if it holds none.
pub(crate) fn holds(keyword: &str) -> Option<Holds> {
    match keyword {
        "additionalProperties"
        | "unevaluatedProperties"
        | "unevaluatedItems"
        | "items"
        | "contains"
        | "propertyNames"
        | "not"
        | "if"
        | "then"
        | "else"
        | "contentSchema" => Some(Holds::One),
        "allOf" | "anyOf" | "oneOf" | "prefixItems" => Some(Holds::List),
        "properties" | "patternProperties" | "dependentSchemas" | "$defs" | "definitions" => {
            Some(Holds::Map)
        }
        _ => None,
    }
}

/// Returns whether a keyword only describes: it never makes data invalid.
pub(crate) fn is_annotation(keyword: &str) -> bool {
    matches!(
        keyword,
        "title"
            | "description"
            | "examples"
            | "example"
            | "default"
            | "deprecated"
            | "$comment"
            | "readOnly"
            | "writeOnly"
            | "$schema"
            | "$defs"
            | "definitions"
    ) || keyword.starts_with("x-")
}

/// Returns whether a keyword is judged by a rule, or only describes.
pub(crate) fn has_rule(keyword: &str) -> bool {
    is_annotation(keyword)
        || matches!(
            keyword,
            "type"
                | "enum"
                | "const"
                | "minimum"
                | "exclusiveMinimum"
                | "maximum"
                | "exclusiveMaximum"
                | "multipleOf"
                | "minLength"
                | "maxLength"
                | "pattern"
                | "format"
                | "minItems"
                | "maxItems"
                | "uniqueItems"
                | "items"
                | "prefixItems"
                | "contains"
                | "minContains"
                | "maxContains"
                | "properties"
                | "patternProperties"
                | "additionalProperties"
                | "propertyNames"
                | "required"
                | "minProperties"
                | "maxProperties"
                | "dependentRequired"
                | "dependentSchemas"
                | "anyOf"
                | "allOf"
                | "oneOf"
                | "not"
                | "if"
                | "then"
                | "else"
                | "unevaluatedProperties"
                | "unevaluatedItems"
                | "$ref"
        )
}

/// Calls `each` with the pointer of every object that is a schema, and the object: the schema itself, and all inside it.
pub(crate) fn walk(
    schema: &Value,
    at: &mut String,
    each: &mut dyn FnMut(&str, &Map<String, Value>),
) {
    let Value::Object(keywords) = schema else {
        return;
    };
    each(at, keywords);
    for (keyword, value) in keywords {
        let length = at.len();
        at.push_str(&pointer::step(keyword));
        match (holds(keyword), value) {
            (Some(Holds::One), _) => walk(value, at, each),
            (Some(Holds::List), Value::Array(list)) => {
                for (index, inside) in list.iter().enumerate() {
                    let length = at.len();
                    at.push_str(&format!("/{index}"));
                    walk(inside, at, each);
                    at.truncate(length);
                }
            }
            (Some(Holds::Map), Value::Object(map)) => {
                for (key, inside) in map {
                    let length = at.len();
                    at.push_str(&pointer::step(key));
                    walk(inside, at, each);
                    at.truncate(length);
                }
            }
            (Some(Holds::List | Holds::Map) | None, _) => {}
        }
        at.truncate(length);
    }
}

/// Calls `each` with every object that is a schema, to change it.
pub(crate) fn walk_mut(schema: &mut Value, each: &mut dyn FnMut(&mut Map<String, Value>)) {
    let Value::Object(keywords) = schema else {
        return;
    };
    each(keywords);
    for (keyword, value) in keywords {
        match (holds(keyword), value) {
            (Some(Holds::One), value) => walk_mut(value, each),
            (Some(Holds::List), Value::Array(list)) => {
                list.iter_mut().for_each(|inside| walk_mut(inside, each));
            }
            (Some(Holds::Map), Value::Object(map)) => {
                map.values_mut().for_each(|inside| walk_mut(inside, each));
            }
            (Some(Holds::List | Holds::Map) | None, _) => {}
        }
    }
}
