//! The causes of a refusal, and the words for them.
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::address::AddressChange;
use super::body::{BodyChange, BodySign};
use super::json::{Spacing, TextForm};
use super::key::SecretChange;
use crate::clock::rfc3339;
use crate::verify::{Algorithm, NotAuthentic, TagEncoding};

/// One cause of a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A secret of the route matches once its text is changed.
    Secret {
        /// Its name.
        name: Arc<str>,
        /// The changes, in order.
        changes: Vec<SecretChange>,
    },
    /// A secret of the route matches, but is not yet active.
    NotYetActive {
        /// Its name.
        name: Arc<str>,
        /// The time from which on it is active.
        from: SystemTime,
    },
    /// A secret of the route matches, but is no longer active.
    Expired {
        /// Its name.
        name: Arc<str>,
        /// The time at which it ended.
        at: SystemTime,
    },
    /// A secret of another route matches.
    OtherRoute {
        /// The route.
        route: Box<str>,
        /// The name of the secret.
        name: Arc<str>,
    },
    /// There is no secret for the account that the request names.
    UnknownAccount,
    /// The signature is right, but is not in the header that the scheme reads.
    Header {
        /// The header that holds it; `None` for the query.
        found: Option<Box<str>>,
        /// The header that the scheme reads.
        expected: Box<str>,
    },
    /// The signature is right, but has another label before it, such as that of another version.
    Label {
        /// The label.
        found: Box<str>,
        /// The label that the scheme reads.
        expected: Box<str>,
    },
    /// The signature is right, but is in another encoding.
    Encoding {
        /// Its encoding.
        found: TagEncoding,
        /// The encoding that the scheme reads.
        expected: TagEncoding,
    },
    /// The signature is right for another hash function.
    Algorithm {
        /// Its hash function.
        found: Algorithm,
        /// That of the scheme.
        expected: Algorithm,
    },
    /// Another URL was signed.
    Address(AddressChange),
    /// Another body was signed.
    Body(BodyChange),
    /// The signature is right, but too old or in the future.
    Clock {
        /// The signed time.
        signed_at: SystemTime,
        /// The time by which it was judged.
        judged_at: SystemTime,
    },
    /// The signed time is missing or not in the format of the scheme.
    Time {
        /// Whether it looks like milliseconds where seconds are expected, or the other way round.
        is_other_unit: bool,
    },
    /// Another provider signed it.
    Provider {
        /// The name of its preset.
        name: Arc<str>,
        /// Whether a secret of the route matches by the rules of that provider. If not, only its headers are there.
        is_proven: bool,
    },
    /// There is no signature.
    NoSignature {
        /// The header that the scheme reads.
        expected: Box<str>,
    },
    /// The body shows that it was rewritten.
    Rewritten(BodySign),
    /// The body says that it belongs to a test.
    TestMode,
    /// A secret matches, but the request is refused for its form.
    Form(NotAuthentic),
}

/// The distance between two clocks.
fn apart(signed: SystemTime, judged: SystemTime) -> (Duration, bool) {
    match judged.duration_since(signed) {
        Ok(age) => (age, true),
        Err(ahead) => (ahead.duration(), false),
    }
}

/// Returns whether a distance is that of a time zone: whole quarters of an hour, give or take 30 s.
fn is_zone(distance: Duration) -> bool {
    const QUARTER: u64 = 900;
    const SLACK: u64 = 30;
    let seconds = distance.as_secs();
    let beside = seconds % QUARTER;
    (3600 - SLACK..=14 * 3600 + SLACK).contains(&seconds)
        && (beside <= SLACK || beside >= QUARTER - SLACK)
}

