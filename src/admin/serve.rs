//! Serves a router until it is told to stop.
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;

/// For answers under way at the end. Whoever has not finished asking by then is cut off.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Serves on TCP until `stop` is true, or its sender is gone.
pub async fn serve_tcp(listener: TcpListener, router: Router, stop: watch::Receiver<bool>) {
    serve(listener, router, stop).await;
}

/// Serves on a unix socket until `stop` is true, or its sender is gone.
pub async fn serve_unix(listener: UnixListener, router: Router, stop: watch::Receiver<bool>) {
    serve(listener, router, stop).await;
}

async fn serve<L>(listener: L, router: Router, stop: watch::Receiver<bool>)
where
    L: Listener,
    L::Addr: std::fmt::Debug,
{
    let serving = axum::serve(listener, router).with_graceful_shutdown(stopped(stop.clone()));
    let overdue = async {
        stopped(stop).await;
        tokio::time::sleep(LAST_ANSWERS).await;
    };
    tokio::select! {
        served = serving => {
            if let Err(error) = served {
                tracing::error!(error = %error, "an admin listener ended");
            }
        }
        () = overdue => {}
    }
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // an error says that the sender is gone, which stops as well
    stop.wait_for(|stop| *stop).await.map(drop).unwrap_or_default();
}
