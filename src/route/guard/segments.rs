//! A path, decoded and split as finely as any reader could.
use unicode_normalization::UnicodeNormalization as _;

/// The most times that a path is decoded.
const MAX_DECODINGS: usize = 8;
/// The most segments of a path.
const MAX_SEGMENTS: usize = 512;
/// The most letters and digits of an extension.
const MAX_EXTENSION_BYTES: usize = 5;

/// The separator before a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Separator {
    /// `/` as received, or the beginning of the path: every reader splits there.
    Slash,
    /// An encoded `/`, or `\`: some readers split there.
    MaybeSlash,
    /// `;`
    Parameter,
    /// An encoded `?` or `#`.
    Cut,
}

/// The meaning that a segment may have for a reader, beside a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// No other meaning.
    Name,
    /// No text.
    Empty,
    /// `.`
    Current,
    /// `..`
    Parent,
    /// Other dots and blanks, or an extension without a name: some systems drop them.
    Dots,
    /// The index file of a directory, such as `index.php`.
    Index,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) separator: Separator,
    pub(super) kind: Kind,
    /// Lower case, without blanks around it and dots at its end.
    pub(super) text: String,
    /// The text without extensions.
    pub(super) stem: String,
    /// Whether it has an extension: a script gets the rest of the path as an argument.
    pub(super) is_script: bool,
}

/// Splits a raw path. Returns `None` if it decodes to control bytes or to invalid UTF-8, or if it has too many segments or encodings.
pub(super) fn segments(path: &[u8]) -> Option<Vec<Segment>> {
    let mut segments = Vec::new();
    for text in path
        .strip_prefix(b"/")
        .unwrap_or(path)
        .split(|byte| *byte == b'/')
    {
        let decoded = decoded(text)?;
        if decoded.chars().any(char::is_control) {
            return None;
        }
        split(&decoded, &mut segments);
        if segments.len() > MAX_SEGMENTS {
            return None;
        }
    }
    Some(segments)
}

/// Splits the path of a pattern.
pub(super) fn pattern_segments(path: &str) -> Vec<Segment> {
    let mut segments = Vec::new();
    for text in path.strip_prefix('/').unwrap_or(path).split('/') {
        split(
            &decoded(text.as_bytes()).unwrap_or_else(|| text.to_owned()),
            &mut segments,
        );
    }
    segments
}

/// Decodes until nothing changes any more; `None` if that takes too many rounds, or ends in invalid UTF-8.
fn decoded(path: &[u8]) -> Option<String> {
    let mut text = path.to_vec();
    for _ in 0..MAX_DECODINGS {
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

/// Splits the text between two `/` at all other separators.
fn split(text: &str, segments: &mut Vec<Segment>) {
    let mut separator = Separator::Slash;
    let mut rest = text;
    loop {
        let end = rest.find(|letter| is_slash(letter) || matches!(letter, ';' | '?' | '#'));
        let (text, after) = end
            .and_then(|end| rest.split_at_checked(end))
            .unwrap_or((rest, ""));
        segments.push(segment(separator, text));
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

/// Returns whether a letter may count as a slash. Some systems replace the last two by one.
fn is_slash(letter: char) -> bool {
    matches!(letter, '/' | '\\' | '\u{2215}' | '\u{2044}')
}

fn segment(separator: Separator, raw: &str) -> Segment {
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
        "." => Kind::Current,
        ".." => Kind::Parent,
        _ if stem.trim_matches(is_end).is_empty() => Kind::Dots,
        _ if stem == "index" || stem == "default" => Kind::Index,
        _ => Kind::Name,
    };
    let is_script = stem.len() < text.len();
    Segment {
        separator,
        kind,
        stem: stem.to_owned(),
        text,
        is_script,
    }
}

/// Returns the text without extensions that begin with a letter, such as `.json`. The stem of `.json` itself is empty.
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
    (1..=MAX_EXTENSION_BYTES).contains(&text.len())
        && text.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}