impl Cause {
    /// Returns the stable code, for JSON.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Secret { .. } => "secret_text",
            Self::NotYetActive { .. } => "secret_not_yet_active",
            Self::Expired { .. } => "secret_expired",
            Self::OtherRoute { .. } => "secret_of_other_route",
            Self::UnknownAccount => "unknown_account",
            Self::Header { .. } => "other_header",
            Self::Label { .. } => "other_version",
            Self::Encoding { .. } => "other_encoding",
            Self::Algorithm { .. } => "other_algorithm",
            Self::Address(_) => "other_url",
            Self::Body(_) => "other_body",
            Self::Clock { .. } => "clock",
            Self::Time { .. } => "timestamp",
            Self::Provider { .. } => "other_provider",
            Self::NoSignature { .. } => "no_signature",
            Self::Rewritten(_) => "rewritten_body",
            Self::TestMode => "test_mode",
            Self::Form(_) => "form",
        }
    }

    /// Says the cause in one sentence.
    pub fn title(&self) -> String {
        match self {
            Self::Secret { name, changes } => {
                let words: Vec<&str> = changes.iter().map(|change| change.words()).collect();
                format!("Secret {name} is written in another way than the sender uses it: {}.", words.join(", and "))
            }
            Self::NotYetActive { name, from } => {
                format!("It was signed with secret {name}, which is active only from {} on.", rfc3339(*from))
            }
            Self::Expired { name, at } => {
                format!("It was signed with secret {name}, which expired at {}.", rfc3339(*at))
            }
            Self::OtherRoute { route, .. } => {
                format!("It was signed with a secret of another route, {route}.")
            }
            Self::UnknownAccount => "No secret is known for the account that the request names.".to_owned(),
            Self::Header { found: Some(found), expected } => {
                format!("The signature is in the header {found}, and not in {expected}.")
            }
            Self::Header { found: None, expected } => {
                format!("The signature is in the query, and not in the header {expected}.")
            }
            Self::Label { found, expected } if expected.is_empty() => {
                format!("The signature is marked as `{found}`, and this scheme expects none of that.")
            }
            Self::Label { found, expected } => {
                format!("The signature is marked as `{found}`, and not as `{expected}`.")
            }
            Self::Encoding { found, expected } => {
                format!("The signature is written in {}, and not in {}.", found.name(), expected.name())
            }
            Self::Algorithm { found, expected } => {
                format!("It was signed with {}, and not with {}.", found.name(), expected.name())
            }
            Self::Address(change) => format!("Another URL was signed: {}.", change.words()),
            Self::Body(change) => format!("Another body was signed than the one that arrived: {}.", change.words()),
            Self::Clock { signed_at, judged_at } => clock_words(*signed_at, *judged_at),
            Self::Time { is_other_unit: true } => {
                "The signed time is in another unit: milliseconds in place of seconds, or the other way round.".to_owned()
            }
            Self::Time { is_other_unit: false } => {
                "The signed time is missing, or is not written as this scheme expects.".to_owned()
            }
            Self::Provider { name, is_proven: true } => {
                format!("It was signed by the rules of another provider, {name}.")
            }
            Self::Provider { name, is_proven: false } => {
                format!("Its headers are those of another provider, {name}.")
            }
            Self::NoSignature { expected } => format!("It has no signature: there is no header {expected}."),
            Self::Rewritten(sign) => format!("Perhaps something rewrote the body on its way: {}.", sign.words()),
            Self::TestMode => "The body says that it belongs to a test, and tests have a secret of their own.".to_owned(),
            Self::Form(why) => format!("A secret matches, but {why}."),
        }
    }

    /// Says what to do.
    pub fn advice(&self, route: &str) -> String {
        match self {
            Self::Secret { name, changes } => {
                let words: Vec<String> = changes
                    .iter()
                    .map(|change| match change.encoding() {
                        Some(encoding) => format!("write `encoding: {encoding}` beside it"),
                        None => "write its text exactly as the sender uses it".to_owned(),
                    })
                    .collect();
                format!("secret {name} of route {route}: {}", words.join(", and "))
            }
            Self::NotYetActive { name, .. } => {
                format!("write an earlier `not_before` for secret {name} of route {route}, or change the sender's secret later")
            }
            Self::Expired { name, .. } => {
                format!("change the sender's secret, or write a later `expires` for secret {name} of route {route}")
            }
            Self::OtherRoute { route: other, .. } => {
                format!("let the sender use the URL of route {other}, or add its secret to route {route}")
            }
            Self::UnknownAccount => format!("add the account to the secrets of route {route}"),
            Self::Header { .. } | Self::Label { .. } | Self::Encoding { .. } | Self::Algorithm { .. } => {
                format!("set the sender to the scheme of route {route}, or write the scheme that it uses under `verify`")
            }
            Self::Address(AddressChange::Query) => {
                "let the proxy in front pass the query on as it is, in the same order".to_owned()
            }
            Self::Address(_) => format!("write the URL that the sender uses as `public_url` of route {route}"),
            Self::Body(_) | Self::Rewritten(_) => {
                "find what changes bodies in front of hookgate, and let it pass them on unread. If this request was saved by hand, the editor may have changed it".to_owned()
            }
            Self::Clock { .. } => {
                "compare both clocks with NTP. If the request is an old one that somebody sends again, the refusal is right".to_owned()
            }
            Self::Time { .. } => format!("compare `timestamp` under `verify` of route {route} with what the sender writes"),
            Self::Provider { name, .. } => {
                format!("write `provider: {name}` on route {route}, or let the sender use the URL of a route that has it")
            }
            Self::NoSignature { .. } => {
                "enter a secret at the sender, so that it signs. A proxy in front may also drop the header".to_owned()
            }
            Self::TestMode => format!("add the secret of the sender's test mode to route {route}"),
            Self::Form(_) => "see docs/refusals.md".to_owned(),
        }
    }
}

