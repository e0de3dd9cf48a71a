//! Where the gate listens.
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::compile::Context;
use crate::config::compile::certificates::{self, Pair};
use crate::config::diagnostic::Place;
use crate::config::file;
use crate::config::secret::WEAK_BELOW;
use crate::config::snapshot::{Admin, AdminAddress, Listener, Token};

/// How long the path of a unix socket may be, in bytes, on every system.
const MAX_SOCKET_PATH: usize = 103;

/// What is said of a second listener at one address.
const TAKEN: &str = "another listener has this address";

pub(super) fn listeners(listen: Vec<file::Listen>, root: &Place, cx: &mut Context<'_>) -> Vec<Listener> {
    let place = root.key("listen");
    if listen.is_empty() {
        cx.problems.missing(root, "listen", "the gate listens nowhere", "add `listen: [{ address: 0.0.0.0:8080 }]`".to_owned());
    }
    let mut listeners: Vec<Listener> = Vec::with_capacity(listen.len());
    for (index, listen) in listen.into_iter().enumerate() {
        let place = place.index(index);
        let file::Listen { address, proxy_protocol, tls } = listen;
        if proxy_protocol == Some(true) {
            cx.reserved(&place.key("proxy_protocol"), "the PROXY protocol", "leave it out");
        }
        let address = socket(address.as_deref(), &place, cx);
        let tls = tls.map(|tls| server(tls, format!("listen[{index}]"), &place.key("tls"), cx));
        if let Some(address) = address {
            if listeners.iter().any(|other| collide(other.address, address)) {
                cx.problems.error(&place.key("address"), TAKEN, None);
            }
            listeners.push(Listener { address, tls: tls.flatten() });
        }
    }
    listeners
}

/// Whether two sockets cannot be bound beside each other. Port 0 is a free one each time.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let (a, b) = (one.ip(), other.ip());
    let overlap = a == b || (a.is_ipv4() == b.is_ipv4() && (a.is_unspecified() || b.is_unspecified()));
    one.port() == other.port() && one.port() != 0 && overlap
}

/// The health and admin listeners need addresses that no other listener has.
pub(super) fn apart(listeners: &[Listener], health: Option<SocketAddr>, admin: Option<&Admin>, root: &Place, cx: &mut Context<'_>) {
    let admin = admin.and_then(|admin| match &admin.address {
        AdminAddress::Tcp(address) => Some(*address),
        AdminAddress::Unix(_) => None,
    });
    let is_taken = |address: SocketAddr| listeners.iter().any(|listener| collide(listener.address, address));
    let own = [("health", health, false), ("admin", admin, health.zip(admin).is_some_and(|(health, admin)| collide(health, admin)))];
    for (key, address, by_other) in own {
        if address.is_some_and(|address| by_other || is_taken(address)) {
            cx.problems.error(&root.key(key).key("address"), TAKEN, None);
        }
    }
}

pub(super) fn health(health: file::Health, place: &Place, cx: &mut Context<'_>) -> Option<SocketAddr> {
    let file::Health { address } = health;
    socket(address.as_deref(), place, cx)
}

pub(super) fn admin(admin: file::Admin, place: &Place, cx: &mut Context<'_>) -> Option<Admin> {
    let file::Admin { address, token } = admin;
    let has_token = token.is_some();
    let token = token.and_then(|token| cx.loader.one(&token, "admin", "admin/token", &place.key("token"), &mut cx.problems));
    if token.as_ref().is_some_and(|token| token.text.len() < WEAK_BELOW) {
        let message = format!("the admin token is shorter than {WEAK_BELOW} bytes");
        cx.problems.warning_at_key(&place.key("token"), message, "take `openssl rand -hex 32`".to_owned());
    }
    if let Some(token) = &token
        && !token.text.iter().all(u8::is_ascii_graphic)
    {
        cx.problems.error_at_key(
            &place.key("token"),
            "the token holds bytes that no header can carry",
            "take `openssl rand -hex 32`".to_owned(),
        );
    }
    let token = token.map(|token| Token::new(token.text.to_vec()));
    if let Some(path) = address.as_deref().and_then(|address| address.strip_prefix("unix:")) {
        let path = unix(path, "unix:/run/hookgate/admin.sock", &place.key("address"), cx)?;
        return Some(Admin { address: AdminAddress::Unix(path), token });
    }
    let address = socket(address.as_deref(), place, cx)?;
    if !address.ip().is_loopback() && !has_token {
        let help = "add `token: { file: /run/secrets/admin }`, or listen on 127.0.0.1".to_owned();
        cx.problems.error(&place.key("address"), "off loopback the admin listener needs a token", help);
    }
    Some(Admin { address: AdminAddress::Tcp(address), token })
}

/// The path of a unix socket.
pub(super) fn unix(path: &str, such_as: &str, place: &Place, cx: &mut Context<'_>) -> Option<PathBuf> {
    if path.is_empty() {
        cx.problems.error(place, "this is not an address", format!("write `{such_as}`"));
        return None;
    }
    let path = cx.loader.base.join(path);
    if path.as_os_str().len() > MAX_SOCKET_PATH {
        cx.problems.error(place, format!("the path of a unix socket has at most {MAX_SOCKET_PATH} bytes"), None);
        return None;
    }
    Some(path)
}

fn socket(written: Option<&str>, place: &Place, cx: &mut Context<'_>) -> Option<SocketAddr> {
    let Some(text) = written else {
        cx.problems.missing(place, "address", "there is no address", "add `address: HOST:PORT`".to_owned());
        return None;
    };
    // `localhost` is the one name that needs no resolver.
    let text = text.strip_prefix("localhost:").map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
    let address = text.parse().ok();
    if address.is_none() {
        let place = place.key("address");
        if text.starts_with("unix:") {
            cx.reserved(&place, "a listener on a unix socket", "write `HOST:PORT`");
        } else {
            cx.problems.error(&place, "this is not an address", "write an IP address and a port, such as `0.0.0.0:8080`".to_owned());
        }
    }
    address
}

fn server(tls: file::Tls, label: String, place: &Place, cx: &mut Context<'_>) -> Option<Arc<rustls::ServerConfig>> {
    let file::Tls { certificate, key } = tls;
    let pair = Pair { certificate: certificate.as_deref(), key: key.as_deref(), label };
    let identity = certificates::identity(&pair, place, cx)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().ok()?;
    let mut config = builder.with_no_client_auth().with_single_cert(identity.chain.clone(), identity.key.clone_key()).ok()?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Some(Arc::new(config))
}
