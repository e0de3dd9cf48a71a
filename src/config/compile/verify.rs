//! The `verify` block: from keys and templates to a [`Shape`]; what a preset says is overridden key by key.
use std::time::Duration;

use http::HeaderName;
use http::header::AUTHORIZATION;

use crate::config::compile::handshake::handed_out;
use crate::config::diagnostic::{Diagnostics, Level, Place, did_you_mean, unknown};
use crate::config::file::{self, OneOrMany};
use crate::units;
use crate::verify::Encoding;
use crate::verify::{
    Algorithm, BadTemplate, Format, HeaderNames, HmacScheme, Locator, PLACEHOLDERS, Part, Scheme,
    Shape, SignedTime, Source, SourcePlace, TagEncoding, Template, TimeAt, check_pointer,
};

mod merge;
mod source;

/// How far a signed time may be from now, unless the block says.
const TOLERANCE: Duration = Duration::from_secs(300);
/// The last place in a list at which a time is looked for.
const MAX_ITEM: u32 = 31;
/// The names of the schemes.
pub const SCHEMES: [&str; 3] = ["hmac", "token", "basic"];

/// Compiles a block over its preset. All that is wrong is told to `problems`; then there is no shape.
/// The names of the provider and the secrets are the caller's to look up.
pub fn compile(
    block: &file::Verify,
    preset: Option<&file::Provider>,
    place: &Place,
    problems: &mut Diagnostics,
) -> Option<Shape> {
    let errors = |problems: &Diagnostics| {
        problems
            .list
            .iter()
            .filter(|one| one.level == Level::Error)
            .count()
    };
    let before = errors(problems);
    let merged = merge::merged(block, preset.map(|preset| &preset.verify));
    let shape = Compiler {
        written: block,
        block: &merged,
        place,
        problems,
    }
    .shape();
    // Whoever hands out MACs must not take them for signatures, whatever the route says of its handshakes.
    let shape = shape.map(|shape| {
        handed_out(preset)
            .into_iter()
            .fold(shape, Shape::apart_from)
    });
    shape.filter(|_| errors(problems) == before)
}

struct Compiler<'a> {
    written: &'a file::Verify,
    block: &'a file::Verify,
    place: &'a Place,
    problems: &'a mut Diagnostics,
}