/// Says by how much the clocks differ, and which one may be wrong.
fn clock_words(signed_at: SystemTime, judged_at: SystemTime) -> String {
    let (distance, is_old) = apart(signed_at, judged_at);
    let seconds = distance.as_secs();
    let amount = format!("{seconds} s");
    if is_zone(distance) {
        return format!(
            "The signed time is {amount} {} the clock here, as if it were in another time zone.",
            if is_old { "behind" } else { "ahead of" }
        );
    }
    if is_old {
        format!(
            "It was signed {amount} before it was judged: it is an old request, or one of the two clocks is wrong."
        )
    } else {
        format!(
            "It was signed {amount} in the future: the sender's clock is ahead, or the clock here is behind."
        )
    }
}

impl SecretChange {
    /// Says the change.
    const fn words(self) -> &'static str {
        match self {
            Self::Spaces => "it has spaces or line ends around it",
            Self::Quotes => "it is in quotes",
            Self::Bom => "it begins with a byte order mark",
            Self::LineFeed => "the sender's ends with a line feed or a space",
            Self::AsText => "the sender uses its text as it is, without decoding it",
            Self::AsBase64 => "the sender decodes it from base64",
            Self::AsHex => "the sender decodes it from hexadecimal",
            Self::WithoutPrefix => "the sender uses the text after `whsec_`, without decoding it",
            Self::EncodedBase64 => "the sender uses it in base64",
            Self::EncodedHex => "the sender uses it in hexadecimal",
            Self::Case => "its letters are in the other case",
        }
    }

    /// Returns the encoding of a secret that says the same.
    const fn encoding(self) -> Option<&'static str> {
        match self {
            Self::AsText => Some("utf8"),
            Self::AsBase64 => Some("whsec"),
            Self::AsHex => Some("hex"),
            Self::Spaces
            | Self::Quotes
            | Self::Bom
            | Self::LineFeed
            | Self::WithoutPrefix
            | Self::EncodedBase64
            | Self::EncodedHex
            | Self::Case => None,
        }
    }
}

impl AddressChange {
    const fn words(self) -> &'static str {
        match self {
            Self::Scheme => "`http` and `https` differ",
            Self::Host => "the host differs",
            Self::Port => "the port differs, or is written on one side alone",
            Self::TrailingSlash => "the slash at the end of the path differs",
            Self::PathPrefix => "a proxy changed the beginning of the path",
            Self::Query => "the query differs",
            Self::Escapes => "the path is escaped in another way, or in other case",
        }
    }
}

impl BodyChange {
    const fn words(self) -> &'static str {
        match self {
            Self::Json {
                is_sorted: true, ..
            } => "the keys of the signed JSON are in alphabetical order",
            Self::Json {
                spacing,
                form: TextForm::Same,
                ..
            } => match spacing {
                Spacing::Compact => "the signed JSON has no spaces",
                Spacing::Spaced => "the signed JSON has one space after each comma and colon",
                Spacing::Indented2 | Spacing::Indented4 | Spacing::Tabs => {
                    "the signed JSON is indented"
                }
            },
            Self::Json { .. } => {
                "the strings or numbers of the signed JSON are written in another way"
            }
            Self::WithoutEnd => "the signed one has no line end behind it",
            Self::WithLineFeed => "the signed one ends with a line feed",
            Self::WithCrLf => "the signed one ends with CR LF",
            Self::LfLines => "the lines of the signed one end with LF alone",
            Self::CrLfLines => "the lines of the signed one end with CR LF",
            Self::WithoutBom => "the signed one has no byte order mark",
            Self::Decompressed => "the signed one is not compressed",
            Self::FormPayload => "the signed one is the JSON inside the form's `payload`",
            Self::FormEscapes => "the parameters of the signed form are escaped in another way",
            Self::FormAsJson => "the signed one is JSON, and a form arrived",
            Self::JsonAsForm => "the signed one is a form, and JSON arrived",
            Self::Latin1 => "the signed one is in Latin-1, and UTF-8 arrived",
            Self::Empty => "the signed one is empty",
        }
    }
}

impl BodySign {
    const fn words(self) -> &'static str {
        match self {
            Self::NotCompressed => "its headers say that it is compressed, and it is not",
            Self::FormUnderJson => "its headers say JSON, and it is a form",
            Self::JsonUnderForm => "its headers say that it is a form, and it is JSON",
            Self::NoJson => "this scheme reads JSON, and the body is none",
            Self::SortedKeys => {
                "the keys of its JSON are in alphabetical order, which few senders write"
            }
            Self::Empty => "it is empty",
        }
    }
}
