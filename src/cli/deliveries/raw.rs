//! A delivery's request as a curl command.
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};

use crate::cli::error::Error;
use crate::cli::message::{Fault, Message};
use crate::cli::policy::quoted;

/// The longest body that a command contains as text. A longer one, or one that is not text, is encoded in base64.
const MAX_TEXT_BODY: usize = 8 << 10;

/// Returns the curl command that sends `raw`, a raw HTTP request, to its original URL.
pub(super) fn curl(raw: &[u8], tls: bool) -> Result<String, Error> {
    let message = Message::parse(raw).map_err(|fault| {
        let (Fault::Unreadable(why) | Fault::Malformed(why)) = fault;
        Error::no("the request cannot be written as a curl command")
            .why(why)
            .hint("--http")
    })?;
    let scheme = if tls { "https" } else { "http" };
    let url = format!(
        "{scheme}://{}{}",
        message.authority,
        String::from_utf8_lossy(&message.target)
    );
    let glob = if url.contains(['[', ']', '{', '}']) {
        " -g"
    } else {
        ""
    };
    let (before, data) = body(&message.body);
    let mut command = format!(
        "{before}curl -sS -i{glob} -X {} {}",
        quoted(message.method.as_str()),
        quoted(&url)
    );
    for (name, value) in message.headers.iter() {
        if [HOST, CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION]
            .iter()
            .any(|own| own == name)
        {
            continue;
        }
        // for curl `Name:` removes a header, and `Name;` sends an empty one
        let value = String::from_utf8_lossy(value);
        let line = if value.is_empty() {
            format!("{name};")
        } else {
            format!("{name}: {value}")
        };
        command.push_str(&format!(" \\\n  -H {}", word(&line)));
    }
    command.push_str(&data);
    Ok(command)
}

/// Returns the text before the command, and its last option.
fn body(body: &Bytes) -> (String, String) {
    let text = std::str::from_utf8(body)
        .ok()
        .filter(|text| text.len() <= MAX_TEXT_BODY);
    match text.filter(|text| {
        !text.starts_with('@')
            && !text
                .chars()
                .any(|char| char.is_control() && !matches!(char, '\n' | '\t'))
    }) {
        Some("") => (String::new(), String::new()),
        Some(text) => (
            String::new(),
            format!(" \\\n  --data-binary {}", word(text)),
        ),
        None => {
            use base64::Engine as _;
            let encoded = base64::engine::general_purpose::STANDARD.encode(body);
            (
                format!("printf %s {encoded} | base64 -d | "),
                " \\\n  --data-binary @-".to_owned(),
            )
        }
    }
}

/// Quotes a word for a shell, with control characters escaped.
fn word(text: &str) -> String {
    if !text
        .chars()
        .any(|char| char.is_control() && !matches!(char, '\n' | '\t'))
    {
        return quoted(text);
    }
    let escaped: String = text
        .chars()
        .map(|char| match char {
            '\'' | '\\' => format!("\\{char}"),
            char if char.is_control() => char
                .to_string()
                .bytes()
                .map(|byte| format!("\\x{byte:02x}"))
                .collect(),
            char => char.to_string(),
        })
        .collect();
    format!("$'{escaped}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_becomes_a_curl_command() {
        let raw = b"POST /hooks/a?x=1 HTTP/1.1\r\nHost: hooks.example.com\r\nContent-Type: application/json\r\nX-Empty: \r\nContent-Length: 14\r\n\r\n{\"it's\": \"me\"}";
        assert_eq!(
            curl(raw, true).unwrap(),
            "curl -sS -i -X POST 'https://hooks.example.com/hooks/a?x=1' \\\n  -H 'content-type: application/json' \\\n  -H 'x-empty;' \\\n  --data-binary '{\"it'\\''s\": \"me\"}'"
        );
    }

    #[test]
    fn control_bytes_are_escaped() {
        for body in ["\u{1b}[2J", "@/etc/passwd"] {
            let raw = format!(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let command = curl(raw.as_bytes(), false).unwrap();
            assert!(
                command.starts_with("printf %s ") && command.ends_with("--data-binary @-"),
                "{command}"
            );
        }
        assert_eq!(word("a: \u{9b}'"), "$'a: \\xc2\\x9b\\''");
        assert!(curl(b"nonsense", false).is_err());
    }
}
