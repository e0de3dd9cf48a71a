//! The response to a handshake.
use bytes::Bytes;
use http::{HeaderName, HeaderValue};

/// A text of a response, with `{token}` and `{mac}` in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextTemplate(Vec<TextPart>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum TextPart {
    Literal(Box<str>),
    Token,
    Mac,
}

/// The fault of a text template, with the text to write instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTextTemplate {
    /// A brace is not closed.
    #[error("close the brace")]
    Unclosed,
    /// A name in braces is unknown, or a brace is not opened.
    #[error("write `{{token}}` or `{{mac}}`, and no other braces")]
    UnknownName,
}

impl TextTemplate {
    /// Parses a text.
    ///
    /// # Errors
    /// The fault of the text.
    pub fn parse(text: &str) -> Result<Self, BadTextTemplate> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((literal, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or(BadTextTemplate::Unclosed)?;
            if literal.contains('}') {
                return Err(BadTextTemplate::UnknownName);
            }
            if !literal.is_empty() {
                parts.push(TextPart::Literal(literal.into()));
            }
            parts.push(match name {
                "token" => TextPart::Token,
                "mac" => TextPart::Mac,
                _ => return Err(BadTextTemplate::UnknownName),
            });
            rest = after;
        }
        if rest.contains('}') {
            return Err(BadTextTemplate::UnknownName);
        }
        if !rest.is_empty() {
            parts.push(TextPart::Literal(rest.into()));
        }
        Ok(Self(parts))
    }

    /// Returns whether the token itself is in the text.
    pub fn has_token(&self) -> bool {
        self.0.contains(&TextPart::Token)
    }

    /// Returns whether a MAC of the token is in the text.
    pub fn has_mac(&self) -> bool {
        self.0.contains(&TextPart::Mac)
    }

    /// Fills in the token and its MAC.
    pub(super) fn fill(&self, token: &str, mac: &str) -> String {
        let part = |part: &TextPart| match part {
            TextPart::Literal(text) => text.to_string(),
            TextPart::Token => token.to_owned(),
            TextPart::Mac => mac.to_owned(),
        };
        self.0.iter().map(part).collect()
    }
}

/// The body of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResponseBody {
    /// No body.
    Empty,
    /// Plain text.
    Text(TextTemplate),
    /// A JSON object of texts.
    Json(Vec<(Box<str>, TextTemplate)>),
}

impl ResponseBody {
    /// Returns all texts of the body.
    pub fn texts(&self) -> impl Iterator<Item = &TextTemplate> {
        let (text, fields) = match self {
            Self::Empty => (None, [].as_slice()),
            Self::Text(text) => (Some(text), [].as_slice()),
            Self::Json(fields) => (None, fields.as_slice()),
        };
        text.into_iter().chain(fields.iter().map(|(_, text)| text))
    }

    /// Fills in the token and its MAC. Returns the content type, if there is a body, and the body.
    pub(super) fn fill(&self, token: &str, mac: &str) -> (Option<&'static str>, String) {
        match self {
            Self::Empty => (None, String::new()),
            Self::Text(text) => (Some("text/plain; charset=utf-8"), text.fill(token, mac)),
            Self::Json(fields) => {
                let object = fields
                    .iter()
                    .map(|(key, text)| (key.to_string(), text.fill(token, mac).into()));
                let json = serde_json::Value::Object(object.collect());
                (Some("application/json"), json.to_string())
            }
        }
    }
}

/// A complete response with status 200.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandshakeResponse {
    /// The type of its body, if it has one. Sent with `X-Content-Type-Options: nosniff`.
    pub content_type: Option<&'static str>,
    /// More headers.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: Bytes,
}
