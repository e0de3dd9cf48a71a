//! A client of the admin listener: one request, one response.
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::api::actions::Reloaded;
use crate::cli::context;
use crate::cli::error::{Error, Exit};
use crate::cli::policy::quoted;
use crate::cli::words::of_the_command_line;
use crate::delivery::AnswerBody;
use crate::upstream::fetch::{FetchError, Url, fetch, open};

/// The time that the gateway has to answer a command.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// The same for a command that changes or counts much.
const POST_TIMEOUT: Duration = Duration::from_secs(50);

/// An admin listener, and the token for it.
pub(super) struct AdminClient {
    address: String,
    token: Option<Zeroizing<Vec<u8>>>,
    /// The config by which the listener was found.
    config: Option<PathBuf>,
    /// The options of the call, for a command to run next: ` --config FILE`.
    options: String,
}

impl AdminClient {
    /// Returns a client of the listener at `address`, which `config` or `options` of the command line named.
    pub(super) fn new(
        address: String,
        token: Option<Zeroizing<Vec<u8>>>,
        config: Option<PathBuf>,
        options: String,
    ) -> Self {
        Self {
            address,
            token,
            config,
            options,
        }
    }

    /// Returns the options by which a command to run next finds the same gateway: empty, or with a space in front.
    pub(super) fn options(&self) -> &str {
        &self.options
    }

    /// Gets `target` and parses its JSON.
    ///
    /// # Errors
    /// As [`Self::bytes`], and if the JSON is not of this version.
    pub(super) async fn get<T: DeserializeOwned>(&self, target: &str) -> Result<T, Error> {
        self.parse(&self.bytes(target).await?)
    }

    /// Gets `target` as bytes.
    ///
    /// # Errors
    /// Exit 69 if nothing answers, 1 with the gateway's message if it refuses.
    pub(super) async fn bytes(&self, target: &str) -> Result<Bytes, Error> {
        let (status, body) = self.send(Method::GET, target, Bytes::new()).await?;
        self.successful(status, body)
    }

    /// Gets `target` as [`Self::get`] does, or `None` if the gateway has no such thing.
    pub(super) async fn find<T: DeserializeOwned>(&self, target: &str) -> Result<Option<T>, Error> {
        let (status, body) = self.send(Method::GET, target, Bytes::new()).await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        self.parse(&self.successful(status, body)?).map(Some)
    }

