//! Tokens of handshakes: their grammar, and what keeps them apart from signed content.
use crate::verify::content::{Part, Template};

/// The longest token, in bytes.
const MAX_TOKEN_BYTES: usize = 128;
/// The characters that no token may hold, whatever a preset says: with them a token could become markup or signed JSON.
const FORBIDDEN: &[u8] = b"<>&\"'`\\{}[]";

/// The grammar of a token: `[A-Za-z0-9_-]{1,128}`, and the characters that a preset adds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenGrammar(Box<[u8]>);

/// The error for a character that no token may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a token holds visible ASCII and spaces, but no < > & quotes, backslashes, braces or brackets"
)]
pub struct ForbiddenCharacter;

/// The way in which the tokens of a handshake are kept apart from signed content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Separation {
    /// All signed content holds a literal that no token holds.
    ByLiteral,
    /// A body that could be a token is not authentic ([`Verifier::apart_from`]).
    ///
    /// [`Verifier::apart_from`]: crate::verify::Verifier::apart_from
    ByBody,
}

impl TokenGrammar {
    /// Makes a grammar with these additional characters.
    ///
    /// # Errors
    /// One of them may not be in a token.
    pub fn with_extra(characters: &str) -> Result<Self, ForbiddenCharacter> {
        let fits = characters
            .bytes()
            .all(|byte| matches!(byte, b' '..=b'~') && !FORBIDDEN.contains(&byte));
        if fits {
            Ok(Self(characters.as_bytes().into()))
        } else {
            Err(ForbiddenCharacter)
        }
    }

    /// Returns whether `text` is a token.
    pub fn is_token(&self, text: &str) -> bool {
        (1..=MAX_TOKEN_BYTES).contains(&text.len()) && self.could_be(text.as_bytes())
    }

    /// Returns whether all `bytes` may be in a token.
    pub(in crate::verify) fn could_be(&self, bytes: &[u8]) -> bool {
        bytes.iter().all(|byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') || self.0.contains(byte)
        })
    }

    /// Returns how tokens are kept apart from content of this template; `None` if a token could be the signed content of a request.
    pub fn apart(&self, content: &Template) -> Option<Separation> {
        let is_apart = |part: &Part| matches!(part, Part::Literal(text) if !self.could_be(text));
        if content.parts().iter().any(is_apart) {
            Some(Separation::ByLiteral)
        } else if content.parts().contains(&Part::Body) {
            Some(Separation::ByBody)
        } else {
            None
        }
    }
}
