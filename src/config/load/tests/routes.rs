use super::*;

/// A request that is signed for one path is valid on no other.
#[test]
fn path_parameter_must_be_signed_or_select_the_secret() {
    let hmac = |content: &str, more: &str| {
        format!(
            "{{ scheme: hmac, algorithm: sha256, signature: {{ header: X-S, encoding: hex }}, signed_content: \"{content}\", {more} "
        )
    };
    let list = "secrets: [{ env: A_SECRET }] }";
    let token = "{ scheme: token, signature: { header: X-T }, ";
    let reason = "concatenated: reasons,";
    for (path, more, verify, free) in [
        (
            "/{a}/{p}",
            "",
            format!(
                "{} secrets: {{ by: '{{a}}', dir: keys }} }}",
                hmac("{body}", "")
            ),
            "`{p}`",
        ),
        (
            "/{a}/{*rest}",
            "",
            format!("{token} secrets: {{ by: '{{a}}', dir: keys }} }}"),
            "`{rest}`",
        ),
        (
            "/{a}/{*rest}",
            "",
            format!("{token} secrets: {{ by: '{{rest}}', dir: keys }} }}"),
            "`{a}`",
        ),
        (
            "/{a}/{b}/{c}",
            "",
            format!("{token} secrets: {{ by: '{{b}}', dir: keys }} }}"),
            "`{a}`, `{c}`",
        ),
        (
            "/{a}",
            "",
            format!("{token} secrets: {{ by: 'header:X-A', dir: keys }} }}"),
            "`{a}`",
        ),
        (
            "/{a}",
            "",
            format!("{token} secrets: {{ by: '{{a}}', dir: keys }} }}"),
            "",
        ),
        ("/{a}", "", format!("{token} {list}"), "`{a}`"),
        (
            "/{a}",
            "",
            format!("{} {list}", hmac("{query}.\\n{body}", "")),
            "`{a}`",
        ),
        (
            "/{a}/{b}",
            "",
            format!("{} {list}", hmac("{path}\\n{body}", "")),
            "",
        ),
        (
            "/{a}/{b}",
            "public_url: 'https://x.example/in',",
            format!("{} {list}", hmac("{path}\\n{body}", "")),
            "",
        ),
        (
            "/{a}/{b}",
            "host: x.example,",
            format!("{} {list}", hmac("{url}\\n{body}", "")),
            "",
        ),
        (
            "/{a}",
            "host: '*.example.com',",
            format!("{} {list}", hmac("{body}\\n{url}", "")),
            "",
        ),
        (
            "/{a}",
            "public_url: 'https://x.example/in',",
            format!("{} {list}", hmac("{url}\\n{body}", "")),
            "`{a}`",
        ),
        (
            "/{a}",
            "host: x.example,",
            format!("{} {list}", hmac("{url}{body}", reason)),
            "`{a}`",
        ),
        (
            "/{a}",
            "",
            format!("{} {list}", hmac("{path}{query}\\n{body}", reason)),
            "`{a}`",
        ),
        (
            "/{a}",
            "",
            format!(
                "{} {list}",
                hmac(
                    "{path}\\n{id}{body}",
                    "concatenated: reasons, delivery_id: { header: X-I },"
                )
            ),
            "",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("keys")).unwrap();
        let text = format!(
            "{HEAD}routes: [{{ name: a, path: '{path}', {more} verify: {verify}, forward: {{ upstream: app }} }}]\n"
        );
        let error = load_text(folder.path(), &text, None)
            .err()
            .unwrap_or_default();
        let want = if free.is_empty() {
            String::new()
        } else {
            format!("does not cover {free} of the path")
        };
        assert!(
            error.contains(&want) && error.is_empty() == want.is_empty(),
            "{text}{error}"
        );
    }
}

#[test]
fn unsigned_wildcard_host_gets_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    for (host, is_told) in [("'*.example.com'", true), ("a.example.com", false)] {
        let text = format!(
            "{HEAD}routes:\n{}",
            ROUTE.replace("path: /a", &format!("host: {host}, path: /a"))
        );
        let warnings = load_text(folder.path(), &text, None).unwrap().1;
        assert_eq!(
            warnings
                .iter()
                .any(|warning| warning.contains("does not cover the host")),
            is_told,
            "{warnings:?}"
        );
    }
}

/// A delivery that only its body tells apart is remembered for a short time, unless the preset says that no other event has the same body.
#[test]
fn dedupe_windows_follow_the_facts_of_the_preset() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    let windows = |verify: &str, dedupe: &str| {
        let verify = format!("{{ {verify}, secrets: [{{ env: A_SECRET }}] }}");
        let route = format!(
            "{{ name: a, path: /a, verify: {verify}, dedupe: {dedupe}, forward: {{ upstream: app }} }}"
        );
        let text = format!(
            "listen: [{{ address: '127.0.0.1:0' }}]\nupstreams: {{ app: {{ url: 'http://127.0.0.1:1' }} }}\nroutes: [{route}]\n"
        );
        std::fs::write(&path, text).unwrap();
        let loaded =
            try_load(&path).unwrap_or_else(|refused| panic!("{}", shown(&refused.report, &path)));
        let dedupe = loaded.snapshot.webhooks[0].dedupe.unwrap();
        [dedupe.window_of(true), dedupe.window_of(false)].map(|window| window.as_secs())
    };
    let own = "scheme: hmac, algorithm: sha256, signature: { header: X-S, encoding: hex }";
    let with_id = format!("{own}, delivery_id: {{ json: /id }}");
    let (short, day) = (10, 86_400);
    for (verify, dedupe, due) in [
        // no ID, and bodies that repeat, or may
        ("provider: dropbox", "{}", [short; 2]),
        ("provider: storyblok", "{}", [short; 2]),
        ("provider: helpscout", "{}", [short; 2]),
        (own, "{}", [short; 2]),
        // no ID, and bodies that never repeat
        (
            "provider: heroku, delivery_id: { header: X-Id }",
            "{}",
            [3 * day; 2],
        ),
        ("provider: line", "{}", [day; 2]),
        ("provider: xero", "{}", [day; 2]),
        ("provider: meta-whatsapp", "{}", [7 * day; 2]),
        // an ID: a request without it has its body alone
        ("provider: github", "{}", [day, short]),
        (&with_id, "{}", [day, short]),
        ("provider: stripe", "{}", [3 * day; 2]),
        // an ID that two deliveries can have
        ("provider: surveymonkey", "{}", [short; 2]),
        (
            "provider: trello, signature: { header: X-T, encoding: base64 }",
            "{}",
            [day; 2],
        ),
        // as written
        ("provider: dropbox", "{ window: 1h }", [3600; 2]),
        ("provider: stripe", "{ window: 1h }", [3600; 2]),
        (
            "provider: dropbox",
            "{ by: content, window: 2h }",
            [7200; 2],
        ),
        ("provider: helpscout", "{ by: content }", [day; 2]),
        ("provider: stripe", "{ by: content }", [3 * day; 2]),
    ] {
        assert_eq!(windows(verify, dedupe), due, "{verify} {dedupe}");
    }
}
