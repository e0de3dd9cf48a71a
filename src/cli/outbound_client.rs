//! A client of the outbound listener: finds it and a token with the right, sends one request, reads one response.
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::cli::admin_client::{bearer, escaped, unreached, url_by};
use crate::cli::ask::{beside, repeated, resolved, token_written};
use crate::cli::context;
use crate::cli::error::Error;
use crate::cli::outbound_error;
use crate::config::file;
use crate::delivery::Fault;
use crate::upstream::fetch::{FetchError, fetch};

/// The address of the outbound listener where no config is known.
const DEFAULT_ADDRESS: &str = "127.0.0.1:9400";
/// The time that the gateway has to answer. A publish may wait 10 s for the disk.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// The options that say which gateway is asked.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct OutboundArgs {
    /// The outbound listener: HOST:PORT, https://HOST:PORT or unix:PATH (default: `outbound.listen` of the config; without a config
    /// 127.0.0.1:9400).
    #[arg(long, global = true, value_name = "ADDRESS")]
    outbound: Option<String>,
    /// The config of the gateway, which names its outbound listener and its tokens.
    #[arg(long, global = true, env = "HOOKGATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The file with the token (default: the first token of the config that has the right).
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// A right of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    /// To publish events.
    Publish,
    /// To read everything but secrets.
    Read,
    /// To change tenants and endpoints.
    Manage,
}

impl Right {
    fn word(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Read => "read",
            Self::Manage => "manage",
        }
    }
}

/// The tokens that a client may use.
enum Tokens {
    /// One for all requests.
    File(Zeroizing<Vec<u8>>),
    /// All that a config has.
    Config(Vec<ConfigToken>),
}

/// A token of a config.
struct ConfigToken {
    /// Its rights, as written.
    allow: Vec<String>,
    /// Its text; `None` if it cannot be read.
    text: Option<Zeroizing<Vec<u8>>>,
}

/// An outbound listener, and the tokens for it.
pub(super) struct OutboundClient {
    address: String,
    tokens: Tokens,
    config: Option<PathBuf>,
    options: String,
}

/// A response of the outbound listener.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    /// The time after which the gateway wants to be asked again.
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Bytes,
}

/// A request to the outbound listener.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) right: Right,
    pub(super) method: Method,
    /// Path and query.
    pub(super) target: String,
    /// JSON; empty if there is none.
    pub(super) body: Bytes,
}

impl Request {
    fn get(target: &str) -> Self {
        Self {
            right: Right::Read,
            method: Method::GET,
            target: target.to_owned(),
            body: Bytes::new(),
        }
    }
}

impl OutboundArgs {
    /// Returns the options that name a config alone.
    pub(super) fn of_config(config: &Path) -> Self {
        Self {
            config: Some(config.to_owned()),
            ..Self::default()
        }
    }

    /// Returns the config that was named.
    pub(super) fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// Finds the listener and the tokens.
    ///
    /// # Errors
    /// The config or the token file cannot be read, the config does not send, or no token is named.
    pub(super) fn client(&self) -> Result<OutboundClient, Error> {
        let needs_config = self.outbound.is_none() || self.token_file.is_none();
        let config = self.config.as_deref().filter(|_| needs_config);
        let outbound = match config {
            Some(path) => context::written(path)?.outbound,
            None => None,
        };
        let beside = beside(self.config.as_deref());
        let address = match (&self.outbound, &outbound) {
            (Some(address), _) => address.clone(),
            (None, Some(outbound)) => resolved(&address_of(outbound).unwrap_or_default(), beside),
            (None, None) if config.is_some() => return Err(self.does_not_send()),
            (None, None) => DEFAULT_ADDRESS.to_owned(),
        };
        let token = |token: &file::OutboundToken| ConfigToken {
            allow: if token.allow.is_empty() {
                vec![Right::Publish.word().to_owned()]
            } else {
                token.allow.clone()
            },
            text: token_written(
                [&token.env, &token.file],
                token.insecure_inline.as_ref(),
                beside,
            ),
        };
        let tokens = match (&self.token_file, &outbound) {
            (Some(path), _) => Tokens::File(Zeroizing::new(context::read(path, "the token file")?)),
            (None, Some(outbound)) => Tokens::Config(outbound.tokens.iter().map(token).collect()),
            (None, None) if config.is_some() => return Err(self.does_not_send()),
            (None, None) => {
                return Err(Error::usage("a token is missing")
                    .hint("--config FILE with the config of the gateway, or --token-file FILE"));
            }
        };
        let listener = ("--outbound", self.outbound.as_deref());
        Ok(OutboundClient {
            address,
            tokens,
            options: repeated(self.config.as_deref(), listener, self.token_file.as_deref()),
            config: self.config.clone(),
        })
    }

    fn does_not_send(&self) -> Error {
        let config = self.config.as_deref().unwrap_or_else(|| Path::new(""));
        Error::usage("the config has no `outbound`: this gateway sends no events")
            .at(config.display().to_string())
            .hint("add `outbound: { listen: { address: 127.0.0.1:9400 }, tokens: […] }`, see docs/outbound.md")
    }
}

/// Returns the address of a config, with its scheme if it speaks TLS.
fn address_of(outbound: &file::Outbound) -> Option<String> {
    let listen = outbound.listen.as_ref()?;
    let address = listen.address.clone()?;
    if listen.tls.is_some() && !address.starts_with("unix:") {
        return Some(format!("https://{address}"));
    }
    Some(address)
}

impl OutboundClient {
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
    /// Exit 69 if nothing answers, 1 with the gateway's message if it refuses, 2 if no token may read.
    pub(super) async fn bytes(&self, target: &str) -> Result<Bytes, Error> {
        self.answer(Request::get(target)).await
    }

