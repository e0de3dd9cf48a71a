//! The meaning of a YAML text, beside the tree of its positions.
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

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
