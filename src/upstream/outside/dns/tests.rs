//! A small DNS server on loopback answers the questions.
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_resolver::config::ConnectionConfig;
use hickory_resolver::proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, SOA};
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};

use super::*;
use crate::clock::SystemClock;
use crate::upstream::resolve::tests::Moved;

/// The answer to each question about a name.
#[derive(Clone, Debug, Default)]
struct Entry {
    addresses: Vec<IpAddr>,
    ttl: u32,
    alias: Option<String>,
    /// The failure that comes first, so many times.
    fails_first: usize,
    /// The time in seconds for which a failure may be remembered.
    failure_ttl: Option<u32>,
    is_silent: bool,
    /// Whether the answer by UDP has another ID: never, first, or always.
    wrong_id: Option<bool>,
    is_truncated: bool,
}

struct Server {
    port: u16,
    entries: HashMap<String, Entry>,
    asked: Mutex<Vec<(String, RecordType)>>,
    by_tcp: AtomicUsize,
}

/// Binds a port for UDP and TCP. Another test may have it for one of them.
async fn both() -> (UdpSocket, TcpListener, u16) {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = udp.local_addr().unwrap().port();
        if let Ok(tcp) = TcpListener::bind(("127.0.0.1", port)).await {
            return (udp, tcp, port);
        }
    }
}

impl Server {
    /// Starts a server, and returns it with a look-up that asks it.
    async fn start(entries: impl IntoIterator<Item = (&str, Entry)>) -> (Arc<Self>, DnsLookup) {
        let (udp, tcp, port) = both().await;
        let entries = entries.into_iter();
        let server = Arc::new(Self {
            port,
            entries: entries
                .map(|(name, entry)| (name.to_owned(), entry))
                .collect(),
            asked: Mutex::default(),
            by_tcp: AtomicUsize::new(0),
        });
        tokio::spawn(Arc::clone(&server).serve_udp(udp));
        tokio::spawn(Arc::clone(&server).serve_tcp(tcp));
        let lookup = DnsLookup::fixed(server.config(), Arc::new(SystemClock));
        (server, lookup)
    }

