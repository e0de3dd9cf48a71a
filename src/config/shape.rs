//! Compares a text with the schema: known keys, and the right type of each value. Values that do not fit are reported and left out,
//! so that the rest can be checked in the same run.
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::config::diagnostic::{Diagnostics, Place, Step, did_you_mean, shown};
use crate::config::secretive::is_secretive;
use crate::config::yaml_tree::{Entry, Node, Spanned};

/// The values that serde_yaml reads, including repeated keys: the meaning of the text.
#[derive(Debug)]
pub enum Meaning {
    /// No value.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number, not negative.
    Count(u64),
    /// Any other number.
    Number,
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Self>),
    /// The values of a map. Its keys are in the tree.
    Map(Vec<Self>),
}

impl<'de> Deserialize<'de> for Meaning {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Meaning;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a value")
            }
            fn visit_unit<E>(self) -> Result<Meaning, E> {
                Ok(Meaning::Null)
            }
            fn visit_bool<E>(self, value: bool) -> Result<Meaning, E> {
                Ok(Meaning::Boolean(value))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Meaning, E> {
                Ok(Meaning::Count(value))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Meaning, E> {
                Ok(u64::try_from(value).map_or(Meaning::Number, Meaning::Count))
            }
            fn visit_u128<E>(self, _: u128) -> Result<Meaning, E> {
                Ok(Meaning::Number)
            }
            fn visit_i128<E>(self, _: i128) -> Result<Meaning, E> {
                Ok(Meaning::Number)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Meaning, E> {
                Ok(Meaning::Number)
            }
            fn visit_str<E>(self, text: &str) -> Result<Meaning, E> {
                Ok(Meaning::Text(text.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Meaning, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                Ok(Meaning::List(items))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Meaning, A::Error> {
                let mut values = Vec::new();
                while map.next_key::<IgnoredAny>()?.is_some() {
                    values.push(map.next_value()?);
                }
                Ok(Meaning::Map(values))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// The types that the schema allows at one place.
#[derive(Clone, Copy, Default)]
struct Due<'s> {
    map: Option<&'s Map<String, Value>>,
    /// The schema of the items.
    list: Option<&'s Value>,
    text: bool,
    word: Option<&'s str>,
    /// The greatest number.
    count: Option<u64>,
    boolean: bool,
    anything: bool,
}

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
        let due = self.due(schema);
        match (&spanned.node, meaning) {
            _ if due.anything => Some(Value::Object(Map::new())),
            (Node::Scalar { .. }, Meaning::Null) => {
                let message = format!("{} has no value", noun(place));
                self.wrong(
                    place,
                    message,
                    Some("write a value, or leave the key out".to_owned()),
                )
            }
            (Node::Map(entries), Meaning::Map(values)) if entries.len() == values.len() => {
                match due.map {
                    Some(map) => Some(self.map(map, place, entries, values)),
                    None => self.unfit(place, due, "a map"),
                }
            }
            (Node::List(items), Meaning::List(values)) if items.len() == values.len() => {
                match due.list {
                    Some(schema) => Some(self.list(schema, place, items, values)),
                    None => self.unfit(place, due, "a list"),
                }
            }
            (Node::Scalar { .. }, Meaning::Text(text)) if due.text || due.word == Some(text) => {
                Some(Value::from(text.as_str()))
            }
            // `timeout: 15`: used as text; `compile` reports the missing unit.
            (Node::Scalar { text, .. }, Meaning::Count(_) | Meaning::Number) if due.text => {
                Some(Value::from(text.as_str()))
            }
            (Node::Scalar { .. }, Meaning::Count(count))
                if due.count.is_some_and(|most| *count <= most) =>
            {
                Some(Value::from(*count))
            }
            (Node::Scalar { .. }, Meaning::Boolean(value)) if due.boolean => {
                Some(Value::from(*value))
            }
            (Node::Scalar { .. }, Meaning::Text(_)) => self.unfit(place, due, "text"),
            (Node::Scalar { .. }, Meaning::Boolean(_)) => self.unfit(place, due, "a boolean"),
            (Node::Scalar { .. }, Meaning::Count(_) | Meaning::Number) => {
                self.unfit(place, due, "a number")
            }
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
        schema: &'a Map<String, Value>,
        place: &Place,
        entries: &[Entry],
        values: &[Meaning],
    ) -> Value {
        let known = schema.get("properties").and_then(Value::as_object);
        let other = schema
            .get("additionalProperties")
            .filter(|other| !other.is_boolean());
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
        let due = self.due(schema);
        let empty = || {
            if due.map.is_some() {
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
    fn unfit(&mut self, place: &Place, due: Due<'_>, is: &str) -> Option<Value> {
        let mut forms = Vec::new();
        forms.extend(due.word.map(|word| format!("`{word}`")));
        forms.extend(due.text.then(|| "text".to_owned()));
        forms.extend(due.count.map(|most| {
            if most == u64::MAX {
                "a whole number".to_owned()
            } else {
                format!("a whole number up to {most}")
            }
        }));
        forms.extend(due.boolean.then(|| "`true` or `false`".to_owned()));
        forms.extend(due.list.map(|_| "a list".to_owned()));
        forms.extend(due.map.map(|_| "a map".to_owned()));
        let help = match (is, due.map, due.list) {
            ("a boolean", ..) if due.text => "put it in quotes".to_owned(),
            (_, Some(map), _) => format!(
                "its keys are {}",
                map.get("properties")
                    .and_then(Value::as_object)
                    .map_or(String::new(), keys)
            ),
            (_, None, Some(_)) => "write it in brackets: `[…]`".to_owned(),
            (_, None, None) => format!("write {}", forms.join(" or ")),
        };
        self.wrong(
            place,
            format!("{} must be {}, not {is}", noun(place), forms.join(" or ")),
            Some(help),
        )
    }

    /// Reports an error and leaves the value out.
    fn wrong(&mut self, place: &Place, message: String, help: Option<String>) -> Option<Value> {
        self.problems.error(place, message, help);
        self.problems.spoil(place.clone());
        None
    }

    /// Returns the types that a schema allows.
    fn due(&self, schema: &'a Value) -> Due<'a> {
        let mut due = Due::default();
        self.gather(schema, &mut due);
        due
    }

    /// Adds the types that a schema allows to `due`.
    fn gather(&self, schema: &'a Value, due: &mut Due<'a>) {
        let Some(object) = schema.as_object() else {
            due.anything = true;
            return;
        };
        if let Some(name) = object
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|target| target.strip_prefix("#/$defs/"))
        {
            if let Some(target) = self.schema.get("$defs").and_then(|defs| defs.get(name)) {
                self.gather(target, due);
            }
            return;
        }
        if let Some(forms) = object.get("anyOf").and_then(Value::as_array) {
            forms.iter().for_each(|form| self.gather(form, due));
            return;
        }
        if let Some(word) = object.get("const").and_then(Value::as_str) {
            due.word = Some(word);
            return;
        }
        match object.get("type").and_then(Value::as_str) {
            Some("object") => due.map = Some(object),
            Some("array") => due.list = object.get("items"),
            Some("string") => due.text = true,
            Some("boolean") => due.boolean = true,
            Some("integer") => {
                let format = object.get("format").and_then(Value::as_str);
                due.count = Some(match format {
                    Some("uint16") => u64::from(u16::MAX),
                    Some("uint32") => u64::from(u32::MAX),
                    _ => u64::MAX,
                });
            }
            _ => due.anything = true,
        }
    }
}

/// Returns the keys of a schema, separated by commas.
fn keys(map: &Map<String, Value>) -> String {
    map.keys()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ")
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
