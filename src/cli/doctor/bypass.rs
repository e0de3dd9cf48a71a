//! Checks whether an app can be reached past the gateway, by dialling its port on the machine's other addresses.
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::finding::Finding;
use crate::config::snapshot::{Snapshot, Upstream, UpstreamAddress};

/// The longest time that an address may take to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(700);
/// The longest time that a name may take to resolve.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(3);
/// The largest number of addresses that are dialled.
const MAX_DIALLED: usize = 256;

/// An upstream, and the addresses at which it can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reach {
    pub(super) upstream: String,
    pub(super) at: At,
}

/// The location of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// Behind a unix socket.
    Socket,
    /// On loopback; `others` of the machine's addresses were dialled, and `answered` are those that answered.
    Loopback {
        others: usize,
        answered: Vec<SocketAddr>,
    },
    /// On an address of this machine that other machines reach.
    Own(SocketAddr),
    /// On another machine.
    Elsewhere(String),
    /// The name does not resolve.
    Unknown(String),
}

/// Judges one upstream.
pub(super) fn judge(reach: &Reach) -> Finding {
    let name = &reach.upstream;
    match &reach.at {
        At::Socket => Finding::good(
            "bypass",
            format!("{name} is behind a unix socket"),
            format!("{name} behind a socket"),
        ),
        At::Loopback { answered, .. } if !answered.is_empty() => {
            let first = answered
                .first()
                .map(ToString::to_string)
                .unwrap_or_default();
            let more = if answered.len() > 1 {
                format!(" and {} more addresses", answered.len() - 1)
            } else {
                String::new()
            };
            Finding::bad(
                "bypass",
                format!("{name} can be reached at {first}{more}, past the gateway"),
                "bind it to 127.0.0.1",
            )
        }
        At::Loopback { others: 0, .. } => Finding::good(
            "bypass",
            format!("{name} is on loopback, and the machine has no other address"),
            format!("{name} only on loopback"),
        ),
        At::Loopback { others, .. } => Finding::good(
            "bypass",
            format!(
                "{name} is on loopback, and answers on none of the machine's {others} other addresses"
            ),
            format!("{name} only on loopback"),
        ),
        At::Own(address) => Finding::bad(
            "bypass",
            format!("{name} is on {address}, which other machines reach past the gateway"),
            "bind it to 127.0.0.1, and write that in `url`",
        ),
        At::Elsewhere(location) => Finding::warning(
            "bypass",
            format!(
                "{name} is on another machine ({location}), where requests can reach it past the gateway"
            ),
            "allow only the gateway to reach it, by a network rule",
        ),
        At::Unknown(host) => Finding::warning(
            "bypass",
            format!("{name}: {host} does not resolve"),
            "correct its `url`",
        ),
    }
}

/// Returns the machine's addresses, or `None` if the system does not list them.
pub(super) fn own_addresses() -> Option<Vec<SocketAddr>> {
    let mut found = BTreeSet::new();
    for interface in getifaddrs()
        .ok()?
        .filter(|interface| interface.flags.contains(InterfaceFlags::IFF_UP))
    {
        let Some(address) = interface.address else {
            continue;
        };
        if let Some(v4) = address.as_sockaddr_in() {
            found.insert(SocketAddr::from((v4.ip(), 0)));
        } else if let Some(v6) = address.as_sockaddr_in6() {
            // a link-local address is only valid on its link
            found.insert(SocketAddr::V6(SocketAddrV6::new(
                v6.ip(),
                0,
                0,
                v6.scope_id(),
            )));
        }
    }
    Some(found.into_iter().collect())
}

/// Dials the upstreams of a config. `own` are the machine's addresses. Nothing is sent.
pub(super) async fn look(snapshot: &Snapshot, own: &[SocketAddr]) -> Vec<Reach> {
    let mut all = Vec::new();
    for upstream in snapshot.upstreams.values() {
        all.push(Reach {
            upstream: upstream.name.to_string(),
            at: at(upstream, snapshot, own).await,
        });
    }
    all
}

async fn at(upstream: &Upstream, snapshot: &Snapshot, own: &[SocketAddr]) -> At {
    let UpstreamAddress::Tcp { host, port, .. } = &upstream.address else {
        return At::Socket;
    };
    let resolved = timeout(
        RESOLVE_TIMEOUT,
        tokio::net::lookup_host((host.as_str(), *port)),
    )
    .await;
    let addresses: Vec<SocketAddr> = resolved
        .ok()
        .and_then(Result::ok)
        .into_iter()
        .flatten()
        .collect();
    let is_loopback = |address: &SocketAddr| address.ip().to_canonical().is_loopback();
    let Some(first) = addresses.first() else {
        return At::Unknown(host.clone());
    };
    if let Some(far) = addresses.iter().find(|address| !is_loopback(address)) {
        let is_own = own.iter().any(|own| own.ip() == far.ip());
        return if is_own {
            At::Own(*far)
        } else {
            At::Elsewhere(format!("{host}:{port}"))
        };
    }
    let others = others(own, first.port(), &listening(snapshot));
    At::Loopback {
        others: others.len(),
        answered: answering(others).await,
    }
}

