//! The URL of an endpoint: what is taken is sent to one host, and that is none of the network of the gateway.
//!
//! The input: a line with `http` and ports that are allowed, then a URL.
use hookgate::address::{Class, class};
use hookgate::tenant::url::{EndpointUrl, UrlRules};

use super::request;

pub fn run(bytes: &[u8]) {
    let mut rest = bytes;
    let (Ok(rules), Ok(text)) = (
        std::str::from_utf8(request::line(&mut rest)),
        std::str::from_utf8(rest),
    ) else {
        return;
    };
    let mut words = rules.split(' ').take(16).peekable();
    let http = words.next_if_eq(&"http").is_some();
    let ports: Vec<u16> = words.filter_map(|word| word.parse().ok()).collect();
    let rules = UrlRules {
        http,
        ports: &ports,
        ..UrlRules::default()
    };
    match EndpointUrl::parse(text, &rules) {
        Ok(url) => taken(&url, text, &rules),
        Err(error) => assert!(!error.to_string().is_empty() && !error.help().is_empty()),
    }
    if let Ok(restored) = EndpointUrl::restore(text) {
        assert_eq!(restored.text(), text);
    }
}

fn taken(url: &EndpointUrl, text: &str, rules: &UrlRules<'_>) {
    assert!(text.len() <= 2_048 && url.text().len() <= 2_048);
    assert!(url.tls() || rules.http);
    assert!(rules.ports.contains(&url.port()) && url.port() != 0);
    // what is stored is read as it was
    assert_eq!(&EndpointUrl::parse(url.text(), rules).unwrap(), url);
    assert_eq!(&EndpointUrl::restore(url.text()).unwrap(), url);
    // another parser reads the same host and target
    let uri: http::Uri = url.text().parse().unwrap();
    assert_eq!(uri.authority().unwrap().as_str(), url.authority());
    assert_eq!(
        uri.path_and_query().unwrap().as_str().as_bytes(),
        &**url.target()
    );
    let bare = uri.host().unwrap().trim_matches(['[', ']']);
    assert_eq!(bare, url.host());
    assert!(url.target().starts_with(b"/") && url.target().iter().all(u8::is_ascii_graphic));
    match url.address() {
        Some(ip) => {
            assert_eq!(class(ip), Class::Public);
            assert_eq!(url.host().parse(), Ok(ip));
        }
        // a name that no parser takes for an address, and no search list completes
        None => {
            let host = url.host();
            assert!(host.contains('.') && host.parse::<std::net::IpAddr>().is_err());
            let last = host.rsplit('.').next().unwrap();
            assert!(!last.is_empty() && !last.bytes().all(|byte| byte.is_ascii_digit()));
            assert_ne!(last, "localhost");
        }
    }
}
