use proptest::prelude::*;

use super::*;

const CORPUS: &str = include_str!("../../../tests/it/support/abuse_corpus/ssrf.txt");
const RULES: UrlRules<'static> = UrlRules {
    http: false,
    ports: &[443],
    allow: &[],
    deny: &[],
};

fn parse(text: &str) -> Result<EndpointUrl, UrlError> {
    EndpointUrl::parse(text, &RULES)
}

/// Replaces the escapes of a line of the corpus.
fn unescaped(line: &str) -> String {
    let mut text = line.to_owned();
    for (escape, c) in [("\\t", '\t'), ("\\r", '\r'), ("\\n", '\n'), ("\\0", '\0')] {
        text = text.replace(escape, &c.to_string());
    }
    while let Some((before, rest)) = text.split_once("\\u{") {
        let (digits, after) = rest.split_once('}').unwrap();
        let c = char::from_u32(u32::from_str_radix(digits, 16).unwrap()).unwrap();
        text = format!("{before}{c}{after}");
    }
    text
}

fn name(error: &UrlError) -> &'static str {
    match error {
        UrlError::Length => "length",
        UrlError::Characters => "characters",
        UrlError::Syntax => "syntax",
        UrlError::Scheme { .. } => "scheme",
        UrlError::User => "user",
        UrlError::Fragment => "fragment",
        UrlError::Port { .. } => "port",
        UrlError::Host => "host",
    }
}

