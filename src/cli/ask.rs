//! Asks a running gate: where its listeners are, one request, one answer.
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::admin::TOKEN_FILE;
use crate::cli::context;
use crate::cli::error::{Error, Exit};
use crate::cli::running::Running;
use crate::cli::words::of_the_command_line;
use crate::config::file;
use crate::delivery::AnswerBody;
use crate::upstream::fetch::{FetchError, Url, fetch, open};

/// How long a gate may take to answer a command.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same for what changes much, or counts much.
const LONG_PATIENCE: Duration = Duration::from_secs(50);

/// Where the admin listener is asked where neither a config nor a running gateway is known.
const ADDRESS: &str = "127.0.0.1:9090";

/// Which gate is asked.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct GateArgs {
    /// The admin listener, HOST:PORT or unix:PATH (default: where the running gateway listens, else `admin.address` of the config; without a
    /// config 127.0.0.1:9090).
    #[arg(long, global = true, value_name = "ADDRESS")]
    admin: Option<String>,
    /// The config of the gate: says where its admin listener is, and its token.
    #[arg(long, global = true, env = "HOOKGATE_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// The file with the admin token, for a listener that is not on loopback.
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl GateArgs {
    /// Gets `target` from the admin listener: its JSON as text, and read.
    ///
    /// # Errors
    /// Exit 69 if nothing answers, 1 if what answers is no gate.
    pub(super) fn ask<T: DeserializeOwned>(&self, target: &str) -> Result<(String, T), Error> {
        let door = self.door()?;
        let body = context::block_on(door.bytes(target))??;
        Ok((
            String::from_utf8_lossy(&body).trim_end().to_owned(),
            door.read(&body)?,
        ))
    }

    /// Finds the admin listener and the token: where the running gateway says it is, else where its config says.
    ///
    /// # Errors
    /// A token file that cannot be read, or a config that cannot be read while no running gateway left its addresses.
    pub(super) fn door(&self) -> Result<Door, Error> {
        let config = self
            .config
            .as_deref()
            .filter(|_| self.admin.is_none() || self.token_file.is_none());
        let written = config.map(context::written).transpose();
        let store = context::store_of(self.config.as_deref());
        let running = Running::find(config, store.as_deref());
        let written = match (written, &running) {
            (Ok(written), _) => written.unwrap_or_default(),
            (Err(_), Some(_)) => file::File::default(),
            (Err(error), None) => return Err(error),
        };
        let admin = written.admin.unwrap_or_default();
        let listens = match &running {
            // a gateway that is known to have none: whoever listens at the default address is another
            Some(running) => running.admin.clone(),
            None if self.config.is_some() => {
                admin.address.as_ref().map(|address| self.near(address))
            }
            None => Some(ADDRESS.to_owned()),
        };
        let address = self.admin.clone().or(listens).ok_or_else(no_listener)?;
        let token = match &self.token_file {
            Some(path) => Some(Zeroizing::new(context::read(path, "the token file")?)),
            None if admin.token.is_none() && admin.tokens.is_empty() => {
                store.and_then(|store| token_at(store.join(TOKEN_FILE)))
            }
            None => self.token_of(&admin),
        };
        let token = token.or_else(|| token_at(running?.token_file?));
        Ok(Door { address, token })
    }

    /// Finds what the running gateway left, if it has no admin listener.
    pub(super) fn without_listener(&self) -> Option<Running> {
        let store = context::store_of(self.config.as_deref());
        Running::find(self.config.as_deref(), store.as_deref())
            .filter(|running| self.admin.is_none() && running.admin.is_none())
    }

    /// Reads the admin token of a config: `admin.token`, else one of `admin.tokens` that may do the most. One that cannot be read is left out.
    fn token_of(&self, admin: &file::Admin) -> Option<Zeroizing<Vec<u8>>> {
        let main = admin.token.as_ref().and_then(|token| {
            self.token_written([&token.env, &token.file], token.insecure_inline.as_ref())
        });
        let may = |token: &file::AdminToken, right: &str| {
            token.allow.iter().any(|allowed| allowed == right)
        };
        let mut named: Vec<&file::AdminToken> = admin.tokens.iter().collect();
        // stable: the first of those that may do the same
        named.sort_by_key(|token| (!may(token, "act"), !may(token, "read")));
        let of = |token: &file::AdminToken| {
            self.token_written([&token.env, &token.file], token.insecure_inline.as_ref())
        };
        main.or_else(|| named.into_iter().find_map(of))
    }

    /// Reads a token that is in a variable, in a file or in the config; an unreadable one is left out, since reading on loopback needs none.
    fn token_written(
        &self,
        [env, file]: [&Option<String>; 2],
        inline: Option<&file::InlineSecret>,
    ) -> Option<Zeroizing<Vec<u8>>> {
        if let Some(name) = env {
            return std::env::var(name)
                .ok()
                .map(|text| Zeroizing::new(text.into_bytes()));
        }
        if let Some(path) = file {
            return token_at(self.beside().join(path));
        }
        inline.map(|inline| Zeroizing::new(inline.0.clone().into_bytes()))
    }

    /// An address of the config: the path of a socket begins where the config is.
    fn near(&self, address: &str) -> String {
        match address.strip_prefix("unix:") {
            Some(path) => format!("unix:{}", self.beside().join(path).display()),
            None => address.to_owned(),
        }
    }

    /// The directory of the config: relative paths begin there.
    fn beside(&self) -> &Path {
        self.config
            .as_deref()
            .and_then(Path::parent)
            .unwrap_or_else(|| Path::new(""))
    }
}

