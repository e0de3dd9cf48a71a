//! Serves the health and admin listeners within their bounds.
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;

use crate::web::serve::{self, Bounds, Lifetime};

/// The bounds of the connections of a health or admin listener. No request is larger than 64 KiB or takes longer than a minute.
const BOUNDS: Bounds = Bounds {
    connections: 256,
    lifetime: Lifetime::Total(Duration::from_secs(60)),
    head: Duration::from_secs(10),
    max_read: Some(64 * 1024),
    shutdown: Duration::from_secs(1),
};

/// Serves on TCP until `stop` is true, or its sender is gone.
pub async fn serve_tcp(listener: TcpListener, router: Router, stop: watch::Receiver<bool>) {
    serve::serve_tcp(listener, router, BOUNDS, stop).await;
}

/// Serves on a unix socket until `stop` is true, or its sender is gone.
pub async fn serve_unix(listener: UnixListener, router: Router, stop: watch::Receiver<bool>) {
    serve::serve_unix(listener, router, BOUNDS, stop).await;
}
