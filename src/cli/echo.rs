//! `hookgate echo`: stands in for the app behind the gateway. Answers every request with what it received.
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Json;
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::routing::get;
use bytes::Bytes;
use http::{HeaderMap, Method, Uri};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::cli::context;
use crate::cli::error::{Error, Exit};
use crate::cli::term;
use crate::verify::SecretLocations;

/// The largest body that it accepts, in bytes.
const MAX_BODY: usize = 64 << 20;

/// Arguments of `echo`.
#[derive(Debug, clap::Args)]
pub struct EchoArgs {
    /// The address to listen on.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
    /// Prints nothing about requests.
    #[arg(long)]
    quiet: bool,
}

/// Runs `echo` until it is interrupted.
///
/// # Errors
/// The address is in use.
pub fn echo(args: &EchoArgs) -> Result<Exit, Error> {
    context::block_on(async {
        let listener = bind(args.listen).await.map_err(|error| {
            error.hint(
                "hookgate echo --listen 127.0.0.1:PORT, with the same port in the upstream's `url`",
            )
        })?;
        term::say(&format!(
            "http://{} answers every request with what it received; /requests counts them",
            args.listen
        ));
        let served = serve(listener, args.quiet);
        tokio::select! {
            result = served => result.map(|()| Exit::DONE),
            _ = tokio::signal::ctrl_c() => Ok(Exit::INTERRUPTED),
        }
    })?
}

/// Binds the address.
///
/// # Errors
/// The address is in use, or cannot be bound.
pub async fn bind(address: SocketAddr) -> Result<tokio::net::TcpListener, Error> {
    tokio::net::TcpListener::bind(address)
        .await
        .map_err(|error| {
            let taken = error.kind() == std::io::ErrorKind::AddrInUse;
            let what = if taken {
                "another process listens on this address"
            } else {
                "this user cannot listen on this address"
            };
            Error::no(what).at(address.to_string()).cause(error)
        })
}

/// Answers requests on `listener` for ever.
///
/// # Errors
/// The listener failed.
pub async fn serve(listener: tokio::net::TcpListener, quiet: bool) -> Result<(), Error> {
    let echo = Arc::new(Echo {
        quiet,
        requests: AtomicU64::new(0),
    });
    let router = Router::new()
        .route("/requests", get(requests))
        .fallback(answer)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(echo);
    axum::serve(listener, router)
        .await
        .map_err(|error| Error::no("the listener failed").cause(error))
}

#[derive(Debug)]
struct Echo {
    quiet: bool,
    requests: AtomicU64,
}

async fn requests(State(echo): State<Arc<Echo>>) -> Json<Value> {
    Json(json!({ "requests": echo.requests.load(Ordering::Relaxed) }))
}

async fn answer(
    State(echo): State<Arc<Echo>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Json<Value> {
    let number = echo.requests.fetch_add(1, Ordering::Relaxed) + 1;
    if !echo.quiet {
        let id = headers
            .get("hookgate-delivery-id")
            .and_then(|id| id.to_str().ok())
            .unwrap_or_default();
        term::say(&format!(
            "{number}  {method} {}  {}  {}",
            term::clean(uri.path()),
            term::counted(length(&body), "byte"),
            term::clean(id)
        ));
    }
    let mut lines = serde_json::Map::new();
    for name in headers.keys() {
        let values: Vec<String> = headers
            .get_all(name)
            .iter()
            .map(|value| SecretLocations::default().show_header(name, value.as_bytes()))
            .collect();
        lines.insert(name.to_string(), values.join(", ").into());
    }
    Json(json!({
        "request": number,
        "method": method.as_str(),
        "path": uri.path(),
        "headers": lines,
        "body_bytes": body.len(),
        "body_sha256": hex::encode(Sha256::digest(&body)),
    }))
}

fn length(body: &[u8]) -> u64 {
    u64::try_from(body.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::upstream::fetch::{Url, fetch};

    #[tokio::test]
    async fn echo_answers_with_the_request_and_a_count() {
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(
            bind(address).await.unwrap_err().message,
            "another process listens on this address"
        );
        let server = tokio::spawn(serve(listener, true));
        let ask = async |target: &str, method: Method| {
            let url = Url::parse(&format!("http://{address}{target}")).unwrap();
            let headers = HeaderMap::from_iter([(
                http::HeaderName::from_static("hookgate-verified"),
                http::HeaderValue::from_static("true"),
            )]);
            let (status, _, body) =
                fetch(&url, method, headers, "hi".into(), Duration::from_secs(5))
                    .await
                    .unwrap();
            assert!(status.is_success());
            serde_json::from_slice::<Value>(&body).unwrap()
        };
        let answer = ask("/hooks?x=1", Method::PUT).await;
        assert_eq!(
            (&answer["method"], &answer["path"], &answer["body_bytes"]),
            (&"PUT".into(), &"/hooks".into(), &2.into())
        );
        assert_eq!(answer["headers"]["hookgate-verified"], "true");
        assert_eq!(answer["headers"]["host"], address.to_string());
        assert_eq!(answer["headers"]["content-length"], "2");
        assert_eq!(
            answer["body_sha256"],
            "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4"
        );
        assert_eq!(ask("/requests", Method::GET).await["requests"], 1);
        server.abort();
    }
}
