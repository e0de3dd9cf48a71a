use super::*;

/// The rights of an API whose only token is `right`.
struct OneToken<const BODIES: bool>;

impl<const BODIES: bool> Rights for OneToken<BODIES> {
    const HOST: HostCheck = if BODIES {
        HostCheck::WithoutToken
    } else {
        HostCheck::Always
    };
    const JSON: JsonCheck = if BODIES {
        JsonCheck::Bodies
    } else {
        JsonCheck::Changes
    };

    type Caller = bool;
    type Denied = Denied;

    fn caller(&self, token: Option<&[u8]>) -> bool {
        token == Some(b"right")
    }

    fn admit(&self, caller: &bool, head: Head<'_>) -> Result<(), Denied> {
        match *caller || head.path == "/open" {
            true => Ok(()),
            false => Err(Denied(StatusCode::UNAUTHORIZED)),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Denied(StatusCode);

impl From<Blocked> for Denied {
    fn from(blocked: Blocked) -> Self {
        Self(blocked.status())
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    headers
}

/// Returns the status of a request that is denied, 200 for the owner of the token and 204 for all others.
fn status<const BODIES: bool>(
    method: &Method,
    target: &str,
    lines: &[(&'static str, &'static str)],
) -> u16 {
    let guard = Guard::tcp("10.0.0.1:9000".parse().unwrap(), OneToken::<BODIES>);
    match guard.check(method, &target.parse().unwrap(), &headers(lines)) {
        Ok(true) => 200,
        Ok(false) => 204,
        Err(Denied(status)) => status.as_u16(),
    }
}

const BEARER: (&str, &str) = ("authorization", "Bearer right");
const SERVICE: (&str, &str) = ("host", "hookgate.svc:9400");

#[test]
fn right_token_replaces_the_host_check() {
    let get = |target: &str, lines: &[_]| status::<true>(&Method::GET, target, lines);
    assert_eq!(get("/v1/tenants", &[SERVICE, BEARER]), 200);
    assert_eq!(
        get(
            "/v1/tenants",
            &[SERVICE, ("authorization", "Bearer guessed")]
        ),
        401
    );
    for wrong in ["Basic cmlnaHQ=", "Bearer ", "Bearer", "right", ""] {
        assert_eq!(
            get("/open", &[SERVICE, ("authorization", wrong)]),
            403,
            "{wrong}"
        );
    }
    assert_eq!(get("/open", &[SERVICE]), 403);
    assert_eq!(get("/open", &[("host", "10.0.0.1:9000")]), 204);
    assert_eq!(get("/v1/tenants", &[("host", "10.0.0.1:9000")]), 401);
    // the other checks hold for everybody
    for page in [
        ("origin", "http://evil.example"),
        ("sec-fetch-site", "cross-site"),
    ] {
        assert_eq!(get("/v1/tenants", &[SERVICE, BEARER, page]), 403);
    }
    assert_eq!(get("http://hookgate.svc:9400/", &[SERVICE, BEARER]), 403);
    assert_eq!(
        status::<false>(&Method::GET, "/v1/tenants", &[SERVICE, BEARER]),
        403,
        "an API that always checks it"
    );
}

#[test]
fn content_type_is_checked_of_changes_or_of_bodies() {
    let json = ("content-type", "application/json; charset=utf-8");
    #[expect(clippy::type_complexity, reason = "a table")]
    let table: &[(Method, &[(&str, &str)], u16, u16)] = &[
        (Method::GET, &[], 200, 200),
        (Method::DELETE, &[], 415, 200),
        (Method::DELETE, &[json], 200, 200),
        (Method::POST, &[], 415, 200),
        (Method::POST, &[("content-length", "0")], 415, 200),
        (Method::POST, &[("content-length", "1")], 415, 415),
        (Method::POST, &[("content-length", "00")], 415, 415),
        (Method::POST, &[("transfer-encoding", "chunked")], 415, 415),
        (Method::PUT, &[("content-length", "1"), json], 200, 200),
        (
            Method::PATCH,
            &[("content-length", "1"), ("content-type", "text/plain")],
            415,
            415,
        ),
    ];
    for (method, lines, changes, bodies) in table {
        let mut lines = lines.to_vec();
        lines.extend([("host", "10.0.0.1:9000"), BEARER]);
        assert_eq!(
            (
                status::<false>(method, "/", &lines),
                status::<true>(method, "/", &lines)
            ),
            (*changes, *bodies),
            "{method} {lines:?}"
        );
    }
}

#[track_caller]
fn check(listener: &str, host: &str, known: bool) {
    let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_str(host).unwrap())]);
    assert_eq!(
        Guard::tcp(listener.parse().unwrap(), OneToken::<false>).knows_host(&headers),
        known,
        "{host} at {listener}"
    );
}

#[test]
fn host_header_must_name_the_listener() {
    for host in [
        "localhost",
        "LOCALHOST:99",
        "127.0.0.1",
        "127.0.0.1:1",
        "[::1]",
        "[::1]:80",
    ] {
        check("127.0.0.1:9000", host, true);
        check("10.0.0.1:9000", host, true);
    }
    for host in [
        "",
        "evil.example",
        "localhost.evil.example",
        "localhost:x",
        "10.0.0.2",
        "127.0.0.1.nip.io",
        "a@localhost",
        "::1:x",
    ] {
        check("127.0.0.1:9000", host, false);
        check("10.0.0.1:9000", host, false);
    }
    check("10.0.0.1:9000", "10.0.0.1:9000", true);
    check("10.0.0.1:9000", "10.0.0.1", true);
    check("10.0.0.1:9000", "10.0.0.1:9001", false);
    check("[fd00::1]:9000", "[fd00::1]:9000", true);
    check("0.0.0.0:9000", "10.0.0.7:9000", true);
    check("0.0.0.0:9000", "evil.example:9000", false);
}

#[test]
fn two_host_lines_are_refused() {
    let mut headers = HeaderMap::new();
    headers.append(HOST, HeaderValue::from_static("localhost"));
    headers.append(HOST, HeaderValue::from_static("evil.example"));
    assert!(!Guard::tcp("127.0.0.1:1".parse().unwrap(), OneToken::<false>).knows_host(&headers));
    assert!(Guard::unix(OneToken::<false>).knows_host(&headers));
}

#[test]
fn cross_site_requests_are_recognised() {
    #[track_caller]
    fn check(lines: &[(&'static str, &'static str)], cross: bool) {
        let mut headers =
            HeaderMap::from_iter([(HOST, HeaderValue::from_static("localhost:9090"))]);
        for (name, value) in lines {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        assert_eq!(is_cross_site(&headers), cross, "{lines:?}");
    }
    check(&[], false);
    check(&[("sec-fetch-site", "none")], false);
    check(
        &[
            ("sec-fetch-site", "same-origin"),
            ("origin", "http://localhost:9090"),
        ],
        false,
    );
    check(&[("origin", "http://LOCALHOST:9090")], false);
    for site in ["cross-site", "same-site", "", "None", "same-origin, none"] {
        check(&[("sec-fetch-site", site)], true);
    }
    check(
        &[("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")],
        true,
    );
    for origin in [
        "null",
        "",
        "http://",
        "http://evil.example",
        "http://localhost",
        "http://localhost:9091",
        "localhost:9090",
        "file://localhost:9090",
    ] {
        check(&[("origin", origin)], true);
    }
    check(
        &[
            ("origin", "http://localhost:9090"),
            ("origin", "http://evil.example"),
        ],
        true,
    );
}
