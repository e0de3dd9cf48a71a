//! The fields of a schema as a list, for people.
use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// The largest depth of fields that are listed.
const MAX_DEPTH: usize = 6;
/// The largest number of fields that are listed.
const MAX_FIELDS: usize = 1_000;

/// A field of a schema.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Field {
    /// The path: `lines[].sku`.
    pub path: String,
    /// The types and the strictest rules in words: `string, date-time`.
    pub kind: String,
    /// Whether the field is always there.
    pub required: bool,
    /// The description, if there is one.
    pub description: String,
}

/// Returns the fields of a schema whose references all point into itself.
pub fn list(document: &Value) -> Vec<Field> {
    let mut fields = Vec::new();
    Listing {
        document,
        fields: &mut fields,
    }
    .inside(document, "", 0, &mut BTreeSet::new());
    fields
}

struct Listing<'l> {
    document: &'l Value,
    fields: &'l mut Vec<Field>,
}

impl<'l> Listing<'l> {
    /// Lists the fields of the objects that a schema describes.
    fn inside(
        &mut self,
        schema: &'l Value,
        path: &str,
        depth: usize,
        listed: &mut BTreeSet<String>,
    ) {
        if depth > MAX_DEPTH {
            return;
        }
        let parts = self.parts(schema);
        let required: BTreeSet<&str> = parts
            .iter()
            .filter_map(|part| part.get("required")?.as_array())
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        for part in &parts {
            for (key, field) in part
                .get("properties")
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
            {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                if self.fields.len() >= MAX_FIELDS || !listed.insert(path.clone()) {
                    continue;
                }
                let parts = self.parts(field);
                self.fields.push(Field {
                    path: path.clone(),
                    kind: kind(&parts),
                    required: required.contains(key.as_str()),
                    description: text(&parts, "description")
                        .or_else(|| text(&parts, "title"))
                        .unwrap_or_default(),
                });
                self.inside(field, &path, depth + 1, listed);
            }
            if let Some(items) = part.get("items") {
                self.inside(items, &format!("{path}[]"), depth + 1, listed);
            }
        }
    }

    /// Returns the schemas that hold together: the schema itself, those of `allOf`, and the target of `$ref`.
    fn parts(&self, schema: &'l Value) -> Vec<&'l Map<String, Value>> {
        let mut parts: Vec<&'l Map<String, Value>> = Vec::new();
        let mut left = vec![schema];
        while let Some(schema) = left.pop() {
            let Value::Object(part) = schema else {
                continue;
            };
            if parts.iter().any(|known| std::ptr::eq(*known, part)) {
                continue;
            }
            parts.push(part);
            left.extend(
                part.get("allOf")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten(),
            );
            let target = part
                .get("$ref")
                .and_then(Value::as_str)
                .and_then(|text| text.strip_prefix('#'));
            left.extend(target.and_then(|at| self.document.pointer(at)));
        }
        parts
    }
}

/// Returns a text of the first schema that has it.
fn text(parts: &[&Map<String, Value>], keyword: &str) -> Option<String> {
    parts
        .iter()
        .find_map(|part| part.get(keyword)?.as_str())
        .map(str::to_owned)
}

/// Describes the types of a field.
fn kind(parts: &[&Map<String, Value>]) -> String {
    let find = |keyword: &str| parts.iter().find_map(|part| part.get(keyword));
    if let Some(value) = find("const") {
        return value.to_string();
    }
    if let Some(Value::Array(values)) = find("enum") {
        let values: Vec<String> = values.iter().map(Value::to_string).collect();
        return values.join(" or ");
    }
    let mut words = match find("type") {
        Some(Value::String(name)) => name.clone(),
        Some(Value::Array(names)) => names
            .iter()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join(" or "),
        _ => "any".to_owned(),
    };
    if let Some(Value::String(format)) = find("format") {
        words.push_str(&format!(", {format}"));
    }
    words
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_listed_through_references() {
        let document = json!({
            "$defs": { "money": { "title": "Money", "required": ["value"], "properties": { "value": { "type": "integer" } } },
                       "node": { "properties": { "next": { "$ref": "#/$defs/node" } } } },
            "required": ["id"],
            "properties": {
                "id": { "type": "string", "format": "uuid", "description": "The ID." },
                "lines": { "type": "array", "items": { "properties": { "price": { "$ref": "#/$defs/money" } } } },
                "state": { "enum": ["open", null] },
                "tree": { "$ref": "#/$defs/node" },
                "x": { "allOf": [{ "type": ["string", "null"] }] }
            }
        });
        let fields: Vec<String> = list(&document)
            .iter()
            .take(7)
            .map(|field| {
                format!(
                    "{} {} {} {}",
                    field.path, field.kind, field.required, field.description
                )
            })
            .collect();
        assert_eq!(
            fields,
            [
                "id string, uuid true The ID.",
                "lines array false ",
                "lines[].price any false Money",
                "lines[].price.value integer true ",
                "state \"open\" or null false ",
                "tree any false ",
                "tree.next any false ",
            ]
        );
        assert!(list(&document).len() < 20);
    }
}
