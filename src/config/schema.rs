//! The JSON Schema of the config, generated from [`crate::config::file`]: for editors, for the shape check and for `docs/config.md`.
use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema};
use serde_json::Value;

use crate::config::file;

/// The schema of the main file: what `hookgate schema` prints.
pub fn schema() -> Value {
    let mut schema = of::<file::File>();
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("title".to_owned(), "The config of hookgate".into());
    }
    schema
}

/// The schema of any written type.
pub fn of<T: JsonSchema>() -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>();
    WithoutNull.transform(&mut schema);
    schema.into()
}

/// A key without a value is a mistake, so nothing may be null; and no default is one that the code does not say in words.
struct WithoutNull;

impl Transform for WithoutNull {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        let Some(object) = schema.as_object_mut() else { return };
        object.remove("default");
        if let Some(Value::Array(types)) = object.get_mut("type") {
            types.retain(|kind| kind != "null");
            if let [only] = types.as_slice() {
                let only = only.clone();
                object.insert("type".to_owned(), only);
            }
        }
        let Some(Value::Array(forms)) = object.get_mut("anyOf") else { return };
        forms.retain(|form| form.get("type").is_none_or(|kind| kind != "null"));
        if let [Value::Object(only)] = forms.as_slice() {
            let only = only.clone();
            object.remove("anyOf");
            object.extend(only);
        }
    }
}