    /// Posts JSON to `target` and parses the JSON of the response.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        target: &str,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        let body = serde_json::to_vec(body)
            .map_err(|error| Error::no("the request cannot be written as JSON").cause(error))?;
        let (status, body) = self.send(Method::POST, target, body.into()).await?;
        self.parse(&self.successful(status, body)?)
    }

    /// Reloads the config. Returns the new generation, or the mistakes for which the gateway refused it, as `check` prints them.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(super) async fn reload(&self) -> Result<Result<u64, String>, Error> {
        let (status, body) = self
            .send(Method::POST, "/-/reload", Bytes::from_static(b"{}"))
            .await?;
        if status == StatusCode::UNPROCESSABLE_ENTITY {
            return Ok(Err(self.parse::<Refused>(&body)?.error));
        }
        let reloaded: Reloaded = self.parse(&self.successful(status, body)?)?;
        Ok(Ok(reloaded.generation))
    }

    /// Opens `target` as a stream that lasts at most `timeout`.
    ///
    /// # Errors
    /// As [`Self::bytes`].
    pub(super) async fn open(&self, target: &str, timeout: Duration) -> Result<AnswerBody, Error> {
        let answer = open(
            &url(&self.address, target)?,
            Method::GET,
            self.headers(false)?,
            Bytes::new(),
            timeout,
        )
        .await;
        let mut answer = answer.map_err(|error| self.unreached(&error))?;
        if answer.status.is_success() {
            return Ok(answer.body);
        }
        let mut whole = Vec::new();
        while let Ok(Some(chunk)) = answer.body.next().await {
            whole.extend_from_slice(&chunk);
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
        let timeout = if method == Method::POST {
            POST_TIMEOUT
        } else {
            ANSWER_TIMEOUT
        };
        let answer = fetch(&url(&self.address, target)?, method, headers, body, timeout).await;
        let (status, _, body) = answer.map_err(|error| self.unreached(&error))?;
        Ok((status, body))
    }

    fn unreached(&self, error: &FetchError) -> Error {
        unreached(&self.address, error, self.config.as_deref())
    }

    fn headers(&self, posts: bool) -> Result<HeaderMap, Error> {
        let mut headers = bearer(self.token.as_ref().map(|token| token.trim_ascii()))?;
        if posts {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        Ok(headers)
    }

    fn successful(&self, status: StatusCode, body: Bytes) -> Result<Bytes, Error> {
        if status.is_success() {
            Ok(body)
        } else {
            Err(self.refused(status, &body))
        }
    }

    /// Returns the error for a refused request, with the message of the gateway.
    fn refused(&self, status: StatusCode, body: &[u8]) -> Error {
        let Ok(refused) = serde_json::from_slice::<Refused>(body) else {
            return Error::no(format!(
                "the gateway answers with status {}",
                status.as_u16()
            ))
            .at(self.address.clone());
        };
        let error = Error::no(of_the_command_line(&refused.error)).at(self.address.clone());
        match status {
            StatusCode::UNAUTHORIZED if self.config.is_some() => error.hint(
                "--token-file FILE; without it, the token is that of the config, or `admin-token` in its store",
            ),
            StatusCode::UNAUTHORIZED => error.hint(
                "`export HOOKGATE_CONFIG=FILE` or --config FILE, with the config of the gateway; or --token-file FILE",
            ),
            _ if refused.help.is_empty() => error,
            _ => error.why(of_the_command_line(&refused.help)),
        }
    }

    /// Parses the JSON of a response.
    pub(super) fn parse<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Error> {
        let parsed = serde_json::from_slice(body);
        parsed.map_err(|error| {
            Error::no("the response is not that of a gateway of this version")
                .at(self.address.clone())
                .cause(error)
        })
    }
}

/// The body of a refused request.
#[derive(Deserialize)]
struct Refused {
    error: String,
    #[serde(default)]
    help: String,
}

/// Returns the header that shows a token.
pub(super) fn bearer(token: Option<&[u8]>) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    if let Some(token) = token {
        let mut value = HeaderValue::from_bytes(&[b"Bearer ", token].concat())
            .map_err(|_| Error::usage("the token has characters that a header cannot have"))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(headers)
}

/// Returns the URL of `target` at a listener, `HOST:PORT` or `unix:PATH`. An address that means "all" becomes loopback.
pub(super) fn url(address: &str, target: &str) -> Result<Url, Error> {
    url_by(address, target, &["http"])
        .map_err(|error| error.hint("127.0.0.1:9090, or unix:/run/hookgate/admin.sock"))
}

/// Returns the URL of `target` at a listener that may be written with one of these schemes: the first one if there is none.
pub(super) fn url_by(address: &str, target: &str, schemes: &[&str]) -> Result<Url, Error> {
    let wrong = || Error::usage(format!("not an address of a listener: {address}"));
    if let Some(path) = address.strip_prefix("unix:") {
        return if path.is_empty() {
            Err(wrong())
        } else {
            Ok(Url::unix(PathBuf::from(path), target))
        };
    }
    let (scheme, address) = match address.split_once("://") {
        Some((scheme, rest)) if schemes.contains(&scheme) => (scheme, rest.trim_end_matches('/')),
        Some(_) => return Err(wrong()),
        None => (schemes.first().copied().unwrap_or("http"), address),
    };
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    let host = match host {
        "0.0.0.0" => "127.0.0.1",
        "[::]" => "[::1]",
        "" => return Err(wrong()),
        host => host,
    };
    Url::parse(&format!("{scheme}://{host}:{port}{target}")).map_err(|_| wrong())
}

/// Gets `target` from a listener that `config` may have named.
///
/// # Errors
/// Exit 69 if nothing answers.
pub(super) fn get(
    address: &str,
    target: &str,
    config: Option<&Path>,
) -> Result<(StatusCode, Bytes), Error> {
    context::block_on(get_async(address, target, config))?
}

/// Gets `target` as [`get`] does, within a runtime.
pub(super) async fn get_async(
    address: &str,
    target: &str,
    config: Option<&Path>,
) -> Result<(StatusCode, Bytes), Error> {
    let url = url(address, target)?;
    let headers = HeaderMap::new();
    let answer = fetch(&url, Method::GET, headers, Bytes::new(), ANSWER_TIMEOUT).await;
    let (status, _, body) = answer.map_err(|error| unreached(address, &error, config))?;
    Ok((status, body))
}

/// Returns the error for a listener that does not answer, with the command that starts the gateway if its config is known.
pub(super) fn unreached(address: &str, error: &FetchError, config: Option<&Path>) -> Error {
    let unreached = Error::new(Exit::UNREACHED, "the gateway does not answer")
        .at(address)
        .why(format!("{error}; is the gateway running?"));
    unreached.hint(match config {
        Some(config) => format!(
            "hookgate run --config {}",
            quoted(&config.display().to_string())
        ),
        None => {
            "--config FILE with the config of the gateway, or start it: hookgate run --config FILE"
                .to_owned()
        }
    })
}

/// Escapes a segment of a path for a target.
pub(super) fn escaped(part: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    part.bytes()
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_host_and_port_or_socket() {
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
    fn unreachable_listener_is_exit_69() {
        let free = "127.0.0.1:1";
        let error = get(free, "/readyz", None).unwrap_err();
        assert_eq!(
            (error.exit, error.location),
            (Exit::UNREACHED, Some(free.to_string().into()))
        );
        assert_eq!(
            error.why.as_deref(),
            Some("cannot connect: the server refused the connection; is the gateway running?")
        );
        let config = Path::new("my config.yaml");
        let error = get(free, "/readyz", Some(config)).unwrap_err();
        assert_eq!(
            error.hint.as_deref(),
            Some("hookgate run --config 'my config.yaml'")
        );
    }
}
