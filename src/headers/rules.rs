//! The table of all headers that are removed, replaced or set: the filter uses it, and `docs/headers.md` is made from it.
/// The name of [`crate::request::REQUEST_ID`], as documents write it.
const REQUEST_ID_NAME: &str = "X-Request-Id";

/// The treatment of a sender's header line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Treatment {
    /// Forwarded.
    Keep,
    /// Removed.
    Remove,
    /// Removed, unless the signature of the route covers it.
    RemoveUncovered,
    /// Forwarded if a trusted proxy sent it in exactly this spelling, or the signature covers it.
    FromTrustedProxy,
    /// As [`Self::FromTrustedProxy`]; set by the gateway otherwise.
    RequestId,
    /// Forwarded where it could bypass neither a guarded path nor `methods`.
    MethodOverride,
    /// Forwarded in exactly this spelling, removed in every other.
    IfExact,
}

impl Treatment {
    /// Returns its description for the documentation.
    #[cfg(test)]
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Keep => "forwarded",
            Self::Remove => "removed",
            Self::RemoveUncovered => "removed, unless the signature covers it",
            Self::FromTrustedProxy => {
                "forwarded if a trusted proxy sent it or the signature covers it, removed otherwise"
            }
            Self::RequestId => {
                "forwarded if a trusted proxy sent it or the signature covers it, replaced by the gateway's ID otherwise"
            }
            Self::MethodOverride => {
                "forwarded on a `pass` route without `methods` whose upstream has no guarded path, or if the signature covers it; removed otherwise"
            }
            Self::IfExact => "forwarded; removed in another spelling that an app could take for it",
        }
    }
}

/// Headers that are treated alike.
#[derive(Debug)]
pub(super) struct Rule {
    /// Their names. A `*` at the end or the beginning stands for any text.
    pub(super) names: &'static [&'static str],
    /// Their treatment.
    pub(super) treatment: Treatment,
    /// The reason.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "docs/headers.md is made from it")
    )]
    pub(super) why: &'static str,
}

/// The rules for the headers of a request. A whole name decides before a family.
pub(super) const RULES: &[Rule] = &[
    Rule {
        names: &["Hookgate-*"],
        treatment: Treatment::Remove,
        why: "only the gateway speaks in its name",
    },
    Rule {
        names: &[
            "Connection",
            "Keep-Alive",
            "Proxy-Connection",
            "TE",
            "Trailer",
            "Transfer-Encoding",
            "Upgrade",
            "HTTP2-Settings",
            "Proxy-Authenticate",
            "Proxy-Authorization",
        ],
        treatment: Treatment::Remove,
        why: "they are hop-by-hop, as is each header that `Connection` names",
    },
    Rule {
        names: &["Host", "Content-Length", "Expect"],
        treatment: Treatment::Remove,
        why: "the gateway writes its own",
    },
    Rule {
        names: &["Proxy"],
        treatment: Treatment::Remove,
        why: "a CGI app takes it for the proxy that it should use",
    },
    Rule {
        names: &["X-Original-URL", "X-Rewrite-URL"],
        treatment: Treatment::RemoveUncovered,
        why: "some apps route by them, so the gateway would have judged another path",
    },
    Rule {
        names: &[
            "X-HTTP-Method-Override",
            "X-HTTP-Method",
            "X-Method-Override",
        ],
        treatment: Treatment::MethodOverride,
        why: "some apps take the method from them, so the gateway would have judged another method",
    },
    Rule {
        names: &[REQUEST_ID_NAME],
        treatment: Treatment::RequestId,
        why: "logs of the app and of the gateway should name the same request",
    },
    Rule {
        names: &[
            "X-Forwarded*",
            "Forwarded*",
            "X-Original-*",
            "X-Real-Port",
            "*-Forwarded-For",
            "*-Client-IP",
            "*-Client-Port",
            "*-Real-IP",
            "*-Connecting-IP",
            "*-Connecting-IPv6",
            "*-Connection-IP",
            "*-Pseudo-IPv4",
            "*-Src-IP",
            "*-Source-IP",
            "*-Origin-IP",
            "*-Originating-IP",
            "*-Remote-IP",
            "*-Remote-Addr",
            "*-Remote-Host",
            "*-Socket-IP",
            "*-User-IP",
            "*-Viewer-Address",
            "*-External-Address",
            "Remote-Addr",
            "Remote-Host",
            "X-Host",
            "X-Scheme",
            "X-URL-Scheme",
            "Front-End-Https",
            "X-Front-End-Https",
            "X-Script-Name",
            "X-WAWS-Unencoded-URL",
            "X-Envoy-Original-*",
            "X-Envoy-Internal",
            "X-Envoy-Downstream-*",
            "X-Envoy-Peer-*",
            "X-ARR-SSL",
            "X-Vercel-IP-*",
            "X-Vercel-Proxied-For",
            "CloudFront-*",
            "WL-Proxy-*",
            "Fly-Forwarded-*",
        ],
        treatment: Treatment::FromTrustedProxy,
        why: "they name the client, the proxies in between, and the path and host of the request",
    },
    Rule {
        names: &[
            "SSL-Client-*",
            "SSL-Protocol",
            "SSL-Cipher",
            "X-SSL",
            "X-SSL-Client*",
            "X-SSL-Cert*",
            "X-SSL-Issuer*",
            "X-SSL-Subject*",
            "X-TLS-Client*",
            "*-Client-Cert",
            "*-Client-Verify",
            "Client-Cert-*",
            "X-Client-Cert*",
            "X-Amzn-Mtls-*",
        ],
        treatment: Treatment::FromTrustedProxy,
        why: "they say which client certificate was verified",
    },
    Rule {
        names: &[
            "Remote-User",
            "X-Remote-User",
            "X-Remote-Group",
            "X-Auth-Request-*",
            "X-Authenticated-*",
            "X-WebAuth-*",
            "X-Goog-Authenticated-User-*",
            "X-Goog-IAP-*",
            "X-MS-Client-Principal*",
            "X-Amzn-Oidc-*",
            "CF-Access-*",
        ],
        treatment: Treatment::FromTrustedProxy,
        why: "they say which user a proxy has authenticated",
    },
    Rule {
        names: &[
            "traceparent",
            "tracestate",
            "baggage",
            "b3",
            "X-B3*",
            "*-Trace-Id",
            "*-Trace-Context",
            "*-Span-Context",
            "X-Datadog-Parent-Id",
            "X-Datadog-Sampling-Priority",
            "X-Datadog-Origin",
            "X-Datadog-Tags",
            "X-Instana-T",
            "X-Instana-S",
            "X-Instana-L",
            "newrelic",
            "X-NewRelic-ID",
            "X-NewRelic-Transaction",
            "X-Dynatrace",
            "Elastic-APM-Traceparent",
            "sentry-trace",
            "grpc-trace-bin",
            "grpc-tags-bin",
            "jaeger-*",
            "uberctx-*",
            "ot-tracer-*",
            "ot-baggage-*",
            "sw6",
            "sw8",
            "sw8-*",
        ],
        treatment: Treatment::FromTrustedProxy,
        why: "a stranger's trace is not continued",
    },
    Rule {
        names: &[
            "Content-Type",
            "Content-Encoding",
            "Cookie",
            "Authorization",
            "CDN-Loop",
        ],
        treatment: Treatment::IfExact,
        why: "two spellings of one header would be two values to an app",
    },
];

