//! Compares a text with the schema: known keys, and the right type of each value. Values that do not fit are reported and left out,
//! so that the rest can be checked in the same run.
use serde_json::{Map, Value};

use crate::config::diagnostic::{Diagnostics, Place, Step, did_you_mean, shown};
use crate::config::secretive::is_secretive;
use crate::config::yaml_tree::{Entry, Node, Spanned};

mod advice;
mod allowed_types;
mod meaning;

use advice::Misfit;
use allowed_types::{AllowedTypes, Block};
pub use meaning::Meaning;

/// Compares a text with the schema.
pub struct Shape<'a> {
    /// The whole schema, for its `$defs`.
    pub schema: &'a Value,
    /// The diagnostics.
    pub problems: &'a mut Diagnostics,
}

impl std::fmt::Debug for Shape<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shape").finish_non_exhaustive()
    }
}

impl<'a> Shape<'a> {
    /// Returns the parts of the value at `place` that fit; `None` if the value itself does not.
    pub fn fit(&mut self, place: &Place, spanned: &Spanned, meaning: &Meaning) -> Option<Value> {
        self.value(self.schema, place, spanned, meaning)
    }

    fn value(
        &mut self,
        schema: &'a Value,
        place: &Place,
        spanned: &Spanned,
        meaning: &Meaning,
    ) -> Option<Value> {
        let allowed = AllowedTypes::of(self.schema, schema);
        let misfit = Misfit {
            schema: self.schema,
            allowed,
            place,
            spanned,
            meaning,
        };
        match (&spanned.node, meaning) {
            _ if allowed.anything => Some(Value::Object(Map::new())),
            (Node::Scalar { .. }, Meaning::Null) => {
                let message = format!("{} has no value", noun(place));
                self.wrong(place, message, Some(misfit.help_for_nothing()))
            }
            (Node::Map(entries), Meaning::Map(values)) if entries.len() == values.len() => {
                match allowed.map.filter(|_| !misfit.lacks_brackets(entries)) {
                    Some(block) => Some(self.map(block, place, entries, values)),
                    None => self.unfit(&misfit),
                }
            }
            (Node::List(items), Meaning::List(values)) if items.len() == values.len() => {
                match allowed.list {
                    Some(schema) => Some(self.list(schema, place, items, values)),
                    None => self.unfit(&misfit),
                }
            }
            (Node::Scalar { .. }, Meaning::Text(text))
                if allowed.text || allowed.word == Some(text) =>
            {
                Some(Value::from(text.as_str()))
            }
            // `timeout: 15`: used as text; `compile` reports the missing unit.
            (Node::Scalar { text, .. }, Meaning::Count(_) | Meaning::Number) if allowed.text => {
                Some(Value::from(text.as_str()))
            }
            (Node::Scalar { .. }, Meaning::Count(count))
                if allowed.count.is_some_and(|most| *count <= most) =>
            {
                Some(Value::from(*count))
            }
            (Node::Scalar { .. }, Meaning::Boolean(value)) if allowed.boolean => {
                Some(Value::from(*value))
            }
            (
                Node::Scalar { .. },
                Meaning::Text(_) | Meaning::Boolean(_) | Meaning::Count(_) | Meaning::Number,
            ) => self.unfit(&misfit),
            (Node::Scalar { .. } | Node::List(_) | Node::Map(_), _) => self.wrong(
                place,
                "this value is ambiguous".to_owned(),
                Some("put it in quotes".to_owned()),
            ),
        }
    }

    /// Returns the entries that fit.
    fn map(
        &mut self,
        block: Block<'a>,
        place: &Place,
        entries: &[Entry],
        values: &[Meaning],
    ) -> Value {
        let (known, other) = (block.keys(), block.others());
        if known.is_none() && other.is_none() {
            return Value::Object(Map::new());
        }
        let mut fitting = Map::new();
        for (entry, meaning) in entries
            .iter()
            .zip(values)
            .filter(|(entry, _)| !entry.repeated)
        {
            let here = place.key(&entry.key);
            if let Some(schema) = known.and_then(|known| known.get(&entry.key)).or(other) {
                let value = self.value(schema, &here, &entry.value, meaning);
                fitting.extend(value.map(|value| (entry.key.clone(), value)));
            } else {
                self.unknown(place, &here, &entry.key, known);
            }
        }
        Value::Object(fitting)
    }

    /// Reports an unknown key.
    fn unknown(
        &mut self,
        place: &Place,
        here: &Place,
        key: &str,
        known: Option<&Map<String, Value>>,
    ) {
        let names = known.into_iter().flatten().map(|(name, _)| name.as_str());
        let near = did_you_mean(key, names.clone());
        if let Some(name) = names
            .clone()
            .find(|name| near.as_deref() == Some(&format!("did you mean `{name}`?")))
        {
            self.problems.spoil(place.key(name));
        }
        let help =
            near.unwrap_or_else(|| format!("known keys: {}", names.collect::<Vec<_>>().join(", ")));
        // Any other key near secrets may be a secret itself and is not shown.
        let is_word = key.len() <= 32
            && key
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'-' | b' '));
        let near_secrets = here
            .path
            .iter()
            .any(|step| matches!(step, Step::Key(key) if is_secretive(key)));
        let name = if is_word || !near_secrets {
            format!("`{}`", shown(key))
        } else {
            "of this name".to_owned()
        };
        self.problems
            .error_at_key(here, format!("{} has no key {name}", noun(place)), help);
        self.problems.spoil(here.clone());
    }

    /// Returns the items. One that does not fit is replaced by an empty one, so that the indices of the others stay the same.
    fn list(
        &mut self,
        schema: &'a Value,
        place: &Place,
        items: &[Spanned],
        values: &[Meaning],
    ) -> Value {
        let allowed = AllowedTypes::of(self.schema, schema);
        let empty = || {
            if allowed.map.is_some() {
                Value::Object(Map::new())
            } else {
                Value::from("")
            }
        };
        let item = |(index, (item, meaning))| {
            self.value(schema, &place.index(index), item, meaning)
                .unwrap_or_else(empty)
        };
        items.iter().zip(values).enumerate().map(item).collect()
    }

    /// Reports a value of the wrong type.
    fn unfit(&mut self, misfit: &Misfit<'_>) -> Option<Value> {
        let message = format!("{} {}", noun(misfit.place), misfit.fault());
        self.wrong(misfit.place, message, Some(misfit.help()))
    }

    /// Reports an error and leaves the value out.
    fn wrong(&mut self, place: &Place, message: String, help: Option<String>) -> Option<Value> {
        self.problems.error(place, message, help);
        self.problems.spoil(place.clone());
        None
    }
}

/// Returns the value at `place` in words.
fn noun(place: &Place) -> String {
    match place.path.as_slice() {
        [] => "the config".to_owned(),
        [.., Step::Key(key)] => format!("`{}`", shown(key)),
        [.., Step::Key(list), Step::Index(_)] => format!("an entry of `{}`", shown(list)),
        [.., Step::Index(_)] => "an entry".to_owned(),
    }
}

#[cfg(test)]
mod tests;
