use super::*;

fn parts(text: &str) -> (Message, Option<SentTo>) {
    read(text.as_bytes()).unwrap()
}

fn header<'m>(message: &'m Message, name: &'static str) -> Option<&'m [u8]> {
    message.headers.get(&HeaderName::from_static(name))
}

fn words_of(text: &str) -> String {
    let error = read(text.as_bytes()).unwrap_err();
    format!("{} {}", error.message, error.why.unwrap_or_default())
}

#[test]
fn raw_request_is_read() {
    let (message, url) = parts("POST /in HTTP/1.1\nHost: a.example\nX-Tag: 1\n\n{}");
    assert_eq!((&*message.body, url), (&b"{}"[..], None));
    assert_eq!(header(&message, "x-tag"), Some(&b"1"[..]));
}

#[test]
fn har_file_entry_and_request_are_read_alike() {
    let request = r#"{"method":"POST","url":"https://a.example/in?a=1","headers":[{"name":":method","value":"POST"},{"name":"X-Tag","value":"1"},{"name":"Content-Length","value":"2"}],"postData":{"mimeType":"application/json","text":"{}"}}"#;
    let entry = format!(r#"{{"startedDateTime":"2026-01-01T00:00:00Z","request":{request}}}"#);
    let file = format!(r#"{{"log":{{"version":"1.2","entries":[{entry}]}}}}"#);
    for text in [request, &entry, &file] {
        let (message, url) = parts(text);
        assert_eq!(&*message.body, b"{}");
        assert_eq!(&*message.target, b"/in?a=1");
        assert_eq!(header(&message, "x-tag"), Some(&b"1"[..]));
        assert_eq!(header(&message, "content-length"), None);
        assert_eq!(url.map(|url| url.tls), Some(true));
    }
    let base64 = request.replace(r#""text":"{}""#, r#""text":"AP8=","encoding":"base64""#);
    assert_eq!(&*parts(&base64).0.body, &[0, 0xff]);
}

#[test]
fn unusable_har_is_an_error_that_says_why() {
    for (text, why) in [
        ("{}", "no `request`"),
        (r#"{"log":{"entries":[]}}"#, "no entry"),
        (
            r#"{"request":{"method":"POST","url":"/in","headers":[]}}"#,
            "whole URL",
        ),
    ] {
        let error = words_of(text);
        assert!(error.contains(why), "{text}: {error}");
    }
}

#[test]
fn curl_command_is_read_as_the_shell_and_curl_do() {
    let command = "curl -sS -X POST 'https://a.example/in' \\\n  -H 'X-Tag: 1' -H \"X-Quoted: \\\"q\\\"\" \\\n  --data-raw $'{\"a\":\"\\u00eb\\n\"}' --compressed";
    let (message, url) = parts(command);
    assert_eq!(message.method, Method::POST);
    assert_eq!(&*message.body, "{\"a\":\"ë\n\"}".as_bytes());
    assert_eq!(header(&message, "x-tag"), Some(&b"1"[..]));
    assert_eq!(header(&message, "x-quoted"), Some(&b"\"q\""[..]));
    assert_eq!(
        header(&message, "content-type"),
        Some(&b"application/x-www-form-urlencoded"[..])
    );
    assert_eq!(url.map(|url| url.authority), Some("a.example".to_owned()));
    let (message, _) = parts("curl a.example/in -d a=1 -d b=2 -uuser:pass");
    assert_eq!(
        (message.method, &*message.body),
        (Method::POST, &b"a=1&b=2"[..])
    );
    assert_eq!(
        header(&parts("curl a.example -uuser:pass").0, "authorization"),
        Some(&b"Basic dXNlcjpwYXNz"[..])
    );
}

#[test]
fn body_of_a_curl_command_may_be_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("body");
    std::fs::write(&path, "a\nb\r\n").unwrap();
    let path = path.display();
    assert_eq!(
        &*parts(&format!("curl a.example --data-binary @{path}"))
            .0
            .body,
        b"a\nb\r\n"
    );
    assert_eq!(
        &*parts(&format!("curl a.example --data @{path}")).0.body,
        b"ab"
    );
}

#[test]
fn curl_command_that_cannot_be_followed_is_an_error() {
    for (command, why) in [
        ("curl -X POST", "no URL"),
        ("curl 'https://a.example", "does not end"),
        ("curl https://a.example -H", "no value"),
        ("curl https://a.example -d \"$BODY\"", "of the shell"),
        ("curl https://a.example | jq .", "of the shell"),
        ("curl https://a.example -H @headers", "from a file"),
        ("curl https://a.example --data-urlencode a=b", "not known"),
    ] {
        let error = words_of(command);
        assert!(error.contains(why), "{command}: {error}");
    }
}

#[test]
fn short_options_and_escapes_are_read_together() {
    let (message, url) =
        parts("curl -sXPOST https://a.example/in -H 'Host: b.example' --data-raw $'\\x21\\u0021'");
    assert_eq!((message.method, &*message.body), (Method::POST, &b"!!"[..]));
    assert_eq!(url.map(|url| url.authority), Some("b.example".to_owned()));
}
