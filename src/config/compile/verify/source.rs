//! Compiles the location of the signature or token, and checks that it could be found there.
use http::HeaderName;

use super::Compiler;
use crate::config::diagnostic::{Place, shown};
use crate::config::file::{self, OneOrMany};
use crate::verify::{Layout, SignedTime, Source, SourcePlace, TimeAt};

/// The largest number of headers that may contain the signature.
const MAX_HEADERS: usize = 100;

impl Compiler<'_> {
    /// Compiles the location of a token.
    pub(super) fn token(&mut self) -> Option<Source> {
        let written = self.block.signature.clone().unwrap_or_default();
        for (there, key) in [
            (written.encoding.is_some(), "encoding"),
            (written.separator.is_some(), "separator"),
            (written.pair.is_some(), "pair"),
            (written.repeated.is_some(), "repeated"),
            (written.json.is_some(), "json"),
        ] {
            if there {
                let place = self.place.key("signature").key(key);
                self.problems.error_at_key(
                    &place,
                    format!("`{key}` works with the scheme `hmac` only"),
                    "leave it out: a token is the whole value".to_owned(),
                );
            }
        }
        let place = self.source_place(&written)?;
        let expect = self.expect(&written, &place);
        Some(Source {
            place,
            prefix: written.prefix.unwrap_or_default().into(),
            layout: Layout::Whole,
            repeated: false,
            expect,
        })
    }

    /// Compiles the location of a signature.
    pub(super) fn source(
        &mut self,
        written: &file::Signature,
        time: Option<&SignedTime>,
    ) -> Option<Source> {
        let at = self.place.key("signature");
        let place = self.source_place(written);
        let separator = written
            .separator
            .clone()
            .filter(|separator| !separator.is_empty());
        let item = self
            .block
            .timestamp
            .as_ref()
            .and_then(|time| time.item)
            .and_then(|item| usize::try_from(item).ok());
        let layout = match (separator, &written.pair) {
            (None, Some(_)) => {
                self.problems.error(
                    &at,
                    "`pair` needs a `separator`",
                    "add the text between two pairs, such as `separator: \",\"`".to_owned(),
                );
                return None;
            }
            (Some(separator), Some(key)) => Layout::Pairs {
                separator: separator.into(),
                key: key.as_str().into(),
            },
            (Some(separator), None) => Layout::List {
                separator: separator.into(),
                time: item,
            },
            (None, None) => Layout::Whole,
        };
        let place = place?;
        let expect = self.expect(written, &place);
        let repeated = written.repeated.unwrap_or(false);
        let source = Source {
            place,
            prefix: written.prefix.clone().unwrap_or_default().into(),
            layout,
            repeated,
            expect,
        };
        self.consistent(&source, time);
        Some(source)
    }

    /// Reports texts that could never match, and times that the layout cannot contain.
    fn consistent(&mut self, source: &Source, time: Option<&SignedTime>) {
        let at = self.place.key("signature");
        let one_header = source.headers().len() == 1 && !source.repeated;
        let time_at = time.map(|time| &time.at);
        let mut wrong: Vec<(Place, &str, &str)> = Vec::new();
        if source.repeated && source.headers().is_empty() {
            wrong.push((
                at.key("repeated"),
                "only a header can be repeated",
                "leave it out",
            ));
        }
        if let Layout::List { separator, .. } | Layout::Pairs { separator, .. } = &source.layout
            && source.prefix.contains(&**separator)
        {
            wrong.push((
                at.key("prefix"),
                "the prefix contains the separator, so no signature could match",
                "write another `separator`",
            ));
        }
        if let Layout::Pairs { separator, key } = &source.layout {
            if key.is_empty() || key.contains('=') || key.contains(&**separator) {
                wrong.push((
                    at.key("pair"),
                    "this cannot be the key of a pair",
                    "write the text before the `=`",
                ));
            }
            if time_at == Some(&TimeAt::Pair(key.clone())) {
                wrong.push((
                    at.key("pair"),
                    "signature and time cannot have the same key",
                    "write the text before each `=`",
                ));
            }
        }
        let fits = match (time_at, &source.layout) {
            (Some(TimeAt::Pair(_)), Layout::Pairs { .. })
            | (Some(TimeAt::Item), Layout::List { .. }) => one_header,
            (Some(TimeAt::Pair(_) | TimeAt::Item), _) => false,
            (Some(TimeAt::Header(_) | TimeAt::Json(_)) | None, _) => true,
        };
        if !fits {
            let help = "use one signature header that is not repeated, with a `separator` and, for `timestamp.pair`, a `pair`";
            wrong.push((
                self.place.key("timestamp"),
                "the signature header cannot contain the time there",
                help,
            ));
        }
        for (place, message, help) in wrong {
            self.problems.error(&place, message, help.to_owned());
        }
    }

    /// Compiles the place of the signature or token.
    fn source_place(&mut self, written: &file::Signature) -> Option<SourcePlace> {
        let at = self.place.key("signature");
        match (&written.header, &written.query, &written.json) {
            (Some(header), None, None) => self
                .headers(header, &at.key("header"))
                .map(SourcePlace::Headers),
            (None, None, Some(pointer)) => self
                .pointer(pointer, &at.key("json"))
                .map(|pointer| SourcePlace::Json(pointer.into())),
            (None, Some(name), None) if name.is_empty() => {
                self.problems.error(
                    &at.key("query"),
                    "the name of the query parameter is empty",
                    "write its name, such as `token`".to_owned(),
                );
                None
            }
            (None, Some(name), None) => Some(SourcePlace::Query(name.as_str().into())),
            _ => {
                if !["header", "query", "json"]
                    .iter()
                    .any(|key| self.problems.is_spoiled(&at.key(key)))
                {
                    let help =
                        "use exactly one of `header`, `query`, `json` under `signature`".to_owned();
                    self.problems.error(
                        &at,
                        "the location of the signature is missing or ambiguous",
                        help,
                    );
                }
                None
            }
        }
    }

    /// Compiles `expect`.
    fn expect(
        &mut self,
        written: &file::Signature,
        source: &SourcePlace,
    ) -> Box<[(HeaderName, Box<str>)]> {
        let at = self.place.key("signature").key("expect");
        let mut all: Vec<(HeaderName, Box<str>)> = Vec::new();
        for (name, value) in written.expect.iter().flatten() {
            let place = at.key(name);
            let Some(parsed) = self.header(name, &place) else {
                continue;
            };
            if matches!(source, SourcePlace::Headers(names) if names.contains(&parsed))
                || all.iter().any(|(known, _)| *known == parsed)
            {
                self.problems.error(
                    &place,
                    "this header is listed twice",
                    "list each header once".to_owned(),
                );
            }
            if value.is_empty()
                || value.trim() != value
                || !value.bytes().all(|byte| (b' '..=b'~').contains(&byte))
            {
                self.problems.error(
                    &place,
                    "a header cannot have this value",
                    "write visible ASCII".to_owned(),
                );
            }
            all.push((parsed, value.as_str().into()));
        }
        all.into()
    }

    /// Parses header names and ranges.
    pub(super) fn headers(
        &mut self,
        names: &OneOrMany<String>,
        place: &Place,
    ) -> Option<Box<[HeaderName]>> {
        let mut all = Vec::new();
        for name in names.all() {
            match expanded(name) {
                Some(each) => all.extend(each.iter().filter_map(|name| self.header(name, place))),
                None => self.problems.error(
                    place,
                    format!("`{}` is not a valid range of headers", shown(name)),
                    "write `X-Name-{1..9}`".to_owned(),
                ),
            }
        }
        let mut distinct = all.clone();
        distinct.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        distinct.dedup();
        if distinct.len() != all.len() {
            self.problems.error(
                place,
                "a header is listed twice",
                "list each header once".to_owned(),
            );
        }
        if all.is_empty() || all.len() > MAX_HEADERS {
            self.problems.error(
                place,
                format!("there must be between 1 and {MAX_HEADERS} headers"),
                None,
            );
            return None;
        }
        Some(all.into())
    }
}

/// Expands `X-Name-{1..3}` to its headers, and any other name to itself; `None` if the range is not valid.
fn expanded(name: &str) -> Option<Vec<String>> {
    let Some((before, rest)) = name.split_once('{') else {
        return Some(vec![name.to_owned()]);
    };
    let (range, after) = rest.split_once('}')?;
    let (from, to) = range.split_once("..")?;
    let (from, to): (usize, usize) = (from.parse().ok()?, to.parse().ok()?);
    let counted = from <= to && to - from < MAX_HEADERS;
    counted.then(|| {
        (from..=to)
            .map(|number| format!("{before}{number}{after}"))
            .collect()
    })
}
