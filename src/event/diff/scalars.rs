//! The rules for values of any type, numbers, texts and lists.
use std::cmp::Ordering;

use serde_json::{Number, Value};

use crate::event::diff::change::Change;
use crate::event::diff::compare::{Comparison, Sink};
use crate::event::diff::location::{Keywords, Location, list};
use crate::event::diff::number::{compare, is_multiple, number, whole};
use crate::event::diff::same::same_keyword;
use crate::event::diff::types::Types;
use crate::event::schema::keywords::has_rule;

/// The largest number of values that are named in a message.
const MAX_NAMED: usize = 5;
/// The largest length of a value in a message, in characters.
const MAX_SHOWN: usize = 40;

impl<'a> Comparison<'a> {
    /// Judges `type`, `enum` and `const`.
    pub(super) fn values(old: &'a Keywords, new: &Location<'a>, at: &str, sink: &mut Sink) {
        let more = new.types().without(Types::of_keyword(old.get("type")));
        if !more.is_empty() {
            let names = more.names();
            sink.push(Change::breaking(
                at,
                "type",
                format!("`type` also allows {names}"),
            ));
        }
        for keyword in ["enum", "const"] {
            let allowed: Vec<&Value> = match (keyword, old.get(keyword)) {
                (_, None) => continue,
                ("enum", Some(Value::Array(values))) => values.iter().collect(),
                (_, Some(value)) => vec![value],
            };
            let Some(values) = new.values() else {
                sink.push(Change::breaking(
                    at,
                    keyword,
                    format!("`{keyword}` was dropped"),
                ));
                continue;
            };
            let added: Vec<&Value> = values
                .into_iter()
                .filter(|value| !allowed.contains(value))
                .collect();
            if !added.is_empty() {
                sink.push(Change::breaking(at, keyword, added_values(&added, keyword)));
            }
        }
    }

    /// Judges the bounds of numbers.
    pub(super) fn numbers(old: &'a Keywords, new: &Location<'a>, at: &str, sink: &mut Sink) {
        let bounds = [
            (
                "minimum",
                Ordering::Greater,
                ["minimum", "exclusiveMinimum"],
            ),
            (
                "exclusiveMinimum",
                Ordering::Greater,
                ["exclusiveMinimum", "minimum"],
            ),
            ("maximum", Ordering::Less, ["maximum", "exclusiveMaximum"]),
            (
                "exclusiveMaximum",
                Ordering::Less,
                ["exclusiveMaximum", "maximum"],
            ),
        ];
        for (keyword, narrower, sources) in bounds {
            let Some(limit) = old.get(keyword).and_then(number) else {
                continue;
            };
            let holds = |source: &str, bound: &Number| match compare(bound, limit) {
                Some(Ordering::Equal) => source == keyword || !keyword.starts_with("exclusive"),
                Some(order) => order == narrower,
                None => false,
            };
            let found = new.sure.iter().any(|schema| {
                sources.iter().any(|source| {
                    schema
                        .get(*source)
                        .and_then(number)
                        .is_some_and(|bound| holds(source, bound))
                })
            });
            if !found {
                sink.push(wider(at, keyword, new));
            }
        }
        if let Some(step) = old.get("multipleOf").and_then(number) {
            let found = new.sure.iter().any(|schema| {
                schema
                    .get("multipleOf")
                    .and_then(number)
                    .is_some_and(|new| is_multiple(new, step))
            });
            let is_whole = whole(step) == Some(1) && !new.types().meets(Types::FRACTION);
            if !found && !is_whole {
                sink.push(wider(at, "multipleOf", new));
            }
        }
    }

