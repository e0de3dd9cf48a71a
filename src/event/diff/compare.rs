//! Decides whether all data that NEW allows is allowed by OLD too, keyword by keyword.
//!
//! A rule may only say that a constraint of OLD follows from what surely holds in NEW. So every mistake of judgement errs towards "breaking".
use serde_json::Value;

use crate::event::diff::change::{Change, Verdict};
use crate::event::diff::location::{Document, Flat, Keywords, Location, Patterns, entry};
use crate::event::diff::same::{same_keyword, same_keywords};
use crate::event::diff::types::Types;
use crate::event::pointer::step;
use crate::event::schema::keywords::{has_rule, is_annotation};

/// The largest number of schemas that are compared for one version.
const MAX_STEPS: usize = 20_000;
/// The largest number of schemas inside each other that are compared.
const MAX_DEPTH: usize = 100;

/// A comparison of two schemas.
#[derive(Debug)]
pub(super) struct Comparison<'a> {
    pub(super) old: Document<'a>,
    pub(super) new: Document<'a>,
    pub(super) patterns: Patterns,
    /// The comparisons in progress, each with the depth of its value. They end references that lead back.
    pending: Vec<(Pair, usize)>,
    /// The depth of the value in the data.
    depth: usize,
    steps: usize,
}

/// A schema of OLD and a location of NEW.
type Pair = (usize, Vec<usize>);

/// The changes that were found so far.
pub(super) type Sink = Vec<Change>;

impl<'a> Comparison<'a> {
    /// Compares two schemas.
    pub(super) fn run(old: &'a Value, new: &'a Value) -> Sink {
        let mut comparison = Self {
            old: Document(old),
            new: Document(new),
            patterns: Patterns::default(),
            pending: Vec::new(),
            depth: 0,
            steps: 0,
        };
        let mut sink = Sink::new();
        let location = Location::new(comparison.new, [new], [new]);
        comparison.compare(old, &location, "", &mut sink);
        sink
    }

    /// Compares a schema of OLD with the location of NEW whose values are inside the value that is compared now.
    pub(super) fn compare_inside(
        &mut self,
        old: &'a Value,
        new: &Location<'a>,
        at: &str,
        sink: &mut Sink,
    ) {
        self.depth += 1;
        self.compare(old, new, at, sink);
        self.depth -= 1;
    }

    /// Returns whether OLD allows whatever NEW allows here.
    pub(super) fn follows(&mut self, old: &'a Value, new: &Location<'a>) -> bool {
        let mut sink = Sink::new();
        self.compare(old, new, "", &mut sink);
        sink.iter().all(Change::is_safe)
    }

    /// Compares a schema of OLD with a location of NEW.
    fn compare(&mut self, old: &'a Value, new: &Location<'a>, at: &str, sink: &mut Sink) {
        self.steps += 1;
        if self.steps > MAX_STEPS || self.pending.len() > MAX_DEPTH {
            sink.push(Change::unknown(
                at,
                "",
                "the schemas are too large to compare",
            ));
            return;
        }
        if new.is_nothing || new.types().is_empty() || *old == Value::Bool(true) {
            return;
        }
        let pair = (std::ptr::from_ref(old).addr(), new.identity());
        if let Some((_, depth)) = self.pending.iter().find(|(pending, _)| *pending == pair) {
            // a value has an end, so a schema that leads back to itself for an inner value is judged by the rest of it; in place it is not
            if *depth == self.depth {
                sink.push(Change::unknown(
                    at,
                    "$ref",
                    "the schema refers to itself in place",
                ));
            }
            return;
        }
        self.pending.push((pair, self.depth));
        let mut flat = Vec::new();
        match self.old.flatten(old, &mut flat) {
            Flat::Nothing => sink.push(Change::breaking(
                at,
                "",
                "a value is allowed where none was",
            )),
            Flat::Unresolved => sink.push(Change::unknown(at, "$ref", "`$ref` points at nothing")),
            Flat::Whole => self.keywords(&flat, new, at, sink),
        }
        self.pending.pop();
    }

    /// Judges every keyword of the schemas of OLD.
    fn keywords(&mut self, flat: &[&'a Keywords], new: &Location<'a>, at: &str, sink: &mut Sink) {
        let types = new.types();
        let first = sink.len();
        for old in flat {
            let is_kept = |kept: &&Keywords| same_keywords((self.old, old), (self.new, *kept));
            if new.sure.iter().any(is_kept) {
                continue;
            }
            Self::values(old, new, at, sink);
            if types.meets(Types::NUMBER) {
                Self::numbers(old, new, at, sink);
            }
            if types.meets(Types::STRING) {
                Self::strings(old, new, at, sink);
            }
            if types.meets(Types::ARRAY) {
                self.lists(old, new, at, sink);
            }
            if types.meets(Types::OBJECT) {
                self.objects(old, new, at, sink);
            }
            self.branches(old, new, at, sink);
            self.others(old, new, at, sink);
        }
        self.safe_changes(flat, new, at, first, sink);
    }

    /// Reports the safe changes: constraints and fields that were added, and constraints that became narrower.
    fn safe_changes(
        &self,
        flat: &[&'a Keywords],
        new: &Location<'a>,
        at: &str,
        first: usize,
        sink: &mut Sink,
    ) {
        let mut known: Vec<&str> = vec!["allOf", "$ref", "properties"];
        let all = new
            .sure
            .iter()
            .flat_map(|schema| schema.keys().map(move |keyword| (*schema, keyword)));
        for (schema, keyword) in all {
            if known.contains(&keyword.as_str()) || is_annotation(keyword) {
                continue;
            }
            known.push(keyword);
            let before: Vec<&Keywords> = flat
                .iter()
                .copied()
                .filter(|old| old.contains_key(keyword))
                .collect();
            let is_kept =
                |old: &&Keywords| same_keyword(keyword, (self.old, *old), (self.new, schema));
            let message = if before.is_empty() {
                format!("`{keyword}` was added")
            } else if is_reported_inside(keyword) || before.iter().any(is_kept) {
                continue;
            } else {
                format!("`{keyword}` became narrower")
            };
            let mut reported = sink.iter().skip(first);
            if reported.any(|change| change.at == at && change.keyword == *keyword) {
                continue;
            }
            // any change of a keyword that is not known counts
            let verdict = if has_rule(keyword) {
                Verdict::Safe
            } else {
                Verdict::Unknown
            };
            sink.push(Change::new(verdict, at, keyword, message));
        }
        if new.types().meets(Types::OBJECT) {
            added_fields(flat, new, at, first, sink);
        }
    }
}

/// Reports the fields that only NEW has.
fn added_fields(flat: &[&Keywords], new: &Location<'_>, at: &str, first: usize, sink: &mut Sink) {
    let has = |schemas: &[&Keywords], key: &str| {
        schemas
            .iter()
            .any(|schema| entry(schema, "properties", key).is_some())
    };
    for key in new.keys() {
        let inside = format!("{at}{}", step(key));
        let is_reported = sink.iter().skip(first).any(|change| change.at == inside);
        if has(&new.sure, key) && !has(flat, key) && !is_reported {
            let kind = if new.requires(key) {
                "required"
            } else {
                "optional"
            };
            let message = format!("{kind} field added");
            sink.push(Change::new(Verdict::Safe, &inside, "properties", message));
        }
    }
}

/// Returns whether changes inside a keyword have places of their own.
fn is_reported_inside(keyword: &str) -> bool {
    matches!(
        keyword,
        "items"
            | "prefixItems"
            | "additionalProperties"
            | "patternProperties"
            | "propertyNames"
            | "required"
    )
}
