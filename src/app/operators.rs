//! The health and admin listeners of a gateway.
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::admin::{
    AdminSource, Guard, Offered, TOKEN_FILE, TokenMatcher, health, router, serve_tcp, serve_unix,
    token_beside,
};
use crate::app::start_error::StartError;
use crate::config::snapshot::{Admin, AdminAddress, Token};
use crate::gateway::Gate;
use crate::gateway::admin_source::GatewaySource;
use crate::listener::unix::{self, SocketFile};

/// The health listener. It answers from before the store is opened, so that a liveness probe does not end a process that waits for the store.
pub(super) struct HealthListener {
    /// The address it listens on, or will, if the config has one.
    address: Option<SocketAddr>,
    is_bound: bool,
    /// The state that it reports.
    source: health::Later,
    closing: watch::Receiver<bool>,
}

impl HealthListener {
    /// Returns a health listener that is not bound yet and ends when `closing` is true.
    pub(super) fn new(address: Option<SocketAddr>, closing: watch::Receiver<bool>) -> Self {
        Self {
            address,
            is_bound: false,
            source: health::Later::default(),
            closing,
        }
    }

    /// Binds the listener unless it is bound already, and returns its address.
    pub(super) async fn listen(&mut self) -> Result<Option<SocketAddr>, StartError> {
        if let Some(address) = self.address.filter(|_| !self.is_bound) {
            let (address, listener) = bind("health", address).await?;
            (self.address, self.is_bound) = (Some(address), true);
            tokio::spawn(serve_tcp(
                listener,
                health::router(Arc::clone(&self.source)),
                self.closing.clone(),
            ));
        }
        Ok(self.address)
    }
}

/// The health and admin listeners as they were bound.
#[derive(Debug, Default)]
pub(super) struct Operators {
    /// The address of the health listener.
    pub(super) health: Option<SocketAddr>,
    /// The address of the admin listener.
    pub(super) admin: Option<AdminAddress>,
    /// The file of the admin token, if it was made beside the store.
    pub(super) token_file: Option<PathBuf>,
    /// The file of the admin socket, if there is one. Removed on drop.
    _socket: Option<SocketFile>,
}

/// Binds and serves the health and admin listeners of the config.
pub(super) async fn listen(
    gate: &Arc<Gate>,
    source: &Arc<GatewaySource>,
    health: &mut HealthListener,
) -> Result<Operators, StartError> {
    let snapshot = gate.snapshot();
    let of_health: Arc<dyn AdminSource> = Arc::clone(source) as _;
    health.source.set(of_health).ok();
    let mut operators = Operators {
        health: health.listen().await?,
        ..Operators::default()
    };
    let Some(admin) = &snapshot.admin else {
        return Ok(operators);
    };
    let token_directory = snapshot
        .store
        .engine
        .directory()
        .filter(|_| admin.token.is_none() && admin.tokens.is_empty());
    let made = match token_directory {
        Some(store) => {
            let token = token_beside(store)
                .map_err(cannot(format!("make a token beside {}", store.display())))?;
            operators.token_file = Some(store.join(TOKEN_FILE));
            Some(Token::new(token))
        }
        None => None,
    };
    // the token of the config that runs now: one that was changed because it leaked must not count until a restart
    let of_gate = Arc::clone(gate);
    let token: TokenMatcher = Arc::new(move |offered: &[u8]| {
        Offered::find(of_gate.snapshot().admin.as_ref(), made.as_ref(), offered)
    });
    serve_admin(admin, token, source, health, &mut operators).await?;
    Ok(operators)
}

async fn serve_admin(
    admin: &Admin,
    token: TokenMatcher,
    source: &Arc<GatewaySource>,
    health: &HealthListener,
    operators: &mut Operators,
) -> Result<(), StartError> {
    let (source, closing) = (Arc::clone(source) as _, health.closing.clone());
    match &admin.address {
        AdminAddress::Tcp(address) => {
            let (address, listener) = bind("admin", *address).await?;
            operators.admin = Some(AdminAddress::Tcp(address));
            let router = router(source, Guard::tcp(address, token));
            tokio::spawn(serve_tcp(listener, router, closing));
        }
        AdminAddress::Unix(path) => {
            let (listener, socket) =
                unix::listen(path).map_err(cannot(format!("listen on unix:{}", path.display())))?;
            operators._socket = Some(socket);
            operators.admin = Some(admin.address.clone());
            tracing::info!(r#for = "admin", address = %format_args!("unix:{}", path.display()), "listening");
            let router = router(source, Guard::unix(token));
            tokio::spawn(serve_unix(listener, router, closing));
        }
    }
    Ok(())
}

async fn bind(what: &str, address: SocketAddr) -> Result<(SocketAddr, TcpListener), StartError> {
    let bound = TcpListener::bind(address)
        .await
        .and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (address, listener) = bound.map_err(cannot(format!("listen on {address} for {what}")))?;
    tracing::info!(r#for = what, %address, "listening");
    Ok((address, listener))
}

fn cannot(action: String) -> impl FnOnce(std::io::Error) -> StartError {
    |cause| StartError::System { action, cause }
}