/// Reads a token; one that cannot be read is left out, since reading on loopback needs none.
fn token_at(path: PathBuf) -> Option<Zeroizing<Vec<u8>>> {
    std::fs::read(path).ok().map(Zeroizing::new)
}

/// The gateway has no admin listener, so no command can ask it.
pub(super) fn no_listener() -> Error {
    Error::new(Exit::UNREACHED, "the gateway has no admin listener")
        .why("Commands ask the gateway there. To reload the config alone, send SIGHUP to the gateway: `kill -HUP PID`.")
        .hint("add `admin: { address: 127.0.0.1:9090 }` to its config, and restart it")
}

/// A gate's admin listener, and the token for it.
pub(super) struct Door {
    address: String,
    token: Option<Zeroizing<Vec<u8>>>,
}

impl Door {
    /// Gets `target`, read from JSON.
    ///
    /// # Errors
    /// As [`Self::bytes`], and what is not JSON of this version.
    pub(super) async fn get<T: DeserializeOwned>(&self, target: &str) -> Result<T, Error> {
        self.read(&self.bytes(target).await?)
    }

    /// Gets `target` as it is.
    ///
    /// # Errors
    /// Exit 69 if nothing answers, 1 with the gate's words if it says no.
    pub(super) async fn bytes(&self, target: &str) -> Result<Bytes, Error> {
        let (status, body) = self.send(Method::GET, target, Bytes::new()).await?;
        self.yes(status, body)
    }

    /// As [`Self::get`], where "there is none" is an answer.
    pub(super) async fn find<T: DeserializeOwned>(&self, target: &str) -> Result<Option<T>, Error> {
        let (status, body) = self.send(Method::GET, target, Bytes::new()).await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        self.read(&self.yes(status, body)?).map(Some)
    }

    /// Posts JSON to `target`.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        target: &str,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        let body = serde_json::to_vec(body)
            .map_err(|error| Error::no("the order cannot be written").cause(error))?;
        let (status, body) = self.send(Method::POST, target, body.into()).await?;
        self.read(&self.yes(status, body)?)
    }

    /// Gets `target` as a stream that lasts `timeout` at most.
    ///
    /// # Errors
    /// As [`Self::bytes`].
    pub(super) async fn open(
        &self,
        target: &str,
        timeout: Duration,
    ) -> Result<Box<dyn AnswerBody>, Error> {
        let answer = open(
            &url(&self.address, target)?,
            Method::GET,
            self.headers(false)?,
            Bytes::new(),
            timeout,
        )
        .await;
        let mut answer = answer.map_err(|error| unreached(&self.address, &error))?;
        if answer.status.is_success() {
            return Ok(answer.body);
        }
        let mut whole = Vec::new();
        while let Ok(Some(piece)) = answer.body.next().await {
            whole.extend_from_slice(&piece);
        }
        Err(self.refused(answer.status, &whole))
    }

    async fn send(
        &self,
        method: Method,
        target: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), Error> {
        let headers = self.headers(method == Method::POST)?;
        let patience = if method == Method::POST {
            LONG_PATIENCE
        } else {
            PATIENCE
        };
        let answer = fetch(
            &url(&self.address, target)?,
            method,
            headers,
            body,
            patience,
        )
        .await;
        let (status, _, body) = answer.map_err(|error| unreached(&self.address, &error))?;
        Ok((status, body))
    }

    fn headers(&self, posts: bool) -> Result<HeaderMap, Error> {
        let mut headers = bearer(self.token.as_ref().map(|token| token.trim_ascii()))?;
        if posts {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        Ok(headers)
    }

    fn yes(&self, status: StatusCode, body: Bytes) -> Result<Bytes, Error> {
        if status.is_success() {
            Ok(body)
        } else {
            Err(self.refused(status, &body))
        }
    }

    /// The gate said no: its own words, if it is one.
    fn refused(&self, status: StatusCode, body: &[u8]) -> Error {
        #[derive(Deserialize)]
        struct Said {
            error: String,
            #[serde(default)]
            help: String,
        }
        let Ok(said) = serde_json::from_slice::<Said>(body) else {
            return Error::no(format!("the gate answers {}", status.as_u16()))
                .at(self.address.clone());
        };
        let error = Error::no(of_the_command_line(&said.error)).at(self.address.clone());
        match status {
            StatusCode::UNAUTHORIZED => {
                error.hint("--token-file FILE, or --config FILE of the gate")
            }
            _ if said.help.is_empty() => error,
            _ => error.why(of_the_command_line(&said.help)),
        }
    }

    fn read<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Error> {
        let read = serde_json::from_slice(body);
        read.map_err(|error| {
            Error::no("what answers is no gate, or one of another version")
                .at(self.address.clone())
                .cause(error)
        })
    }
}

