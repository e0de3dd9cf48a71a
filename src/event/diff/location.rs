//! The schemas of NEW that apply to one value.
use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Value, json};

use crate::event::diff::types::Types;
use crate::event::schema::Schema;

/// A schema document, whose references all point into itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Document<'a>(pub(super) &'a Value);

/// The keywords of a schema.
pub(super) type Keywords = Map<String, Value>;

impl<'a> Document<'a> {
    /// Returns the schema that a reference points at.
    pub(super) fn resolve(self, reference: &Value) -> Option<&'a Value> {
        self.0.pointer(reference.as_str()?.strip_prefix('#')?)
    }

    /// Adds the schemas that must all hold where `schema` does: itself, those of `allOf`, and the targets of `$ref`. Returns whether one of
    /// them is `false`, or cannot be resolved.
    pub(super) fn flatten(self, schema: &'a Value, into: &mut Vec<&'a Keywords>) -> Flat {
        let Value::Object(keywords) = schema else {
            return if *schema == Value::Bool(false) {
                Flat::Nothing
            } else {
                Flat::Whole
            };
        };
        if into.iter().any(|known| std::ptr::eq(*known, keywords)) {
            return Flat::Whole;
        }
        into.push(keywords);
        let mut flat = Flat::Whole;
        for branch in list(keywords, "allOf") {
            flat = flat.max(self.flatten(branch, into));
        }
        if let Some(reference) = keywords.get("$ref") {
            flat = flat.max(match self.resolve(reference) {
                Some(target) => self.flatten(target, into),
                None => Flat::Unresolved,
            });
        }
        flat
    }

    /// Adds the schemas that may apply to the value where `schema` is: those that must hold, and those of branches.
    fn spread(self, schema: &'a Value, into: &mut Vec<&'a Keywords>) {
        let Value::Object(keywords) = schema else {
            return;
        };
        if into.iter().any(|known| std::ptr::eq(*known, keywords)) {
            return;
        }
        into.push(keywords);
        for keyword in ["allOf", "anyOf", "oneOf"] {
            for branch in list(keywords, keyword) {
                self.spread(branch, into);
            }
        }
        for keyword in ["if", "then", "else"] {
            if let Some(branch) = keywords.get(keyword) {
                self.spread(branch, into);
            }
        }
        for (_, branch) in map(keywords, "dependentSchemas") {
            self.spread(branch, into);
        }
        if let Some(target) = keywords
            .get("$ref")
            .and_then(|reference| self.resolve(reference))
        {
            self.spread(target, into);
        }
    }
}

/// The result of [`Document::flatten`], the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Flat {
    /// All schemas were added.
    Whole,
    /// A reference points at nothing.
    Unresolved,
    /// Nothing is valid.
    Nothing,
}

/// Returns the schemas of a keyword that holds a list.
pub(super) fn list<'a>(keywords: &'a Keywords, keyword: &str) -> impl Iterator<Item = &'a Value> {
    keywords
        .get(keyword)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// Returns the entries of a keyword that holds an object.
pub(super) fn map<'a>(
    keywords: &'a Keywords,
    keyword: &str,
) -> impl Iterator<Item = (&'a String, &'a Value)> {
    keywords
        .get(keyword)
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
}

/// Returns an entry of a keyword that holds an object.
pub(super) fn entry<'a>(keywords: &'a Keywords, keyword: &str, key: &str) -> Option<&'a Value> {
    keywords.get(keyword)?.as_object()?.get(key)
}

/// Returns the texts of a keyword that holds a list.
pub(super) fn texts<'a>(keywords: &'a Keywords, keyword: &str) -> impl Iterator<Item = &'a str> {
    list(keywords, keyword).filter_map(Value::as_str)
}

/// Compiled patterns.
#[derive(Debug, Default)]
pub(super) struct Patterns(HashMap<String, Option<Schema>>);

impl Patterns {
    /// Returns whether a pattern matches a key; `None` if the pattern cannot be used.
    pub(super) fn matches(&mut self, pattern: &str, key: &str) -> Option<bool> {
        let compiled = self
            .0
            .entry(pattern.to_owned())
            .or_insert_with(|| Schema::compile(&json!({ "pattern": pattern })).ok());
        compiled
            .as_ref()
            .map(|schema| schema.is_valid(&Value::from(key)))
    }
}

