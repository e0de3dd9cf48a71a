//! Checks that each upstream with TLS can be connected to, and that its certificate is accepted.
use std::sync::Arc;

use super::finding::Finding;
use crate::clock::SystemClock;
use crate::config::snapshot::{Snapshot, Upstream, UpstreamAddress};
use crate::delivery::{Fault, TlsFault};
use crate::upstream::client::{Client, Unusable};

/// The reason why a handshake failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// No connection could be made.
    Fault(Fault),
    /// The trusted certificates cannot be used.
    Unusable(Unusable),
}

/// A handshake with an upstream.
#[derive(Debug)]
pub(super) struct Handshake {
    upstream: String,
    result: Result<(), Failure>,
}

/// Connects to the upstreams of a config that have TLS. Nothing is sent.
pub(super) async fn make(snapshot: &Snapshot) -> Vec<Handshake> {
    let mut made = Vec::new();
    for upstream in snapshot.upstreams.values() {
        if matches!(&upstream.address, UpstreamAddress::Tcp { tls: Some(_), .. }) {
            made.push(Handshake {
                upstream: upstream.name.to_string(),
                result: dial(upstream).await,
            });
        }
    }
    made
}

async fn dial(upstream: &Arc<Upstream>) -> Result<(), Failure> {
    let client =
        Client::new(Arc::clone(upstream), Arc::new(SystemClock)).map_err(Failure::Unusable)?;
    client.dial().await.map_err(Failure::Fault)
}

/// Judges a handshake.
pub(super) fn judge(handshake: &Handshake) -> Finding {
    let name = &handshake.upstream;
    match &handshake.result {
        Ok(()) => Finding::good(
            "handshake",
            format!("{name} has a certificate that is accepted"),
            format!("certificate of {name}"),
        ),
        Err(Failure::Unusable(why)) => {
            Finding::bad("handshake", format!("{name}: {why}"), "correct its `ca`")
        }
        Err(Failure::Fault(fault)) => Finding::bad(
            "handshake",
            format!("{name}: {}", fault.message("the upstream")),
            remedy(*fault),
        ),
    }
}

/// Returns what to do about a failure.
fn remedy(fault: Fault) -> &'static str {
    match fault {
        Fault::Tls(TlsFault::Expired(_)) => "renew its certificate",
        Fault::Tls(TlsFault::Early) => "check the clocks of both machines, or wait",
        Fault::Tls(TlsFault::Name) => "write a name of its certificate in `url`",
        Fault::Tls(TlsFault::Issuer) => "name its authority under `ca`, or have it send its chain",
        Fault::Tls(TlsFault::Plain) => "write `http://` or the port of its TLS in `url`",
        Fault::Tls(TlsFault::Other) => "look at its log; `openssl s_client` shows the handshake",
        Fault::Resolve
        | Fault::Blocked
        | Fault::Refused
        | Fault::Unreachable
        | Fault::ConnectTimeout
        | Fault::BreakerOpen(_)
        | Fault::Reset
        | Fault::Stale
        | Fault::Timeout
        | Fault::Malformed
        | Fault::TooLarge => "start it, or correct its `url`",
        Fault::Local(_) => "give the gateway's machine more of it",
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::super::finding::Level;
    use super::*;

    #[test]
    fn every_failed_handshake_has_its_finding() {
        let check = |result, level, message: &str| {
            let found = judge(&Handshake {
                upstream: "app".to_owned(),
                result,
            });
            assert_eq!((found.level, &*found.message), (level, message));
            assert_eq!(found.help.is_empty(), level == Level::Good);
        };
        let failed = |fault| Err(Failure::Fault(fault));
        let date = SystemTime::UNIX_EPOCH + Duration::from_secs(1_793_664_000);
        check(
            Ok(()),
            Level::Good,
            "app has a certificate that is accepted",
        );
        check(
            failed(Fault::Tls(TlsFault::Expired(Some(date)))),
            Level::Bad,
            "app: the upstream's certificate expired on 3 November 2026",
        );
        check(
            failed(Fault::Refused),
            Level::Bad,
            "app: the upstream refused the connection",
        );
    }
}
