//! Formats the events that the gateway logs about itself, with the same first fields as a request line.
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use anstyle::{AnsiColor, Style};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::line::{json, push_field};
use super::log_policy::LogFormat;
use super::sink::Sink;
use crate::clock::{Clock as _, SystemClock, rfc3339};
use crate::units::saturating;

/// Writes each event as one line.
pub(super) struct EventLines {
    pub(super) sink: Arc<Sink>,
    pub(super) format: LogFormat,
    /// Whether the level is coloured in the format for people.
    pub(super) is_coloured: bool,
}

impl<S: Subscriber> Layer<S> for EventLines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let line = EventLine::new(event, SystemClock.now().wall);
        let bytes = match self.format {
            LogFormat::Json => json(&line),
            LogFormat::Pretty => line.pretty(self.is_coloured).into_bytes(),
        };
        self.sink.take(&bytes);
    }
}

/// One event: its time, level, message and fields, and the module that logged it.
struct EventLine {
    ts: String,
    level: Level,
    module: &'static str,
    fields: Fields,
}

/// The fields of an event in the order in which the code names them. The message is apart.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

impl EventLine {
    fn new(event: &Event<'_>, at: SystemTime) -> Self {
        let mut fields = Fields::default();
        event.record(&mut fields);
        Self {
            ts: rfc3339(at),
            level: *event.metadata().level(),
            module: event.metadata().target(),
            fields,
        }
    }

    fn pretty(&self, is_coloured: bool) -> String {
        let style = if is_coloured {
            style_of(self.level)
        } else {
            Style::new()
        };
        let message: String = self.fields.message.chars().flat_map(visible).collect();
        let mut text = format!("{} {style}{:5}{style:#} {message}", self.ts, self.level);
        for (name, value) in &self.fields.others {
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            push_field(&mut text, &format!(" {name}="), &value);
        }
        text.push('\n');
        text
    }
}

impl Serialize for EventLine {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("ts", &self.ts)?;
        map.serialize_entry("level", level_word(self.level))?;
        map.serialize_entry("msg", &self.fields.message)?;
        for (name, value) in &self.fields.others {
            map.serialize_entry(name, value)?;
        }
        map.serialize_entry("module", self.module)?;
        map.end()
    }
}

impl Fields {
    fn push(&mut self, field: &Field, value: Value) {
        let name = field.name();
        // a field that is named like a keyword
        let name = name.strip_prefix("r#").unwrap_or(name);
        if name == "message" {
            self.message = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
        } else {
            self.others.push((name, value));
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, value.into());
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.push(field, saturating(value).into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push(field, format!("{value:?}").into());
    }
}

/// Returns a character as it may stand in a line for people: control characters are escaped.
fn visible(character: char) -> impl Iterator<Item = char> {
    let escaped = character
        .is_control()
        .then(|| character.escape_default())
        .into_iter()
        .flatten();
    let plain = (!character.is_control()).then_some(character);
    escaped.chain(plain)
}

fn level_word(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

fn style_of(level: Level) -> Style {
    let colour = match level {
        Level::ERROR => AnsiColor::Red,
        Level::WARN => AnsiColor::Yellow,
        Level::INFO => AnsiColor::Green,
        Level::DEBUG | Level::TRACE => AnsiColor::Blue,
    };
    colour.on_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// Keeps the lines of all events in both formats.
    #[derive(Clone, Default)]
    struct KeptLines(Arc<Mutex<Vec<(String, String)>>>);

    impl<S: Subscriber> Layer<S> for KeptLines {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let line = EventLine::new(event, SystemTime::UNIX_EPOCH);
            let json = String::from_utf8(json(&line)).unwrap();
            self.0.lock().push((json, line.pretty(false)));
        }
    }

    #[test]
    fn event_begins_like_a_request_line() {
        let lines_kept = KeptLines::default();
        let subscriber = tracing_subscriber::registry().with(lines_kept.clone());
        tracing::subscriber::with_default(subscriber, || {
            let address = "127.0.0.1:1";
            tracing::info!(r#for = "senders", %address, port = 1, took = 7_u128, "listening");
            tracing::warn!(error = "no \u{1b}[31m \"room\"", "a\nb");
        });
        let lines = lines_kept.0.lock().clone();
        let module = module_path!();
        assert_eq!(
            lines[0].0,
            format!(
                "{{\"ts\":\"1970-01-01T00:00:00.000Z\",\"level\":\"info\",\"msg\":\"listening\",\"for\":\"senders\",\"address\":\"127.0.0.1:1\",\"port\":1,\"took\":7,\"module\":\"{module}\"}}\n"
            )
        );
        assert_eq!(
            lines[0].1,
            "1970-01-01T00:00:00.000Z INFO  listening for=senders address=127.0.0.1:1 port=1 took=7\n"
        );
        assert_eq!(
            lines[1].1,
            "1970-01-01T00:00:00.000Z WARN  a\\nb error=\"no \\u{1b}[31m \\\"room\\\"\"\n"
        );
    }
}
