//! A request as people capture it: raw HTTP, an entry of a HAR file, or a curl command.
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::HOST;
use http::{HeaderName, HeaderValue, Method};
use serde::Deserialize;

use crate::cli::context;
use crate::cli::error::Error;
use crate::cli::message::{Fault, Message, SentTo};
use crate::request::HeaderLines;

/// A HAR file, an entry of one, or its request alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum Har {
    File { log: Log },
    Entry { request: HarRequest },
    Request(HarRequest),
}

#[derive(Deserialize)]
struct Log {
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    request: HarRequest,
}

/// A request by HAR 1.2: <http://www.softwareishard.com/blog/har-12-spec/#request>.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HarRequest {
    method: String,
    url: String,
    headers: Vec<HarHeader>,
    post_data: Option<PostData>,
}

#[derive(Deserialize)]
struct HarHeader {
    name: String,
    value: String,
}

#[derive(Deserialize)]
struct PostData {
    #[serde(default)]
    text: String,
    /// The fields of a form, which some programs write in place of the text.
    #[serde(default)]
    params: Vec<serde::de::IgnoredAny>,
    /// `base64` for a body that is not text; some programs write it although the format does not have it.
    encoding: Option<String>,
}

/// Reads a request, and the URL that it was sent to where the capture has one.
pub(super) fn read(bytes: &[u8]) -> Result<(Message, Option<SentTo>), Error> {
    let start = bytes.trim_ascii_start();
    if start.starts_with(b"{") {
        return har(start);
    }
    if start.starts_with(b"curl ") {
        return curl(&String::from_utf8_lossy(start));
    }
    match Message::parse(bytes) {
        Ok(message) => Ok((message, None)),
        Err(Fault::Unreadable(why) | Fault::Malformed(why)) => {
            Err(Error::usage("the request cannot be read").why(why))
        }
    }
}

fn har(bytes: &[u8]) -> Result<(Message, Option<SentTo>), Error> {
    let unreadable = |why: &str| Error::usage("the HAR file cannot be read").why(why);
    let har: Har = serde_json::from_slice(bytes)
        .map_err(|_| unreadable("it has no `request` with `method`, `url` and `headers`"))?;
    let request = match har {
        Har::Entry { request } | Har::Request(request) => request,
        Har::File { log } => {
            let mut entries = log.entries.into_iter();
            match (entries.next(), entries.next()) {
                (Some(entry), None) => entry.request,
                (None, _) => return Err(unreadable("it has no entry")),
                (Some(_), Some(_)) => {
                    return Err(unreadable(
                        "it has several entries: keep the one to explain, for example with jq '.log.entries[0]'",
                    ));
                }
            }
        }
    };
    let body = match request.post_data {
        None => Bytes::new(),
        Some(data) if data.text.is_empty() && !data.params.is_empty() => {
            return Err(unreadable(
                "`postData` has `params` and no `text`, so the bytes of the body are lost: capture the request as raw HTTP",
            ));
        }
        Some(data) if data.encoding.as_deref() == Some("base64") => STANDARD
            .decode(data.text)
            .map_err(|_| unreadable("the text of `postData` is not base64"))?
            .into(),
        Some(data) => data.text.into_bytes().into(),
    };
    let headers = request
        .headers
        .iter()
        .map(|header| (header.name.as_str(), header.value.as_str()));
    build(&request.method, &request.url, headers, body)
}

