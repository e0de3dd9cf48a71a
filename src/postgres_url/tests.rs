use super::*;

fn parse(text: &str) -> PostgresUrl {
    PostgresUrl::parse(text).unwrap_or_else(|fault| panic!("{text}: {fault}"))
}

#[test]
fn url_is_split_into_its_parts() {
    let url = parse(
        "postgres://hook%40gate:p%3Aw@db-rw:6432,db-2,[::1]:7000/ho%20oks?sslmode=verify-ca&sslrootcert=/ca.pem",
    );
    assert_eq!(url.user.as_deref(), Some("hook@gate"));
    assert_eq!(url.password.as_ref().map(|text| text.as_str()), Some("p:w"));
    assert_eq!(url.to_string(), "db-rw:6432,db-2:5432,[::1]:7000/ho oks");
    assert_eq!(url.ssl_mode, Some(SslMode::VerifyCa));
    assert_eq!(
        url.ssl_root_cert,
        Some(RootCertificates::File("/ca.pem".into()))
    );
    assert!(url.ignored.is_empty());
}

/// CloudNativePG writes `postgresql://`; libpq takes a socket, a user and a password from the query.
#[test]
fn forms_of_libpq_are_read() {
    for (text, shown) in [
        ("postgresql://u@db/x", "db:5432/x"),
        ("postgres://u@%2Frun%2Fpg/x", "/run/pg:5432/x"),
        ("postgres://u@/x?host=/run/pg&port=5433", "/run/pg:5433/x"),
        (
            "postgres:///x?host=a,b&user=u&password=p",
            "a:5432,b:5432/x",
        ),
        ("postgres://u@a,b/?dbname=x&port=1,2", "a:1,b:2/x"),
        ("postgres://u@a,b/x?port=9", "a:9,b:9/x"),
    ] {
        let url = parse(text);
        assert_eq!(
            (url.to_string().as_str(), url.user.as_deref()),
            (shown, Some("u")),
            "{text}"
        );
    }
    let url = parse("postgres://u@db/x?connect_timeout=3&sslmode=require&pgbouncer=true");
    assert_eq!(url.ignored, ["connect_timeout", "pgbouncer"]);
    assert_eq!(url.ssl_mode, Some(SslMode::Unauthenticated("require")));
    assert_eq!(parse("postgres://db/x").user, None);
    assert_eq!(parse("postgres://:@db/x").password, None);
}

#[test]
fn faults_are_named_without_the_text() {
    for (text, fault) in [
        ("mysql://u@db/x", UrlFault::Scheme),
        ("postgres://u:a%zz@db/x", UrlFault::Escape),
        ("postgres://u:%ff@db/x", UrlFault::Escape),
        ("postgres://u:%00@db/x", UrlFault::Escape),
        ("postgres://u@/x", UrlFault::NoHost),
        ("postgres://u@db,/x", UrlFault::NoHost),
        ("postgres://u@[::1/x", UrlFault::Host),
        ("postgres://u@d b/x", UrlFault::Host),
        ("postgres://u@db:0/x", UrlFault::Port),
        ("postgres://u@db:70000/x", UrlFault::Port),
        ("postgres://u@a,b,c/x?port=1,2", UrlFault::Port),
        ("postgres://u@db", UrlFault::NoDatabase),
        ("postgres://u@db/", UrlFault::NoDatabase),
        ("postgres://u@db/x?user=v", UrlFault::Twice("user")),
        ("postgres://u@db/x?host=c", UrlFault::Twice("host")),
        ("postgres://u@db:1/x?port=2", UrlFault::Twice("port")),
        ("postgres://u@db/x?sslmode=on", UrlFault::SslMode),
    ] {
        assert_eq!(PostgresUrl::parse(text), Err(fault), "{text}");
    }
}

#[test]
fn password_is_not_shown() {
    let url = parse("postgres://hooks:hunter2@db/x");
    assert!(!format!("{url:?} {url}").contains("hunter2"));
}

#[test]
fn local_hosts_are_known() {
    for (text, is_local) in [
        ("localhost", true),
        ("127.0.0.1", true),
        ("[::1]", true),
        ("%2Frun%2Fpg", true),
        ("db", false),
        ("10.0.0.1", false),
    ] {
        let url = parse(&format!("postgres://u@{text}/x"));
        assert_eq!(url.hosts[0].is_local(), is_local, "{text}");
    }
}

/// The part of a password behind such a character would be taken for a host, a database or a parameter, and shown.
#[test]
fn password_that_is_not_escaped_is_refused() {
    for password in ["p@ss/w", "12/x?y", "a#b", "a/b", "a?b"] {
        let parsed = PostgresUrl::parse(&format!("postgres://u:{password}@host/db"));
        assert_eq!(parsed.err(), Some(UrlFault::Unescaped), "{password}");
    }
    for password in ["p@ss", "p%40ss%2Fw%23"] {
        let parsed = PostgresUrl::parse(&format!("postgres://u:{password}@host/db"));
        assert!(parsed.is_ok(), "{password}");
    }
}
