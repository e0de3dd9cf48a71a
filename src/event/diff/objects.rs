//! The rules for objects.
use std::cmp::Ordering;

use serde_json::{Value, json};

use crate::event::diff::change::{Change, Verdict};
use crate::event::diff::compare::{Comparison, Sink};
use crate::event::diff::location::{Keywords, Location, entry, map, texts};
use crate::event::diff::same::same;
use crate::event::pointer::step;
use crate::event::schema::Schema;

impl<'a> Comparison<'a> {
    /// Judges the fields of objects.
    pub(super) fn objects(
        &mut self,
        old: &'a Keywords,
        new: &Location<'a>,
        at: &str,
        sink: &mut Sink,
    ) {
        Self::count(old, new, at, ("minProperties", Ordering::Greater), sink);
        Self::count(old, new, at, ("maxProperties", Ordering::Less), sink);
        self.required(old, new, at, sink);
        self.properties(old, new, at, sink);
        for (pattern, schema) in map(old, "patternProperties") {
            self.pattern(pattern, schema, new, at, sink);
        }
        if let Some(schema) = old
            .get("additionalProperties")
            .filter(|schema| **schema != Value::Bool(true))
        {
            self.additional(schema, old, new, at, sink);
        }
        self.property_names(old, new, at, sink);
        self.dependent(old, new, at, sink);
    }

    fn required(&mut self, old: &'a Keywords, new: &Location<'a>, at: &str, sink: &mut Sink) {
        for key in texts(old, "required").filter(|key| !new.requires(key)) {
            let message = if new.names(key, &mut self.patterns) {
                "the field is no longer required"
            } else {
                "required field removed"
            };
            sink.push(Change::breaking(
                &format!("{at}{}", step(key)),
                "required",
                message,
            ));
        }
    }

    fn properties(&mut self, old: &'a Keywords, new: &Location<'a>, at: &str, sink: &mut Sink) {
        for (key, schema) in map(old, "properties") {
            let inside = format!("{at}{}", step(key));
            if new.names(key, &mut self.patterns) {
                let location = new.field(self.new, key, &mut self.patterns);
                self.compare_inside(schema, &location, &inside, sink);
            } else if !texts(old, "required").any(|name| name == key) {
                sink.push(Change::new(
                    Verdict::Safe,
                    &inside,
                    "properties",
                    "optional field removed",
                ));
            }
        }
    }

    /// Judges a pattern of OLD against all fields that NEW names.
    fn pattern(
        &mut self,
        pattern: &'a str,
        schema: &'a Value,
        new: &Location<'a>,
        at: &str,
        sink: &mut Sink,
    ) {
        for key in new.keys() {
            if self.patterns.matches(pattern, key) != Some(false) {
                let location = new.field(self.new, key, &mut self.patterns);
                self.compare_inside(schema, &location, &format!("{at}{}", step(key)), sink);
            }
        }
        for other in new.other_fields(self.new) {
            // `additionalProperties` does not apply where a pattern beside it does
            let is_elsewhere = other.pattern.is_none()
                && other
                    .owner
                    .is_some_and(|owner| entry(owner, "patternProperties", pattern).is_some());
            if !is_elsewhere {
                self.compare_inside(schema, &other.location, &format!("{at}/*"), sink);
            }
        }
    }

    /// Judges `additionalProperties` of OLD against all fields that NEW names and OLD does not.
    fn additional(
        &mut self,
        schema: &'a Value,
        old: &'a Keywords,
        new: &Location<'a>,
        at: &str,
        sink: &mut Sink,
    ) {
        for key in new.keys() {
            let is_listed = entry(old, "properties", key).is_some()
                || map(old, "patternProperties")
                    .any(|(pattern, _)| self.patterns.matches(pattern, key) == Some(true));
            if !is_listed {
                let location = new.field(self.new, key, &mut self.patterns);
                self.compare_inside(schema, &location, &format!("{at}{}", step(key)), sink);
            }
        }
        for other in new.other_fields(self.new) {
            let is_listed = other
                .pattern
                .is_some_and(|pattern| entry(old, "patternProperties", pattern).is_some());
            if !is_listed {
                self.compare_inside(schema, &other.location, &format!("{at}/*"), sink);
            }
        }
    }

    /// Judges `propertyNames`: it must be kept, or hold for every field that NEW names.
    fn property_names(&mut self, old: &'a Keywords, new: &Location<'a>, at: &str, sink: &mut Sink) {
        let Some(names) = old.get("propertyNames") else {
            return;
        };
        let kept: Vec<&'a Value> = new
            .sure
            .iter()
            .filter_map(|schema| schema.get("propertyNames"))
            .collect();
        if kept
            .iter()
            .any(|kept| same((self.old, names), (self.new, *kept)))
        {
            return;
        }
        let location = Location::new(self.new, kept.iter().copied(), None);
        if !kept.is_empty() && self.follows(names, &location) {
            return;
        }
        let is_listed =
            new.other_fields(self.new).is_empty() && !names.to_string().contains("$ref") && {
                let schema = Schema::compile(&json!({ "propertyNames": names })).ok();
                let all: serde_json::Map<String, Value> = new
                    .keys()
                    .into_iter()
                    .map(|key| (key.to_owned(), Value::Null))
                    .collect();
                schema.is_some_and(|schema| schema.is_valid(&Value::Object(all)))
            };
        if !is_listed {
            let how = if kept.is_empty() {
                "dropped"
            } else {
                "changed"
            };
            sink.push(Change::breaking(
                at,
                "propertyNames",
                format!("`propertyNames` was {how}"),
            ));
        }
    }

    fn dependent(&mut self, old: &'a Keywords, new: &Location<'a>, at: &str, sink: &mut Sink) {
        for (key, names) in map(old, "dependentRequired") {
            let mut names = names
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str);
            let asks = |schema: &Keywords, name: &str| {
                map(schema, "dependentRequired")
                    .filter(|(own, _)| *own == key)
                    .any(|(_, names)| {
                        names
                            .as_array()
                            .is_some_and(|names| names.iter().any(|own| own == name))
                    })
            };
            let is_kept = names
                .all(|name| new.requires(name) || new.sure.iter().any(|schema| asks(schema, name)));
            if !is_kept && new.names(key, &mut self.patterns) {
                let message = format!("`dependentRequired` of `{key}` was dropped");
                sink.push(Change::breaking(at, "dependentRequired", message));
            }
        }
        for (key, schema) in map(old, "dependentSchemas") {
            let is_kept = new.sure.iter().any(|new| {
                map(new, "dependentSchemas")
                    .any(|(own, new)| own == key && same((self.old, schema), (self.new, new)))
            });
            if !is_kept && new.names(key, &mut self.patterns) {
                let message = format!("`dependentSchemas` of `{key}` was changed");
                sink.push(Change::unknown(at, "dependentSchemas", message));
            }
        }
    }
}