    fn config(&self) -> ResolverConfig {
        let mut server = NameServerConfig::udp_and_tcp(Ipv4Addr::LOCALHOST.into());
        server.connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].into();
        for connection in &mut server.connections {
            connection.port = self.port;
        }
        let search = Name::from_ascii("cluster.test.").unwrap();
        ResolverConfig::from_parts(Some(search.clone()), vec![search], vec![server])
    }

    async fn serve_udp(self: Arc<Self>, socket: UdpSocket) {
        let mut bytes = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut bytes).await {
            for answer in self.answers(&bytes[..length], true) {
                socket.send_to(&answer, from).await.unwrap();
            }
        }
    }

    async fn serve_tcp(self: Arc<Self>, listener: TcpListener) {
        while let Ok((mut stream, _)) = listener.accept().await {
            let server = Arc::clone(&self);
            tokio::spawn(async move {
                while let Ok(length) = stream.read_u16().await {
                    let mut bytes = vec![0; length.into()];
                    stream.read_exact(&mut bytes).await.unwrap();
                    server.by_tcp.fetch_add(1, Ordering::SeqCst);
                    for answer in server.answers(&bytes, false) {
                        let length = u16::try_from(answer.len()).unwrap();
                        stream.write_u16(length).await.unwrap();
                        stream.write_all(&answer).await.unwrap();
                    }
                }
            });
        }
    }

    /// Returns the answers to a question, in their order.
    fn answers(&self, question: &[u8], is_udp: bool) -> Vec<Vec<u8>> {
        let question = Message::from_vec(question).unwrap();
        let query = question.queries[0].clone();
        let name = query.name().to_string();
        let kind = query.query_type();
        let before = {
            let mut asked = self.asked.lock();
            let same = |other: &&(String, RecordType)| **other == (name.clone(), kind);
            let before = asked.iter().filter(same).count();
            asked.push((name.clone(), kind));
            before
        };
        let entry = self.entries.get(&name).cloned().unwrap_or_default();
        let mut answer = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
        answer.metadata.recursion_available = true;
        answer.add_query(query.clone());
        let fails = before < entry.fails_first;
        let record = |data| Record::from_rdata(query.name().clone(), entry.ttl, data);
        if let Some(alias) = &entry.alias {
            let alias = CNAME(Name::from_ascii(alias).unwrap());
            answer.add_answer(record(RData::CNAME(alias)));
        }
        for ip in entry.addresses.iter().filter(|_| !fails) {
            match (ip, kind) {
                (IpAddr::V4(ip), RecordType::A) => answer.add_answer(record(RData::A(A(*ip)))),
                (IpAddr::V6(ip), RecordType::AAAA) => {
                    answer.add_answer(record(RData::AAAA(AAAA(*ip))))
                }
                _ => &mut answer,
            };
        }
        if fails || entry.addresses.is_empty() && entry.alias.is_none() {
            answer.metadata.response_code = ResponseCode::NXDomain;
            if let Some(ttl) = entry.failure_ttl {
                let root = Name::root();
                let soa = SOA::new(root.clone(), root.clone(), 1, 1, 1, 1, ttl);
                answer.add_authority(Record::from_rdata(root, ttl, RData::SOA(soa)));
            }
        }
        let right = answer.to_vec().unwrap();
        let mut wrong = right.clone();
        wrong[0] ^= 0x55;
        let mut truncated = answer.truncate();
        truncated.metadata.truncation = true;
        match entry {
            Entry {
                is_silent: true, ..
            } => vec![],
            Entry {
                is_truncated: true, ..
            } if is_udp => vec![truncated.to_vec().unwrap()],
            Entry {
                wrong_id: Some(true),
                ..
            } if is_udp => vec![wrong],
            Entry {
                wrong_id: Some(false),
                ..
            } if is_udp => vec![wrong, right],
            _ => vec![right],
        }
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn at(addresses: &[&str]) -> Entry {
    Entry {
        addresses: addresses.iter().map(|text| ip(text)).collect(),
        ttl: 30,
        ..Entry::default()
    }
}

fn alias(of: &str) -> Entry {
    Entry {
        alias: Some(of.to_owned()),
        ttl: 20,
        ..Entry::default()
    }
}

async fn found(lookup: &DnsLookup, name: &str) -> Vec<IpAddr> {
    let mut found = lookup.look_up(name).await.unwrap().addresses;
    found.sort();
    found
}

#[tokio::test]
async fn addresses_of_both_families_are_found() {
    let (server, lookup) = Server::start([
        ("both.test.", at(&["192.0.2.1", "192.0.2.2", "2001:db8::1"])),
        ("mixed.test.", at(&["192.0.2.1", "::1"])),
        ("old.test.", at(&["192.0.2.1"])),
        ("new.test.", at(&["2001:db8::1"])),
        ("nat.test.", at(&["64:ff9b::c000:201"])),
    ])
    .await;
    for (name, expected) in [
        ("both.test", &["192.0.2.1", "192.0.2.2", "2001:db8::1"][..]),
        ("mixed.test", &["192.0.2.1", "::1"]),
        ("old.test", &["192.0.2.1"]),
        ("new.test", &["2001:db8::1"]),
        ("nat.test", &["64:ff9b::c000:201"]),
    ] {
        let expected: Vec<IpAddr> = expected.iter().map(|text| ip(text)).collect();
        assert_eq!(found(&lookup, name).await, expected, "{name}");
    }
    let asked = server.asked.lock().clone();
    assert_eq!(asked.len(), 10, "{asked:?}");
}

/// The search list of the system cannot give a name another meaning, and neither can its hosts file.
#[tokio::test]
async fn names_are_absolute() {
    let (server, lookup) = Server::start([
        ("a.test.cluster.test.", at(&["10.0.0.1"])),
        ("app.cluster.test.", at(&["10.0.0.1"])),
    ])
    .await;
    for name in ["a.test", "app", "ip6-localhost", "ip6-loopback"] {
        assert!(lookup.look_up(name).await.is_err(), "{name}");
    }
    let asked = server.asked.lock().clone();
    let is_searched = |(name, _): &(String, RecordType)| name.ends_with("cluster.test.");
    assert!(!asked.iter().any(is_searched), "{asked:?}");
}

#[tokio::test]
async fn ttl_is_the_shortest_of_the_answer() {
    let nothing = Entry {
        ttl: 0,
        ..at(&["192.0.2.1"])
    };
    let (_server, lookup) = Server::start([
        ("a.test.", at(&["192.0.2.1"])),
        ("zero.test.", nothing),
        ("alias.test.", alias("a.test.")),
        (
            "lasts.test.",
            Entry {
                ttl: 100,
                ..alias("a.test.")
            },
        ),
    ])
    .await;
    for (name, ttl) in [
        ("a.test", 30),
        ("zero.test", 0),
        ("alias.test", 20),
        ("lasts.test", 30),
    ] {
        let found = lookup.look_up(name).await.unwrap();
        assert_eq!(found.addresses, [ip("192.0.2.1")], "{name}");
        assert_eq!(found.ttl, Duration::from_secs(ttl), "{name}");
    }
}

#[tokio::test]
async fn aliases_are_followed_for_a_few_steps() {
    let links = (0..20).map(|n| {
        (
            format!("{n}.chain.test."),
            alias(&format!("{}.chain.test.", n + 1)),
        )
    });
    let links: Vec<_> = links.collect();
    let entries = [
        ("20.chain.test.", at(&["192.0.2.1"])),
        ("here.test.", alias("localhost.")),
        ("under.test.", alias("x.localhost.")),
        ("a.loop.test.", alias("b.loop.test.")),
        ("b.loop.test.", alias("a.loop.test.")),
        ("self.test.", alias("self.test.")),
        ("nowhere.test.", alias("none.test.")),
    ];
    let links = links
        .iter()
        .map(|(name, entry)| (name.as_str(), entry.clone()));
    let (server, lookup) = Server::start(links.chain(entries)).await;
    // they are judged: that they resolve is no harm
    for name in ["here.test", "under.test"] {
        assert_eq!(
            found(&lookup, name).await,
            [ip("127.0.0.1"), ip("::1")],
            "{name}"
        );
    }
    assert_eq!(found(&lookup, "17.chain.test").await, [ip("192.0.2.1")]);
    for name in ["a.loop.test", "self.test", "nowhere.test", "0.chain.test"] {
        server.asked.lock().clear();
        assert!(lookup.look_up(name).await.is_err(), "{name}");
        let questions = server.asked.lock().len();
        assert!(questions <= 2 * 8, "{name}: {questions} questions");
    }
}

#[tokio::test]
async fn failures_say_how_long_they_last() {
    let lasts = |ttl| Entry {
        failure_ttl: ttl,
        ..Entry::default()
    };
    let once = Entry {
        fails_first: 1,
        ..at(&["192.0.2.1"])
    };
    let (_server, lookup) = Server::start([
        ("none.test.", lasts(Some(7))),
        ("bare.test.", lasts(None)),
        ("later.test.", once),
    ])
    .await;
    for (name, ttl) in [
        ("none.test", Duration::from_secs(7)),
        ("bare.test", FAILURE_TTL),
    ] {
        assert_eq!(lookup.look_up(name).await, Err(NotFound { ttl }), "{name}");
    }
    assert!(lookup.look_up("later.test").await.is_err());
    assert_eq!(found(&lookup, "later.test").await, [ip("192.0.2.1")]);
    for name in ["a..b", ".", "", &"x".repeat(64), "ä.test"] {
        let failed = lookup.look_up(name).await;
        assert_eq!(failed.map_err(|_| ()), Err(()), "{name}");
    }
}

#[tokio::test]
async fn answers_with_another_id_do_not_count() {
    let with = |wrong_id| Entry {
        wrong_id,
        ..at(&["192.0.2.1"])
    };
    let (_server, lookup) = Server::start([
        ("first.test.", with(Some(false))),
        ("always.test.", with(Some(true))),
        (
            "silent.test.",
            Entry {
                is_silent: true,
                ..Entry::default()
            },
        ),
    ])
    .await;
    assert_eq!(found(&lookup, "first.test").await, [ip("192.0.2.1")]);
    let (always, silent) =
        tokio::join!(lookup.look_up("always.test"), lookup.look_up("silent.test"));
    assert_eq!(silent, Err(NotFound { ttl: FAILURE_TTL }));
    // it may ask again by TCP, where an ID cannot be guessed
    assert!(always.is_err() || always.is_ok_and(|found| found.addresses == [ip("192.0.2.1")]));
}

#[tokio::test]
async fn truncated_answer_is_asked_for_again_by_tcp() {
    let many: Vec<String> = (0..200).map(|n| format!("192.0.2.{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let (server, lookup) = Server::start([(
        "large.test.",
        Entry {
            is_truncated: true,
            ..at(&many)
        },
    )])
    .await;
    assert_eq!(found(&lookup, "large.test").await.len(), 200);
    assert!(server.by_tcp.load(Ordering::SeqCst) > 0);
}