impl Compiler<'_> {
    fn shape(&mut self) -> Option<Shape> {
        let delivery_id = self.locator(
            self.block
                .delivery_id
                .as_ref()
                .map(file::DeliveryId::locator)
                .as_ref(),
            "delivery_id",
        );
        let event_type = self.locator(self.block.event_type.as_ref(), "event_type");
        let scheme = match self.block.scheme.as_deref() {
            Some("hmac") => self.hmac(delivery_id.as_ref()).map(Scheme::Hmac),
            Some("token") => {
                self.foreign("token");
                self.token().map(Scheme::Token)
            }
            Some("basic") => {
                self.foreign("basic");
                self.only_hmac(
                    self.block.signature.is_some(),
                    "signature",
                    "`basic` reads the Authorization header and nothing else",
                );
                Some(Scheme::Basic)
            }
            Some(other) => {
                let help = did_you_mean(other, SCHEMES.into_iter())
                    .unwrap_or_else(|| "write `hmac`, `token` or `basic`".to_owned());
                self.problems.error(
                    &self.place.key("scheme"),
                    format!("no scheme is called `{}`", unknown(other)),
                    help,
                );
                self.as_if_hmac(delivery_id.as_ref());
                None
            }
            None => {
                // An unknown provider is told by whoever looked it up.
                let spoiled = ["provider", "scheme"]
                    .iter()
                    .any(|key| self.problems.is_spoiled(&self.place.key(key)));
                if self.block.provider.is_none() && !spoiled {
                    let help =
                        "write `provider: NAME` (see `hookgate providers list`), or `scheme: hmac` and what belongs to it".to_owned();
                    self.problems.error(
                        self.place,
                        "this does not say how senders prove who they are",
                        help,
                    );
                }
                self.as_if_hmac(delivery_id.as_ref());
                None
            }
        };
        if let Some(Scheme::Token(source)) = &scheme {
            self.shows_the_token(source, delivery_id.as_ref(), "delivery_id");
            self.shows_the_token(source, event_type.as_ref(), "event_type");
        }
        let encodings = self.encodings();
        let suffix = self.block.secret_suffix.clone().map(Into::into);
        Some(Shape::new(
            scheme?,
            delivery_id,
            event_type,
            encodings,
            suffix,
        ))
    }

    /// Where the scheme is not known and the block has what `hmac` alone has, what is wrong with that is told in the same run.
    fn as_if_hmac(&mut self, delivery_id: Option<&Locator>) {
        if self.block.algorithm.is_some() || self.block.signed_content.is_some() {
            self.hmac(delivery_id);
        }
    }

    /// IDs and types are logged and handed on; the token must not be.
    fn shows_the_token(&mut self, source: &Source, at: Option<&Locator>, key: &str) {
        let shown = match at {
            Some(Locator::Header(names)) => names
                .names()
                .iter()
                .any(|name| source.headers().contains(name)),
            Some(Locator::Query(name)) => source.query() == Some(name),
            Some(Locator::Json(_)) | None => false,
        };
        if shown {
            self.problems.error(
                &self.place.key(key),
                "this is the token itself, which is shown to nobody",
                "take it out".to_owned(),
            );
        }
    }

    /// Keys that mean something in `hmac` alone.
    fn foreign(&mut self, scheme: &str) {
        let block = self.block;
        let help = format!("take it out, or write `scheme: hmac` instead of `{scheme}`");
        for (there, key) in [
            (block.algorithm.is_some(), "algorithm"),
            (block.signed_content.is_some(), "signed_content"),
            (block.concatenated.is_some(), "concatenated"),
            (block.timestamp.is_some(), "timestamp"),
            (block.tolerance.is_some(), "tolerance"),
            (block.secret_suffix.is_some(), "secret_suffix"),
        ] {
            self.only_hmac(there, key, &help);
        }
    }

    fn only_hmac(&mut self, there: bool, key: &str, help: &str) {
        if there {
            self.problems.error_at_key(
                &self.place.key(key),
                format!("`{key}` belongs to the scheme hmac"),
                help.to_owned(),
            );
        }
    }

    fn hmac(&mut self, delivery_id: Option<&Locator>) -> Option<HmacScheme> {
        let algorithm = self.named(
            self.block.algorithm.as_deref(),
            &["algorithm"],
            &Algorithm::NAMES,
            Algorithm::parse,
        );
        let written = self.block.signature.clone().unwrap_or_default();
        let encoding = self.named(
            written.encoding.as_deref(),
            &["signature", "encoding"],
            &TagEncoding::NAMES,
            TagEncoding::parse,
        );
        let content = self.content();
        let time = self.time();
        let source = self.source(&written, time.as_ref());
        let (content, source) = (content?, source?);
        self.circular(&content, &source);
        self.parts(&content, time.as_ref(), delivery_id);
        let scheme = HmacScheme {
            algorithm: algorithm?,
            encoding: encoding?,
            source,
            content,
            time,
        };
        self.useless_tolerance(&scheme, delivery_id);
        Some(scheme)
    }

    fn named<T>(
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
                    format!("write `{key}:` and one of {all}"),
                );
            }
            return None;
        };
        let found = parse(text);
        if found.is_none() {
            let help = did_you_mean(text, names.iter().copied())
                .unwrap_or_else(|| format!("write one of {all}"));
            self.problems.error(
                &place,
                format!("`{}` is no {key} that is known here", unknown(text)),
                help,
            );
        }
        found
    }

    fn content(&mut self) -> Option<Template> {
        let text = self.block.signed_content.as_deref().unwrap_or("{body}");
        let place = self.place.key("signed_content");
        match Template::parse(text) {
            Ok(template) => return Some(template),
            Err(BadTemplate::Unknown(name)) => {
                let all = PLACEHOLDERS
                    .map(|known| format!("`{{{known}}}`"))
                    .join(", ");
                let help = did_you_mean(&name, PLACEHOLDERS.into_iter())
                    .unwrap_or_else(|| format!("there are {all}; `{{{{` is a brace"));
                self.problems.error(
                    &place,
                    format!("`{{{}}}` is no part of signed content", unknown(&name)),
                    help,
                );
            }
            Err(BadTemplate::Wrong { message, help }) => self.problems.error(&place, message, help),
        }
        None
    }

    /// What the parts of the content need, and whether their borders can be told.
    fn parts(
        &mut self,
        content: &Template,
        time: Option<&SignedTime>,
        delivery_id: Option<&Locator>,
    ) {
        let place = self.place.key("signed_content");
        let has = |wanted: &Part| content.parts().contains(wanted);
        if has(&Part::Timestamp)
            && time.is_none()
            && !self.problems.is_spoiled(&self.place.key("timestamp"))
            && self.block.timestamp.is_none()
        {
            let help = "write `timestamp: { header: X-Timestamp, format: unix }`".to_owned();
            self.problems.error(
                &place,
                "`{timestamp}` is signed, and nothing says where the time stands",
                help,
            );
        }
        if has(&Part::Id) && delivery_id.is_none() && self.block.delivery_id.is_none() {
            let help = "write `delivery_id: { header: X-Delivery }`".to_owned();
            self.problems.error(
                &place,
                "`{id}` is signed, and nothing says where the ID stands",
                help,
            );
        }
        match self.block.concatenated.as_deref().map(str::trim) {
            Some("") => self.problems.error(
                &self.place.key("concatenated"),
                "there is no reason",
                "say why it is safe".to_owned(),
            ),
            Some(_) => {}
            None => {
                if let Some((left, right)) =
                    content.ambiguous_border(time.map_or(Format::Unix, |time| time.format))
                {
                    let message =
                        format!("nobody can tell where `{left}` ends and `{right}` begins");
                    let help = format!(
                        "put a literal between them with a byte that `{left}` cannot hold, or, if the provider signs them so, say why it is safe: `concatenated: REASON`"
                    );
                    self.problems.error(&place, message, help);
                }
            }
        }
    }

    /// A signature cannot cover itself.
    fn circular(&mut self, content: &Template, source: &Source) {
        let covers_itself = content.parts().iter().any(|piece| match piece {
            Part::Header(name) => source.headers().contains(name),
            Part::Query | Part::Url => source.query().is_some(),
            Part::Body => matches!(source.place, SourcePlace::Json(_)),
            Part::Json(pointer) => {
                matches!(&source.place, SourcePlace::Json(signature) if signature == pointer)
            }
            Part::Literal(_) | Part::Timestamp | Part::Id | Part::Method | Part::Path => false,
        });
        if covers_itself {
            let help = "take the part that holds the signature out of `signed_content`".to_owned();
            self.problems.error(
                &self.place.key("signed_content"),
                "the signature would cover itself",
                help,
            );
        }
    }

    fn useless_tolerance(&mut self, scheme: &HmacScheme, delivery_id: Option<&Locator>) {
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
            let help = "take it out: a time that is not signed proves nothing and is not enforced"
                .to_owned();
            self.problems
                .error_at_key(&place, "the signature covers no time", help);
        }
    }

    fn time(&mut self) -> Option<SignedTime> {
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
                    format!("a list has at most {} places", MAX_ITEM + 1),
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
                    let help = "write exactly one of `header`, `pair`, `item`, `json`".to_owned();
                    self.problems
                        .error(&place, "say in one way where the time stands", help);
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

    fn tolerance(&mut self, written: &file::Timestamp) -> Option<Duration> {
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
                    "this lets no request through",
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

    fn header(&mut self, name: &str, place: &Place) -> Option<HeaderName> {
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

    fn pointer(&mut self, pointer: &str, place: &Place) -> Option<String> {
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

    fn locator(&mut self, written: Option<&file::Locator>, key: &str) -> Option<Locator> {
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
                        "the Authorization header is a secret",
                        "name the header that holds the value".to_owned(),
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
                        "say in one way where it stands",
                        "write exactly one of `header`, `json`, `query`".to_owned(),
                    );
                }
                None
            }
        }
    }

    fn encodings(&mut self) -> Vec<Encoding> {
        let names = self
            .block
            .secret_encoding
            .as_ref()
            .map(OneOrMany::all)
            .unwrap_or_default();
        names
            .iter()
            .filter_map(|name| {
                self.named(
                    Some(name),
                    &["secret_encoding"],
                    &Encoding::NAMES,
                    Encoding::parse,
                )
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
