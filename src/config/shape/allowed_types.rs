//! The types that the schema allows at one place.
use serde_json::{Map, Value};

/// The types that the schema allows at one place.
#[derive(Clone, Copy, Default)]
pub(super) struct AllowedTypes<'s> {
    pub(super) map: Option<Block<'s>>,
    /// The schema of the items.
    pub(super) list: Option<&'s Value>,
    pub(super) text: bool,
    pub(super) word: Option<&'s str>,
    /// The greatest number.
    pub(super) count: Option<u64>,
    pub(super) boolean: bool,
    pub(super) anything: bool,
}

/// A map that the schema allows.
#[derive(Clone, Copy)]
pub(super) struct Block<'s> {
    /// The name of its type, if it has one.
    pub(super) name: Option<&'s str>,
    schema: &'s Map<String, Value>,
}

impl<'s> Block<'s> {
    /// Returns the schemas of the known keys, if the keys are known.
    pub(super) fn keys(&self) -> Option<&'s Map<String, Value>> {
        self.schema.get("properties").and_then(Value::as_object)
    }

    /// Returns the schema of the values of all other keys, if there may be others.
    pub(super) fn others(&self) -> Option<&'s Value> {
        self.schema
            .get("additionalProperties")
            .filter(|others| !others.is_boolean())
    }

    /// Returns whether the key is known.
    pub(super) fn has(&self, key: &str) -> bool {
        self.keys().is_some_and(|keys| keys.contains_key(key))
    }
}

impl<'s> AllowedTypes<'s> {
    /// Returns the types that a part of the schema `root` allows.
    pub(super) fn of(root: &'s Value, part: &'s Value) -> Self {
        let mut allowed = Self::default();
        allowed.gather(root, part, None);
        allowed
    }

    /// Returns the types that are allowed for the items of a list.
    pub(super) fn of_items(&self, root: &'s Value) -> Option<Self> {
        self.list.map(|items| Self::of(root, items))
    }

    /// Adds the types that a part of the schema allows. `name` is the name of that part.
    fn gather(&mut self, root: &'s Value, part: &'s Value, name: Option<&'s str>) {
        let Some(object) = part.as_object() else {
            self.anything = true;
            return;
        };
        if let Some(name) = object
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|target| target.strip_prefix("#/$defs/"))
        {
            if let Some(target) = root.get("$defs").and_then(|defs| defs.get(name)) {
                self.gather(root, target, Some(name));
            }
            return;
        }
        if let Some(forms) = object.get("anyOf").and_then(Value::as_array) {
            forms.iter().for_each(|form| self.gather(root, form, None));
            return;
        }
        if let Some(word) = object.get("const").and_then(Value::as_str) {
            self.word = Some(word);
            return;
        }
        match object.get("type").and_then(Value::as_str) {
            Some("object") => {
                self.map = Some(Block {
                    name,
                    schema: object,
                });
            }
            Some("array") => self.list = object.get("items"),
            Some("string") => self.text = true,
            Some("boolean") => self.boolean = true,
            Some("integer") => {
                let format = object.get("format").and_then(Value::as_str);
                self.count = Some(match format {
                    Some("uint16") => u64::from(u16::MAX),
                    Some("uint32") => u64::from(u32::MAX),
                    _ => u64::MAX,
                });
            }
            _ => self.anything = true,
        }
    }
}
