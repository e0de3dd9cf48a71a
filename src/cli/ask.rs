//! Asks a running gate: where its listeners are, one request, one answer.
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use crate::cli::context;
use crate::cli::error::{Error, Exit};
use crate::upstream::fetch::{FetchError, Url, fetch};

/// How long a gate may take to answer a command.
const PATIENCE: Duration = Duration::from_secs(5);

/// The URL of `target` at a listener: `HOST:PORT` or `unix:PATH`. An address that means "all" is asked on loopback.
pub(super) fn url(address: &str, target: &str) -> Result<Url, Error> {
    let wrong =
        || Error::usage(format!("this is no address of a listener: {address}")).hint("127.0.0.1:9090, or unix:/run/hookgate/admin.sock");
    if let Some(path) = address.strip_prefix("unix:") {
        return if path.is_empty() { Err(wrong()) } else { Ok(Url::unix(PathBuf::from(path), target)) };
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
pub(super) fn get(address: &str, target: &str, token: Option<&[u8]>) -> Result<(StatusCode, Bytes), Error> {
    context::block_on(get_now(address, target, token))?
}

/// As [`get`], where sockets run already.
pub(super) async fn get_now(address: &str, target: &str, token: Option<&[u8]>) -> Result<(StatusCode, Bytes), Error> {
    let url = url(address, target)?;
    let mut headers = HeaderMap::new();
    if let Some(token) = token {
        let mut value =
            HeaderValue::from_bytes(&[b"Bearer ", token].concat()).map_err(|_| Error::usage("the token cannot stand in a header"))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    let answer = fetch(&url, Method::GET, headers, Bytes::new(), PATIENCE).await;
    let (status, _, body) = answer.map_err(|error| unreached(address, &error))?;
    Ok((status, body))
}

fn unreached(address: &str, error: &FetchError) -> Error {
    Error::new(Exit::UNREACHED, "the gate does not answer").at(address).why(error.to_string()).hint("--config FILE, with its addresses")
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
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = get(&free.to_string(), "/readyz", None).unwrap_err();
        assert_eq!((error.exit, error.place), (Exit::UNREACHED, Some(free.to_string().into())));
    }
}
