//! Sets of JSON types.
use serde_json::{Map, Value};

use crate::event::diff::number;

/// A set of JSON types. Integers and other numbers are apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Types(u8);

impl Types {
    pub(super) const NULL: Self = Self(1);
    pub(super) const BOOLEAN: Self = Self(2);
    pub(super) const OBJECT: Self = Self(4);
    pub(super) const ARRAY: Self = Self(8);
    pub(super) const STRING: Self = Self(16);
    const INTEGER: Self = Self(32);
    pub(super) const FRACTION: Self = Self(64);
    pub(super) const NUMBER: Self = Self(96);
    const ALL: Self = Self(127);
    const NONE: Self = Self(0);

    /// The names of the types, the larger ones first.
    const NAMES: &'static [(&'static str, Self)] = &[
        ("null", Self::NULL),
        ("boolean", Self::BOOLEAN),
        ("object", Self::OBJECT),
        ("array", Self::ARRAY),
        ("string", Self::STRING),
        ("number", Self::NUMBER),
        ("integer", Self::INTEGER),
    ];

    /// Returns the types that a schema allows by `type`, `enum` and `const`.
    pub(super) fn of_schema(schema: &Map<String, Value>) -> Self {
        let mut types = Self::of_keyword(schema.get("type"));
        if let Some(Value::Array(values)) = schema.get("enum") {
            types = types.and(values.iter().map(Self::of_value).fold(Self::NONE, Self::or));
        }
        if let Some(value) = schema.get("const") {
            types = types.and(Self::of_value(value));
        }
        types
    }

    /// Returns the types that the keyword `type` allows.
    pub(super) fn of_keyword(value: Option<&Value>) -> Self {
        let of_name = |value: &Value| {
            let found = Self::NAMES
                .iter()
                .find(|(name, _)| value.as_str() == Some(*name));
            found.map_or(Self::NONE, |(_, types)| *types)
        };
        match value {
            None => Self::ALL,
            Some(Value::Array(names)) => names.iter().map(of_name).fold(Self::NONE, Self::or),
            Some(name) => of_name(name),
        }
    }

    /// Returns the type of a value.
    pub(super) fn of_value(value: &Value) -> Self {
        match value {
            Value::Null => Self::NULL,
            Value::Bool(_) => Self::BOOLEAN,
            Value::Object(_) => Self::OBJECT,
            Value::Array(_) => Self::ARRAY,
            Value::String(_) => Self::STRING,
            // a large number without a fraction may be taken for either
            Value::Number(number) => match number::whole(number) {
                Some(_) => Self::INTEGER,
                None if number.as_f64().is_some_and(|float| float.fract() == 0.0) => Self::NUMBER,
                None => Self::FRACTION,
            },
        }
    }

    /// Returns the types that are in both.
    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Returns the types that are in one or the other.
    fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns the types that are not in the other.
    pub(super) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Returns whether a type is in both.
    pub(super) fn meets(self, other: Self) -> bool {
        self.and(other) != Self::NONE
    }

    /// Returns whether there is no type.
    pub(super) fn is_empty(self) -> bool {
        self == Self::NONE
    }

    /// Returns the names: `null, number`.
    pub(super) fn names(self) -> String {
        let mut left = self;
        let mut names = Vec::new();
        for (name, types) in Self::NAMES {
            let is_part =
                left.and(*types) == *types || (*name == "number" && left.meets(Self::FRACTION));
            if is_part && left.meets(*types) {
                names.push(*name);
                left = left.without(*types);
            }
        }
        names.join(", ")
    }
}
