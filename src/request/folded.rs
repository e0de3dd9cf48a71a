//! Header names as CGI-like apps read them.
use std::fmt;

use http::HeaderName;

/// A header name of which only letters and digits count: lower-cased, a leading `http` removed.
///
/// CGI, WSGI and their like upper-case a name, turn `-` into `_` and put `HTTP_` in front, so `X-Real-IP` and `X_Real_Ip` are one
/// variable to them.
#[derive(Clone, Copy, Debug)]
pub struct Folded {
    bytes: [u8; Self::MAX],
    len: usize,
}

impl Folded {
    /// The length up to which folded names are compared, in bytes. Longer ones with the same beginning are equal.
    const MAX: usize = 48;

    /// Folds a name.
    pub fn new(name: &str) -> Self {
        let mut folded = Self {
            bytes: [0; Self::MAX],
            len: 0,
        };
        for byte in name.bytes() {
            let letter = letter(byte);
            if letter == 0 {
                continue;
            }
            let Some(slot) = folded.bytes.get_mut(folded.len) else {
                break;
            };
            *slot = letter;
            folded.len += 1;
            if folded.len == HTTP.len() && folded.bytes.starts_with(HTTP) {
                folded.len = 0;
            }
        }
        folded
    }

    /// Returns the letters and digits.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// Returns whether `name`, of any length, folds to something that ends with `suffix`, which is folded already.
    pub fn ends_with(name: &str, suffix: &[u8]) -> bool {
        let mut folded = name
            .bytes()
            .rev()
            .filter(u8::is_ascii_alphanumeric)
            .map(|byte| byte.to_ascii_lowercase());
        suffix
            .iter()
            .rev()
            .all(|expected| folded.next() == Some(*expected))
    }
}

impl PartialEq for Folded {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Folded {}

/// Header names, each with its folded form: they are folded once, when the config is compiled.
#[derive(Clone, Default)]
pub struct FoldedNames(Vec<(HeaderName, Folded)>);

impl FoldedNames {
    /// No names.
    pub const NONE: Self = Self(Vec::new());

    /// Returns whether a name, in lower case, is one of them.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known.as_str() == name)
    }

    /// Returns whether one of them folds to this.
    pub fn folds_to(&self, folded: &Folded) -> bool {
        self.0.iter().any(|(_, known)| known == folded)
    }

    /// Returns the names.
    pub fn iter(&self) -> impl Iterator<Item = &HeaderName> {
        self.0.iter().map(|(name, _)| name)
    }
}

impl fmt::Debug for FoldedNames {
    /// Writes the names alone. The identity of a route's policy in the ledger is made of this text, and outlives a release.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl FromIterator<HeaderName> for FoldedNames {
    fn from_iter<I: IntoIterator<Item = HeaderName>>(names: I) -> Self {
        let fold = |name: HeaderName| {
            let folded = Folded::new(name.as_str());
            (name, folded)
        };
        Self(names.into_iter().map(fold).collect())
    }
}

/// The beginning that apps put in front of a name.
const HTTP: &[u8] = b"http";

/// Each letter in lower case and each digit; 0 for all other bytes.
#[allow(
    clippy::indexing_slicing,
    reason = "computed by the compiler, which checks it"
)]
const LETTERS: [u8; 256] = {
    let mut letters = [0; 256];
    let mut byte = 0_u8;
    while byte.is_ascii() {
        if byte.is_ascii_alphanumeric() {
            letters[byte as usize] = byte.to_ascii_lowercase();
        }
        byte += 1;
    }
    letters
};

fn letter(byte: u8) -> u8 {
    LETTERS.get(usize::from(byte)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The rule as it is defined, without the table.
    fn by_definition(name: &str) -> Vec<u8> {
        let mut folded = Vec::new();
        for byte in name.bytes().filter(u8::is_ascii_alphanumeric) {
            if folded.len() == Folded::MAX {
                break;
            }
            folded.push(byte.to_ascii_lowercase());
            if folded == b"http" {
                folded.clear();
            }
        }
        folded
    }

    proptest! {
        #[test]
        fn names_fold_by_the_definition(name in "([hH][tT]{2}[pP]|[a-cA-C0-2_.-]|[ -~]|é){0,70}") {
            let folded = Folded::new(&name);
            prop_assert_eq!(folded.as_bytes(), by_definition(&name));
        }
    }

    /// Else an update would begin every ledger of a route with late retries anew.
    #[test]
    fn debug_text_is_that_of_the_names() {
        let names = [http::header::HOST, http::header::COOKIE];
        let folded: FoldedNames = names.iter().cloned().collect();
        assert_eq!(format!("{folded:?}"), format!("{names:?}"));
    }

    #[test]
    fn names_fold_as_in_cgi() {
        for (name, folded) in [
            ("X-Real-IP", "xrealip"),
            ("x_real.ip", "xrealip"),
            ("HTTP_X_REAL_IP", "xrealip"),
            ("http-http-x", "x"),
            ("Http", ""),
            ("X-Http", "xhttp"),
        ] {
            assert_eq!(Folded::new(name).as_bytes(), folded.as_bytes(), "{name}");
        }
        let long = format!("X-{}-Client_IP", "a".repeat(200));
        assert!(Folded::ends_with(&long, b"clientip") && !Folded::ends_with("ip", b"clientip"));
        assert_eq!(Folded::new(&long).as_bytes().len(), Folded::MAX);
    }
}
