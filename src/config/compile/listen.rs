//! Compiles the addresses of listeners.
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::compile::context::Context;
use crate::config::compile::needed::Needed;
use crate::config::compile::tls;
use crate::config::diagnostic::Place;
use crate::config::file;
use crate::config::snapshot::{ListenAddress, Listener, TrustedProxies};

/// The longest path of a unix socket on all systems, in bytes.
const MAX_SOCKET_PATH: usize = 103;

/// Compiles the listeners for senders, each with the place of its entry.
pub(super) fn listeners(
    listen: Vec<file::Listen>,
    proxies: &TrustedProxies,
    needs: Needed,
    root: &Place,
    cx: &mut Context<'_>,
) -> Vec<(Listener, Place)> {
    let place = root.key("listen");
    let help = match needs {
        Needed::ToReceive => Some(
            "add `listen: [{ address: 0.0.0.0:8080 }]` and `routes` to receive webhooks, or `outbound` to send them",
        ),
        Needed::ToReceiveToo => Some("add `listen: [{ address: 0.0.0.0:8080 }]` for the routes"),
        Needed::None => None,
    };
    if let Some(help) = help.filter(|_| listen.is_empty()) {
        cx.problems
            .missing(root, "listen", "there is no listener", help.to_owned());
    }
    let are_proxies_known = !cx.problems.is_faulty(&root.key("trusted_proxies"));
    let mut listeners = Vec::with_capacity(listen.len());
    for (index, listen) in listen.into_iter().enumerate() {
        let place = place.index(index);
        let file::Listen {
            address,
            proxy_protocol,
            tls,
        } = listen;
        let proxy_protocol = proxy_protocol.unwrap_or(false);
        if proxy_protocol && proxies.is_empty() && are_proxies_known {
            let help =
                "add `trusted_proxies: [CIDR]` with the load balancers that may connect here"
                    .to_owned();
            cx.problems.error(
                &place.key("proxy_protocol"),
                "the PROXY protocol is accepted from trusted proxies only, and there are none",
                help,
            );
        }
        let address = listen_address(
            address.as_deref(),
            "unix:/run/hookgate/senders.sock",
            &place,
            cx,
        );
        let tls =
            tls.map(|tls| tls::server(tls, format!("listen[{index}]"), &place.key("tls"), cx));
        let Some(address) = address else { continue };
        if let ListenAddress::Unix(_) = &address
            && proxy_protocol
            && !proxies.unix
            && are_proxies_known
        {
            let help = "add `unix` to `trusted_proxies`".to_owned();
            cx.problems.error(
                &place.key("proxy_protocol"),
                "the clients of this unix socket are not trusted proxies",
                help,
            );
        }
        listeners.push((
            Listener {
                address,
                proxy_protocol,
                tls: tls.flatten(),
            },
            place,
        ));
    }
    listeners
}

/// Compiles the address of the health listener.
pub(super) fn health(
    health: file::Health,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<SocketAddr> {
    let file::Health { address } = health;
    socket(address.as_deref(), place, cx)
}

/// Parses the address of a listener: a TCP address, or a unix socket such as `such_as`.
pub(super) fn listen_address(
    written: Option<&str>,
    such_as: &str,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<ListenAddress> {
    match written.and_then(|written| written.strip_prefix("unix:")) {
        Some(path) => unix(path, such_as, &place.key("address"), cx).map(ListenAddress::Unix),
        None => socket(written, place, cx).map(ListenAddress::Tcp),
    }
}

/// Parses the path of a unix socket.
pub(super) fn unix(
    path: &str,
    such_as: &str,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<PathBuf> {
    if path.is_empty() {
        cx.problems.error(
            place,
            "this is not a valid address",
            format!("write `{such_as}`"),
        );
        return None;
    }
    let path = cx.loader.base.join(path);
    if path.as_os_str().len() > MAX_SOCKET_PATH {
        cx.problems.error(
            place,
            format!("the path of a unix socket must not be longer than {MAX_SOCKET_PATH} bytes"),
            None,
        );
        return None;
    }
    Some(path)
}

/// Parses a TCP address.
fn socket(written: Option<&str>, place: &Place, cx: &mut Context<'_>) -> Option<SocketAddr> {
    let Some(text) = written else {
        cx.problems.missing(
            place,
            "address",
            "the address is missing",
            "add `address: HOST:PORT`".to_owned(),
        );
        return None;
    };
    // `localhost` is the one name that needs no resolver.
    let text = text
        .strip_prefix("localhost:")
        .map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
    let address = text.parse().ok();
    if address.is_none() {
        let help = "write an IP address and a port, such as `0.0.0.0:8080`".to_owned();
        cx.problems
            .error(&place.key("address"), "this is not a valid address", help);
    }
    address
}