/// The schemas of NEW that apply to one value.
#[derive(Clone, Debug)]
pub(super) struct Location<'a> {
    /// The schemas that all hold.
    pub(super) sure: Vec<&'a Keywords>,
    /// The schemas that may apply, among them those that hold. They name the fields that are sent.
    maybe: Vec<&'a Keywords>,
    /// Whether nothing is valid here, so that nothing is sent.
    pub(super) is_nothing: bool,
    /// Whether any field may be sent, with any value.
    is_open: bool,
}

/// The fields of an object that NEW names by a rule and not one by one.
#[derive(Debug)]
pub(super) struct OtherFields<'a> {
    /// The pattern; `None` for `additionalProperties`.
    pub(super) pattern: Option<&'a str>,
    /// The schema that has the rule; `None` if any field may be sent.
    pub(super) owner: Option<&'a Keywords>,
    /// The schemas that apply to such a field.
    pub(super) location: Location<'a>,
}

impl<'a> Location<'a> {
    /// Returns the location of these schemas of NEW: those that hold, and those that may apply.
    pub(super) fn new(
        new: Document<'a>,
        sure: impl IntoIterator<Item = &'a Value>,
        maybe: impl IntoIterator<Item = &'a Value>,
    ) -> Self {
        let mut location = Self {
            sure: Vec::new(),
            maybe: Vec::new(),
            is_nothing: false,
            is_open: false,
        };
        for schema in sure {
            location.is_nothing |= new.flatten(schema, &mut location.sure) == Flat::Nothing;
            new.spread(schema, &mut location.maybe);
        }
        for schema in maybe {
            new.spread(schema, &mut location.maybe);
        }
        location.is_open = location
            .maybe
            .iter()
            .any(|keywords| names_anything(keywords));
        location
    }

    /// Returns the location where this schema holds too.
    pub(super) fn with(&self, new: Document<'a>, schema: &'a Value) -> Self {
        let mut location = self.clone();
        location.is_nothing |= new.flatten(schema, &mut location.sure) == Flat::Nothing;
        location
    }

    /// Returns the schemas as they are compared: by their addresses.
    pub(super) fn identity(&self) -> Vec<usize> {
        let addresses = |schemas: &[&'a Keywords]| {
            let mut addresses: Vec<usize> = schemas
                .iter()
                .map(|schema| std::ptr::from_ref(*schema).addr())
                .collect();
            addresses.sort_unstable();
            addresses
        };
        let mut identity = addresses(&self.sure);
        identity.push(usize::from(self.is_open));
        identity.extend(addresses(&self.maybe));
        identity
    }

    /// Returns the types of the values that are sent.
    pub(super) fn types(&self) -> Types {
        self.sure
            .iter()
            .map(|schema| Types::of_schema(schema))
            .fold(Types::of_keyword(None), Types::and)
    }

