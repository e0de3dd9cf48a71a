//! The settings of an endpoint as options, and as the fields of a request.
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::cli::context;
use crate::cli::error::Error;
use crate::units;

/// The settings that a new endpoint and a change share.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct FieldsArgs {
    /// Your own name of it, unique within the tenant.
    #[arg(long, value_name = "NAME")]
    uid: Option<String>,
    /// The types that it gets: `invoice.paid`, `invoice.*`, `*` (default for a new one).
    #[arg(long, value_name = "TYPE,…", value_delimiter = ',')]
    types: Vec<String>,
    /// The version of a type that it gets; may be repeated. Other types keep theirs.
    #[arg(long, value_name = "TYPE=N", value_parser = pin)]
    pin: Vec<(String, u16)>,
    /// The form: `envelope` (type, timestamp and data; default for a new one) or `raw` (the data alone).
    #[arg(long, value_name = "FORM")]
    payload: Option<String>,
    /// The signature: `standard`, or a scheme of the config.
    #[arg(long, value_name = "SCHEME")]
    sign: Option<String>,
    /// A header of its own, `NAME: VALUE`, or a file with one a line, `@FILE`; may be repeated, and replaces all headers.
    #[arg(long, value_name = "HEADER|@FILE")]
    header: Vec<String>,
    /// The rate of attempts, such as 10/s.
    #[arg(long, value_name = "RATE")]
    rate: Option<String>,
    /// The largest number of attempts at the same time.
    #[arg(long, value_name = "COUNT")]
    concurrency: Option<u32>,
    /// Sends its events one after the other, in the order in which they were published.
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    ordered: Option<bool>,
    /// With --ordered: what follows an event whose attempts are exhausted, `continue` or `pause`.
    #[arg(long, value_name = "WHAT")]
    on_dead: Option<String>,
    /// The time for one attempt, 1s to 30s.
    #[arg(long, value_name = "DURATION", value_parser = seconds)]
    timeout: Option<u64>,
    /// A text for people.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
}

/// Parses a pinned version.
fn pin(text: &str) -> Result<(String, u16), String> {
    text.split_once('=')
        .and_then(|(kind, version)| Some((kind.to_owned(), version.parse().ok()?)))
        .ok_or_else(|| "write a type and its version: `invoice.paid=1`".to_owned())
}

/// Parses a time in whole seconds.
///
/// # Errors
/// The text to write.
pub(super) fn seconds(text: &str) -> Result<u64, String> {
    let duration = units::duration(text).map_err(|why| why.to_string())?;
    if duration.subsec_nanos() != 0 {
        return Err("write whole seconds, such as `15s`".to_owned());
    }
    Ok(duration.as_secs())
}

impl FieldsArgs {
    /// Returns the fields of the options that were given.
    ///
    /// # Errors
    /// A file with headers cannot be read, or a header is none.
    pub(super) fn fields(&self) -> Result<Map<String, Value>, Error> {
        let mut fields = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                fields.insert(name.to_owned(), value);
            }
        };
        let text = |value: &Option<String>| value.clone().map(Value::from);
        put("uid", text(&self.uid));
        put("types", (!self.types.is_empty()).then(|| json!(self.types)));
        let pins = || {
            let pins = self.pin.iter();
            Value::Object(pins.map(|(kind, n)| (kind.clone(), json!(n))).collect())
        };
        put("versions", (!self.pin.is_empty()).then(pins));
        put("payload", text(&self.payload));
        put("sign", text(&self.sign));
        put("rate", text(&self.rate));
        put("concurrency", self.concurrency.map(Value::from));
        put("ordered", self.ordered.map(Value::from));
        put("on_dead", text(&self.on_dead));
        put("timeout", self.timeout.map(Value::from));
        put("description", text(&self.description));
        if !self.header.is_empty() {
            put("headers", Some(Value::Object(headers(&self.header)?)));
        }
        Ok(fields)
    }
}

/// Reads headers. An error never repeats one: its value may be a secret.
fn headers(options: &[String]) -> Result<Map<String, Value>, Error> {
    let mut headers = Map::new();
    let mut add = |line: &str| {
        let (name, value) = line.split_once(':').ok_or_else(|| {
            Error::usage("a header has no `:`")
                .hint("--header 'Authorization: Bearer …', or --header @FILE with one a line")
        })?;
        headers.insert(name.trim().to_owned(), value.trim().into());
        Ok::<(), Error>(())
    };
    for option in options {
        let Some(path) = option.strip_prefix('@') else {
            add(option)?;
            continue;
        };
        let bytes = context::read(Path::new(path), "the file with headers")?;
        let text = String::from_utf8(bytes)
            .map_err(|_| Error::usage("the headers are not UTF-8").at(path))?;
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        for line in lines {
            add(line)?;
        }
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_fields() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("headers");
        std::fs::write(&file, "Authorization: Bearer a:b\n\nX-Team: blue\n").unwrap();
        let args = FieldsArgs {
            types: vec!["invoice.*".to_owned()],
            pin: vec![pin("invoice.paid=2").unwrap()],
            header: vec![format!("@{}", file.display()), "X-Key:k".to_owned()],
            ordered: Some(false),
            timeout: Some(seconds("20s").unwrap()),
            ..FieldsArgs::default()
        };
        let fields = json!({
            "types": ["invoice.*"],
            "versions": { "invoice.paid": 2 },
            "headers": { "Authorization": "Bearer a:b", "X-Team": "blue", "X-Key": "k" },
            "ordered": false,
            "timeout": 20,
        });
        assert_eq!(Value::Object(args.fields().unwrap()), fields);
        assert!(FieldsArgs::default().fields().unwrap().is_empty());
    }

    #[test]
    fn wrong_values_say_what_to_write() {
        for wrong in ["invoice.paid", "invoice.paid=", "invoice.paid=x"] {
            assert!(pin(wrong).unwrap_err().contains("invoice.paid=1"));
        }
        assert!(seconds("1500ms").is_err() && seconds("x").is_err());
        let error = headers(&["secret value".to_owned()]).unwrap_err();
        assert!(!format!("{error:?}").contains("secret value"));
    }
}
