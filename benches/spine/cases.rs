//! The cases, their configs and their requests.
use std::net::SocketAddr;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

const SECRET: &str = "a-secret-of-more-than-sixteen-bytes";

/// The route that stores its deliveries first.
pub(crate) const QUEUED: &str = "queued";

/// How a request is made from its number.
type Make = fn(u32, usize) -> Request;

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) route: &'static str,
    pub(crate) body_bytes: usize,
    /// Requests of the long run beyond those of the short one.
    pub(crate) requests: u32,
    pub(crate) status: u16,
    pub(crate) make: Make,
}

pub(crate) struct Request {
    pub(crate) headers: String,
    pub(crate) body: Vec<u8>,
}

pub(crate) const CASES: [Case; 6] = [
    Case {
        name: "GitHub, 1 KiB, forwarded",
        route: "github",
        body_bytes: 1 << 10,
        requests: 1000,
        status: 200,
        make: github,
    },
    Case {
        name: "GitHub, 100 KiB, forwarded",
        route: "github",
        body_bytes: 100 << 10,
        requests: 50,
        status: 200,
        make: github,
    },
    Case {
        name: "Stripe, 1 KiB, forwarded",
        route: "stripe",
        body_bytes: 1 << 10,
        requests: 1000,
        status: 200,
        make: stripe,
    },
    Case {
        name: "GitHub, 1 KiB, forged",
        route: "github",
        body_bytes: 1 << 10,
        requests: 1000,
        status: 401,
        make: forged,
    },
    Case {
        name: "GitHub, 1 KiB, duplicate",
        route: "github",
        body_bytes: 1 << 10,
        requests: 1000,
        status: 200,
        make: duplicate,
    },
    Case {
        name: "GitHub, 1 KiB, queued",
        route: QUEUED,
        body_bytes: 1 << 10,
        requests: 200,
        status: 200,
        make: github,
    },
];

pub(crate) fn config(case: &Case, dir: &Path, upstream: SocketAddr) -> String {
    let store = if case.route == QUEUED {
        format!("store: {{ path: {} }}\n", dir.join("store").display())
    } else {
        String::new()
    };
    let action = if case.route == QUEUED {
        "queue: { upstream: app }"
    } else {
        "forward: { upstream: app }"
    };
    let (provider, dedupe) = if case.route == "stripe" {
        ("stripe", "{}")
    } else {
        ("github", "{ by: content, window: 1h }")
    };
    format!(
        "listen: [{{ address: 127.0.0.1:0 }}]\n{store}shutdown: {{ delay: 0s, grace: 60s }}\nupstreams: {{ app: {{ url: http://{upstream}, timeout: 60s }} }}\n\
         routes:\n  - name: {route}\n    path: /{route}\n    verify: {{ provider: {provider}, secrets: [{{ insecure_inline: {SECRET} }}] }}\n    \
         dedupe: {dedupe}\n    {action}\n",
        route = case.route,
    )
}

fn body(number: u32, bytes: usize) -> Vec<u8> {
    let mut body =
        format!("{{\"id\":\"evt_{number:08}\",\"type\":\"push\",\"padding\":\"").into_bytes();
    body.resize(bytes - 2, b'x');
    body.extend(b"\"}");
    body
}

fn hmac_of(parts: &[&[u8]]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    hex::encode(mac.finalize().into_bytes())
}

fn github(number: u32, bytes: usize) -> Request {
    let body = body(number, bytes);
    Request {
        headers: github_headers(number, &hmac_of(&[&body])),
        body,
    }
}

fn github_headers(number: u32, tag: &str) -> String {
    format!(
        "X-GitHub-Event: push\r\nX-GitHub-Delivery: 72d3162e-cc78-11e3-81ab-4c93{number:08x}\r\nX-Hub-Signature-256: sha256={tag}\r\n"
    )
}

fn forged(number: u32, bytes: usize) -> Request {
    Request {
        headers: github_headers(number, &"0".repeat(64)),
        body: body(number, bytes),
    }
}

fn duplicate(_: u32, bytes: usize) -> Request {
    github(0, bytes)
}

fn stripe(number: u32, bytes: usize) -> Request {
    let body = body(number, bytes);
    #[expect(clippy::disallowed_methods, reason = "a signature of the present")]
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
        .to_string();
    let tag = hmac_of(&[now.as_bytes(), b".", &body]);
    Request {
        headers: format!("Stripe-Signature: t={now},v1={tag}\r\n"),
        body,
    }
}