/// Reads a curl command as the shell and curl would.
fn curl(text: &str) -> Result<(Message, Option<SentTo>), Error> {
    let words = words(text)?;
    let mut words = words.iter().skip(1);
    let (mut method, mut url) = (None, None);
    let mut headers: Vec<(String, String)> = Vec::new();
    let mut data: Vec<Vec<u8>> = Vec::new();
    while let Some(word) = words.next() {
        let (option, joined) = split_option(word);
        let mut value = || {
            joined
                .clone()
                .or_else(|| words.next().cloned())
                .ok_or_else(|| Error::usage(format!("{option} of the curl command has no value")))
        };
        match option {
            "-X" | "--request" => method = Some(value()?),
            "-H" | "--header" => {
                let value = value()?;
                if value.starts_with('@') {
                    let error = Error::usage("the curl command reads headers from a file");
                    return Err(error.hint("write each header after `-H`"));
                }
                headers.extend(header(&value));
            }
            "--url" => url = Some(value()?),
            "-d" | "--data" | "--data-ascii" => data.push(posted(&value()?, true)?),
            "--data-binary" => data.push(posted(&value()?, false)?),
            "--data-raw" => data.push(value()?.into_bytes()),
            "--json" => {
                data.push(posted(&value()?, false)?);
                headers.push(("content-type".to_owned(), "application/json".to_owned()));
            }
            "-u" | "--user" => {
                let basic = format!("Basic {}", STANDARD.encode(value()?));
                headers.push(("authorization".to_owned(), basic));
            }
            "-A" | "--user-agent" => headers.push(("user-agent".to_owned(), value()?)),
            "-b" | "--cookie" => headers.push(("cookie".to_owned(), value()?)),
            "-e" | "--referer" => headers.push(("referer".to_owned(), value()?)),
            "-o" | "--output" | "-m" | "--max-time" | "--connect-timeout" | "--resolve"
            | "--cacert" | "-x" | "--proxy" => {
                value()?;
            }
            _ if is_flag(option) => {}
            _ if option.starts_with('-') => {
                let error = Error::usage(format!(
                    "the option {option} of the curl command is not known here"
                ));
                return Err(error.hint("write the request as raw HTTP, or remove the option if it does not change the request"));
            }
            _ => url = Some(word.clone()),
        }
    }
    let url = url.ok_or_else(|| Error::usage("the curl command has no URL"))?;
    let url = if url.contains("://") {
        url
    } else {
        format!("http://{url}")
    };
    let method = method.unwrap_or_else(|| if data.is_empty() { "GET" } else { "POST" }.to_owned());
    // what curl adds by itself
    let has_type = headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    if !data.is_empty() && !has_type {
        let form = "application/x-www-form-urlencoded".to_owned();
        headers.push(("content-type".to_owned(), form));
    }
    let headers = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    build(&method, &url, headers, data.join(&b'&').into())
}

/// The short options of curl that have a value.
const SHORT_WITH_VALUE: [&str; 10] = ["-X", "-H", "-d", "-u", "-b", "-A", "-e", "-o", "-m", "-x"];
/// The short options of curl that have no value and do not change what is signed.
const SHORT_FLAGS: &str = "sSivkLfgNOj#0";

/// Splits `--name=value` and `-Xvalue`.
fn split_option(word: &str) -> (&str, Option<String>) {
    if word.starts_with("--") {
        return match word.split_once('=') {
            Some((option, value)) => (option, Some(value.to_owned())),
            None => (word, None),
        };
    }
    // flags may stand before the option: `-sXPOST`
    let letters = word.strip_prefix('-').unwrap_or_default();
    let option = letters.trim_start_matches(|letter: char| SHORT_FLAGS.contains(letter));
    let with_value = SHORT_WITH_VALUE
        .iter()
        .find(|name| option.starts_with(name.trim_start_matches('-')));
    match with_value {
        Some(name) => {
            let value = option.get(1..).filter(|value| !value.is_empty());
            (name, value.map(str::to_owned))
        }
        None => (word, None),
    }
}

/// Returns whether it is an option without a value that does not change what is signed.
fn is_flag(option: &str) -> bool {
    const LONG: [&str; 14] = [
        "--silent",
        "--show-error",
        "--include",
        "--verbose",
        "--insecure",
        "--location",
        "--fail",
        "--fail-with-body",
        "--globoff",
        "--no-buffer",
        "--compressed",
        "--http1.1",
        "--http2",
        "--no-progress-meter",
    ];
    let letters = option.strip_prefix('-').unwrap_or_default();
    LONG.contains(&option)
        || !letters.is_empty() && letters.chars().all(|letter| SHORT_FLAGS.contains(letter))
}

/// Splits `Name: value`. curl drops a header without a value.
fn header(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once(':')?;
    let value = value.trim();
    (!value.is_empty()).then(|| (name.trim().to_owned(), value.to_owned()))
}

/// Returns the bytes that curl sends: those of a file after `@`, without line ends if `strips`.
fn posted(value: &str, strips: bool) -> Result<Vec<u8>, Error> {
    let Some(path) = value.strip_prefix('@') else {
        return Ok(value.as_bytes().to_vec());
    };
    let mut bytes = context::read(Path::new(path), "the body of the curl command")?;
    if strips {
        bytes.retain(|byte| !b"\r\n\0".contains(byte));
    }
    Ok(bytes)
}

