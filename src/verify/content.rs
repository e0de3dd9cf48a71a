//! Signed content: a template compiled once, fed to the MAC part by part without building the string.
use std::borrow::Cow;
use std::fmt;

use http::HeaderName;

use super::authentic::NotAuthentic;
use super::locator::{Locator, strict_header};
use super::timestamp::Format;
use super::{json, url};
use crate::request::RequestHead;

/// One part of signed content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Fixed bytes.
    Literal(Box<[u8]>),
    /// The body as received.
    Body,
    /// The signed time as written.
    Timestamp,
    /// The delivery ID.
    Id,
    /// The method.
    Method,
    /// The whole URL.
    Url,
    /// The path, raw.
    Path,
    /// The query, raw; nothing without one.
    Query,
    /// A header.
    Header(HeaderName),
    /// A scalar of the body, by JSON pointer.
    Json(Box<str>),
}

/// The names in a template, as people write them.
pub const PLACEHOLDERS: [&str; 9] = [
    "body",
    "timestamp",
    "id",
    "method",
    "url",
    "path",
    "query",
    "header:NAME",
    "json:/pointer",
];

/// The reason why a template cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadTemplate {
    /// An unknown name in braces.
    Unknown(Box<str>),
    /// Any other fault.
    Wrong {
        /// The fault.
        message: String,
        /// The text to write instead.
        help: String,
    },
}

impl BadTemplate {
    fn wrong(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Wrong {
            message: message.into(),
            help: help.into(),
        }
    }
}

/// Compiled signed content.
#[derive(Clone, Debug)]
pub struct Template {
    parts: Box<[Part]>,
    /// The index of `{body}`, if the MAC can stream: the body occurs once, and all parts before it are in the head.
    body_at: Option<usize>,
}

/// The border between two variable parts, with the literal between them.
struct Border<'t> {
    left: &'t Part,
    literal: &'t [u8],
    right: &'t Part,
    /// Whether no byte can move from one part to the other.
    is_certain: bool,
}

/// The values that the parts are read from.
#[derive(Clone, Copy)]
pub(super) struct RequestView<'r> {
    pub(super) head: &'r RequestHead,
    pub(super) body: &'r [u8],
    pub(super) time: &'r [u8],
    pub(super) id: Option<&'r Locator>,
    pub(super) public_url: Option<&'r str>,
}

/// A range of the parts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Span {
    All,
    BeforeBody,
    AfterBody,
}

impl Template {
    /// Reads a template: literals, `\n` and `\\`, `{{` and `}}` for braces, and the names of [`PLACEHOLDERS`] in braces.
    ///
    /// # Errors
    /// The fault, and the text to write instead.
    pub fn parse(text: &str) -> Result<Self, BadTemplate> {
        let mut parts = Vec::new();
        let mut literal = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let tail = rest.get(first.len_utf8()..).unwrap_or_default();
            rest = match first {
                '{' if tail.starts_with('{') => take(&mut literal, b'{', tail),
                '}' if tail.starts_with('}') => take(&mut literal, b'}', tail),
                '\\' if tail.starts_with('n') => take(&mut literal, b'\n', tail),
                '\\' if tail.starts_with('\\') => take(&mut literal, b'\\', tail),
                '\\' => {
                    return Err(BadTemplate::wrong(
                        "a backslash does not begin a known escape here",
                        "write `\\n` for a line feed, `\\\\` for a backslash",
                    ));
                }
                '}' => {
                    return Err(BadTemplate::wrong(
                        "there is a `}` without `{`",
                        "write `}}` for a brace of the content itself",
                    ));
                }
                '{' => {
                    let Some((name, after)) = tail.split_once('}') else {
                        return Err(BadTemplate::wrong(
                            "there is a `{` without `}`",
                            "write `{{` for a brace of the content itself",
                        ));
                    };
                    if !literal.is_empty() {
                        parts.push(Part::Literal(std::mem::take(&mut literal).into()));
                    }
                    parts.push(placeholder(name)?);
                    after
                }
                other => {
                    literal.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes());
                    tail
                }
            };
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.into()));
        }
        if parts.iter().all(|part| matches!(part, Part::Literal(_))) {
            return Err(BadTemplate::wrong(
                "the signed content is the same for every request",
                "write what the provider signs, such as `{body}`",
            ));
        }
        Ok(Self {
            parts: parts.into(),
            body_at: None,
        })
    }

    /// Finds out whether the MAC can stream, given the places of time and ID.
    pub(super) fn settle(&mut self, time_in_body: bool, id_in_body: bool) {
        let in_body = |part: &Part| match part {
            Part::Json(_) => true,
            Part::Timestamp => time_in_body,
            Part::Id => id_in_body,
            Part::Literal(_)
            | Part::Body
            | Part::Method
            | Part::Url
            | Part::Path
            | Part::Query
            | Part::Header(_) => false,
        };
        let at = self.parts.iter().position(|part| *part == Part::Body);
        let once = self
            .parts
            .iter()
            .filter(|part| **part == Part::Body)
            .count()
            == 1;
        self.body_at = at.filter(|at| once && !self.parts.iter().take(*at).any(in_body));
    }

    /// Returns the parts in order.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Returns whether the MAC can take the body while it arrives.
    pub(super) fn streams(&self) -> bool {
        self.body_at.is_some()
    }

    /// Returns the first two variable parts between which bytes can move without changing the signed content.
    pub fn ambiguous_border(&self, time: Format) -> Option<(&Part, &Part)> {
        self.borders(time)
            .into_iter()
            .find(|border| !border.is_certain)
            .map(|border| (border.left, border.right))
    }

    /// Returns whether one of the parts for which `is_wanted` holds has the same value in every reading of the signed content.
    pub(super) fn fixes(&self, time: Format, is_wanted: impl Fn(&Part) -> bool) -> bool {
        let borders = self.borders(time);
        let is_free = |part: &Part| {
            borders.iter().any(|border| {
                !border.is_certain
                    && (std::ptr::eq(border.left, part) || std::ptr::eq(border.right, part))
            })
        };
        self.parts
            .iter()
            .any(|part| is_wanted(part) && !is_free(part))
    }

    /// Returns the borders between neighbouring variable parts.
    ///
    /// Read from the left, a border is certain if the literal there holds a byte that the part before it cannot hold and all borders
    /// before it are certain; read from the right, the other way round.
    fn borders(&self, time: Format) -> Vec<Border<'_>> {
        let mut borders = Vec::new();
        let mut last: Option<&Part> = None;
        let mut literal: &[u8] = &[];
        for part in &self.parts {
            if let Part::Literal(bytes) = part {
                literal = bytes;
                continue;
            }
            if let Some(left) = last {
                borders.push(Border {
                    left,
                    literal,
                    right: part,
                    is_certain: false,
                });
            }
            (last, literal) = (Some(part), &[]);
        }
        let ends =
            |part: &Part, literal: &[u8]| literal.iter().any(|byte| !part.may_hold(*byte, time));
        let from_left = borders
            .iter()
            .take_while(|border| ends(border.left, border.literal))
            .count();
        let from_right = borders
            .iter()
            .rev()
            .take_while(|border| ends(border.right, border.literal))
            .count();
        let first_from_right = borders.len() - from_right;
        for (index, border) in borders.iter_mut().enumerate() {
            border.is_certain = index < from_left || index >= first_from_right;
        }
        borders
    }

    /// Feeds parts to `sink`, each checked against its grammar first.
    pub(super) fn feed(
        &self,
        span: Span,
        view: &RequestView<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<(), NotAuthentic> {
        let at = self.body_at.unwrap_or(self.parts.len());
        let parts = match span {
            Span::All => self.parts.get(..),
            Span::BeforeBody => self.parts.get(..at),
            Span::AfterBody => self.parts.get(at.saturating_add(1)..),
        };
        parts
            .unwrap_or_default()
            .iter()
            .try_for_each(|part| part.feed(view, sink))
    }
}

