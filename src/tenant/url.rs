//! The URL of an endpoint.
//!
//! There is one parser, that of WHATWG, as browsers and most customers' libraries use it. Everything that is sent is made of its result and never of the
//! text, so no second reading of the text can lead to another host. The addresses of a name are judged at each attempt.
use std::fmt;
use std::net::IpAddr;

use bytes::Bytes;
use ipnet::IpNet;
use url::{Host, ParseError, Url};

use crate::address::{Class, class, spellings};

/// The largest length of a URL, in bytes.
pub const MAX_LENGTH: usize = 2_048;
/// The largest length of a host name, in bytes.
const MAX_NAME: usize = 253;
/// The largest length of a label of a host name, in bytes.
const MAX_LABEL: usize = 63;

/// The rules for URLs of endpoints.
#[derive(Clone, Copy, Debug, Default)]
pub struct UrlRules<'a> {
    /// Whether `http` is allowed beside `https`.
    pub http: bool,
    /// The ports that are allowed.
    pub ports: &'a [u16],
    /// The networks that are allowed although they are not public.
    pub allow: &'a [IpNet],
    /// The networks that are never allowed.
    pub deny: &'a [IpNet],
}

/// The reason why a URL cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It is too long.
    #[error("the URL is too long")]
    Length,
    /// It has a space or a control character.
    #[error("the URL has a space or a control character")]
    Characters,
    /// It is none.
    #[error("this is no URL")]
    Syntax,
    /// Its scheme is another one.
    #[error("the URL has a scheme that is not allowed")]
    Scheme {
        /// Whether `http` is allowed.
        http: bool,
    },
    /// It has a user or a password.
    #[error("the URL has a user or a password")]
    User,
    /// It has a fragment.
    #[error("the URL has a fragment")]
    Fragment,
    /// Its port is no number, or another one.
    #[error("the URL has a port that is not allowed")]
    Port {
        /// The ports that are allowed.
        allowed: Vec<u16>,
    },
    /// Its host is none, or none that customers may use. There is one text for all of them, so that nobody learns what is behind the gateway.
    #[error("the host of the URL cannot be used")]
    Host,
}

impl UrlError {
    /// The code of all of them.
    pub const CODE: &'static str = "url_refused";

    /// Returns what to write instead.
    pub fn help(&self) -> String {
        match self {
            Self::Length => format!("write at most {MAX_LENGTH} bytes"),
            Self::Characters => "percent-encode it, such as `%20` for a space".to_owned(),
            Self::Syntax => "write one such as `https://hooks.example.com/path`".to_owned(),
            Self::Scheme { http: false } => "begin it with `https://`".to_owned(),
            Self::Scheme { http: true } => "begin it with `https://` or `http://`".to_owned(),
            Self::User => {
                "leave them out, and set an `Authorization` header in `headers`".to_owned()
            }
            Self::Fragment => "leave out `#` and what follows: it is never sent".to_owned(),
            Self::Port { allowed } => {
                let ports: Vec<String> = allowed.iter().map(u16::to_string).collect();
                match &*ports {
                    [] => "no port is allowed: see `outbound.endpoints.ports`".to_owned(),
                    [one] => format!("use port {one}"),
                    more => format!("use one of the ports {}", more.join(", ")),
                }
            }
            Self::Host => {
                "write a public host with its full name, such as `hooks.example.com`".to_owned()
            }
        }
    }
}

/// The URL of an endpoint, made of one parse.
#[derive(Clone, PartialEq, Eq)]
pub struct EndpointUrl {
    tls: bool,
    host: Box<str>,
    address: Option<IpAddr>,
    port: u16,
    authority: Box<str>,
    target: Bytes,
    text: Box<str>,
}