#[test]
fn corpus_goes_nowhere_else() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in CORPUS
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        count += 1;
        let (kind, rest) = line.split_once(' ').unwrap();
        let (expected, url) = match kind {
            "dns" => (None, rest),
            _ => rest
                .split_once(' ')
                .map(|(one, two)| (Some(one), two))
                .unwrap(),
        };
        let parsed = parse(&unescaped(url));
        let is_right = match (kind, &parsed) {
            ("refused", Err(error)) => Some(name(error)) == expected,
            ("dns", Ok(url)) => url.address().is_none(),
            ("to", Ok(url)) => Some(url.host()) == expected && Some(url.authority()) == expected,
            _ => false,
        };
        if !is_right {
            wrong.push(format!("{line}: {parsed:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 120, "{count}");
}

#[test]
fn parts_are_those_that_are_sent() {
    let rules = UrlRules {
        http: true,
        ports: &[80, 443, 8443],
        ..RULES
    };
    for (text, tls, host, port, authority, target) in [
        (
            "https://a.example",
            true,
            "a.example",
            443,
            "a.example",
            "/",
        ),
        (
            "https://a.example?x=1&y",
            true,
            "a.example",
            443,
            "a.example",
            "/?x=1&y",
        ),
        (
            "http://A.example:80/b",
            false,
            "a.example",
            80,
            "a.example",
            "/b",
        ),
        (
            "http://a.example:443/b",
            false,
            "a.example",
            443,
            "a.example:443",
            "/b",
        ),
        (
            "https://a.example:8443/ü/b%2Fc?d=é",
            true,
            "a.example",
            8443,
            "a.example:8443",
            "/%C3%BC/b%2Fc?d=%C3%A9",
        ),
        (
            "https://a.example./b/../c/./",
            true,
            "a.example",
            443,
            "a.example",
            "/c/",
        ),
        ("https://8.8.8.8/", true, "8.8.8.8", 443, "8.8.8.8", "/"),
        (
            "https://[2606:4700:0:0::1111]:8443/",
            true,
            "2606:4700::1111",
            8443,
            "[2606:4700::1111]:8443",
            "/",
        ),
        (
            "https://under_score.a.example/",
            true,
            "under_score.a.example",
            443,
            "under_score.a.example",
            "/",
        ),
    ] {
        let url = EndpointUrl::parse(text, &rules).unwrap();
        assert_eq!(
            (url.tls(), url.host(), url.port()),
            (tls, host, port),
            "{text}"
        );
        assert_eq!(
            (url.authority(), &**url.target()),
            (authority, target.as_bytes()),
            "{text}"
        );
        assert_eq!(
            url.address().is_some(),
            host.parse::<IpAddr>().is_ok(),
            "{text}"
        );
        assert_eq!(EndpointUrl::restore(url.text()).unwrap(), url, "{text}");
    }
}

#[test]
fn lengths_are_bounded() {
    let head = "https://a.example/";
    let long = |length: usize| format!("{head}{}", "x".repeat(length - head.len()));
    assert!(parse(&long(2_048)).is_ok());
    assert_eq!(parse(&long(2_049)), Err(UrlError::Length));
    // encoding makes it three times as long
    let encoded = format!("{head}{}", "\u{fc}".repeat(1_000));
    assert_eq!(parse(&encoded), Err(UrlError::Length));
    let label = |length| parse(&format!("https://{}.example/", "a".repeat(length)));
    assert!(label(63).is_ok());
    assert_eq!(label(64), Err(UrlError::Host));
    assert_eq!(
        parse(&format!("https://{}example/", "a.".repeat(124))),
        Err(UrlError::Host)
    );
}

#[test]
fn networks_of_the_config_are_allowed_and_denied() {
    let net = |text: &str| -> IpNet { text.parse().unwrap() };
    let (allow, deny) = (
        [net("127.0.0.0/8")],
        [net("8.8.8.0/24"), net("127.0.0.2/32")],
    );
    let rules = UrlRules {
        allow: &allow,
        deny: &deny,
        ..RULES
    };
    for (host, is_allowed) in [
        ("127.0.0.1", true),
        ("[::ffff:127.0.0.1]", true),
        ("[64:ff9b::7f00:1]", true),
        ("127.0.0.2", false),
        ("[::ffff:127.0.0.2]", false),
        ("10.0.0.1", false),
        ("[::1]", false),
        ("8.8.8.8", false),
        ("[2002:808:808::]", false),
        ("9.9.9.9", true),
        ("localhost", false),
    ] {
        let parsed = EndpointUrl::parse(&format!("https://{host}/"), &rules);
        assert_eq!(parsed.is_ok(), is_allowed, "{host}");
    }
}

#[test]
fn help_says_what_to_write() {
    for (text, help) in [
        ("http://a.example/", "begin it with `https://`"),
        ("https://a.example:22/", "use port 443"),
        (
            "https://a.example/#x",
            "leave out `#` and what follows: it is never sent",
        ),
        (
            "https://app/",
            "write a public host with its full name, such as `hooks.example.com`",
        ),
        (
            "https://127.0.0.1/",
            "write a public host with its full name, such as `hooks.example.com`",
        ),
    ] {
        assert_eq!(parse(text).unwrap_err().help(), help, "{text}");
    }
    let two = UrlRules {
        http: true,
        ports: &[80, 443],
        ..RULES
    };
    let help = |text: &str| EndpointUrl::parse(text, &two).unwrap_err().help();
    assert_eq!(help("https://a.example:1/"), "use one of the ports 80, 443");
    assert_eq!(
        help("ftp://a.example/"),
        "begin it with `https://` or `http://`"
    );
}

#[test]
fn debug_shows_no_path() {
    let url = parse("https://a.example/hunter2?key=hunter3").unwrap();
    assert_eq!(format!("{url:?}"), "https://a.example/…");
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,80}") {
        for text in [format!("https://{text}"), text] {
            if let Ok(restored) = EndpointUrl::restore(&text) {
                prop_assert_eq!(restored.text(), &*text);
            }
            if let Ok(parsed) = parse(&text) {
                prop_assert!(EndpointUrl::restore(parsed.text()).is_ok());
            }
        }
    }

    /// Whatever is taken is the same after it was stored, and is never an address that is not public.
    #[test]
    fn taken_urls_are_stable(host in "([a-z0-9.\u{e9}\u{ff0e}%x:\\[\\]_-]{1,30}|[0-9a-fx.]{1,20})", rest in "[ -~\u{e9}]{0,30}") {
        if let Ok(url) = parse(&format!("https://{host}/{rest}")) {
            prop_assert_eq!(&parse(url.text()).unwrap(), &url);
            prop_assert_eq!(&EndpointUrl::restore(url.text()).unwrap(), &url);
            prop_assert!(url.text().is_ascii() && !url.text().contains(' '));
            prop_assert!(url.address().is_none_or(|ip| class(ip) == Class::Public));
            let uri: http::Uri = url.text().parse().unwrap();
            prop_assert_eq!(uri.authority().unwrap().as_str(), url.authority());
            prop_assert_eq!(uri.path_and_query().unwrap().as_str().as_bytes(), &**url.target());
        }
    }
}
