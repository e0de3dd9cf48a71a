//! The servers as a URL names them, with the password beside it. Both texts are read at each connect: a rotated password needs no restart.
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_postgres::Config;
use zeroize::Zeroizing;

use super::options::Servers;
use crate::postgres_url::{HostAddress, PostgresUrl};

/// Reads a text from its place. An error names the place and shows nothing of the text.
pub type ReadText = Box<dyn Fn() -> Result<Zeroizing<String>, String> + Send + Sync>;

/// The servers of a URL.
pub struct UrlServers {
    url: Text<PostgresUrl>,
    password: Option<Text<Zeroizing<String>>>,
}

impl fmt::Debug for UrlServers {
    /// Shows nothing of the URL: it may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UrlServers").finish_non_exhaustive()
    }
}

impl UrlServers {
    /// Returns the servers of the URL that `url` reads. A text of `password` takes precedence over a password in the URL.
    pub fn new(url: ReadText, password: Option<ReadText>) -> Self {
        let parse =
            |text: Zeroizing<String>| PostgresUrl::parse(&text).map_err(|fault| fault.to_string());
        Self {
            url: Text::new(url, parse),
            password: password.map(|read| Text::new(read, Ok)),
        }
    }
}

impl Servers for UrlServers {
    fn config(&self) -> Result<Config, Arc<str>> {
        let url = self.url.value()?;
        let password = match &self.password {
            Some(password) => Some(password.value()?),
            None => url.password.clone(),
        };
        let mut config = Config::new();
        for host in &url.hosts {
            match &host.address {
                HostAddress::Name(name) => config.host(name),
                HostAddress::Socket(directory) => config.host_path(directory),
            };
            config.port(host.port);
        }
        config.dbname(&url.database);
        if let Some(user) = &url.user {
            config.user(user);
        }
        if let Some(password) = password {
            config.password(password.as_bytes());
        }
        Ok(config)
    }
}

/// A text that is read when it is needed. While it cannot be read, its last good value is used.
struct Text<T> {
    read: ReadText,
    parse: fn(Zeroizing<String>) -> Result<T, String>,
    last_good: Mutex<Option<T>>,
}

impl<T: Clone> Text<T> {
    fn new(read: ReadText, parse: fn(Zeroizing<String>) -> Result<T, String>) -> Self {
        Self {
            read,
            parse,
            last_good: Mutex::new(None),
        }
    }

    /// Returns its value as it is now, or the last good one.
    fn value(&self) -> Result<T, Arc<str>> {
        match (self.read)().and_then(self.parse) {
            Ok(value) => {
                *self.last_good.lock() = Some(value.clone());
                Ok(value)
            }
            Err(why) => {
                let last_good = self.last_good.lock().clone();
                if last_good.is_some() {
                    tracing::warn!(
                        error = why,
                        "cannot read the URL or the password of the database, the last good text is used"
                    );
                }
                last_good.ok_or_else(|| why.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_postgres::config::Host;

    use super::*;

    /// Returns a text that a test changes, and what reads it.
    fn text(first: &str) -> (Arc<Mutex<Option<String>>>, ReadText) {
        let text = Arc::new(Mutex::new(Some(first.to_owned())));
        let shared = Arc::clone(&text);
        let read = move || {
            let now = shared.lock().clone();
            now.map(Zeroizing::new)
                .ok_or_else(|| "the file is gone".to_owned())
        };
        (text, Box::new(read))
    }

    #[test]
    fn hosts_and_password_are_those_of_the_moment() {
        let (url, read_url) = text("postgres://hooks:first@db-1,db-2:6432/x");
        let servers = UrlServers::new(read_url, None);
        let config = servers.config().unwrap();
        let names = ["db-1", "db-2"].map(|name| Host::Tcp(name.to_owned()));
        assert_eq!(config.get_hosts(), names);
        assert_eq!(config.get_ports(), [5432, 6432]);
        assert_eq!(config.get_password(), Some(&b"first"[..]));
        assert_eq!(config.get_user(), Some("hooks"));
        *url.lock() = Some("postgres://hooks:second@/x?host=/run/pg".to_owned());
        let config = servers.config().unwrap();
        assert_eq!(config.get_hosts(), [Host::Unix("/run/pg".into())]);
        assert_eq!(config.get_password(), Some(&b"second"[..]));
    }

    /// A secret that is being replaced may be gone or empty for a moment.
    #[test]
    fn last_good_text_is_used_while_it_cannot_be_read() {
        let (url, read_url) = text("postgres://hooks@db/x");
        let (password, read_password) = text("first");
        let servers = UrlServers::new(read_url, Some(read_password));
        assert!(servers.config().is_ok());
        *url.lock() = Some("garbage".to_owned());
        *password.lock() = None;
        let config = servers.config().unwrap();
        assert_eq!(config.get_password(), Some(&b"first"[..]));
        *password.lock() = Some("second".to_owned());
        let config = servers.config().unwrap();
        assert_eq!(config.get_password(), Some(&b"second"[..]));
        let (_, read_url) = text("postgres://hooks:hunter2@db");
        let error = UrlServers::new(read_url, None).config().unwrap_err();
        assert_eq!(&*error, "the URL names no database");
    }
}
