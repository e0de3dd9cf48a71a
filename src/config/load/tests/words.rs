use super::*;

/// The words of the schema are those that the compiler names when it meets another.
#[test]
fn enums_of_the_schema_match_the_compiler() {
    let hmac = "scheme: hmac, algorithm: sha256, signature: { header: X, encoding: hex }, secrets: [{ env: A }]";
    let route = |more: &str| format!("{HEAD}routes: [{{ name: a, path: /a, {more} }}]\n");
    let verify = |block: &str| {
        route(&format!(
            "verify: {{ {block} }}, forward: {{ upstream: app }}"
        ))
    };
    let forward = |more: &str| {
        route(&format!(
            "verify: none, forward: {{ upstream: app, {more} }}"
        ))
    };
    let handshake = |more: &str| {
        route(&format!(
            "verify: {{ {hmac} }}, handshake: {{ {more} }}, forward: {{ upstream: app }}"
        ))
    };
    let root = |more: &str| format!("{HEAD}routes:\n{ROUTE}{more}\n");
    for (block, key, text) in [
        (
            "Verify",
            "scheme",
            verify("scheme: WORD, secrets: [{ env: A }]"),
        ),
        (
            "Verify",
            "algorithm",
            verify(&hmac.replace("sha256", "WORD")),
        ),
        (
            "Verify",
            "secret_encoding",
            verify(&format!("{hmac}, secret_encoding: WORD")),
        ),
        (
            "Secret",
            "encoding",
            verify(&hmac.replace("env: A", "env: A, encoding: WORD")),
        ),
        (
            "SecretTable",
            "encoding",
            verify(&hmac.replace(
                "[{ env: A }]",
                "{ by: 'header:X-A', dir: ., encoding: WORD }",
            )),
        ),
        (
            "Signature",
            "encoding",
            verify(&hmac.replace("hex", "WORD")),
        ),
        (
            "Answer",
            "mac",
            handshake("token: { query: t }, method: GET, answer: { text: '{mac}', mac: WORD }"),
        ),
        (
            "Handshake",
            "method",
            handshake("token: { query: t }, method: WORD, answer: { text: '{token}' }"),
        ),
        (
            "Timestamp",
            "format",
            verify(&format!(
                "{hmac}, signed_content: '{{timestamp}}.{{body}}', timestamp: {{ header: X-T, format: WORD }}"
            )),
        ),
        (
            "Route",
            "refused_body",
            verify(hmac).replace("path:", "refused_body: WORD, path:"),
        ),
        (
            "Route",
            "mode",
            verify(hmac).replace("path:", "mode: WORD, path:"),
        ),
        (
            "RateLimit",
            "key",
            verify(hmac).replace("path:", "rate_limit: { rate: 1/s, key: WORD }, path:"),
        ),
        (
            "RateLimit",
            "scope",
            verify(hmac).replace("path:", "rate_limit: { rate: 1/s, scope: WORD }, path:"),
        ),
        (
            "Queue",
            "scope",
            forward("rate: 1/s, scope: WORD").replace("forward", "queue"),
        ),
        (
            "Forward",
            "scope",
            forward("on_failure: queue, scope: WORD"),
        ),
        (
            "Dedupe",
            "by",
            verify(hmac).replace("path:", "dedupe: { by: WORD }, path:"),
        ),
        (
            "Dedupe",
            "per",
            verify(hmac).replace("path:", "dedupe: { per: WORD }, path:"),
        ),
        ("Forward", "query", forward("query: WORD")),
        (
            "Queue",
            "query",
            forward("query: WORD").replace("forward", "queue"),
        ),
        ("Forward", "on_failure", forward("on_failure: WORD")),
        (
            "Failures",
            "unreached",
            forward("on_failure: { unreached: WORD }"),
        ),
        (
            "Failures",
            "ambiguous",
            forward("on_failure: { ambiguous: WORD }"),
        ),
        ("Forward", "record", forward("record: WORD")),
        (
            "Upstream",
            "host",
            root("").replace("3000'", "3000', host: WORD"),
        ),
        (
            "Tls",
            "client_auth",
            root("").replace("8080'", "8080', tls: { client_auth: WORD }"),
        ),
        ("Log", "format", root("log: { format: WORD }")),
        ("Log", "requests", root("log: { requests: WORD }")),
        (
            "StorePostgres",
            "durability",
            root("store: { postgres: { url: 'postgres://u@db/x', durability: WORD } }"),
        ),
        (
            "ServerTls",
            "mode",
            root("store: { postgres: { url: 'postgres://u@db/x', tls: { mode: WORD } } }"),
        ),
        (
            "AdminToken",
            "allow",
            root("admin: { address: '127.0.0.1:1', tokens: [{ name: a, env: A, allow: [WORD] }] }"),
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        std::fs::write(&path, text.replace("WORD", "qqqqqqqqqqqq")).unwrap();
        let report = try_load(&path).expect_err(&text).report;
        let words =
            crate::config::schema::words(block, key).unwrap_or_else(|| panic!("{block}.{key}"));
        let helps = report
            .findings
            .iter()
            .filter_map(|finding| finding.help.as_deref());
        let named = |help: &str| {
            words.iter().all(|word| {
                help.split(|c: char| !c.is_alphanumeric() && !"_-".contains(c))
                    .any(|one| one == *word)
            })
        };
        assert!(
            helps.clone().any(named),
            "{block}.{key}: {words:?}\n{}",
            report.render(false)
        );
    }
}
