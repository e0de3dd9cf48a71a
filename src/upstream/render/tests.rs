use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method};

use super::*;
use crate::clock::{Clock, SystemClock};
use crate::config::snapshot::{Breaker, PathTemplate, UpstreamTls};
use crate::request::{Client, RequestId};

fn upstream(host: &str, port: u16, tls: bool, own_host: bool) -> Upstream {
    Upstream {
        name: "app".into(),
        address: UpstreamAddress::Tcp { host: host.to_owned(), port, tls: tls.then(UpstreamTls::default) },
        connect_timeout: Duration::from_secs(1),
        timeout: None,
        idle_timeout: Duration::from_secs(4),
        own_host,
        breaker: Breaker { failures: 5, open: Duration::from_secs(5) },
    }
}

fn forward(path: Option<PathTemplate>, keep_query: bool, drop_query: Option<&str>) -> Forward {
    Forward {
        upstream: Arc::new(upstream("app", 80, false, false)),
        path,
        keep_query,
        drop_headers: Vec::new(),
        drop_query: drop_query.map(str::to_owned),
        timeout: Duration::from_secs(10),
    }
}

fn head(target: &str, authority: &str) -> RequestHead {
    RequestHead {
        certificate: None,
        request_id: RequestId::from_u128(1),
        method: Method::POST,
        target: Bytes::copy_from_slice(target.as_bytes()),
        authority: authority.to_owned(),
        tls: true,
        headers: HeaderMap::new(),
        declared_size: Some(0),
        client: Client { ip: IpAddr::from([192, 0, 2, 1]), own: true, behind_trusted_proxy: false },
        received: SystemClock.now(),
    }
}

#[test]
fn the_target_is_raw_and_loses_what_the_route_takes_off() {
    let template = || {
        Some(PathTemplate(vec![
            PathPiece::Literal("/in/".to_owned()),
            PathPiece::Parameter("account".to_owned()),
            PathPiece::Literal("/x".to_owned()),
        ]))
    };
    let params = Params(vec![("account".into(), "a%2Fb".into())]);
    let table = [
        ("/hook/a%2Fb?x=1&y=%zz", None, true, None, "/hook/a%2Fb?x=1&y=%zz"),
        ("/hook/a%2Fb?x=1", None, false, None, "/hook/a%2Fb"),
        ("/hook/a%2Fb", None, true, None, "/hook/a%2Fb"),
        ("/hook/a%2Fb?", None, true, None, "/hook/a%2Fb?"),
        ("/hook/a%2Fb?x=1", template(), true, None, "/in/a%2Fb/x?x=1"),
        ("/hook/a%2Fb?x=1", template(), false, None, "/in/a%2Fb/x"),
        ("/hook?x=1&token=t&y=2", None, true, Some("token"), "/hook?x=1&y=2"),
        ("/hook?token=t", None, true, Some("token"), "/hook"),
        ("/hook?tok%65n=t&z", None, true, Some("token"), "/hook?z"),
        ("/hook?token=a&token=b&Token=c", None, true, Some("token"), "/hook?Token=c"),
        ("/hook?a?token=b&x", None, true, Some("token"), "/hook?a?token=b&x"),
        ("/hook?api+key=b&x", None, true, Some("api key"), "/hook?x"),
    ];
    for (sent, path, keep, drop, expected) in table {
        let target = target(&head(sent, "h"), &params, &forward(path, keep, drop));
        assert_eq!(std::str::from_utf8(&target).unwrap(), expected, "{sent}");
    }
}

#[test]
fn host_is_the_senders_unless_the_upstream_wants_its_own() {
    let table = [
        ("hooks.example:8443", upstream("app", 3000, false, false), "hooks.example:8443"),
        ("hooks.example", upstream("app", 3000, false, true), "app:3000"),
        ("hooks.example", upstream("app", 80, false, true), "app"),
        ("hooks.example", upstream("app", 443, true, true), "app"),
        ("hooks.example", upstream("::1", 80, true, true), "[::1]:80"),
        ("", upstream("app", 3000, false, false), "app:3000"),
        ("a\r\nb", upstream("app", 3000, false, false), "app:3000"),
    ];
    for (sent, upstream, expected) in table {
        assert_eq!(host(&head("/", sent), &upstream), expected, "{sent:?}");
    }
}
