//! Parses the values of a `verify` block: words, header names, JSON pointers, locations.
use http::HeaderName;
use http::header::AUTHORIZATION;

use super::Compiler;
use crate::config::diagnostic::{Place, did_you_mean, unknown};
use crate::config::file;
use crate::verify::{HeaderNames, Locator, check_pointer};

impl Compiler<'_> {
    /// Parses one of the names at `path`.
    pub(super) fn named<T>(
        &mut self,
        written: Option<&str>,
        path: &[&str],
        names: &[&'static str],
        parse: fn(&str) -> Option<T>,
    ) -> Option<T> {
        let place = path
            .iter()
            .fold(self.place.clone(), |place, key| place.key(key));
        let key = path.last().copied().unwrap_or_default();
        let all = names
            .iter()
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", ");
        let Some(text) = written else {
            if !self.problems.is_spoiled(&place) {
                self.problems.error(
                    &place,
                    format!("`{}` is missing", path.join(".")),
                    format!("add `{key}:` with one of {all}"),
                );
            }
            return None;
        };
        let found = parse(text);
        if found.is_none() {
            let help = did_you_mean(text, names.iter().copied())
                .unwrap_or_else(|| format!("write one of {all}"));
            self.problems
                .error(&place, format!("unknown {key} `{}`", unknown(text)), help);
        }
        found
    }

    /// Parses a header name.
    pub(super) fn header(&mut self, name: &str, place: &Place) -> Option<HeaderName> {
        let parsed = name.parse().ok();
        if parsed.is_none() {
            let help = "write letters, digits and `-`, such as `X-Signature`".to_owned();
            self.problems.error(
                place,
                format!("`{}` is not a header name", unknown(name)),
                help,
            );
        }
        parsed
    }

    /// Checks a JSON pointer.
    pub(super) fn pointer(&mut self, pointer: &str, place: &Place) -> Option<String> {
        match check_pointer(pointer) {
            Ok(()) => Some(pointer.to_owned()),
            Err(why) => {
                self.problems.error(
                    place,
                    format!("`{}` is not a JSON pointer", unknown(pointer)),
                    why.to_string(),
                );
                None
            }
        }
    }

    /// Compiles a location.
    pub(super) fn locator(
        &mut self,
        written: Option<&file::Locator>,
        key: &str,
    ) -> Option<Locator> {
        let place = self.place.key(key);
        let file::Locator {
            header,
            json,
            query,
        } = written?;
        match (header, json, query) {
            (Some(names), None, None) => {
                let names = self.headers(names, &place.key("header"))?;
                if names.contains(&AUTHORIZATION) {
                    self.problems.error(
                        &place,
                        "the Authorization header must stay secret",
                        "name another header".to_owned(),
                    );
                }
                Some(Locator::Header(HeaderNames::new(names)))
            }
            (None, Some(pointer), None) => {
                self.pointer(pointer, &place.key("json")).map(Locator::Json)
            }
            (None, None, Some(name)) if !name.is_empty() => Some(Locator::Query(name.clone())),
            _ => {
                if !["header", "json", "query"]
                    .iter()
                    .any(|key| self.problems.is_spoiled(&place.key(key)))
                {
                    self.problems.error(
                        &place,
                        "the location of the value is missing or ambiguous",
                        "use exactly one of `header`, `json`, `query`".to_owned(),
                    );
                }
                None
            }
        }
    }
}