    /// Judges the bounds and forms of texts.
    pub(super) fn strings(old: &'a Keywords, new: &Location<'a>, at: &str, sink: &mut Sink) {
        Self::count(old, new, at, ("minLength", Ordering::Greater), sink);
        Self::count(old, new, at, ("maxLength", Ordering::Less), sink);
        for keyword in ["pattern", "format"] {
            let Some(form) = old.get(keyword) else {
                continue;
            };
            let mut forms = new
                .sure
                .iter()
                .filter_map(|schema| schema.get(keyword))
                .peekable();
            if forms.peek().is_none() {
                sink.push(Change::breaking(
                    at,
                    keyword,
                    format!("`{keyword}` was dropped"),
                ));
            } else if !forms.any(|new| new == form) {
                sink.push(Change::unknown(
                    at,
                    keyword,
                    format!("`{keyword}` was changed"),
                ));
            }
        }
    }

    /// Judges the items of lists.
    pub(super) fn lists(
        &mut self,
        old: &'a Keywords,
        new: &Location<'a>,
        at: &str,
        sink: &mut Sink,
    ) {
        Self::count(old, new, at, ("minItems", Ordering::Greater), sink);
        Self::count(old, new, at, ("maxItems", Ordering::Less), sink);
        if old.get("uniqueItems") == Some(&Value::Bool(true))
            && !new
                .sure
                .iter()
                .any(|schema| schema.get("uniqueItems") == Some(&Value::Bool(true)))
        {
            sink.push(Change::breaking(
                at,
                "uniqueItems",
                "`uniqueItems` was dropped",
            ));
        }
        let old_prefix = list(old, "prefixItems").count();
        let has_items = old.contains_key("items") || old_prefix > 0;
        if has_items {
            let prefix = old_prefix.max(new.prefix());
            for index in 0..prefix {
                let schema = list(old, "prefixItems")
                    .nth(index)
                    .or_else(|| old.get("items"));
                if let Some(schema) = schema {
                    let location = new.item(self.new, Some(index));
                    self.compare_inside(schema, &location, &format!("{at}/{index}"), sink);
                }
            }
            if let Some(schema) = old.get("items") {
                self.compare_inside(schema, &new.item(self.new, None), &format!("{at}/*"), sink);
            }
        }
        if old.contains_key("contains") {
            let keywords = ["contains", "minContains", "maxContains"];
            let is_same = |schema: &&Keywords| {
                keywords
                    .iter()
                    .all(|keyword| same_keyword(keyword, (self.old, old), (self.new, *schema)))
            };
            if !new.sure.iter().any(is_same) {
                let is_dropped = !new
                    .sure
                    .iter()
                    .any(|schema| schema.contains_key("contains"));
                sink.push(if is_dropped {
                    Change::breaking(at, "contains", "`contains` was dropped")
                } else {
                    Change::unknown(at, "contains", "`contains` was changed")
                });
            }
        }
    }

    /// Judges a bound of a length or of a count.
    pub(super) fn count(
        old: &'a Keywords,
        new: &Location<'a>,
        at: &str,
        (keyword, narrower): (&str, Ordering),
        sink: &mut Sink,
    ) {
        let Some(limit) = old.get(keyword).and_then(number) else {
            return;
        };
        let is_trivial = narrower == Ordering::Greater && whole(limit) == Some(0);
        let holds = |schema: &&Keywords| {
            let order = schema
                .get(keyword)
                .and_then(number)
                .and_then(|bound| compare(bound, limit));
            order.is_some_and(|order| order == narrower || order == Ordering::Equal)
        };
        if !is_trivial && !new.sure.iter().any(holds) {
            sink.push(wider(at, keyword, new));
        }
    }