/// Returns whether `name` is spelled as the header that it folds to: words joined by single `-`, no `http` in front.
pub(super) fn is_exact(name: &str) -> bool {
    !name.starts_with("http-")
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !name.contains("--")
        && !name.ends_with('-')
}

/// The headers that the gateway sets in a request, and when.
#[cfg(test)]
pub(super) const SET: &[(&str, &str)] = &[
    (
        "Host",
        "always: the sender's, or with `host: upstream` the upstream's",
    ),
    (
        "Content-Length",
        "a body, or a method that has one; on a `pass` route as it was declared",
    ),
    ("Transfer-Encoding", "a body in chunks on a `pass` route"),
    ("Expect", "`100-continue` of the sender, on a `pass` route"),
    ("Connection", "a WebSocket on a `pass` route"),
    ("Upgrade", "a WebSocket on a `pass` route"),
    (
        "X-Forwarded-For",
        "unless a trusted proxy sent it: the client's address",
    ),
    (
        "X-Forwarded-Proto",
        "unless a trusted proxy sent it: `https` or `http`",
    ),
    (
        "X-Forwarded-Host",
        "unless a trusted proxy sent it: the host of the request",
    ),
    (
        REQUEST_ID_NAME,
        "unless the sender's is forwarded: the gateway's ID of the request",
    ),
    (
        "Hookgate-Request-Id",
        "always: the gateway's ID of the request",
    ),
    (
        "CDN-Loop",
        "always: one more entry, `hookgate` with an ID of this process (RFC 8586)",
    ),
    ("Hookgate-Verified", "always: `true` or `false`"),
    ("Hookgate-Route", "an authentic delivery"),
    ("Hookgate-Provider", "an authentic delivery of a preset"),
    ("Hookgate-Delivery-Id", "an authentic delivery with an ID"),
    (
        "Hookgate-Attempt",
        "an authentic delivery: the number of the attempt",
    ),
    (
        "Hookgate-Secret",
        "an authentic delivery: the name of the secret that matched",
    ),
    ("Hookgate-Received-At", "an authentic delivery"),
    (
        "Hookgate-Covers",
        "an authentic delivery: the facts that the signature covers",
    ),
    (
        "Hookgate-Dedupe",
        "`unavailable`: the shared store could not be asked for the delivery's ID, so this may be a duplicate",
    ),
    (
        "Webhook-Id, Webhook-Timestamp, Webhook-Signature",
        "a route with `sign`; every other spelling of them is removed",
    ),
];

/// The headers of answers that the gateway removes or sets, what it does, and when.
#[cfg(test)]
pub(super) const ANSWERS: &[(&str, &str)] = &[
    (
        "Connection, Keep-Alive, Proxy-Connection, Proxy-Authenticate, Proxy-Authorization, TE, Trailer, Transfer-Encoding, Upgrade",
        "removed, as is each header that `Connection` names; the gateway writes its own framing, and `Connection` and `Upgrade` of a WebSocket stay",
    ),
    ("Date", "replaced by the gateway's"),
    (
        "Content-Length",
        "removed beside `Transfer-Encoding`; set over HTTP/1 where all of the body has arrived with the head",
    ),
    (
        REQUEST_ID_NAME,
        "forwarded if the app sent one, set to the gateway's ID otherwise",
    ),
    (
        "Hookgate-Request-Id",
        "always set to the gateway's ID of the request",
    ),
    (
        "Hookgate-Status",
        "set where the gateway answers a webhook itself: `queued`, `spilled`, `revived` or `duplicate`",
    ),
];
