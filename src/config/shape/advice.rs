//! Says what to write in place of a value of the wrong type, made from that value.
use serde_json::Value;

use crate::config::diagnostic::{Place, Step, looks_random, shown};
use crate::config::file::short_forms::{Given, SHORT_FORMS};
use crate::config::secretive::may_be_secret;
use crate::config::shape::allowed_types::{AllowedTypes, Block};
use crate::config::shape::meaning::Meaning;
use crate::config::yaml_tree::{Entry, Node, Spanned};

/// The longest text that is repeated, in characters.
const MAX_REPEATED: usize = 64;
/// The largest number of entries of a map that are repeated.
const MAX_ENTRIES: usize = 3;
/// The text in place of values that are not repeated.
const OMITTED: &str = "…";

/// A value that may have the wrong type.
pub(super) struct Misfit<'a> {
    /// The whole schema.
    pub(super) schema: &'a Value,
    /// The types that are allowed.
    pub(super) allowed: AllowedTypes<'a>,
    /// The place of the value.
    pub(super) place: &'a Place,
    /// The value as it is written.
    pub(super) spanned: &'a Spanned,
    /// Its meaning.
    pub(super) meaning: &'a Meaning,
}

impl Misfit<'_> {
    /// Returns the fault of the value: ``must be a list, not text``.
    pub(super) fn fault(&self) -> String {
        if let (Node::Map(entries), Some(own)) = (&self.spanned.node, self.key_of_the_map())
            && self.lacks_brackets(entries)
        {
            return format!("must be a list, or a map with `{own}`");
        }
        let is = match self.meaning {
            Meaning::Null => "empty",
            Meaning::Boolean(_) => "a boolean",
            Meaning::Count(_) | Meaning::Number => "a number",
            Meaning::Text(_) => "text",
            Meaning::List(_) => "a list",
            Meaning::Map(_) => "a map",
        };
        format!("must be {}, not {is}", self.forms())
    }

    /// Returns the text to write.
    pub(super) fn help(&self) -> String {
        if let Some(value) = self.instead() {
            return format!("write `{}`", self.after_key(&value));
        }
        let keys = self.allowed.map.and_then(|block| block.keys());
        match (self.meaning, keys, self.allowed.list) {
            (Meaning::Boolean(_), ..) if self.allowed.text => "put it in quotes".to_owned(),
            (Meaning::Boolean(false), Some(_), _) if self.key().is_some() => {
                format!("leave `{}` out", shown(self.key().unwrap_or_default()))
            }
            (Meaning::Map(_), _, Some(_)) if self.has_names_as_keys() => {
                let name = self.first_name().unwrap_or("NAME");
                format!("write a list, each entry with its name: `- name: {name}`")
            }
            (_, Some(keys), _) => {
                let keys: Vec<&str> = keys.keys().map(String::as_str).collect();
                format!("its keys are {}", keys.join(", "))
            }
            (_, None, Some(_)) => "write it in brackets: `[…]`".to_owned(),
            (_, None, None) => format!("write {}", self.forms()),
        }
    }

    /// Returns the text to write in place of a key without a value.
    pub(super) fn help_for_nothing(&self) -> String {
        let is_yes = Meaning::Boolean(true);
        let form = self
            .allowed
            .map
            .and_then(|block| short_form(block, &is_yes, ""));
        form.map_or_else(
            || "write a value, or leave the key out".to_owned(),
            |form| format!("write `{}`, or leave the key out", self.after_key(&form)),
        )
    }

    /// Returns whether a map is an item of a list without its brackets, where another kind of map is allowed, too: it has keys of an item,
    /// and none that only the other map has.
    pub(super) fn lacks_brackets(&self, entries: &[Entry]) -> bool {
        let (Some(map), Some(item)) = (self.allowed.map, self.item()) else {
            return false;
        };
        map.name != item.name
            && entries.iter().any(|entry| item.has(&entry.key))
            && !entries
                .iter()
                .any(|entry| map.has(&entry.key) && !item.has(&entry.key))
    }

    /// Returns the first key that the map has and an item of the list has not.
    fn key_of_the_map(&self) -> Option<&str> {
        let (map, item) = (self.allowed.map?, self.item()?);
        map.keys()?
            .keys()
            .map(String::as_str)
            .find(|key| !item.has(key))
    }

    /// Returns the block that is expected for each item of the list.
    fn item(&self) -> Option<Block<'_>> {
        self.allowed.of_items(self.schema)?.map
    }

    /// Returns the key of the value.
    fn key(&self) -> Option<&str> {
        match self.place.path.last() {
            Some(Step::Key(key)) => Some(key),
            Some(Step::Index(_)) | None => None,
        }
    }

    /// Writes a value after the key of this one, if it has a key.
    fn after_key(&self, value: &str) -> String {
        match self.key() {
            // `upstreams: { url: … }`: the name of the block is missing
            Some(key) if self.allowed.map.is_some_and(|block| block.has(key)) => {
                format!("NAME: {value}")
            }
            Some(key) => format!("{}: {value}", scalar(&shown(key), true)),
            None => value.to_owned(),
        }
    }

    /// Returns the types that are allowed, in words.
    fn forms(&self) -> String {
        let allowed = self.allowed;
        let mut forms = Vec::new();
        forms.extend(allowed.word.map(|word| format!("`{word}`")));
        forms.extend(allowed.text.then(|| "text".to_owned()));
        forms.extend(allowed.count.map(|most| {
            if most == u64::MAX {
                "a whole number".to_owned()
            } else {
                format!("a whole number up to {most}")
            }
        }));
        forms.extend(allowed.boolean.then(|| "`true` or `false`".to_owned()));
        forms.extend(allowed.list.map(|_| "a list".to_owned()));
        forms.extend(allowed.map.map(|_| "a map".to_owned()));
        forms.join(" or ")
    }

    /// Returns the value in a form that is expected, if there is one obvious form.
    fn instead(&self) -> Option<String> {
        match &self.spanned.node {
            Node::Scalar { text, plain } => self.instead_of_scalar(text, *plain),
            Node::List(items) => self.instead_of_list(items),
            Node::Map(entries) => {
                let map = entries_of(self.item()?, self.place, entries, "")?;
                Some(format!("[{map}]"))
            }
        }
    }

    /// Returns the form for a text, a number or a boolean.
    fn instead_of_scalar(&self, text: &str, plain: bool) -> Option<String> {
        let value = repeated(self.place, text, plain);
        if let Some(word) = self.allowed.word
            && text.eq_ignore_ascii_case(word)
        {
            return Some(word.to_owned());
        }
        let of_block = |block| short_form(block, self.meaning, &value);
        if let Some(form) = self.allowed.map.and_then(of_block) {
            return Some(form);
        }
        if let Some(others) = self.allowed.map.and_then(|block| block.others()) {
            let inner = match AllowedTypes::of(self.schema, others).map {
                Some(block) => of_block(block)?,
                None => value,
            };
            return Some(format!("{{ NAME: {inner} }}"));
        }
        let items = self.allowed.of_items(self.schema)?;
        match items.map {
            Some(block) => of_block(block).map(|form| format!("[{form}]")),
            None => self.listed(items, text, &value),
        }
    }

    /// Writes a scalar as a list of scalars. `GET, POST` is two of them.
    fn listed(&self, items: AllowedTypes<'_>, text: &str, value: &str) -> Option<String> {
        let parts: Vec<&str> = text.split(',').map(str::trim).collect();
        let is_count = |part: &&str| part.parse::<u64>().is_ok();
        let fits = items.text || items.count.is_some() && parts.iter().all(is_count);
        if !fits || matches!(self.meaning, Meaning::Boolean(_)) {
            return None;
        }
        if value == OMITTED || parts.len() == 1 || parts.contains(&"") {
            return Some(format!("[{value}]"));
        }
        let parts: Vec<String> = parts
            .iter()
            .map(|part| repeated(self.place, part, true))
            .collect();
        Some(format!("[{}]", parts.join(", ")))
    }

    /// Returns the form for a list.
    fn instead_of_list(&self, items: &[Spanned]) -> Option<String> {
        let Some(block) = self.allowed.map else {
            return match items {
                [item] if self.allowed.list.is_none() => self.scalar_of(item, 0),
                _ => None,
            };
        };
        let scalars: Option<Vec<String>> = items
            .iter()
            .enumerate()
            .map(|(index, item)| self.scalar_of(item, index))
            .collect();
        if let Some(scalars) = scalars.filter(|scalars| !scalars.is_empty()) {
            return short_form(block, self.meaning, &format!("[{}]", scalars.join(", ")));
        }
        let Some(Spanned {
            node: Node::Map(entries),
            ..
        }) = items.first()
        else {
            return None;
        };
        let place = self.place.index(0);
        if let Some(others) = block.others() {
            let name = entries.iter().find(|entry| entry.key == "name");
            let name = name.and_then(|name| match &name.value.node {
                Node::Scalar { text, plain } => Some(repeated(&place.key("name"), text, *plain)),
                Node::List(_) | Node::Map(_) => None,
            });
            let inner = AllowedTypes::of(self.schema, others)
                .map
                .and_then(|block| entries_of(block, &place, entries, "name"));
            let more = if items.len() > 1 { ", …" } else { "" };
            return Some(format!(
                "{{ {}: {}{more} }}",
                name.as_deref().unwrap_or("NAME"),
                inner.as_deref().unwrap_or(OMITTED)
            ));
        }
        (items.len() == 1)
            .then(|| entries_of(block, &place, entries, ""))
            .flatten()
    }

    /// Repeats an item that is a scalar.
    fn scalar_of(&self, item: &Spanned, index: usize) -> Option<String> {
        match &item.node {
            Node::Scalar { text, plain } => Some(repeated(&self.place.index(index), text, *plain)),
            Node::List(_) | Node::Map(_) => None,
        }
    }

    /// Returns whether the value is a map of entries by their names, where a list of entries with names is expected.
    fn has_names_as_keys(&self) -> bool {
        let is_map = |entry: &Entry| matches!(entry.value.node, Node::Map(_));
        self.item().is_some_and(|item| item.has("name"))
            && matches!(&self.spanned.node, Node::Map(entries) if !entries.is_empty() && entries.iter().all(is_map))
    }

    /// Returns the first key of the map, unless it may be a secret.
    fn first_name(&self) -> Option<&str> {
        let Node::Map(entries) = &self.spanned.node else {
            return None;
        };
        let is_name = |name: &&str| {
            name.len() <= 32
                && !looks_random(name)
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        };
        entries
            .first()
            .map(|entry| entry.key.as_str())
            .filter(is_name)
    }
}

