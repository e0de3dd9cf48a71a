use super::*;
use crate::cli::{Exit, main};

fn run(arguments: &[&str]) -> Exit {
    main(
        std::iter::once("hookgate")
            .chain(arguments.iter().copied())
            .map(Into::into),
    )
}

/// Signed requests are accepted, from arguments to exit code.
#[track_caller]
fn round_trip(provider: &str, secret: &str, body: &str, expect_shell: bool) {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(path("secret"), secret).unwrap();
    std::fs::write(path("body"), body).unwrap();
    let args = SignArgs::parse_for_tests(&[
        "--provider",
        provider,
        "--secret-file",
        &path("secret"),
        "--body",
        &path("body"),
    ]);
    let policy = args.policy.read().unwrap();
    let now = SystemClock.now().wall;
    let url = default_url(&policy).unwrap();
    let request = signed(&policy, &url, body.to_owned().into(), None, now).unwrap();
    let shown = printable(&policy, &request).unwrap();
    let curl = curl(&shown, "@body");
    assert!(!curl.contains(secret), "{curl}");
    assert_eq!(curl.contains("$(cat "), expect_shell, "{curl}");
    let mut raw = format!(
        "POST {} HTTP/1.1\r\n",
        request.url.strip_prefix("http://127.0.0.1:8080").unwrap()
    )
    .into_bytes();
    for (name, value) in &request.headers {
        raw.extend_from_slice(
            &[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat(),
        );
    }
    raw.extend_from_slice(format!("Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
    std::fs::write(path("request"), &raw).unwrap();
    let verify = |request: &str| {
        run(&[
            "verify",
            "--provider",
            provider,
            "--secret-file",
            &path("secret"),
            "--url",
            &request_url(&request_target(&url)),
            request,
        ])
    };
    assert_eq!(verify(&path("request")), Exit::DONE, "{provider}");
    if provider != "gitlab" && provider != "brevo" {
        let index = raw.len() - 2;
        raw[index] ^= 1;
        std::fs::write(path("request"), &raw).unwrap();
        assert_eq!(verify(&path("request")), Exit::NO, "{provider}");
    }
    assert_eq!(verify(&path("nothing")), Exit::USAGE, "{provider}");
}

fn request_target(url: &str) -> String {
    url.strip_prefix("http://127.0.0.1:8080")
        .unwrap()
        .to_owned()
}

fn request_url(target: &str) -> String {
    format!("http://127.0.0.1:8080{target}")
}

impl SignArgs {
    fn parse_for_tests(arguments: &[&str]) -> Self {
        #[derive(clap::Parser)]
        struct Only {
            #[command(flatten)]
            args: SignArgs,
        }
        <Only as clap::Parser>::parse_from(std::iter::once("sign").chain(arguments.iter().copied()))
            .args
    }
}

#[test]
fn signed_request_is_authentic_and_shows_no_secret() {
    round_trip("github", "it's a s3cret", "{\"a\": 1}", false);
    round_trip(
        "stripe",
        "whsec_test_0123456789",
        "{\"id\": \"evt_1\"}",
        false,
    );
    round_trip(
        "slack",
        "8f742231b10e8888abcd99yyyzzz85a5",
        "payload=%7B%7D",
        false,
    );
    round_trip(
        "standard-webhooks",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "{}",
        false,
    );
    round_trip(
        "square",
        "s3cret-0123456789",
        "{\"event_id\": \"1\"}",
        false,
    );
    round_trip("gitlab", "s3cret-0123456789", "{}", true);
    round_trip("brevo", "user:p4ssword-0123456789", "{}", true);
}

#[test]
fn curl_command_sends_the_signed_request() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret").display().to_string();
    std::fs::write(&secret, "s3cret").unwrap();
    let args = SignArgs::parse_for_tests(&[
        "--provider",
        "stripe",
        "--secret-file",
        &secret,
        "--body",
        "it's.json",
    ]);
    let policy = args.policy.read().unwrap();
    let now = context::moment("1767225600").unwrap();
    let request = signed(
        &policy,
        "http://127.0.0.1:8080/webhooks/stripe?a=1&b=2",
        "{\"id\": \"evt_1\"}".into(),
        None,
        now,
    )
    .unwrap();
    insta::assert_snapshot!(curl(&printable(&policy, &request).unwrap(), "@it's.json"));
}

#[test]
fn json_holds_neither_the_secret_nor_shell_text() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret").display().to_string();
    std::fs::write(&secret, "user:p4ssword-0123456789").unwrap();
    for (provider, header) in [("gitlab", "X-Gitlab-Token"), ("brevo", "Authorization")] {
        let args = SignArgs::parse_for_tests(&[
            "--provider",
            provider,
            "--secret-file",
            &secret,
            "--body",
            "-",
        ]);
        let policy = args.policy.read().unwrap();
        let request = signed(
            &policy,
            "https://h/x",
            "{}".into(),
            None,
            SystemClock.now().wall,
        )
        .unwrap();
        let shown = printable(&policy, &request).unwrap();
        let json = as_json(&shown, &curl(&shown, "@-"));
        let headers = json["headers"].as_array().unwrap();
        assert!(headers.contains(&json!([header, null])), "{json}");
        assert!(!json["headers"].to_string().contains("$("), "{json}");
    }
}

#[test]
fn delivery_id_is_written_to_its_location() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret").display().to_string();
    std::fs::write(&secret, "s3cret").unwrap();
    let policy = |provider| {
        SignArgs::parse_for_tests(&[
            "--provider",
            provider,
            "--secret-file",
            &secret,
            "--body",
            "-",
        ])
        .policy
        .read()
        .unwrap()
    };
    let now = SystemClock.now().wall;
    let sign = |provider, id| signed(&policy(provider), "https://h/x", "{}".into(), id, now);
    assert_eq!(
        sign("github", Some("d-1")).unwrap().headers["x-github-delivery"],
        "d-1"
    );
    assert_eq!(
        sign("github", None).unwrap().headers["x-github-delivery"].len(),
        26
    );
    assert_eq!(
        sign("stripe", Some("d-1"))
            .unwrap_err()
            .hint
            .unwrap()
            .as_ref(),
        "write it at /id in the body"
    );
    assert_eq!(sign("acuity", Some("d-1")).unwrap_err().exit, Exit::USAGE);
}