    /// Judges the keywords with schemas for the value itself.
    pub(super) fn branches(
        &mut self,
        old: &'a Keywords,
        new: &Location<'a>,
        at: &str,
        sink: &mut Sink,
    ) {
        if old.contains_key("anyOf") && !self.any_of(old, new) {
            let is_dropped = !new.sure.iter().any(|schema| schema.contains_key("anyOf"));
            let message = if is_dropped {
                "`anyOf` was dropped"
            } else {
                "a branch of `anyOf` was added, or allows more"
            };
            sink.push(Change::breaking(at, "anyOf", message));
        }
        for keyword in ["oneOf", "not"] {
            if old.contains_key(keyword) && !self.has_same(&[keyword], old, new) {
                sink.push(Change::unknown(
                    at,
                    keyword,
                    format!("`{keyword}` was changed"),
                ));
            }
        }
        let conditional = ["if", "then", "else"];
        if old.contains_key("if") && !self.has_same(&conditional, old, new) {
            sink.push(Change::unknown(
                at,
                "if",
                "`if`, `then` or `else` was changed",
            ));
        }
        // these depend on all keywords beside them, and NEW has no schema that is the same as this one
        for keyword in ["unevaluatedProperties", "unevaluatedItems"] {
            if old
                .get(keyword)
                .is_some_and(|schema| *schema != Value::Bool(true))
            {
                let message = format!("the schema around `{keyword}` was changed");
                sink.push(Change::unknown(at, keyword, message));
            }
        }
    }

    /// Judges the keywords without a rule: any change is unknown.
    pub(super) fn others(
        &mut self,
        old: &'a Keywords,
        new: &Location<'a>,
        at: &str,
        sink: &mut Sink,
    ) {
        for keyword in old.keys().filter(|keyword| !has_rule(keyword)) {
            if !self.has_same(&[keyword], old, new) {
                sink.push(Change::unknown(
                    at,
                    keyword,
                    format!("`{keyword}` was changed"),
                ));
            }
        }
    }

    /// Returns whether a schema of NEW that holds has the same keywords.
    pub(super) fn has_same(&self, keywords: &[&str], old: &Keywords, new: &Location<'a>) -> bool {
        new.sure.iter().any(|schema| {
            keywords
                .iter()
                .all(|keyword| same_keyword(keyword, (self.old, old), (self.new, *schema)))
        })
    }

    /// Returns whether the data of NEW fits `anyOf` of OLD: all of it one branch, or each branch of NEW a branch of OLD.
    fn any_of(&mut self, old: &'a Keywords, new: &Location<'a>) -> bool {
        if list(old, "anyOf").any(|branch| self.follows(branch, new)) {
            return true;
        }
        let schemas = new.sure.clone();
        schemas.into_iter().any(|schema| {
            ["anyOf", "oneOf"].into_iter().any(|keyword| {
                schema.contains_key(keyword)
                    && list(schema, keyword).all(|branch| {
                        let location = new.with(self.new, branch);
                        list(old, "anyOf").any(|old| self.follows(old, &location))
                    })
            })
        })
    }
}

/// Returns the change of a bound that NEW does not keep.
fn wider(at: &str, keyword: &str, new: &Location<'_>) -> Change {
    let message = if new.sure.iter().any(|schema| schema.contains_key(keyword)) {
        let how = match keyword {
            "multipleOf" => "changed",
            _ if keyword.to_ascii_lowercase().contains("min") => "lowered",
            _ => "raised",
        };
        format!("`{keyword}` was {how}")
    } else {
        format!("`{keyword}` was dropped")
    };
    Change::breaking(at, keyword, message)
}

/// Describes the values that were added.
fn added_values(added: &[&Value], keyword: &str) -> String {
    let shown = |value: &&Value| -> String {
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        let mut shown: String = text.chars().take(MAX_SHOWN).collect();
        if shown.len() < text.len() {
            shown.push('…');
        }
        shown
    };
    let mut names: Vec<String> = added.iter().take(MAX_NAMED).map(shown).collect();
    if added.len() > MAX_NAMED {
        names.push(format!("and {} more", added.len() - MAX_NAMED));
    }
    let names = names.join(", ");
    match (keyword, added.len()) {
        ("const", _) => format!("a value other than `const` is allowed: {names}"),
        (_, 1) => format!("a value was added to `{keyword}`: {names}"),
        (_, count) => format!("{count} values were added to `{keyword}`: {names}"),
    }
}
