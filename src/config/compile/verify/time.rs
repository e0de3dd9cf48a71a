//! Compiles `timestamp` and `tolerance`.
use std::time::Duration;

use super::Compiler;
use crate::config::file;
use crate::units;
use crate::verify::{Format, HeaderNames, HmacScheme, Locator, Scheme, Shape, SignedTime, TimeAt};

/// The default of `tolerance`.
const TOLERANCE: Duration = Duration::from_secs(300);
/// The largest `item`.
const MAX_ITEM: u32 = 31;

impl Compiler<'_> {
    /// Reports a tolerance that has no effect because the time is not signed.
    pub(super) fn useless_tolerance(&mut self, scheme: &HmacScheme, delivery_id: Option<&Locator>) {
        let nested = self
            .written
            .timestamp
            .as_ref()
            .is_some_and(|time| time.tolerance.is_some());
        let enforced = Shape::new(
            Scheme::Hmac(scheme.clone()),
            delivery_id.cloned(),
            None,
            Vec::new(),
            None,
        )
        .tolerance()
        .is_some();
        if (self.written.tolerance.is_some() || nested) && !enforced {
            let place = if self.written.tolerance.is_some() {
                self.place.key("tolerance")
            } else {
                self.place.key("timestamp").key("tolerance")
            };
            let help = "leave it out: a time that is not signed is not checked".to_owned();
            self.problems.error_at_key(
                &place,
                "`tolerance` has no effect: the signature does not cover the time",
                help,
            );
        }
    }

    /// Compiles `timestamp`.
    pub(super) fn time(&mut self) -> Option<SignedTime> {
        let written = self.block.timestamp.as_ref()?;
        let place = self.place.key("timestamp");
        let at = match (&written.header, &written.pair, written.item, &written.json) {
            (Some(names), None, None, None) => self
                .headers(names, &place.key("header"))
                .map(|names| TimeAt::Header(HeaderNames::new(names))),
            (None, Some(pair), None, None) => Some(TimeAt::Pair(pair.as_str().into())),
            (None, None, Some(item), None) if item <= MAX_ITEM => Some(TimeAt::Item),
            (None, None, Some(_), None) => {
                self.problems.error(
                    &place.key("item"),
                    format!(
                        "`item` is out of range: a list has at most {} items",
                        MAX_ITEM + 1
                    ),
                    "count from 0".to_owned(),
                );
                None
            }
            (None, None, None, Some(pointer)) => self
                .pointer(pointer, &place.key("json"))
                .map(|pointer| TimeAt::Json(pointer.into())),
            _ => {
                let spoiled = ["header", "pair", "item", "json"]
                    .iter()
                    .any(|key| self.problems.is_spoiled(&place.key(key)));
                if !spoiled {
                    let help = "use exactly one of `header`, `pair`, `item`, `json`".to_owned();
                    self.problems.error(
                        &place,
                        "the location of the time is missing or ambiguous",
                        help,
                    );
                }
                None
            }
        };
        let format = written.format.as_deref().or(Some("unix"));
        let format = self.named(
            format,
            &["timestamp", "format"],
            &Format::NAMES,
            Format::parse,
        );
        let tolerance = self.tolerance(written);
        Some(SignedTime {
            at: at?,
            format: format?,
            tolerance: tolerance?,
        })
    }

    /// Compiles the tolerance.
    pub(super) fn tolerance(&mut self, written: &file::Timestamp) -> Option<Duration> {
        let Some(text) = self.block.tolerance.as_ref().or(written.tolerance.as_ref()) else {
            return Some(TOLERANCE);
        };
        let in_time = self.written.tolerance.is_none()
            && self
                .written
                .timestamp
                .as_ref()
                .is_some_and(|time| time.tolerance.is_some());
        let place = if in_time {
            self.place.key("timestamp").key("tolerance")
        } else {
            self.place.key("tolerance")
        };
        match units::duration(text) {
            Ok(tolerance) if tolerance.is_zero() => {
                self.problems.error(
                    &place,
                    "this must be greater than 0",
                    "write a duration such as `5m`".to_owned(),
                );
                None
            }
            Ok(tolerance) => Some(tolerance),
            Err(why) => {
                self.problems
                    .error(&place, "this is not a duration", why.to_string());
                None
            }
        }
    }
}
