//! A path, decoded and split as finely as any reader could.
use unicode_normalization::UnicodeNormalization as _;

/// How often a path is decoded, at most.
const MOST_ROUNDS: usize = 8;
/// Pieces of a path, at most.
const MOST_PIECES: usize = 512;
/// Letters and digits of an extension, at most.
const LONGEST_EXTENSION: usize = 5;

/// What stands before a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Separator {
    /// `/` as it came, or the begin: everybody splits there.
    Slash,
    /// `/` that came encoded, or `\`: some do.
    MaybeSlash,
    /// `;`
    Parameter,
    /// `?` or `#`, which came encoded.
    Cut,
}

/// What a piece may be to a reader, beside a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing else.
    Name,
    /// Nothing at all.
    Empty,
    /// `.`
    Here,
    /// `..`
    Up,
    /// Dots and blanks in another number, or an extension of nothing: some systems drop them.
    Dots,
    /// What a directory answers with, such as `index.php`.
    Index,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) separator: Separator,
    pub(super) kind: Kind,
    /// Lower case, without blanks around it and dots at its end.
    pub(super) text: String,
    /// The text without extensions.
    pub(super) stem: String,
    /// Whether it has an extension: a script gets what follows it as an argument.
    pub(super) is_script: bool,
}

/// The pieces of a raw path. `None`: it decodes to control bytes or to what is no UTF-8, or has no end.
pub(super) fn pieces(path: &[u8]) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    for segment in path
        .strip_prefix(b"/")
        .unwrap_or(path)
        .split(|byte| *byte == b'/')
    {
        let decoded = decoded(segment)?;
        if decoded.chars().any(char::is_control) {
            return None;
        }
        split(&decoded, &mut pieces);
        if pieces.len() > MOST_PIECES {
            return None;
        }
    }
    Some(pieces)
}

/// The pieces of the path that a pattern is made of.
pub(super) fn of_pattern(path: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for segment in path.strip_prefix('/').unwrap_or(path).split('/') {
        split(
            &decoded(segment.as_bytes()).unwrap_or_else(|| segment.to_owned()),
            &mut pieces,
        );
    }
    pieces
}

/// Decoded until nothing changes any more.
fn decoded(path: &[u8]) -> Option<String> {
    let mut text = path.to_vec();
    for _ in 0..MOST_ROUNDS {
        let once = decode(&text);
        let folded = match std::str::from_utf8(&once) {
            Ok(readable) if !readable.is_ascii() => {
                readable.nfkc().collect::<String>().into_bytes()
            }
            Ok(_) | Err(_) => once,
        };
        if folded == text {
            return String::from_utf8(text).ok();
        }
        text = folded;
    }
    None
}

/// Decodes `%2f` and `%u002f` once.
fn decode(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        if *first == b'%' {
            if let Some((octet, after)) = hexadecimal(after, 2) {
                decoded.extend(u8::try_from(octet));
                rest = after;
                continue;
            }
            let wide = after
                .strip_prefix(b"u")
                .or_else(|| after.strip_prefix(b"U"))
                .and_then(|after| hexadecimal(after, 4));
            if let Some((letter, after)) =
                wide.and_then(|(code, after)| Some((char::from_u32(code)?, after)))
            {
                decoded.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                rest = after;
                continue;
            }
        }
        decoded.push(*first);
        rest = after;
    }
    decoded
}

fn hexadecimal(text: &[u8], digits: usize) -> Option<(u32, &[u8])> {
    let (number, after) = text.split_at_checked(digits)?;
    let number = std::str::from_utf8(number)
        .ok()
        .filter(|number| number.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    Some((u32::from_str_radix(number, 16).ok()?, after))
}

/// Takes a segment apart.
fn split(segment: &str, pieces: &mut Vec<Piece>) {
    let mut separator = Separator::Slash;
    let mut rest = segment;
    loop {
        let end = rest.find(|letter| is_slash(letter) || matches!(letter, ';' | '?' | '#'));
        let (text, after) = end
            .and_then(|end| rest.split_at_checked(end))
            .unwrap_or((rest, ""));
        pieces.push(piece(separator, text));
        let mut letters = after.chars();
        separator = match letters.next() {
            None => return,
            Some(';') => Separator::Parameter,
            Some('?' | '#') => Separator::Cut,
            Some(_) => Separator::MaybeSlash,
        };
        rest = letters.as_str();
    }
}

/// The last two are what some systems make a slash of when they have no such letter.
fn is_slash(letter: char) -> bool {
    matches!(letter, '/' | '\\' | '\u{2215}' | '\u{2044}')
}

fn piece(separator: Separator, raw: &str) -> Piece {
    let is_blank = |letter: char| letter == '+' || letter.is_whitespace();
    // a stream of a file on Windows is the file
    let file = raw.split("::$").next().unwrap_or(raw);
    let is_end = |letter: char| letter == '.' || is_blank(letter);
    let text = file.trim_start_matches(is_blank).trim_end_matches(is_end);
    let text = if text.is_ascii() {
        text.to_ascii_lowercase()
    } else {
        text.to_uppercase().to_lowercase()
    };
    let stem = stem(&text);
    let kind = match raw {
        "" => Kind::Empty,
        "." => Kind::Here,
        ".." => Kind::Up,
        _ if stem.trim_matches(is_end).is_empty() => Kind::Dots,
        _ if stem == "index" || stem == "default" => Kind::Index,
        _ => Kind::Name,
    };
    let is_script = stem.len() < text.len();
    Piece {
        separator,
        kind,
        stem: stem.to_owned(),
        text,
        is_script,
    }
}

/// The text without `.json` and its like: extensions that begin with a letter. Of `.json` itself nothing is left.
fn stem(text: &str) -> &str {
    let mut stem = text;
    while let Some((before, extension)) = stem.rsplit_once('.') {
        if !is_extension(extension) {
            break;
        }
        stem = before.trim_end_matches(['.', ' ']);
    }
    stem
}

fn is_extension(text: &str) -> bool {
    (1..=LONGEST_EXTENSION).contains(&text.len())
        && text.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}
