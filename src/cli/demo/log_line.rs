//! A line of the gateway's log, for people.
use serde_json::Value;

use crate::cli::term::{self, DIM, GREEN, RED, YELLOW};

/// The fields that are shown apart, or mean nothing to a person.
const LEFT_OUT: [&str; 5] = ["ts", "level", "msg", "module", "error"];

/// Renders a line: its time, level, message and fields, and below them the lines of its error as `check` prints them. A line that is not JSON stays as
/// it is.
pub(super) fn render(line: &str) -> String {
    let Ok(Value::Object(fields)) = serde_json::from_str(line) else {
        return term::clean(line);
    };
    let text =
        |name: &str| term::clean(fields.get(name).and_then(Value::as_str).unwrap_or_default());
    let level = text("level");
    let style = match &*level {
        "error" => RED,
        "warn" => YELLOW,
        _ => GREEN,
    };
    let mut shown = format!("{} {style}{level:5}{style:#} {}", text("ts"), text("msg"));
    for (name, value) in &fields {
        if LEFT_OUT.contains(&&**name) || value.is_null() {
            continue;
        }
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        let field = term::clean(&format!("{name}={value}"));
        shown.push_str(&format!(" {DIM}{field}{DIM:#}"));
    }
    let error = fields
        .get("error")
        .and_then(Value::as_str)
        .unwrap_or_default();
    for line in term::clean_body(error.as_bytes()).trim_end().lines() {
        shown.push_str(&format!("\n  {line}"));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &str) {
        assert_eq!(
            anstream::adapter::strip_str(&render(line)).to_string(),
            expected
        );
    }

    #[test]
    fn mistake_keeps_the_lines_of_check() {
        check(
            r#"{"ts":"2026-11-29T12:00:00.000Z","level":"error","msg":"config not reloaded; the last good one stays in use","error":"error: this duration has no unit\n --> config.yaml:18:23\n","module":"hookgate::gateway::reload"}"#,
            "2026-11-29T12:00:00.000Z error config not reloaded; the last good one stays in use\n  error: this duration has no unit\n   --> config.yaml:18:23",
        );
    }

    #[test]
    fn fields_follow_the_message() {
        check(
            r#"{"ts":"t","level":"info","msg":"config reloaded","generation":2,"hash":"ab\u001b","removed_keys":null}"#,
            "t info  config reloaded generation=2 hash=ab\\x1b",
        );
        check("no JSON \u{1b}[2J", "no JSON \\x1b[2J");
    }
}