fn take<'t>(literal: &mut Vec<u8>, byte: u8, tail: &'t str) -> &'t str {
    literal.push(byte);
    tail.get(1..).unwrap_or_default()
}

fn placeholder(name: &str) -> Result<Part, BadTemplate> {
    Ok(match name {
        "body" => Part::Body,
        "timestamp" => Part::Timestamp,
        "id" => Part::Id,
        "method" => Part::Method,
        "url" => Part::Url,
        "path" => Part::Path,
        "query" => Part::Query,
        _ => {
            if let Some(header) = name.strip_prefix("header:") {
                let wrong = |_| {
                    BadTemplate::wrong(
                        format!("`{header}` is not a header name"),
                        "write `{header:X-Name}`",
                    )
                };
                Part::Header(header.parse().map_err(wrong)?)
            } else if let Some(pointer) = name.strip_prefix("json:") {
                json::check_pointer(pointer).map_err(|why| {
                    BadTemplate::wrong(
                        format!("`{pointer}` is not a JSON pointer"),
                        why.to_string(),
                    )
                })?;
                Part::Json(pointer.into())
            } else {
                return Err(BadTemplate::Unknown(name.into()));
            }
        }
    })
}

impl Part {
    /// Returns whether a value of this part, as [`Part::feed`] lets it through, can hold `byte`.
    fn may_hold(&self, byte: u8, time: Format) -> bool {
        match self {
            Self::Timestamp => time.may_hold(byte),
            Self::Id => byte.is_ascii_graphic(),
            Self::Header(_) => byte.is_ascii_graphic() || byte == b' ',
            Self::Method => byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte),
            Self::Path => url::in_target(byte) && byte != b'?',
            Self::Query | Self::Url => url::in_target(byte),
            Self::Body | Self::Json(_) | Self::Literal(_) => true,
        }
    }

    fn feed(
        &self,
        view: &RequestView<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<(), NotAuthentic> {
        let malformed = NotAuthentic::SignatureMalformed;
        match self {
            Self::Literal(bytes) => sink(bytes),
            Self::Body => sink(view.body),
            Self::Timestamp => sink(view.time),
            Self::Id => sink(&view.id.ok_or(malformed)?.strict(view.head, view.body)?),
            Self::Method => sink(view.head.method.as_str().as_bytes()),
            Self::Url => url::feed(view.head, view.public_url, sink)?,
            Self::Path => sink(url::checked(view.head.path())?),
            Self::Query => sink(url::checked(view.head.query().unwrap_or_default())?),
            Self::Header(name) => sink(strict_header(view.head, name)?),
            Self::Json(pointer) => {
                let found: Option<Cow<'_, str>> =
                    json::find(view.body, pointer).map_err(|_| malformed)?;
                sink(found.ok_or(NotAuthentic::SignatureMissing)?.as_bytes());
            }
        }
        Ok(())
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(bytes) => f.write_str(&String::from_utf8_lossy(bytes)),
            Self::Body => f.write_str("{body}"),
            Self::Timestamp => f.write_str("{timestamp}"),
            Self::Id => f.write_str("{id}"),
            Self::Method => f.write_str("{method}"),
            Self::Url => f.write_str("{url}"),
            Self::Path => f.write_str("{path}"),
            Self::Query => f.write_str("{query}"),
            Self::Header(name) => write!(f, "{{header:{name}}}"),
            Self::Json(pointer) => write!(f, "{{json:{pointer}}}"),
        }
    }
}

#[cfg(test)]
mod tests;