    /// Returns the values that are sent, if `enum` or `const` lists them.
    pub(super) fn values(&self) -> Option<Vec<&'a Value>> {
        let lists: Vec<Vec<&'a Value>> = self
            .sure
            .iter()
            .flat_map(|schema| {
                let listed = schema.get("enum").and_then(Value::as_array);
                let listed = listed.map(|values| values.iter().collect());
                [listed, schema.get("const").map(|value| vec![value])]
            })
            .flatten()
            .collect();
        let (first, others) = lists.split_first()?;
        let types = self.types();
        let is_sent = |value: &&'a Value| {
            types.meets(Types::of_value(value)) && others.iter().all(|list| list.contains(value))
        };
        Some(first.iter().copied().filter(is_sent).collect())
    }

    /// Returns the fields that NEW names one by one.
    pub(super) fn keys(&self) -> BTreeSet<&'a str> {
        let mut keys = BTreeSet::new();
        for schema in &self.maybe {
            keys.extend(map(schema, "properties").map(|(key, _)| key.as_str()));
            keys.extend(map(schema, "dependentSchemas").map(|(key, _)| key.as_str()));
            keys.extend(texts(schema, "required"));
            for (key, names) in map(schema, "dependentRequired") {
                keys.insert(key);
                keys.extend(
                    names
                        .as_array()
                        .into_iter()
                        .flatten()
                        .filter_map(Value::as_str),
                );
            }
        }
        keys
    }

    /// Returns whether NEW names a field, so that it may be sent.
    pub(super) fn names(&self, key: &str, patterns: &mut Patterns) -> bool {
        self.is_open
            || self.maybe.iter().any(|schema| {
                lists(schema, key)
                    || schema
                        .get("additionalProperties")
                        .is_some_and(Value::is_object)
                    || map(schema, "patternProperties")
                        .any(|(pattern, _)| patterns.matches(pattern, key) != Some(false))
            })
    }

    /// Returns whether a field must be sent.
    pub(super) fn requires(&self, key: &str) -> bool {
        self.sure
            .iter()
            .any(|schema| texts(schema, "required").any(|name| name == key))
    }

    /// Returns the location of the value of a field.
    pub(super) fn field(&self, new: Document<'a>, key: &str, patterns: &mut Patterns) -> Self {
        let mut of = |schemas: &[&'a Keywords], if_unknown: bool| {
            let mut found: Vec<&'a Value> = Vec::new();
            for schema in schemas {
                let count = found.len();
                let mut is_certain = true;
                found.extend(entry(schema, "properties", key));
                for (pattern, value) in map(schema, "patternProperties") {
                    let matches = patterns.matches(pattern, key);
                    is_certain &= matches.is_some();
                    if matches.unwrap_or(if_unknown) {
                        found.push(value);
                    }
                }
                if found.len() == count && (is_certain || if_unknown) {
                    found.extend(schema.get("additionalProperties"));
                }
            }
            found
        };
        let sure = of(&self.sure, false);
        let maybe = of(&self.maybe, true);
        self.inside(new, sure, maybe)
    }

    /// Returns the fields that NEW names by a pattern or by `additionalProperties`.
    pub(super) fn other_fields(&self, new: Document<'a>) -> Vec<OtherFields<'a>> {
        let mut others = Vec::new();
        for owner in &self.maybe {
            let is_sure = self.sure.iter().any(|schema| std::ptr::eq(*schema, *owner));
            let patterns = map(owner, "patternProperties")
                .map(|(pattern, schema)| (Some(pattern.as_str()), schema));
            let additional = owner
                .get("additionalProperties")
                .filter(|schema| schema.is_object());
            for (pattern, schema) in patterns.chain(additional.map(|schema| (None, schema))) {
                let location = self.inside(new, is_sure.then_some(schema), Some(schema));
                others.push(OtherFields {
                    pattern,
                    owner: Some(*owner),
                    location,
                });
            }
        }
        if self.is_open {
            let location = self.inside(new, None, None);
            others.push(OtherFields {
                pattern: None,
                owner: None,
                location,
            });
        }
        others
    }

    /// Returns the location of an item of a list; of those after all prefixes for `None`.
    pub(super) fn item(&self, new: Document<'a>, index: Option<usize>) -> Self {
        let of = |schemas: &[&'a Keywords]| -> Vec<&'a Value> {
            let item = |schema: &&'a Keywords| {
                let in_front = index.and_then(|index| list(schema, "prefixItems").nth(index));
                in_front.or_else(|| schema.get("items"))
            };
            schemas.iter().filter_map(item).collect()
        };
        self.inside(new, of(&self.sure), of(&self.maybe))
    }

    /// Returns the largest number of items in front that NEW describes one by one.
    pub(super) fn prefix(&self) -> usize {
        self.sure
            .iter()
            .map(|schema| list(schema, "prefixItems").count())
            .max()
            .unwrap_or_default()
    }

    fn inside(
        &self,
        new: Document<'a>,
        sure: impl IntoIterator<Item = &'a Value>,
        maybe: impl IntoIterator<Item = &'a Value>,
    ) -> Self {
        let mut inside = Self::new(new, sure, maybe);
        inside.is_open |= self.is_open;
        inside
    }
}

/// Returns whether a schema names a field one by one.
fn lists(schema: &Keywords, key: &str) -> bool {
    entry(schema, "properties", key).is_some()
        || entry(schema, "dependentSchemas", key).is_some()
        || texts(schema, "required").any(|name| name == key)
        || map(schema, "dependentRequired").any(|(own, names)| {
            own == key
                || names
                    .as_array()
                    .is_some_and(|names| names.iter().any(|name| name == key))
        })
}

/// Returns whether a schema may name any field: one that lists whole objects does, and one with a schema for unevaluated fields.
fn names_anything(schema: &Keywords) -> bool {
    let is_composite = |value: &Value| value.is_object() || value.is_array();
    schema
        .get("unevaluatedProperties")
        .is_some_and(Value::is_object)
        || schema.get("unevaluatedItems").is_some_and(Value::is_object)
        || list(schema, "enum")
            .chain(schema.get("const"))
            .any(is_composite)
}
