use super::*;

const V11: Version = Version::HTTP_11;
const H2: Version = Version::HTTP_2;

fn header(
    version: Version,
    method: &str,
    target: &str,
    headers: &[(&'static str, &str)],
) -> HeadParts {
    let lines = headers
        .iter()
        .map(|(name, value)| (*name, value.as_bytes()));
    HeadParts {
        method: method.parse().unwrap(),
        version,
        target: Bytes::copy_from_slice(target.as_bytes()),
        authority: None,
        headers: lines.collect(),
    }
}

#[track_caller]
fn check(version: Version, headers: &[(&'static str, &str)], expect: Option<(&str, Option<u64>)>) {
    let found = framing(&header(version, "POST", "/x", headers), 4096)
        .map(|framing| (framing.authority, framing.declared_size));
    assert_eq!(
        found.ok(),
        expect.map(|(host, size)| (host.to_owned(), size))
    );
}

#[test]
fn ambiguous_framing_is_refused() {
    check(
        V11,
        &[("host", "a.example:80")],
        Some(("a.example:80", Some(0))),
    );
    check(
        V11,
        &[("host", "[::1]:80"), ("content-length", "5")],
        Some(("[::1]:80", Some(5))),
    );
    check(
        V11,
        &[("host", "a"), ("transfer-encoding", "Chunked")],
        Some(("a", None)),
    );
    check(
        V11,
        &[("host", "a"), ("transfer-encoding", "gzip, chunked")],
        None,
    );
    check(
        V11,
        &[
            ("host", "a"),
            ("transfer-encoding", "chunked"),
            ("transfer-encoding", "chunked"),
        ],
        None,
    );
    check(
        V11,
        &[
            ("host", "a"),
            ("content-length", "5"),
            ("content-length", "5"),
        ],
        None,
    );
    check(V11, &[("host", "a"), ("content-length", "5, 5")], None);
    check(V11, &[("host", "a"), ("content-length", "+5")], None);
    check(V11, &[("host", "a"), ("content-length", "05")], None);
    check(
        V11,
        &[("host", "a"), ("content-length", "0")],
        Some(("a", Some(0))),
    );
    check(V11, &[("host", "a"), ("content-length", "")], None);
    check(
        V11,
        &[("host", "a"), ("content-length", "99999999999999999999")],
        None,
    );
    check(
        V11,
        &[
            ("host", "a"),
            ("content-length", "5"),
            ("transfer-encoding", "chunked"),
        ],
        None,
    );
    check(V11, &[("host", "a"), ("host", "a")], None);
    check(V11, &[], None);
    check(Version::HTTP_10, &[("host", "a")], Some(("a", Some(0))));
    check(Version::HTTP_10, &[], None);
    check(
        Version::HTTP_10,
        &[("host", "a"), ("transfer-encoding", "chunked")],
        None,
    );
}

#[test]
fn only_100_continue_may_be_expected() {
    check(
        V11,
        &[("host", "a"), ("expect", "100-Continue")],
        Some(("a", Some(0))),
    );
    check(V11, &[("host", "a"), ("expect", "200-ok")], None);
    check(
        V11,
        &[
            ("host", "a"),
            ("expect", "100-continue"),
            ("expect", "100-continue"),
        ],
        None,
    );
    check(H2, &[("host", "a"), ("expect", "200-ok")], None);
}

#[test]
fn host_is_a_name_or_an_address_with_a_port() {
    for good in [
        "a",
        "A-b_c.example.",
        "127.0.0.1:1",
        "[::1]",
        "[2001:db8::1]:65535",
        "a:0",
        &"a".repeat(255),
    ] {
        assert!(is_host(good), "{good}");
    }
    let bad = [
        "",
        " ",
        "a b",
        "a/b",
        "a,b",
        "a@b",
        "user@a:80",
        "a:",
        ":80",
        "a:b",
        "a:65536",
        "a:000080",
        "a:80:80",
        "a:+1",
        "::1",
        "[::1",
        "[::1]]",
        "[::1]x",
        "[::1]:",
        "[1.2.3.4]",
        "[a]",
        "[]",
        "[::1%25eth0]",
        "[v1.a]",
        "a]",
        "a[",
        "%61",
        "a%00",
        "a?",
        "a#",
        "a\\b",
        "\u{e4}",
        "http://a",
        "*",
        "a;b",
        "a\tb",
        &"a".repeat(256),
    ];
    for bad in bad {
        assert!(!is_host(bad), "{bad:?}");
    }
}

/// Checks HTTP/2, where both `:authority` and `Host` may be given.
#[test]
fn authority_and_host_must_agree() {
    let check = |authority: &str, hosts: &[&str], expect: Option<&str>| {
        let mut header = header(H2, "POST", "/x", &[]);
        header.authority = Some((*authority).to_owned()).filter(|authority| !authority.is_empty());
        for host in hosts {
            header.headers.append(&HOST, &host.parse().unwrap());
        }
        assert_eq!(
            super::authority(&header).ok().as_deref(),
            expect,
            "{authority} {hosts:?}"
        );
    };
    check("a.example", &[], Some("a.example"));
    check("a.example", &["a.example"], Some("a.example"));
    check("a.example", &["A.Example"], Some("a.example"));
    check("", &["a.example"], Some("a.example"));
    check("a.example", &["b.example"], None);
    check("a.example", &["a.example:443"], None);
    check("a.example", &["a.example", "a.example"], None);
    check("user@a.example", &[], None);
    check("a.example", &[""], None);
    check("", &[], None);
}

#[test]
fn target_is_used_unchanged_or_refused() {
    for version in [V11, H2] {
        for good in [
            "/",
            "/a?b?c",
            "//a",
            "/%zz",
            "/a/../b",
            "/a;b=c",
            "/%2F%00",
            "/{}|^\\[]",
            "/a?`",
            "/!$&'()*+,-._~:@=",
        ] {
            assert!(
                framing(&header(version, "POST", good, &[("host", "a")]), 4096).is_ok(),
                "{good}"
            );
        }
        for bad in ["*", "a", "a:80", "http://a/x", "/\u{e4}", "/\"", "?a"] {
            assert!(
                framing(&header(version, "POST", bad, &[("host", "a")]), 4096).is_err(),
                "{bad}"
            );
        }
    }
    assert!(
        !is_target(b"/<")
            && !is_target(b"/>")
            && !is_target(b"/`")
            && !is_target(b"/`?a")
            && !is_target(b"/a b")
            && !is_target(b"/a\0")
            && !is_target(b"/a\x7f")
            && !is_target(b"/a#b")
            && !is_target(b"/\xe4")
    );
}

#[test]
fn trace_is_refused() {
    assert_eq!(
        framing(&header(V11, "TRACE", "/x", &[("host", "a")]), 4096).unwrap_err(),
        Refusal::MethodNotAllowed
    );
    assert!(framing(&header(V11, "OPTIONS", "/x", &[("host", "a")]), 4096).is_ok());
}

#[test]
fn large_http_2_head_and_target_are_distinguished() {
    let sized = |version, target: usize, value: usize| {
        let target = format!("/{}", "a".repeat(target));
        framing(
            &header(
                version,
                "POST",
                &target,
                &[("host", "a"), ("x", &"b".repeat(value))],
            ),
            4096,
        )
        .map(drop)
    };
    assert_eq!(sized(H2, 10, 3900), Ok(()));
    assert_eq!(sized(H2, 10, 4096), Err(Refusal::HeadTooLarge));
    assert_eq!(sized(H2, 2000, 2100), Err(Refusal::HeadTooLarge));
    assert_eq!(sized(H2, 4096, 0), Err(Refusal::TargetTooLong));
    assert_eq!(sized(V11, 10, 5000), Ok(()), "the scanner has checked it");
}
