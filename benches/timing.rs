//! Whether the time that a refusal takes tells the sender why: refusals of two kinds at a time, in random order, compared by Welch's t.
//!
//!     cargo bench --bench timing
//!
//! |t| under 4.5 says that so many samples show no difference. Each pair is compared three times: all samples, and without the slowest
//! tenth and half, which hold what the machine did meanwhile. `itself` is one kind against itself: what the machine alone can do to t.
//! That a request is stale is no secret: its sender wrote the time. Whether a stale one was signed rightly is one: those two are compared.
#![allow(
    clippy::print_stdout,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a bench may panic, and prints its table"
)]
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use hookgate::clock::{Clock as _, Now, SystemClock};
use hookgate::request::{Client, Params, Received, RequestHead, RequestId};
use hookgate::verify::{
    Algorithm, Candidate, Encoding, Format, HmacScheme, KeyedBy, Layout, Scheme, SecretKind,
    SecretSet, SecretTable, SecretText, Shape, SignedTime, Source, SourcePlace, TagEncoding,
    Template, TimeAt, Verifier,
};
use http::{HeaderName, Method};
use sha2::Sha256;
use zeroize::Zeroizing;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Samples of each kind.
const SAMPLES: usize = 20_000;
/// The bound above which a difference counts as shown.
const SHOWN: f64 = 4.5;
const SECRET: &str = "a-secret-of-more-than-sixteen-bytes";
const TOLERANCE: u64 = 300;
/// Requests of each kind, each signed at another second, all of them within the tolerance if the kind is.
const MANY: u64 = 128;

/// A kind of request that is refused with 401, and the kind that its sender could take it for.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    key: &'static str,
    /// Seconds from now to what the request says.
    age: i64,
    forged: Forged,
    /// The index of the case that it is compared with.
    against: usize,
}

#[derive(Clone, Copy)]
enum Forged {
    /// Signed with another secret.
    Secret,
    /// Right but for one bit of the first byte.
    First,
    /// Right but for one bit of the last byte.
    Last,
    /// Right, and too old or too early.
    No,
}

const KINDS: [Kind; 9] = [
    Kind {
        name: "wrong secret",
        key: "acme",
        age: 0,
        forged: Forged::Secret,
        against: 0,
    },
    Kind {
        name: "itself",
        key: "acme",
        age: 0,
        forged: Forged::Secret,
        against: 0,
    },
    Kind {
        name: "first byte of the tag differs",
        key: "acme",
        age: 0,
        forged: Forged::First,
        against: 0,
    },
    Kind {
        name: "last byte of the tag differs",
        key: "acme",
        age: 0,
        forged: Forged::Last,
        against: 2,
    },
    Kind {
        name: "stale, wrong signature",
        key: "acme",
        age: -86_400,
        forged: Forged::Secret,
        against: 0,
    },
    Kind {
        name: "stale, right signature",
        key: "acme",
        age: -86_400,
        forged: Forged::No,
        against: 4,
    },
    Kind {
        name: "of the future, right signature",
        key: "acme",
        age: 86_400,
        forged: Forged::No,
        against: 4,
    },
    Kind {
        name: "no such key in the table",
        key: "emca",
        age: 0,
        forged: Forged::Secret,
        against: 0,
    },
    Kind {
        name: "no such key, right signature of another",
        key: "emca",
        age: 0,
        forged: Forged::No,
        against: 0,
    },
];

fn main() {
    let body = Bytes::from(vec![b'x'; 1024]);
    println!("{SAMPLES} samples of each kind, 1 KiB bodies\n");
    let mut shown = Vec::new();
    shown.extend(in_process(
        "verifier, a list of secrets",
        &verifier(false),
        &body,
    ));
    shown.extend(in_process(
        "verifier, a table of secrets",
        &verifier(true),
        &body,
    ));
    shown.extend(over_loopback(&body));
    match shown.as_slice() {
        [] => println!("no difference is shown: every |t| is under {SHOWN}"),
        shown => println!(
            "shown, by |t| of {SHOWN} or more:\n  {}",
            shown.join("\n  ")
        ),
    }
}

/// The verifier alone: from the head to the verdict, with neither sockets nor other threads.
fn in_process(what: &str, verifier: &Verifier, body: &Bytes) -> Vec<String> {
    let now = SystemClock.now();
    // so many of each kind, a second apart: the digits of one signature would cost more or less than those of another
    let heads: Vec<Vec<RequestHead>> = KINDS
        .iter()
        .map(|kind| {
            (0..MANY)
                .map(|second| head(kind, body, now, second))
                .collect()
        })
        .collect();
    table(what, |turn, kind| {
        let received = Received {
            head: heads[kind][turn % heads[kind].len()].clone(),
            body: body.clone().into(),
        };
        let params = Params(vec![("account".into(), KINDS[kind].key.into())]);
        let begun = mono();
        let verdict = verifier.verify(received, &params, now);
        let took = mono() - begun;
        // without a table the key counts for nothing, and a right signature is right
        let refused = verdict.is_err();
        assert!(
            refused || verifier.secrets().listed().len() == 1,
            "{}",
            KINDS[kind].name
        );
        refused.then_some(took)
    })
}