/// Returns the block for a short form of it.
fn short_form(block: Block<'_>, meaning: &Meaning, value: &str) -> Option<String> {
    let name = block.name?;
    let form = SHORT_FORMS
        .iter()
        .find(|form| form.block == name && is_given(form.given, meaning))?;
    Some(form.write.replace('$', value))
}

/// Returns whether the value is of this kind.
fn is_given(given: Given, meaning: &Meaning) -> bool {
    match (given, meaning) {
        (Given::Yes, Meaning::Boolean(value)) => *value,
        (Given::No, Meaning::Boolean(value)) => !*value,
        (Given::Word(words), Meaning::Text(text)) => words.contains(&text.as_str()),
        (Given::Path, Meaning::Text(text)) => text.starts_with('/'),
        (Given::Count, Meaning::Count(_))
        | (Given::List, Meaning::List(_))
        | (Given::Text, Meaning::Text(_)) => true,
        _ => false,
    }
}

/// Writes those of the entries that the block knows as a map in one line, without the key `except`; `None` if it knows none of them.
fn entries_of(block: Block<'_>, place: &Place, entries: &[Entry], except: &str) -> Option<String> {
    let mut parts: Vec<String> = entries
        .iter()
        .filter(|entry| block.has(&entry.key) && entry.key != except)
        .take(MAX_ENTRIES)
        .map(|entry| {
            let value = match &entry.value.node {
                Node::Scalar { text, plain } => repeated(&place.key(&entry.key), text, *plain),
                Node::List(_) | Node::Map(_) => OMITTED.to_owned(),
            };
            format!("{}: {value}", entry.key)
        })
        .collect();
    if parts.is_empty() {
        return None;
    }
    let all = entries.iter().filter(|entry| entry.key != except).count();
    if parts.len() < all {
        parts.push(OMITTED.to_owned());
    }
    Some(format!("{{ {} }}", parts.join(", ")))
}

/// Repeats a scalar, unless it is long or may be a secret.
fn repeated(place: &Place, text: &str, plain: bool) -> String {
    let is_unfit = text.is_empty() && plain
        || text.chars().nth(MAX_REPEATED).is_some()
        || text.contains(char::is_control)
        || may_be_secret(&place.path, text);
    if is_unfit {
        OMITTED.to_owned()
    } else {
        scalar(text, plain)
    }
}

/// Writes a scalar inside a map or a list in one line, in quotes where it needs them.
fn scalar(text: &str, plain: bool) -> String {
    let read: Option<Vec<Meaning>> = serde_yaml::from_str(&format!("[{text}]")).ok();
    let is_same = match read.as_deref() {
        Some([Meaning::Text(same)]) => same == text,
        Some([Meaning::Boolean(_) | Meaning::Count(_) | Meaning::Number]) => plain,
        Some(_) | None => false,
    };
    if is_same {
        text.to_owned()
    } else {
        format!("{text:?}")
    }
}