    /// Gets `target` as [`Self::get`] does, or `None` if the gateway refuses it with `code`: there is no such thing.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(super) async fn find<T: DeserializeOwned>(
        &self,
        target: &str,
        code: &str,
    ) -> Result<Option<T>, Error> {
        let request = Request::get(target);
        let sent = self.send(&request).await?;
        let reply = sent.map_err(|error| self.unreached(&error))?;
        if reply.status.is_success() {
            return self.parse(&reply.body).map(Some);
        }
        match outbound_error::Problem::of(&reply.body) {
            Some(problem) if problem.code == code => Ok(None),
            Some(_) | None => Err(self.refused(target, &reply)),
        }
    }

    /// Changes something, and parses the JSON of the response.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(super) async fn change<T: DeserializeOwned>(
        &self,
        method: Method,
        target: &str,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        let body = serde_json::to_vec(body)
            .map_err(|error| Error::no("the request cannot be written as JSON").cause(error))?;
        let answer = self.answer(Request {
            right: Right::Manage,
            method,
            target: target.to_owned(),
            body: body.into(),
        });
        self.parse(&answer.await?)
    }

    /// Deletes `target`.
    ///
    /// # Errors
    /// As [`Self::bytes`].
    pub(super) async fn delete(&self, target: &str) -> Result<(), Error> {
        let answer = self.answer(Request {
            right: Right::Manage,
            method: Method::DELETE,
            target: target.to_owned(),
            body: Bytes::new(),
        });
        answer.await.map(drop)
    }

    async fn answer(&self, request: Request) -> Result<Bytes, Error> {
        let sent = self.send(&request).await?;
        let reply = sent.map_err(|error| self.unreached(&error))?;
        if reply.status.is_success() {
            Ok(reply.body)
        } else {
            Err(self.refused(&request.target, &reply))
        }
    }

    /// Sends a request once. Returns the response, whatever its status.
    ///
    /// # Errors
    /// The request cannot be made. The inner error is that of a request without a response.
    pub(super) async fn send(&self, request: &Request) -> Result<Result<Reply, FetchError>, Error> {
        let url = url_by(&self.address, &request.target, &["http", "https"]).map_err(|error| {
            error.hint("127.0.0.1:9400, https://HOST:9400, or unix:/run/hookgate/outbound.sock")
        })?;
        let mut headers = bearer(Some(self.token(request.right)?))?;
        if !request.body.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let (method, body) = (request.method.clone(), request.body.clone());
        let answer = fetch(&url, method, headers, body, ANSWER_TIMEOUT).await;
        Ok(answer.map(|(status, headers, body)| Reply {
            status,
            retry_after: retry_after(&headers),
            body,
        }))
    }

    /// Returns the token for a right.
    fn token(&self, right: Right) -> Result<&[u8], Error> {
        let tokens = match &self.tokens {
            Tokens::File(token) => return Ok(token.trim_ascii()),
            Tokens::Config(tokens) => tokens,
        };
        let word = right.word();
        let may = |token: &&ConfigToken| token.allow.iter().any(|allowed| allowed == word);
        let mut able = tokens.iter().filter(may).peekable();
        let location = self.config.as_deref().unwrap_or_else(|| Path::new(""));
        let location = location.display().to_string();
        if able.peek().is_none() {
            let error = format!("no token of the config may `{word}`");
            return Err(Error::usage(error).at(location).hint(format!(
                "add `{word}` to the `allow` of one of `outbound.tokens`, or --token-file FILE"
            )));
        }
        let text = able.find_map(|token| token.text.as_ref());
        text.map(|text| text.trim_ascii()).ok_or_else(|| {
            Error::usage(format!("no token that may `{word}` can be read"))
                .at(location)
                .hint("run it as a user who may read the token's file, or --token-file FILE")
        })
    }

    /// Returns the error for a request without a response.
    pub(super) fn unreached(&self, error: &FetchError) -> Error {
        let unreached = unreached(&self.address, error, self.config.as_deref());
        match error {
            FetchError::Unreached(Fault::Tls(_)) => unreached.hint(
                "--outbound https://NAME:PORT with a name of its certificate; `SSL_CERT_FILE=ca.pem` in front if a CA of your own signed it",
            ),
            FetchError::Unreached(_)
            | FetchError::Unanswered(_)
            | FetchError::Url
            | FetchError::Unusable(_) => unreached,
        }
    }

    /// Returns the error for a refused request, with the message of the gateway.
    pub(super) fn refused(&self, target: &str, reply: &Reply) -> Error {
        outbound_error::refused(
            target,
            (reply.status, &reply.body),
            &self.address,
            &self.options,
        )
    }

    /// Parses the JSON of a response.
    ///
    /// # Errors
    /// The JSON is not of this version.
    pub(super) fn parse<'a, T: Deserialize<'a>>(&self, body: &'a [u8]) -> Result<T, Error> {
        serde_json::from_slice(body).map_err(|error| {
            Error::no("the response is not that of a gateway of this version")
                .at(self.address.clone())
                .cause(error)
        })
    }
}

/// Reads the seconds of `Retry-After`.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Returns the target of a call within a tenant: its segments are escaped.
pub(super) fn within(tenant: &str, segments: &[&str]) -> String {
    let segments = segments
        .iter()
        .map(|segment| format!("/{}", escaped(segment)));
    format!(
        "/v1/tenants/{}{}",
        escaped(tenant),
        segments.collect::<String>()
    )
}

#[cfg(test)]
mod tests;