/// The time that the sender sees: from the last byte of the request to the last of the answer, on one connection to a real gate.
fn over_loopback(body: &Bytes) -> Vec<String> {
    let gate = Gate::start();
    let mut connection = Sender::to(gate.address);
    table("over loopback, a table of secrets", |_, kind| {
        let now = SystemClock.now();
        let head = head(&KINDS[kind], body, now, 0);
        let signature = head.headers.get(&HeaderName::from_static("x-sig")).unwrap();
        let signature = std::str::from_utf8(signature).unwrap();
        let mut request = format!(
            "POST /acme/{} HTTP/1.1\r\nHost: gate.test\r\nX-Sig: {signature}\r\nContent-Length: {}\r\n\r\n",
            KINDS[kind].key,
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        let begun = mono();
        let status = connection.ask(&request);
        let took = mono() - begun;
        assert_eq!(status, 401, "{}", KINDS[kind].name);
        if connection.is_over {
            connection = Sender::to(gate.address);
        }
        Some(took)
    })
}

/// Compares each kind with another, those two alone and as often: a kind that is rarer than the other would be foretold worse by the CPU.
fn table(what: &str, mut sample: impl FnMut(usize, usize) -> Option<Duration>) -> Vec<String> {
    println!(
        "{what:<42} {:>9} {:>8} {:>8} {:>8}  against",
        "median ns", "t all", "t 90 %", "t 50 %"
    );
    let mut shown = Vec::new();
    for (place, kind) in KINDS.iter().enumerate().skip(1) {
        let pair = [place, kind.against];
        let mut times = [Vec::with_capacity(SAMPLES), Vec::with_capacity(SAMPLES)];
        for (turn, which) in shuffled(2, SAMPLES).into_iter().enumerate() {
            // the first rounds fill caches and allocator
            if let Some(took) = sample(turn, pair[which]).filter(|_| turn >= 400) {
                times[which].push(took.as_nanos() as f64);
            }
        }
        let [samples, others] = times;
        if samples.is_empty() {
            continue;
        }
        let t = [1.0, 0.9, 0.5].map(|share| welch(&samples, &others, share));
        let (median, against) = (quantile(&samples, 0.5), quantile(&others, 0.5));
        let against = format!("{} ({against:.0})", KINDS[kind.against].name);
        println!(
            "  {:<40} {median:>9.0} {:>8.2} {:>8.2} {:>8.2}  {against}",
            kind.name, t[0], t[1], t[2]
        );
        if t.iter().any(|t| t.abs() >= SHOWN) {
            shown.push(format!("{what}: {}", kind.name));
        }
    }
    println!();
    shown
}

/// Welch's t of the samples of both kinds under the quantile of all of them together.
fn welch(one: &[f64], other: &[f64], share: f64) -> f64 {
    let limit = if share < 1.0 {
        quantile(&[one, other].concat(), share)
    } else {
        f64::INFINITY
    };
    let moments = |samples: &[f64]| {
        let kept: Vec<f64> = samples
            .iter()
            .copied()
            .filter(|sample| *sample <= limit)
            .collect();
        let count = kept.len() as f64;
        let mean = kept.iter().sum::<f64>() / count;
        (
            mean,
            kept.iter()
                .map(|sample| (sample - mean).powi(2))
                .sum::<f64>()
                / (count - 1.0)
                / count,
        )
    };
    let ((mean, spread), (other_mean, other_spread)) = (moments(one), moments(other));
    (mean - other_mean) / (spread + other_spread).sqrt()
}

fn quantile(samples: &[f64], share: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}

/// Every kind as often as the others, in an order that nothing can follow.
fn shuffled(kinds: usize, each: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..kinds * (each + 200)).map(|turn| turn % kinds).collect();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for at in (1..order.len()).rev() {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        order.swap(at, (state >> 33) as usize % (at + 1));
    }
    order
}

