//! The URL of a PostgreSQL server: `postgres://USER[:PASSWORD]@HOST[:PORT][,HOST2]/DATABASE[?sslmode=…&sslrootcert=…]`.
//!
//! Nothing here shows the text: it may contain a password. Parameters that libpq knows and that have no effect here are listed by name.
use std::fmt;
use std::path::PathBuf;

use zeroize::Zeroizing;

/// The port of a server whose URL names none.
const DEFAULT_PORT: u16 = 5432;

/// A parsed URL.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    /// The role.
    pub user: Option<String>,
    /// The password of the role.
    pub password: Option<Zeroizing<String>>,
    /// The servers, in the order in which they are tried. There is at least one.
    pub hosts: Vec<Host>,
    /// The database.
    pub database: String,
    /// The value of `sslmode`.
    pub ssl_mode: Option<SslMode>,
    /// The value of `sslrootcert`.
    pub ssl_root_cert: Option<RootCertificates>,
    /// The names of the parameters that have no effect.
    pub ignored: Vec<String>,
}

/// A server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The place of the server.
    pub address: HostAddress,
    /// The port.
    pub port: u16,
}

/// The place of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostAddress {
    /// A name or an IP address, without brackets.
    Name(String),
    /// The directory of its unix socket.
    Socket(PathBuf),
}

/// A value of `sslmode`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SslMode {
    /// `disable`: no TLS.
    Disable,
    /// `verify-ca`: the server's certificate is signed by a trusted CA.
    VerifyCa,
    /// `verify-full`: and it is for the name of the host.
    VerifyFull,
    /// `allow`, `prefer` or `require`: the server is not authenticated.
    Unauthenticated(&'static str),
}

/// A value of `sslrootcert`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootCertificates {
    /// `system`: the CAs of the system.
    System,
    /// A file.
    File(PathBuf),
}

/// The reason why a text is no URL of a PostgreSQL server. It shows nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlFault {
    /// The scheme is another one.
    #[error("the URL does not begin with `postgres://`")]
    Scheme,
    /// There is a `%` without two digits, or the text behind it is not UTF-8.
    #[error("the URL has a `%` that is not followed by two hexadecimal digits of UTF-8 text")]
    Escape,
    /// The user or the password has a character that must be escaped.
    #[error("the URL has a `/`, `?`, `#` or `@` that is not escaped")]
    Unescaped,
    /// There is no host.
    #[error("the URL names no host")]
    NoHost,
    /// A host is not a name, an IP address or the directory of a socket.
    #[error("the URL has a host that is not valid")]
    Host,
    /// A port is no number from 1 to 65535.
    #[error("the URL has a port that is not a number from 1 to 65535")]
    Port,
    /// There is no database.
    #[error("the URL names no database")]
    NoDatabase,
    /// A part is given in front of the `?` and after it, or twice after it.
    #[error("the URL gives `{0}` twice")]
    Twice(&'static str),
    /// The `sslmode` is unknown.
    #[error("the URL has an unknown `sslmode`")]
    SslMode,
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresUrl")
            .field("user", &self.user)
            .field("has_password", &self.password.is_some())
            .field("hosts", &self.hosts)
            .field("database", &self.database)
            .field("ssl_mode", &self.ssl_mode)
            .field("ssl_root_cert", &self.ssl_root_cert)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for PostgresUrl {
    /// Writes hosts and database, without user and password: `db-rw:5432/hooks`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, host) in self.hosts.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{host}")?;
        }
        write!(f, "/{}", self.database)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            HostAddress::Name(name) if name.contains(':') => write!(f, "[{name}]:{}", self.port),
            HostAddress::Name(name) => write!(f, "{name}:{}", self.port),
            HostAddress::Socket(directory) => write!(f, "{}:{}", directory.display(), self.port),
        }
    }
}

