//! Facts of the scheme `hmac` that follow from its template: what is covered, and which headers are read.
use http::HeaderName;

use super::HmacScheme;
use crate::verify::content::Part;
use crate::verify::covers::Covers;
use crate::verify::locator::{HeaderNames, Locator, ReadHeader};
use crate::verify::scheme::signed_time::{SignedTime, TimeAt};
use crate::verify::secret_locations::SecretLocations;
use crate::verify::timestamp::Format;

impl HmacScheme {
    /// Drops a time that the signature does not cover, finds out whether the content can stream, and returns what is covered.
    pub(in crate::verify::scheme) fn settle(&mut self, delivery_id: Option<&Locator>) -> Covers {
        let covers = self.covers(delivery_id);
        if !covers.timestamp {
            self.time = None;
        }
        let time_in_body = self.time.as_ref().is_some_and(SignedTime::in_body);
        self.content
            .settle(time_in_body, delivery_id.is_some_and(Locator::in_body));
        covers
    }

    /// Returns the facts that the signature covers.
    pub(super) fn covers(&self, delivery_id: Option<&Locator>) -> Covers {
        let parts = self.content.parts();
        let has = |wanted: &Part| parts.contains(wanted);
        let body = has(&Part::Body);
        let json = |pointer: &str| body || has(&Part::Json(pointer.into()));
        let header = |names: &HeaderNames| {
            let mut names = names.names().iter();
            names.all(|name| has(&Part::Header(name.clone())))
        };
        let timestamp = self.time.as_ref().is_some_and(|time| {
            has(&Part::Timestamp)
                || match &time.at {
                    TimeAt::Header(names) => header(names),
                    TimeAt::Json(pointer) => json(pointer),
                    TimeAt::Pair(_) | TimeAt::Item => false,
                }
        });
        let url = has(&Part::Url);
        let id = delivery_id.is_some_and(|id| {
            has(&Part::Id)
                || match id {
                    Locator::Header(names) => header(names),
                    Locator::Json(pointer) => json(pointer),
                    Locator::Query(_) => url || has(&Part::Query),
                }
        });
        Covers {
            body,
            timestamp,
            id,
            method: has(&Part::Method),
            url,
            path: has(&Part::Path),
            query: has(&Part::Query),
            headers: parts.iter().any(|part| matches!(part, Part::Header(_))),
            fields: parts.iter().any(|part| matches!(part, Part::Json(_))),
        }
    }

    /// Returns whether the path is signed and no byte can move between it and its neighbours. A public URL is the same for every path,
    /// so it does not cover the path.
    pub(in crate::verify::scheme) fn covers_path(&self, has_public_url: bool) -> bool {
        let holds_path = |part: &Part| *part == Part::Path || *part == Part::Url && !has_public_url;
        let format = self.time.as_ref().map_or(Format::Unix, |time| time.format);
        self.content.fixes(format, holds_path)
    }

    /// Returns the headers that hold the signature and its time.
    pub(in crate::verify::scheme) fn signed_headers(&self) -> Vec<HeaderName> {
        let times = self
            .time
            .as_ref()
            .map(SignedTime::header_names)
            .unwrap_or_default();
        [self.source.headers(), times].concat()
    }

    /// Returns all headers that the scheme reads or covers.
    pub(in crate::verify::scheme) fn headers(&self) -> Vec<ReadHeader> {
        let mut headers = self.source.read_headers();
        for part in self.content.parts() {
            if let Part::Header(name) = part {
                headers.push(ReadHeader::single(name.clone()));
            }
        }
        if let Some(TimeAt::Header(names)) = self.time.as_ref().map(|time| &time.at) {
            headers.push(ReadHeader::single(names.clone()));
        }
        headers
    }

    /// Returns the headers that hold a signature.
    pub(in crate::verify::scheme) fn secret_locations(&self) -> SecretLocations {
        SecretLocations {
            signatures: self.source.headers().to_vec(),
            ..SecretLocations::default()
        }
    }
}
