//! The listener by which the app publishes events.
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::app::start_error::StartError;
use crate::config::snapshot::ListenAddress;
use crate::gateway::Gate;
use crate::listener::unix::{self, SocketFile};
use crate::outbound::{Api, AppTokens, BOUNDS, router};
use crate::random;
use crate::web::guard::Guard;
use crate::web::serve::{TlsSettings, serve_tcp, serve_tls, serve_unix};

/// The listener as it was bound.
#[derive(Debug)]
pub(super) struct OutboundListener {
    /// Its address, with its real port.
    pub(super) address: ListenAddress,
    /// The file of the socket, if it is one. Removed on drop.
    _socket: Option<SocketFile>,
}

/// Binds and serves the listener, if the config sends, with `tls` if it has TLS. It ends when `closing` is true.
pub(super) async fn listen(
    gate: &Arc<Gate>,
    tls: Option<TlsSettings>,
    closing: watch::Receiver<bool>,
) -> Result<Option<OutboundListener>, StartError> {
    let snapshot = gate.snapshot();
    let Some(outbound) = &snapshot.outbound else {
        return Ok(None);
    };
    check_key(gate).await?;
    let api = Api::new(
        gate.store(),
        gate.worker(),
        Arc::clone(gate.clock()),
        gate.activity(),
    );
    // the tokens of the config that runs now: one that was changed because it leaked must not count until a restart
    let of_gate = Arc::clone(gate);
    let tokens = AppTokens::new(move || {
        let snapshot = of_gate.snapshot();
        let outbound = snapshot.outbound.as_ref();
        outbound
            .map(|outbound| outbound.tokens.clone())
            .unwrap_or_default()
    });
    match &outbound.listener.address {
        ListenAddress::Tcp(address) => {
            let (address, listener) = bind(*address).await?;
            let router = router(api, Guard::tcp(address, tokens));
            match tls {
                Some(tls) => {
                    tokio::spawn(serve_tls(listener, tls, router, BOUNDS, closing));
                }
                None => {
                    tokio::spawn(serve_tcp(listener, router, BOUNDS, closing));
                }
            }
            Ok(Some(OutboundListener {
                address: ListenAddress::Tcp(address),
                _socket: None,
            }))
        }
        ListenAddress::Unix(path) => {
            let (listener, socket) = unix::listen(path).map_err(|cause| StartError::System {
                action: format!("listen on unix:{}", path.display()),
                cause,
            })?;
            tracing::info!(r#for = "outbound", address = %format_args!("unix:{}", path.display()), "listening");
            let router = router(api, Guard::unix(tokens));
            tokio::spawn(serve_unix(listener, router, BOUNDS, closing));
            Ok(Some(OutboundListener {
                address: outbound.listener.address.clone(),
                _socket: Some(socket),
            }))
        }
    }
}

/// Checks that the key of the config is the one that sealed the secrets in the store. A new store remembers its key.
async fn check_key(gate: &Gate) -> Result<(), StartError> {
    let snapshot = gate.snapshot();
    let Some(keys) = &snapshot.store.keys else {
        return Ok(());
    };
    let store = gate.store();
    let known = store.seal_check().await.map_err(StartError::SealCheck)?;
    // a former key stays in `old_keys` as long as a secret is sealed by it, and with it the check
    if let Some(sealed) = &known {
        keys.check(sealed)
            .map(drop)
            .map_err(|_| StartError::WrongStoreKey)?;
    } else {
        let nonce = random::secret().map_err(|_| StartError::WrongStoreKey)?;
        let sealed = keys
            .seal_check(nonce)
            .map_err(|_| StartError::WrongStoreKey)?;
        let saved = store.set_seal_check(sealed.into()).await;
        saved.map_err(StartError::SealCheck)?;
    }
    if keys.has_old() {
        return Ok(());
    }
    let prefix = keys.current_prefix().to_vec();
    let others = store.seals_without(prefix.into()).await;
    match others.map_err(StartError::SealCheck)? {
        0 => Ok(()),
        others => Err(StartError::OldStoreKey(others)),
    }
}

async fn bind(address: SocketAddr) -> Result<(SocketAddr, TcpListener), StartError> {
    let bound = TcpListener::bind(address)
        .await
        .and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (address, listener) = bound.map_err(|cause| StartError::System {
        action: format!("listen on {address} for outbound"),
        cause,
    })?;
    tracing::info!(r#for = "outbound", %address, "listening");
    Ok((address, listener))
}