impl Host {
    /// Returns whether a connection to it stays on this machine, as far as that is known without a DNS query.
    pub fn is_local(&self) -> bool {
        match &self.address {
            HostAddress::Socket(_) => true,
            HostAddress::Name(name) => {
                name.eq_ignore_ascii_case("localhost")
                    || name
                        .parse::<std::net::IpAddr>()
                        .is_ok_and(|ip| ip.to_canonical().is_loopback())
            }
        }
    }
}

/// The parts of a URL as they are found.
#[derive(Default)]
struct Parts {
    user: Option<String>,
    password: Option<Zeroizing<String>>,
    hosts: Vec<String>,
    ports: Vec<String>,
    database: Option<String>,
    ssl_mode: Option<SslMode>,
    ssl_root_cert: Option<RootCertificates>,
    ignored: Vec<String>,
}

impl PostgresUrl {
    /// Parses a URL. A user, a password, a host, a port and a database may stand in the query too, as libpq reads them.
    ///
    /// # Errors
    /// The reason why it is no such URL.
    pub fn parse(text: &str) -> Result<Self, UrlFault> {
        let rest = text
            .strip_prefix("postgres://")
            .or_else(|| text.strip_prefix("postgresql://"))
            .ok_or(UrlFault::Scheme)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        // what looks like a host or a database is a part of the password then
        if database.contains('@') || query.contains('@') || text.contains('#') {
            return Err(UrlFault::Unescaped);
        }
        let mut parts = Parts::default();
        parts.authority(authority)?;
        if !database.is_empty() {
            parts.database = Some(decoded(database)?);
        }
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            parts.parameter(&decoded(name)?, value)?;
        }
        parts.finish()
    }
}

impl Parts {
    /// Reads `USER:PASSWORD@HOST:PORT,HOST2:PORT2`.
    fn authority(&mut self, authority: &str) -> Result<(), UrlFault> {
        let (user, hosts) = authority
            .rsplit_once('@')
            .map_or((None, authority), |(user, hosts)| (Some(user), hosts));
        if let Some(user) = user {
            let (user, password) = user
                .split_once(':')
                .map_or((user, None), |(user, password)| (user, Some(password)));
            if !user.is_empty() {
                self.user = Some(decoded(user)?);
            }
            if let Some(password) = password.filter(|password| !password.is_empty()) {
                self.password = Some(Zeroizing::new(decoded(password)?));
            }
        }
        if hosts.is_empty() {
            return Ok(());
        }
        for written in hosts.split(',') {
            let (host, port) = split_port(written);
            self.hosts.push(decoded(host)?);
            self.ports.push(port.to_owned());
        }
        Ok(())
    }

    /// Reads a parameter of the query.
    fn parameter(&mut self, name: &str, value: &str) -> Result<(), UrlFault> {
        let value = Zeroizing::new(decoded(value)?);
        match name {
            "user" => set(&mut self.user, value.to_string(), "user"),
            "password" => set(&mut self.password, value, "password"),
            "dbname" => set(&mut self.database, value.to_string(), "dbname"),
            "host" if self.hosts.is_empty() => {
                self.hosts = value.split(',').map(str::to_owned).collect();
                Ok(())
            }
            "host" => Err(UrlFault::Twice("host")),
            "port" if self.ports.iter().all(String::is_empty) => {
                self.ports = value.split(',').map(str::to_owned).collect();
                Ok(())
            }
            "port" => Err(UrlFault::Twice("port")),
            "sslmode" => {
                let mode = match value.as_str() {
                    "disable" => SslMode::Disable,
                    "allow" => SslMode::Unauthenticated("allow"),
                    "prefer" => SslMode::Unauthenticated("prefer"),
                    "require" => SslMode::Unauthenticated("require"),
                    "verify-ca" => SslMode::VerifyCa,
                    "verify-full" => SslMode::VerifyFull,
                    _ => return Err(UrlFault::SslMode),
                };
                set(&mut self.ssl_mode, mode, "sslmode")
            }
            "sslrootcert" => {
                let certificates = match value.as_str() {
                    "system" => RootCertificates::System,
                    path => RootCertificates::File(path.into()),
                };
                set(&mut self.ssl_root_cert, certificates, "sslrootcert")
            }
            _ => {
                self.ignored.push(name.to_owned());
                Ok(())
            }
        }
    }

