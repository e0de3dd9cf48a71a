//! Tests of the client of the outbound listener: how it finds the listener and a token, and how it says what went wrong.
use super::*;
use crate::cli::error::Exit;

/// Writes a config. Returns the options that name it.
fn with_config(dir: &tempfile::TempDir, outbound: &str) -> OutboundArgs {
    let path = dir.path().join("config.yaml");
    std::fs::write(&path, format!("outbound:\n{outbound}")).unwrap();
    OutboundArgs {
        config: Some(path),
        ..OutboundArgs::default()
    }
}

fn error(args: &OutboundArgs) -> Error {
    args.client().map(drop).unwrap_err()
}

#[test]
fn listener_and_token_are_those_of_the_config() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("token"), "from-file\n").unwrap();
    let mut args = with_config(
        &dir,
        "  listen: { address: 'unix:out.sock' }
  tokens:
    - { name: a, insecure_inline: publisher }
    - { name: b, file: missing, allow: [read] }
    - { name: c, file: token, allow: [publish, read] }
",
    );
    let client = args.client().unwrap();
    let socket = dir.path().join("out.sock");
    assert_eq!(client.address, format!("unix:{}", socket.display()));
    assert_eq!(client.token(Right::Publish).unwrap(), b"publisher");
    assert_eq!(client.token(Right::Read).unwrap(), b"from-file");
    let none = client.token(Right::Manage).unwrap_err();
    assert_eq!(none.exit, Exit::USAGE);
    assert_eq!(none.message, "no token of the config may `manage`");
    args.outbound = Some("127.0.0.1:1".to_owned());
    args.token_file = Some(dir.path().join("token"));
    let client = args.client().unwrap();
    assert_eq!(client.address, "127.0.0.1:1");
    assert_eq!(client.token(Right::Manage).unwrap(), b"from-file");
}

#[test]
fn tls_of_the_config_becomes_https() {
    let dir = tempfile::tempdir().unwrap();
    let args = with_config(
        &dir,
        "  listen: { address: '0.0.0.0:9400', tls: { certificate: a, key: b } }\n",
    );
    assert_eq!(args.client().unwrap().address, "https://0.0.0.0:9400");
}

#[test]
fn missing_token_or_block_is_said() {
    let alone = OutboundArgs::default();
    assert_eq!(error(&alone).message, "a token is missing");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.yaml");
    std::fs::write(&path, "routes: []\n").unwrap();
    let args = OutboundArgs {
        config: Some(path),
        ..OutboundArgs::default()
    };
    let error = error(&args);
    assert!(error.message.contains("no `outbound`"), "{error:?}");
    assert_eq!(error.exit, Exit::USAGE);
}

#[test]
fn targets_are_escaped() {
    assert_eq!(
        within("a:b", &["endpoints", "ep_1/../x"]),
        "/v1/tenants/a%3Ab/endpoints/ep_1%2F..%2Fx"
    );
}

fn refused(target: &str, status: u16, body: &str) -> Error {
    let reply = (StatusCode::from_u16(status).unwrap(), body.as_bytes());
    outbound_error::refused(target, reply, "127.0.0.1:9400", " --config c.yaml")
}

#[test]
fn refusals_name_commands() {
    let target = within("acme:1", &["endpoints", "main"]);
    let error = refused(
        &target,
        404,
        r#"{"code":"no_tenant","error":"x","help":"y"}"#,
    );
    assert_eq!(error.message, "there is no tenant `acme:1`");
    assert_eq!(
        error.hint.as_deref(),
        Some(
            "hookgate tenants list --config c.yaml, or make it: hookgate tenants create acme:1 --config c.yaml"
        )
    );
    let error = refused(
        &target,
        409,
        r#"{"code":"state","error":"the endpoint is active","help":"GET the endpoint to see its state"}"#,
    );
    assert_eq!(
        error.why.as_deref(),
        Some("`hookgate endpoints show` shows its state")
    );
    let error = refused(
        &target,
        422,
        r#"{"code":"url_refused","error":"no","help":"h","at":"/url"}"#,
    );
    assert_eq!(error.location.as_deref(), Some("/url"));
    let error = refused(&target, 404, "<html>");
    assert!(error.message.contains("status 404"), "{error:?}");
    assert_eq!(error.exit, Exit::NO);
}