fn head(kind: &Kind, body: &[u8], now: Now, earlier: u64) -> RequestHead {
    let seconds = now
        .wall
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
        .saturating_add_signed(kind.age)
        .saturating_sub(earlier);
    let secret = if matches!(kind.forged, Forged::Secret) {
        "another-secret-of-many-bytes"
    } else {
        SECRET
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{seconds}.").as_bytes());
    mac.update(body);
    let mut tag: [u8; 32] = mac.finalize().into_bytes().into();
    match kind.forged {
        Forged::First => tag[0] ^= 1,
        Forged::Last => tag[31] ^= 1,
        Forged::Secret | Forged::No => {}
    }
    let signature = format!("t={seconds},v1={}", hex::encode(tag));
    let headers = [("host", &b"gate.test"[..]), ("x-sig", signature.as_bytes())];
    RequestHead {
        request_id: RequestId::from_u128(7),
        method: Method::POST,
        target: Bytes::from_static(b"/acme/acme"),
        authority: "gate.test".to_owned(),
        tls: false,
        headers: headers.into_iter().collect(),
        declared_size: None,
        client: Client {
            ip: Ipv4Addr::LOCALHOST.into(),
            own: false,
            behind_trusted_proxy: false,
        },
        certificate: None,
        received: now,
    }
}

fn verifier(by_table: bool) -> Verifier {
    let source = Source {
        place: SourcePlace::Headers([HeaderName::from_static("x-sig")].into()),
        prefix: "".into(),
        layout: Layout::Pairs {
            separator: ",".into(),
            key: "v1".into(),
        },
        repeated: false,
        expect: Box::default(),
    };
    let time = SignedTime {
        at: TimeAt::Pair("t".into()),
        format: Format::Unix,
        tolerance: Duration::from_secs(TOLERANCE),
    };
    let content = Template::parse("{timestamp}.{body}").unwrap();
    let scheme = HmacScheme {
        algorithm: Algorithm::Sha256,
        encoding: TagEncoding::Hex,
        source,
        content,
        time: Some(time),
    };
    let shape = Shape::new(Scheme::Hmac(scheme), None, None, Vec::new(), None);
    let kind = SecretKind::Hmac(Algorithm::Sha256);
    let text = |name: &str, text: &str| SecretText {
        name: name.into(),
        text: Zeroizing::new(text.as_bytes().to_vec()),
        encodings: None,
        not_before: None::<SystemTime>,
        expires: None,
    };
    let set = if by_table {
        let table = SecretTable::default();
        for (key, secret) in [
            ("acme", SECRET),
            ("other", "the-secret-of-the-other-tenant"),
        ] {
            table.set(
                key,
                Some(
                    &Candidate::entry(kind, &[Encoding::Utf8], None, &text("secret-1", secret))
                        .unwrap()
                        .into(),
                ),
            );
        }
        SecretSet::table(
            kind,
            &[Encoding::Utf8],
            KeyedBy::Param("account".into()),
            table,
        )
    } else {
        SecretSet::list(kind, &[], None, &[text("main", SECRET)]).unwrap()
    };
    shape.with_secrets(set, None)
}

/// A real gate; killed on drop.
struct Gate {
    child: Child,
    address: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Gate {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("tenants")).unwrap();
        std::fs::write(dir.path().join("tenants/acme"), SECRET).unwrap();
        let config = dir.path().join("config.yaml");
        let yaml = "listen: [{ address: 127.0.0.1:0 }]
upstreams: { app: { url: http://127.0.0.1:9 } }
routes:
  - name: acme
    path: /acme/{account}
    verify:
      scheme: hmac
      algorithm: sha256
      signature: { header: X-Sig, pair: v1, separator: \",\", encoding: hex }
      signed_content: \"{timestamp}.{body}\"
      timestamp: { pair: t, format: unix, tolerance: 5m }
      secrets: { by: \"{account}\", dir: tenants }
    forward: { upstream: app }
";
        std::fs::write(&config, yaml).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_hookgate"));
        let mut child = command
            .args(["run", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log_lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = log_lines.by_ref().map_while(Result::ok).find_map(|line| {
            let line: serde_json::Value = serde_json::from_str(&line).ok()?;
            if line["msg"] == "listening" && line["for"] == "senders" {
                line["address"].as_str()?.parse().ok()
            } else {
                None
            }
        });
        let address = address.unwrap_or_else(|| panic!("the gate did not start"));
        std::thread::spawn(move || log_lines.for_each(drop));
        Self {
            child,
            address,
            _dir: dir,
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A connection that is kept open.
struct Sender {
    stream: TcpStream,
    room: Vec<u8>,
    is_over: bool,
}

impl Sender {
    fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            room: vec![0; 16 * 1024],
            is_over: false,
        }
    }

    /// Sends a request and reads its answer, which comes with a length; its status.
    fn ask(&mut self, request: &[u8]) -> u16 {
        self.stream.write_all(request).unwrap();
        let mut len = 0;
        loop {
            let got = self.stream.read(&mut self.room[len..]).unwrap();
            assert!(got > 0, "the gate hung up");
            len += got;
            let Some(head) = self.room[..len]
                .windows(4)
                .position(|window| window == b"\r\n\r\n")
            else {
                continue;
            };
            let text = std::str::from_utf8(&self.room[..head])
                .unwrap()
                .to_ascii_lowercase();
            let value = |name: &str| {
                text.split("\r\n")
                    .find_map(|line| line.strip_prefix(name))
                    .map(str::trim)
            };
            let body: usize = value("content-length:").unwrap().parse().unwrap();
            if len >= head + 4 + body {
                self.is_over = value("connection:") == Some("close");
                return text.split(' ').nth(1).unwrap().parse().unwrap();
            }
        }
    }
}

fn mono() -> Instant {
    SystemClock.mono()
}