    /// Returns the whole URL.
    fn finish(self) -> Result<PostgresUrl, UrlFault> {
        let Self {
            user,
            password,
            hosts,
            ports,
            database,
            ssl_mode,
            ssl_root_cert,
            ignored,
        } = self;
        if hosts.is_empty() {
            return Err(UrlFault::NoHost);
        }
        if ports.len() > 1 && ports.len() != hosts.len() {
            return Err(UrlFault::Port);
        }
        // one port is for all hosts
        let port_of = |index: usize| {
            ports
                .get(index)
                .or(ports.first().filter(|_| ports.len() == 1))
        };
        let hosts = hosts.iter().enumerate().map(|(index, name)| {
            Ok(Host {
                address: address(name)?,
                port: port(port_of(index).map_or("", String::as_str))?,
            })
        });
        Ok(PostgresUrl {
            user: user.filter(|user| !user.is_empty()),
            password: password.filter(|password| !password.is_empty()),
            hosts: hosts.collect::<Result<_, _>>()?,
            database: database
                .filter(|database| !database.is_empty())
                .ok_or(UrlFault::NoDatabase)?,
            ssl_mode,
            ssl_root_cert,
            ignored,
        })
    }
}

/// Sets a part that was not given before.
fn set<T>(part: &mut Option<T>, value: T, name: &'static str) -> Result<(), UrlFault> {
    match part.replace(value) {
        None => Ok(()),
        Some(_) => Err(UrlFault::Twice(name)),
    }
}

/// Splits `HOST:PORT`. An IPv6 address is in brackets.
fn split_port(written: &str) -> (&str, &str) {
    let after_brackets = written.rfind(']').map_or(0, |at| at + 1);
    match written
        .get(after_brackets..)
        .and_then(|rest| rest.rfind(':'))
    {
        Some(colon) => {
            let colon = after_brackets + colon;
            let (host, port) = written.split_at(colon);
            (host, port.get(1..).unwrap_or_default())
        }
        None => (written, ""),
    }
}

/// Returns the place that a host names. A path is the directory of a unix socket.
fn address(name: &str) -> Result<HostAddress, UrlFault> {
    if name.starts_with('/') {
        return Ok(HostAddress::Socket(name.into()));
    }
    let name = match name.strip_prefix('[') {
        Some(rest) => {
            let ip = rest.strip_suffix(']').ok_or(UrlFault::Host)?;
            ip.parse::<std::net::Ipv6Addr>()
                .map_err(|_| UrlFault::Host)?;
            ip
        }
        None => name,
    };
    let is_name = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"._-:".contains(&byte));
    match name {
        "" => Err(UrlFault::NoHost),
        name if is_name => Ok(HostAddress::Name(name.to_owned())),
        _ => Err(UrlFault::Host),
    }
}

/// Parses a port; an empty text is the default.
fn port(text: &str) -> Result<u16, UrlFault> {
    if text.is_empty() {
        return Ok(DEFAULT_PORT);
    }
    match text.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        Ok(_) | Err(_) => Err(UrlFault::Port),
    }
}

/// Decodes `%41`.
fn decoded(text: &str) -> Result<String, UrlFault> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let (high, low) = (digit(rest.next()), digit(rest.next()));
        let (Some(high), Some(low)) = (high, low) else {
            return Err(UrlFault::Escape);
        };
        bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
    }
    String::from_utf8(bytes)
        .ok()
        .filter(|text| !text.contains('\0'))
        .ok_or(UrlFault::Escape)
}

#[cfg(test)]
mod tests;
