//! Values that can be written in more than one form. Plain visitors: `untagged` would buffer, and its errors are useless.
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer, StrDeserializer};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Serialize, Serializer};

use crate::config::file::{Failures, Handshake, Secret, SecretTable, Verify};

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

/// `verify: none`, or a block.
#[derive(Debug, Clone)]
pub enum VerifyOrNone {
    /// The word `none`: requests are not verified.
    None,
    /// A block.
    Block(Box<Verify>),
}

/// `handshake: none`, or a block.
#[derive(Debug, Clone)]
pub enum HandshakeOrNone {
    /// The word `none`: the gateway answers no handshake.
    None,
    /// A block.
    Block(Box<Handshake>),
}

/// A list of secrets, or a table.
#[derive(Debug, Clone)]
pub enum Secrets {
    /// A list, the newest first.
    List(Vec<Secret>),
    /// A table by key.
    Table(Box<SecretTable>),
}

/// The handling of deliveries that the upstream cannot take.
#[derive(Debug, Clone)]
pub enum OnFailure {
    /// The word `fail` or `queue`, or one that `compile` refuses.
    Word(String),
    /// A table by kind of failure.
    Table(Failures),
}

/// A type that can be read from several forms of YAML values.
trait Forms<'de>: Sized {
    const EXPECTING: &'static str;
    fn text<E: Error>(_text: &str) -> Result<Self, E> {
        Err(E::custom(Self::EXPECTING))
    }
    fn list<A: SeqAccess<'de>>(_list: A) -> Result<Self, A::Error> {
        Err(A::Error::custom(Self::EXPECTING))
    }
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

impl<'de> Forms<'de> for VerifyOrNone {
    const EXPECTING: &'static str = "`none` or a block";
    fn text<E: Error>(text: &str) -> Result<Self, E> {
        if text == "none" {
            Ok(Self::None)
        } else {
            Err(E::custom(Self::EXPECTING))
        }
    }
    fn map<A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        Verify::deserialize(MapAccessDeserializer::new(map))
            .map(|block| Self::Block(Box::new(block)))
    }
}

impl<'de> Forms<'de> for HandshakeOrNone {
    const EXPECTING: &'static str = "`none` or a block";
    fn text<E: Error>(text: &str) -> Result<Self, E> {
        if text == "none" {
            Ok(Self::None)
        } else {
            Err(E::custom(Self::EXPECTING))
        }
    }
    fn map<A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        Handshake::deserialize(MapAccessDeserializer::new(map))
            .map(|block| Self::Block(Box::new(block)))
    }
}

impl<'de> Forms<'de> for Secrets {
    const EXPECTING: &'static str = "a list of secrets, or a table";
    fn list<A: SeqAccess<'de>>(list: A) -> Result<Self, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(Self::List)
    }
    fn map<A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        SecretTable::deserialize(MapAccessDeserializer::new(map))
            .map(|table| Self::Table(Box::new(table)))
    }
}

impl<'de> Forms<'de> for OnFailure {
    const EXPECTING: &'static str = "`fail`, `queue` or a table";
    fn text<E: Error>(text: &str) -> Result<Self, E> {
        Ok(Self::Word(text.to_owned()))
    }
    fn map<A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        Failures::deserialize(MapAccessDeserializer::new(map)).map(Self::Table)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyForm(PhantomData))
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

impl<'de> Deserialize<'de> for VerifyOrNone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyForm(PhantomData))
    }
}

impl<'de> Deserialize<'de> for HandshakeOrNone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyForm(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Secrets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyForm(PhantomData))
    }
}

impl<'de> Deserialize<'de> for OnFailure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyForm(PhantomData))
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

impl JsonSchema for VerifyOrNone {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "VerifyOrNone".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let block = generator.subschema_for::<Verify>();
        any_of([json_schema!({ "const": "none" }), block])
    }
}

impl JsonSchema for HandshakeOrNone {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "HandshakeOrNone".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let block = generator.subschema_for::<Handshake>();
        any_of([json_schema!({ "const": "none" }), block])
    }
}

impl JsonSchema for Secrets {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Secrets".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let list = generator.subschema_for::<Vec<Secret>>();
        let table = generator.subschema_for::<SecretTable>();
        any_of([list, table])
    }
}

impl JsonSchema for OnFailure {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "OnFailure".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<Failures>();
        any_of([json_schema!({ "type": "string" }), table])
    }
}

fn any_of<const N: usize>(forms: [Schema; N]) -> Schema {
    let mut schema = Schema::default();
    schema.insert(
        "anyOf".to_owned(),
        forms.into_iter().map(serde_json::Value::from).collect(),
    );
    schema
}