impl EndpointUrl {
    /// Parses a URL by the rules. A host that is a name is judged by its form alone.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn parse(text: &str, rules: &UrlRules<'_>) -> Result<Self, UrlError> {
        if text.len() > MAX_LENGTH {
            return Err(UrlError::Length);
        }
        // the parser would drop some of them
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(UrlError::Characters);
        }
        let url = Url::parse(text).map_err(|error| refusal(error, rules))?;
        let tls = match url.scheme() {
            "https" => true,
            "http" if rules.http => false,
            _ => return Err(UrlError::Scheme { http: rules.http }),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlError::User);
        }
        if url.fragment().is_some() {
            return Err(UrlError::Fragment);
        }
        let port = url.port_or_known_default().unwrap_or(0);
        if port == 0 || !rules.ports.contains(&port) {
            return Err(port_error(rules));
        }
        let (host, address) = host(&url.host().ok_or(UrlError::Host)?)?;
        if !address.is_none_or(|address| is_allowed(address, rules)) {
            return Err(UrlError::Host);
        }
        Self::from_parts(tls, host, address, port, &url)
    }

    /// Restores a URL that was parsed before, by whatever rules held then: its host is judged again at each attempt.
    ///
    /// # Errors
    /// The text is none that [`Self::text`] returned.
    pub fn restore(text: &str) -> Result<Self, UrlError> {
        let url = Url::parse(text).map_err(|_| UrlError::Syntax)?;
        let tls = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(UrlError::Scheme { http: true }),
        };
        let port = url.port_or_known_default().ok_or(UrlError::Syntax)?;
        let (host, address) = host(&url.host().ok_or(UrlError::Host)?)?;
        let restored = Self::from_parts(tls, host, address, port, &url)?;
        if *restored.text == *text {
            Ok(restored)
        } else {
            Err(UrlError::Syntax)
        }
    }

    /// Puts the URL together from the parts of a parse.
    fn from_parts(
        tls: bool,
        host: String,
        address: Option<IpAddr>,
        port: u16,
        url: &Url,
    ) -> Result<Self, UrlError> {
        let mut authority = match address {
            Some(IpAddr::V6(_)) => format!("[{host}]"),
            Some(IpAddr::V4(_)) | None => host.clone(),
        };
        if port != default_port(tls) {
            authority = format!("{authority}:{port}");
        }
        let mut target = url.path().to_owned();
        if let Some(query) = url.query() {
            target = format!("{target}?{query}");
        }
        // the parser has encoded everything else
        if !target.starts_with('/') || !target.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(UrlError::Characters);
        }
        let scheme = if tls { "https" } else { "http" };
        let text = format!("{scheme}://{authority}{target}");
        // encoding makes it longer
        if text.len() > MAX_LENGTH {
            return Err(UrlError::Length);
        }
        Ok(Self {
            tls,
            host: host.into(),
            address,
            port,
            authority: authority.into(),
            target: target.into(),
            text: text.into(),
        })
    }

    /// Returns whether it uses TLS.
    pub fn tls(&self) -> bool {
        self.tls
    }

    /// Returns the host: a name in lower case and without a dot at its end, or an address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the address, if the host is one.
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the value of `Host`.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Returns path and query, as the request has them. It begins with `/`.
    pub fn target(&self) -> &Bytes {
        &self.target
    }

    /// Returns the whole URL, which may contain a secret. Parsed again it is the same.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for EndpointUrl {
    /// Leaves out path and query, either of which may contain a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.tls { "s" } else { "" };
        write!(f, "http{s}://{}/…", self.authority)
    }
}

/// Returns the port that a URL does not write.
const fn default_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

/// Returns the error for a port.
fn port_error(rules: &UrlRules<'_>) -> UrlError {
    UrlError::Port {
        allowed: rules.ports.to_vec(),
    }
}

/// Returns the error for a text that is no URL.
fn refusal(error: ParseError, rules: &UrlRules<'_>) -> UrlError {
    match error {
        ParseError::InvalidPort => port_error(rules),
        ParseError::EmptyHost
        | ParseError::IdnaError
        | ParseError::InvalidIpv4Address
        | ParseError::InvalidIpv6Address
        | ParseError::InvalidDomainCharacter => UrlError::Host,
        ParseError::RelativeUrlWithoutBase => UrlError::Scheme { http: rules.http },
        // the crate may add more
        ParseError::RelativeUrlWithCannotBeABaseBase
        | ParseError::SetHostOnCannotBeABaseUrl
        | ParseError::Overflow
        | _ => UrlError::Syntax,
    }
}

/// Returns the host as text, and its address if it is one.
fn host(host: &Host<&str>) -> Result<(String, Option<IpAddr>), UrlError> {
    let name = match host {
        Host::Ipv4(v4) => return Ok((v4.to_string(), Some(IpAddr::V4(*v4)))),
        Host::Ipv6(v6) => return Ok((v6.to_string(), Some(IpAddr::V6(*v6)))),
        Host::Domain(name) => name,
    };
    // a name with and without the dot of the root is the same to DNS, but not to TLS
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        !label.is_empty() && label.len() <= MAX_LABEL && label.bytes().all(letters)
    };
    let mut labels = name.rsplit('.');
    let last = labels.next().unwrap_or_default();
    // a number at the end would be an address to other parsers
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit());
    let is_single = labels.next().is_none();
    let is_name = name.len() <= MAX_NAME && name.split('.').all(is_label);
    if !is_name || is_single || is_number || last.eq_ignore_ascii_case("localhost") {
        return Err(UrlError::Host);
    }
    Ok((name.to_ascii_lowercase(), None))
}

/// Returns whether customers may use an address, as far as it is known without the machine's own ones.
fn is_allowed(address: IpAddr, rules: &UrlRules<'_>) -> bool {
    let spellings = spellings(address);
    let lists = |list: &[IpNet], ip: &IpAddr| list.iter().any(|network| network.contains(ip));
    if spellings.iter().any(|ip| lists(rules.deny, ip)) {
        return false;
    }
    let is_listed = match spellings.split_first() {
        Some((itself, within)) => {
            lists(rules.allow, itself)
                || !within.is_empty() && within.iter().all(|ip| lists(rules.allow, ip))
        }
        None => false,
    };
    is_listed || class(address) == Class::Public
}

#[cfg(test)]
mod tests;