#[test]
fn servers_are_those_of_the_file() {
    let listed = |text: &str| {
        let config = servers(text.as_bytes());
        assert!(config.search().is_empty() && config.domain().is_none());
        let ips = config.name_servers().iter().map(|server| server.ip);
        ips.collect::<Vec<_>>()
    };
    assert_eq!(
        listed("nameserver 192.0.2.1\nnameserver 2001:db8::1\nsearch a.test b.test\n"),
        [ip("192.0.2.1"), ip("2001:db8::1")]
    );
    for text in ["", "# nothing\n", "options ndots:5\n"] {
        assert_eq!(listed(text), [ip("127.0.0.1")], "{text:?}");
    }
}

#[tokio::test]
async fn resolver_is_made_anew_when_the_file_changed() {
    let clock = Moved::new();
    let lookup = DnsLookup::system(Arc::clone(&clock) as _);
    lookup.resolver().unwrap();
    let text = || lookup.current.lock().as_ref().unwrap().text.clone();
    let real = text();
    lookup.current.lock().as_mut().unwrap().text = b"nameserver 192.0.2.1".to_vec();
    clock.by(REREAD_AFTER - Duration::from_secs(1));
    lookup.resolver().unwrap();
    assert_ne!(text(), real, "it is not read each time");
    clock.by(Duration::from_secs(1));
    lookup.resolver().unwrap();
    assert_eq!(text(), real);
}
