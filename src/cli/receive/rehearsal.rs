//! A receiver of Standard Webhooks within another command.
use std::sync::Arc;

use http::StatusCode;
use tokio::net::TcpListener;
use tokio::sync::mpsc::UnboundedSender;
use zeroize::Zeroizing;

use super::entry::{Entry, Outcome};
use super::judge::Verdict;
use super::plan::Plan;
use super::secrets;
use super::server::{Receiver, serve as serve_until};
use crate::cli::error::Error;
use crate::cli::term::Look;

/// A delivery.
#[derive(Debug)]
pub(in crate::cli) struct Line {
    /// The line for people.
    pub(in crate::cli) text: String,
    /// The ID of the event, as sent.
    pub(in crate::cli) id: Option<String>,
    /// Whether it was authentic and answered with success.
    pub(in crate::cli) is_accepted: bool,
}

/// Returns the work of a receiver with one secret, which sends a line for each delivery and never ends by itself.
///
/// # Errors
/// The secret cannot be used.
pub(in crate::cli) fn serve(
    listener: TcpListener,
    secret: Zeroizing<Vec<u8>>,
    look: Look,
    lines: UnboundedSender<Line>,
) -> Result<impl Future<Output = Result<(), Error>>, Error> {
    let plan = Plan::failing(0, None, StatusCode::OK, std::time::Duration::ZERO);
    let receiver = Arc::new(Receiver::new(secrets::one(secret)?, None, plan));
    Ok(async move {
        let mut show = |entry: &Entry| {
            let line = Line {
                text: entry.text(&look),
                id: entry.judged.id.clone(),
                is_accepted: matches!(entry.judged.verdict, Verdict::Authentic { .. })
                    && matches!(entry.outcome, Outcome::Answered(status) if status.is_success()),
            };
            // an owner that went away needs no lines
            lines.send(line).ok();
            Ok(())
        };
        serve_until(&listener, &receiver, &mut show, std::future::pending())
            .await
            .map(drop)
    })
}
