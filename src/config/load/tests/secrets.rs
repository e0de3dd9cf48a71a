use super::*;

const SECRET: &str = "Hunter2Hunter2Hunter2";

#[test]
fn errors_of_a_bad_config_never_show_a_secret() {
    let route = |secrets: &str| {
        format!(
            "routes:\n  - name: a\n    path: /a\n    verify:\n      provider: github\n      secrets: {secrets}\n"
        )
    };
    let mut shapes: Vec<String> = [
        "[{ insecure_inline: SECRET, nam: x }]",
        "[{ insecure_inlin: SECRET }]",
        "[{ inline: SECRET }]",
        "[{ value: SECRET }]",
        "[{ SECRET: 1 }]",
        "[{ SECRET }]",
        "[SECRET]",
        "SECRET",
        "{ SECRET: x }",
        "{ by: SECRET }",
        "[{ env: SECRET }]",
        "[{ file: SECRET }]",
        "[{ insecure_inline: [SECRET] }]",
        "[{ insecure_inline: { SECRET: SECRET } }]",
        "[{ insecure_inline: ' SECRET' }]",
        "[{ insecure_inline: 'SECRET SECRET' }]",
        "[{ insecure_inline: SECRET, encoding: hex }]",
        "[{ insecure_inline: SECRET, encoding: nothing }]",
        "[{ insecure_inline: SECRET, insecure_inline: SECRET }]",
        "[{ insecure_inline: SECRET, env: A }]",
        "[{ insecure_inline: !!binary SECRET }]",
        "[{ insecure_inline: &a SECRET }]",
        "[{ insecure_inline: 'SECRET }]",
        "[{ insecure_inline: SECRET",
        "[{ insecure_inline:SECRET }]",
        "[{ insecure_inline: \"SECRET\\q\" }]",
        "\n        - insecure_inline: |\n            SECRET\n            SECRET\n          expires: never",
        "\n        - insecure_inline: SECRET\n         name: x",
        "\n        - SECRET: [\n",
    ]
    .map(route)
    .into();
    shapes.push(format!("{}    secret: SECRET\n", route("[{ env: A }]")));
    shapes.push(format!("{}      token: SECRET\n", route("[{ env: A }]")));
    shapes.push("admin: { address: 127.0.0.1:1, token: SECRET }\n".to_owned());
    for tokens in [
        "SECRET",
        "[SECRET]",
        "[{ SECRET: 1 }]",
        "[{ name: SECRET }]",
        "[{ name: a, file: SECRET }]",
        "[{ name: a, env: SECRET }]",
        "[{ name: a, allow: [SECRET] }]",
        "[{ name: a, insecure_inline: ' SECRET' }]",
    ] {
        shapes.push(format!(
            "admin: {{ address: 127.0.0.1:1, tokens: {tokens} }}\n"
        ));
    }
    for sign in [
        "SECRET",
        "{ SECRET: 1 }",
        "{ secret: SECRET }",
        "{ secret: { SECRET: 1 } }",
        "{ secret: { file: SECRET } }",
        "{ secret: { insecure_inline: SECRET+ } }",
        "{ secret: { insecure_inline: SECRET, encoding: hex } }",
    ] {
        shapes.push(format!(
            "{}    queue: {{ upstream: app, sign: {sign} }}\n",
            route("[{ env: A }]")
        ));
    }
    shapes.push("upstreams: { app: { url: 'http://user:SECRET@host' } }\n".to_owned());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    for shape in shapes {
        std::fs::write(&path, shape.replace("SECRET", SECRET)).unwrap();
        let refused =
            load(&path, &|_| None, None, 1, FrozenClock::at_unix(0).now()).expect_err(&shape);
        let shown = format!(
            "{:?}{}{}{}",
            refused,
            refused.report.render(true),
            refused.report.json_lines(),
            refused.report.headline()
        );
        assert!(
            !shown.contains(SECRET),
            "{shape}\n{}",
            refused.report.render(false)
        );
    }
}