fn bearer(token: Option<&[u8]>) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    if let Some(token) = token {
        let mut value = HeaderValue::from_bytes(&[b"Bearer ", token].concat())
            .map_err(|_| Error::usage("the token cannot stand in a header"))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(headers)
}

/// The URL of `target` at a listener: `HOST:PORT` or `unix:PATH`. An address that means "all" is asked on loopback.
pub(super) fn url(address: &str, target: &str) -> Result<Url, Error> {
    let wrong = || {
        Error::usage(format!("this is no address of a listener: {address}"))
            .hint("127.0.0.1:9090, or unix:/run/hookgate/admin.sock")
    };
    if let Some(path) = address.strip_prefix("unix:") {
        return if path.is_empty() {
            Err(wrong())
        } else {
            Ok(Url::unix(PathBuf::from(path), target))
        };
    }
    let address = match address.split_once("://") {
        Some(("http", rest)) => rest.trim_end_matches('/'),
        Some(_) => return Err(wrong()),
        None => address,
    };
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    let host = match host {
        "0.0.0.0" => "127.0.0.1",
        "[::]" => "[::1]",
        "" => return Err(wrong()),
        host => host,
    };
    Url::parse(&format!("http://{host}:{port}{target}")).map_err(|_| wrong())
}

/// Gets `target` from a listener.
///
/// # Errors
/// Exit 69 if nothing answers.
pub(super) fn get(
    address: &str,
    target: &str,
    token: Option<&[u8]>,
) -> Result<(StatusCode, Bytes), Error> {
    context::block_on(get_now(address, target, token))?
}

/// As [`get`], where sockets run already.
pub(super) async fn get_now(
    address: &str,
    target: &str,
    token: Option<&[u8]>,
) -> Result<(StatusCode, Bytes), Error> {
    let url = url(address, target)?;
    let headers = bearer(token)?;
    let answer = fetch(&url, Method::GET, headers, Bytes::new(), PATIENCE).await;
    let (status, _, body) = answer.map_err(|error| unreached(address, &error))?;
    Ok((status, body))
}

fn unreached(address: &str, error: &FetchError) -> Error {
    Error::new(Exit::UNREACHED, "the gate does not answer")
        .at(address)
        .why(error.to_string())
        .hint("--config FILE, with its addresses")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port_or_a_socket() {
        let host = |address: &str| match url(address, "/x").unwrap() {
            Url::Tcp { authority, .. } => authority,
            Url::Unix { path, .. } => path.display().to_string(),
        };
        assert_eq!(host("0.0.0.0:9091"), "127.0.0.1:9091");
        assert_eq!(host("[::]:9091"), "[::1]:9091");
        assert_eq!(host("localhost:1"), "localhost:1");
        assert_eq!(host("http://localhost:1/"), "localhost:1");
        assert_eq!(host("unix:/run/a.sock"), "/run/a.sock");
        for wrong in ["", "localhost", ":80", "unix:", "https://h:1", "h:99999"] {
            assert_eq!(url(wrong, "/x").unwrap_err().exit, Exit::USAGE, "{wrong}");
        }
    }

    #[test]
    fn nobody_there_is_exit_69() {
        let free = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let error = get(&free.to_string(), "/readyz", None).unwrap_err();
        assert_eq!(
            (error.exit, error.place),
            (Exit::UNREACHED, Some(free.to_string().into()))
        );
    }
}