/// Returns the addresses of the gateway itself.
fn listening(snapshot: &Snapshot) -> Vec<SocketAddr> {
    snapshot
        .listeners
        .iter()
        .filter_map(|listener| listener.address.tcp())
        .chain(snapshot.health)
        .collect()
}

/// Returns the addresses of this machine at which an app on `port` should not answer: not loopback, and none of the gateway's.
fn others(own: &[SocketAddr], port: u16, gate: &[SocketAddr]) -> Vec<SocketAddr> {
    let is_gate = |address: &SocketAddr| {
        gate.iter().any(|gate| {
            gate.port() == port && (gate.ip() == address.ip() || is_any(gate.ip(), address.ip()))
        })
    };
    let with_port = own.iter().map(|address| {
        let mut address = *address;
        address.set_port(port);
        address
    });
    with_port
        .filter(|address| !address.ip().to_canonical().is_loopback() && !is_gate(address))
        .take(MAX_DIALLED)
        .collect()
}

fn is_any(bound: IpAddr, address: IpAddr) -> bool {
    bound.is_unspecified() && (bound.is_ipv6() || address.is_ipv4())
}

/// Returns the addresses that accept a connection.
async fn answering(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let mut dialling = JoinSet::new();
    for address in addresses {
        dialling.spawn(async move {
            matches!(
                timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await,
                Ok(Ok(_))
            )
            .then_some(address)
        });
    }
    let mut answered: Vec<SocketAddr> = dialling.join_all().await.into_iter().flatten().collect();
    answered.sort();
    answered
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    fn addresses(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn every_way_to_reach_the_app_has_its_finding() {
        let check = |at: At, level: Level, words: &str| {
            let found = judge(&Reach {
                upstream: "app".to_owned(),
                at,
            });
            assert_eq!(
                (found.level, found.message.contains(words)),
                (level, true),
                "{}",
                found.message
            );
        };
        check(At::Socket, Level::Good, "unix socket");
        check(
            At::Loopback {
                others: 0,
                answered: vec![],
            },
            Level::Good,
            "no other address",
        );
        check(
            At::Loopback {
                others: 3,
                answered: vec![],
            },
            Level::Good,
            "none of the machine's 3",
        );
        let answered = addresses(&["10.0.4.17:3000"]);
        check(
            At::Loopback {
                others: 3,
                answered: answered.clone(),
            },
            Level::Bad,
            "app can be reached at 10.0.4.17:3000, past the gateway",
        );
        let two = addresses(&["10.0.4.17:3000", "[fd00::2]:3000"]);
        check(
            At::Loopback {
                others: 3,
                answered: two,
            },
            Level::Bad,
            "10.0.4.17:3000 and 1 more",
        );
        check(At::Own(answered[0]), Level::Bad, "10.0.4.17:3000");
        check(
            At::Elsewhere("app.internal:80".to_owned()),
            Level::Warning,
            "app.internal:80",
        );
        check(
            At::Unknown("ap.internal".to_owned()),
            Level::Warning,
            "does not resolve",
        );
    }

    #[test]
    fn gateways_own_listener_is_no_bypass() {
        let own = addresses(&["127.0.0.1:0", "[::1]:0", "10.0.4.17:0", "[fd00::2]:0"]);
        assert_eq!(
            others(&own, 3000, &[]),
            addresses(&["10.0.4.17:3000", "[fd00::2]:3000"])
        );
        assert_eq!(
            others(&own, 3000, &addresses(&["10.0.4.17:3000"])),
            addresses(&["[fd00::2]:3000"])
        );
        assert_eq!(
            others(&own, 3000, &addresses(&["0.0.0.0:3000"])),
            addresses(&["[fd00::2]:3000"])
        );
        assert_eq!(
            others(&own, 3000, &addresses(&["[::]:3000"])),
            addresses(&[])
        );
        assert_eq!(others(&own, 3000, &addresses(&["0.0.0.0:8080"])).len(), 2);
    }

    #[tokio::test]
    async fn answering_addresses_are_found() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        let closed = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        assert_eq!(answering(vec![closed, open]).await, [open]);
        assert!(
            own_addresses()
                .unwrap()
                .iter()
                .any(|address| address.ip().is_loopback())
        );
    }
}
