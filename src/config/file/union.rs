//! Values that can be written in more than one form. Plain visitors: `untagged` would buffer, and its errors are useless.
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer, StrDeserializer};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Serialize, Serializer};

/// One value, or a list of them.
#[derive(Debug, Clone)]
pub enum OneOrMany<T> {
    /// A value without brackets.
    One(T),
    /// A list.
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    /// Returns all values in the order of the config.
    pub fn all(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// A type that can be read from several forms of YAML values.
pub(super) trait Forms<'de>: Sized {
    /// The forms, as an error names them.
    const EXPECTING: &'static str;
    /// Reads text.
    fn text<E: Error>(_text: &str) -> Result<Self, E> {
        Err(E::custom(Self::EXPECTING))
    }
    /// Reads a list.
    fn list<A: SeqAccess<'de>>(_list: A) -> Result<Self, A::Error> {
        Err(A::Error::custom(Self::EXPECTING))
    }
    /// Reads a map.
    fn map<A: MapAccess<'de>>(map: A) -> Result<Self, A::Error>;
}

struct AnyForm<T>(PhantomData<T>);

impl<'de, T: Forms<'de>> Visitor<'de> for AnyForm<T> {
    type Value = T;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTING)
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::text(text)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<T, A::Error> {
        T::list(list)
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::map(map)
    }
}

/// Reads a value in any of its forms.
pub(super) fn any_form<'de, T: Forms<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    deserializer.deserialize_any(AnyForm(PhantomData))
}

impl<'de, T: Deserialize<'de>> Forms<'de> for OneOrMany<T> {
    const EXPECTING: &'static str = "one value or a list";
    fn text<E: Error>(text: &str) -> Result<Self, E> {
        T::deserialize(StrDeserializer::new(text)).map(Self::One)
    }
    fn list<A: SeqAccess<'de>>(list: A) -> Result<Self, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(Self::Many)
    }
    fn map<A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Self::One)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        any_form(deserializer)
    }
}

impl<T: Serialize> Serialize for OneOrMany<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::One(one) => one.serialize(serializer),
            Self::Many(many) => many.serialize(serializer),
        }
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMany_{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        let many = generator.subschema_for::<Vec<T>>();
        any_of([one, many])
    }
}

/// Returns the schema of a value in any of these forms.
pub(super) fn any_of<const N: usize>(forms: [Schema; N]) -> Schema {
    let mut schema = Schema::default();
    schema.insert(
        "anyOf".to_owned(),
        forms.into_iter().map(serde_json::Value::from).collect(),
    );
    schema
}