/// Returns the error for what only a shell can do.
fn shell_only(what: char) -> Error {
    Error::usage(format!("the curl command uses `{what}` of the shell"))
        .hint("write the command alone, with the text in place of variables")
}

/// Splits a command into words as a POSIX shell does, with `$'…'` of bash.
fn words(text: &str) -> Result<Vec<String>, Error> {
    let open = || Error::usage("a quote of the curl command does not end");
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = text.chars().peekable();
    while let Some(next) = rest.next() {
        match next {
            '\\' => match rest.next() {
                Some('\n') | None => {}
                Some('\r') => drop(rest.next_if_eq(&'\n')),
                Some(other) => word.get_or_insert_default().push(other),
            },
            '|' | '&' | ';' | '<' | '>' | '`' | '$'
                if !(next == '$' && rest.peek() == Some(&'\'')) =>
            {
                return Err(shell_only(next));
            }
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match rest.next().ok_or_else(open)? {
                        '\'' => break,
                        other => word.push(other),
                    }
                }
            }
            '$' if rest.next_if_eq(&'\'').is_some() => {
                ansi_quoted(&mut rest, word.get_or_insert_default()).ok_or_else(open)?;
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match rest.next().ok_or_else(open)? {
                        '"' => break,
                        '$' | '`' => return Err(shell_only('$')),
                        '\\' => match rest.next().ok_or_else(open)? {
                            '\n' => {}
                            escaped @ ('"' | '\\' | '$' | '`') => word.push(escaped),
                            other => word.extend(['\\', other]),
                        },
                        other => word.push(other),
                    }
                }
            }
            space if space.is_whitespace() => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Reads the number of a character.
fn code(rest: &mut impl Iterator<Item = char>, digits: usize) -> Option<u32> {
    let digits: String = rest.take(digits).collect();
    u32::from_str_radix(&digits, 16).ok()
}

/// Reads a text in `$'…'` up to its end. Returns `None` if it does not end, or names a byte that is no character.
fn ansi_quoted(rest: &mut impl Iterator<Item = char>, word: &mut String) -> Option<()> {
    loop {
        match rest.next()? {
            '\'' => return Some(()),
            '\\' => match rest.next()? {
                'n' => word.push('\n'),
                'r' => word.push('\r'),
                't' => word.push('\t'),
                // a byte above ASCII would be a part of a character: such a command is not read
                'x' => word.push(char::from_u32(code(rest, 2)?).filter(char::is_ascii)?),
                'u' => word.push(char::from_u32(code(rest, 4)?)?),
                other => word.push(other),
            },
            other => word.push(other),
        }
    }
}

/// Makes the message of its parts. Lines that only frame the body are left out: the body is whole.
fn build<'h>(
    method: &str,
    url: &str,
    headers: impl Iterator<Item = (&'h str, &'h str)>,
    body: Bytes,
) -> Result<(Message, Option<SentTo>), Error> {
    let wrong = |why: String| Error::usage("the request cannot be read").why(why);
    let mut sent_to = SentTo::parse(url).map_err(wrong)?;
    let method = Method::from_bytes(method.as_bytes())
        .map_err(|_| wrong("the method is not a word".to_owned()))?;
    let mut lines: Vec<(HeaderName, HeaderValue)> = Vec::new();
    for (name, value) in headers {
        // browsers write the parts of an HTTP/2 head as headers
        if name.starts_with(':')
            || ["content-length", "transfer-encoding"]
                .iter()
                .any(|framing| name.eq_ignore_ascii_case(framing))
        {
            continue;
        }
        let name = HeaderName::from_bytes(name.as_bytes());
        let value = HeaderValue::from_bytes(value.as_bytes());
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(wrong("a header has an invalid character".to_owned()));
        };
        lines.push((name, value));
    }
    let host = lines.iter().find(|(name, _)| *name == HOST);
    if let Some(host) = host.and_then(|(_, value)| value.to_str().ok()) {
        sent_to.authority = host.to_owned();
    }
    let headers: HeaderLines = lines.into_iter().collect();
    let target = sent_to
        .target
        .clone()
        .unwrap_or_else(|| Bytes::from_static(b"/"));
    let message = Message {
        method,
        target,
        authority: sent_to.authority.clone(),
        headers,
        body,
    };
    Ok((message, Some(sent_to)))
}

#[cfg(test)]
mod tests;
