//! Compiles the `verify` block to a [`Shape`]. The keys of the block override those of the preset one by one.
use crate::config::compile::handshake::handed_out;
use crate::config::diagnostic::{Diagnostics, Level, Place, did_you_mean, unknown};
use crate::config::file::{self, OneOrMany};
use crate::verify::{Algorithm, Encoding, HmacScheme, Locator, Scheme, Shape, Source, TagEncoding};

mod content;
mod merge;
mod source;
mod time;
mod values;

/// Compiles a block and its preset. With an error there is no shape. The caller looks up the provider and the secrets.
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
    // MACs that handshakes reveal must not count as signatures, whatever the handshakes of the route are.
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
    /// Compiles the block.
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
                    "leave it out: `basic` always reads the Authorization header",
                );
                Some(Scheme::Basic)
            }
            Some(other) => {
                let help = did_you_mean(other, Scheme::NAMES.into_iter())
                    .unwrap_or_else(|| "write `hmac`, `token` or `basic`".to_owned());
                self.problems.error(
                    &self.place.key("scheme"),
                    format!("unknown scheme `{}`", unknown(other)),
                    help,
                );
                self.as_if_hmac(delivery_id.as_ref());
                None
            }
            None => {
                // The caller reports an unknown provider.
                let spoiled = ["provider", "scheme"]
                    .iter()
                    .any(|key| self.problems.is_spoiled(&self.place.key(key)));
                if self.block.provider.is_none() && !spoiled {
                    let help =
                        "write `provider: NAME` (see `hookgate providers list`), or `scheme: hmac` with its keys".to_owned();
                    self.problems.error(
                        self.place,
                        "`verify` names neither a provider nor a scheme",
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

    /// Reports errors of the keys for `hmac` if the scheme is unknown, so that all are reported in the same run.
    fn as_if_hmac(&mut self, delivery_id: Option<&Locator>) {
        if self.block.algorithm.is_some() || self.block.signed_content.is_some() {
            self.hmac(delivery_id);
        }
    }

    /// Reports a delivery ID or event type that is the token: both are logged and forwarded.
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
                "this is the token itself, which must stay secret",
                "leave it out".to_owned(),
            );
        }
    }

    /// Reports keys that work with `hmac` only.
    fn foreign(&mut self, scheme: &str) {
        let block = self.block;
        let help = format!("leave it out, or write `scheme: hmac` instead of `{scheme}`");
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

    /// Reports a key that works with `hmac` only, if it is written.
    fn only_hmac(&mut self, there: bool, key: &str, help: &str) {
        if there {
            self.problems.error_at_key(
                &self.place.key(key),
                format!("`{key}` works with the scheme `hmac` only"),
                help.to_owned(),
            );
        }
    }

    /// Compiles the keys of the scheme `hmac`.
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

    /// Parses the encodings of secrets.
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
