//! Header names as CGI-like apps read them.

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
        for byte in name.bytes().filter(u8::is_ascii_alphanumeric) {
            let Some(slot) = folded.bytes.get_mut(folded.len) else {
                break;
            };
            *slot = byte.to_ascii_lowercase();
            folded.len += 1;
            if folded.as_bytes() == b"http" {
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
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Folded {}

#[cfg(test)]
mod tests {
    use super::*;

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
