//! Compiles `store.postgres`. The files that it names are read at each connect, so they are no inputs of the config: a change of one is neither a
//! reload nor part of the hash. They are checked here all the same.
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

use crate::config::compile::certificates::{MAX_PEM, PrivateKey, chain_of, private_key, signers};
use crate::config::compile::context::Context;
use crate::config::compile::postgres_text::{Written, place_of, read};
use crate::config::diagnostic::{Place, shown};
use crate::config::file;
use crate::config::snapshot::{Durability, PostgresEngine, PostgresTls, PostgresTlsMode};
use crate::config::source::read_regular;
use crate::postgres_url::{Host, PostgresUrl, RootCertificates, SslMode, UrlFault};

/// The number of connections that a gateway may have.
const CONNECTIONS: RangeInclusive<u32> = 3..=100;
/// The time that one call may have.
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);
/// The longest name of a schema.
const MAX_SCHEMA: usize = 41;
/// The form of the URL.
const FORM: &str = "write `postgres://USER@HOST/DATABASE`";

/// Compiles `store.postgres`; `None` after an error.
pub(super) fn engine(
    written: file::StorePostgres,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<PostgresEngine> {
    let before = cx.problems.has_error_at(place);
    // No `..`: a new field must be dealt with here.
    let file::StorePostgres {
        url,
        password,
        schema,
        connections,
        timeout,
        tls,
        durability,
        migrate,
    } = written;
    let durabilities = [
        ("disk", Durability::Disk),
        ("storage", Durability::Storage),
        ("standby", Durability::Standby),
    ];
    let durability = cx.word(
        durability.as_deref(),
        &place.key("durability"),
        &durabilities,
    );
    let schema = schema_of(schema, &place.key("schema"), cx);
    let connections = connections_of(connections, &place.key("connections"), cx);
    let timeout = timeout_of(timeout.as_deref(), &place.key("timeout"), cx);
    let tls = tls.unwrap_or_default();
    let mode = mode_of(tls.mode.as_deref(), &place.key("tls").key("mode"), cx);
    let url = url_of(url.as_ref(), mode.is_some(), place, cx);
    let password = password.map(|source| {
        let place = place.key("password");
        let source = place_of(&source, &place, cx)?;
        if read(&source, cx).is_some() {
            cx.loader.count += 1;
        }
        Some(source.place)
    });
    let tls = tls_of(
        &tls,
        mode,
        url.as_ref().and_then(|url| url.parsed.as_ref()),
        &place.key("tls"),
        cx,
    );
    let url = url?;
    if cx.problems.has_error_at(place) || before || cx.problems.is_spoiled(&place.key("url")) {
        return None;
    }
    Some(PostgresEngine {
        url: url.written.place,
        password: password.flatten(),
        server: url.parsed.map(|url| url.to_string()).unwrap_or_default(),
        schema,
        connections,
        timeout,
        tls,
        durability,
        migrate: migrate.unwrap_or(true),
    })
}

/// The URL.
struct Url {
    written: Written,
    /// Its parts; `None` if it cannot be read now.
    parsed: Option<PostgresUrl>,
}

/// Compiles `url`. `has_mode` says whether `tls.mode` is written, which takes precedence over `sslmode`.
fn url_of(
    url: Option<&file::TextOrSource>,
    has_mode: bool,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<Url> {
    let Some(url) = url else {
        let help = "add `url: { file: FILE }`, or `url: postgres://USER@HOST/DATABASE`".to_owned();
        cx.problems
            .missing(place, "url", "the database has no URL", help);
        return None;
    };
    let place = place.key("url");
    let (written, text) = match url {
        file::TextOrSource::Text(text) => {
            let text = Zeroizing::new(text.0.clone());
            (Written::in_config(&text, &place), Some(text))
        }
        file::TextOrSource::Source(source) => {
            let written = place_of(source, &place, cx)?;
            let text = read(&written, cx);
            (written, text)
        }
    };
    let place = written.at.clone();
    let Some(text) = text else {
        return Some(Url {
            written,
            parsed: None,
        });
    };
    let parsed = match PostgresUrl::parse(&text) {
        Ok(parsed) => parsed,
        Err(fault) => {
            cx.problems
                .error(&place, fault.to_string(), help_for(fault));
            return None;
        }
    };
    judge(&parsed, written.is_secret, has_mode, &place, cx);
    if parsed.password.is_some() && written.is_secret {
        cx.loader.count += 1;
    }
    Some(Url {
        written,
        parsed: Some(parsed),
    })
}

/// Returns what to write instead.
fn help_for(fault: UrlFault) -> String {
    match fault {
        UrlFault::Escape => "write `%25` for `%`, `%40` for `@`, `%2F` for `/`".to_owned(),
        UrlFault::SslMode => "write `sslmode=verify-full`, `verify-ca` or `disable`".to_owned(),
        UrlFault::Twice(part) => format!("write the {part} once"),
        UrlFault::Scheme
        | UrlFault::NoHost
        | UrlFault::Host
        | UrlFault::Port
        | UrlFault::NoDatabase => FORM.to_owned(),
        UrlFault::Unescaped => "in the user and the password, write `%2F` for `/`, `%3F` for `?`, `%23` for `#` and `%40` for `@`, or give the password apart, as `password: { file: … }`".to_owned(),
    }
}

/// Reports what is wrong with a URL that can be parsed.
fn judge(url: &PostgresUrl, is_secret: bool, has_mode: bool, place: &Place, cx: &mut Context<'_>) {
    if url.password.is_some() && !is_secret {
        let message = "the URL has a password: anyone who reads the config can read it";
        let help = "write `url: { file: FILE }`, or remove the password and add `password: { file: FILE }`";
        cx.problems.error(place, message, help.to_owned());
    }
    if url.user.is_none() {
        let message = "the URL names no user: the one of the process would be taken";
        cx.problems.error(place, message, FORM.to_owned());
    }
    if let Some(SslMode::Unauthenticated(mode)) = url.ssl_mode
        && !has_mode
    {
        let message =
            format!("`sslmode={mode}` accepts any server, also one that only pretends to be yours");
        let help = "write `sslmode=verify-full` and, for a CA of your own, `tls: { ca: FILE }`; if you cannot change the URL, `tls: { mode: verify-full }`";
        cx.problems.error(place, message, help.to_owned());
    }
    for name in &url.ignored {
        let message = format!("the parameter `{}` of the URL has no effect", shown(name));
        cx.problems.warning(place, message, "remove it".to_owned());
    }
}

/// Checks `schema`.
fn schema_of(schema: Option<String>, place: &Place, cx: &mut Context<'_>) -> String {
    let Some(schema) = schema else {
        return "hookgate".to_owned();
    };
    let is_first = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    let is_name = schema.len() <= MAX_SCHEMA
        && schema.bytes().next().is_some_and(is_first)
        && schema
            .bytes()
            .all(|byte| is_first(byte) || byte.is_ascii_digit());
    if !is_name {
        let help = "use at most 41 lower-case letters, digits and `_`, without a digit in front";
        cx.problems
            .error(place, "this is not a valid schema name", help.to_owned());
    } else if schema.starts_with("pg_") || schema == "information_schema" {
        let message = "PostgreSQL reserves this schema name";
        cx.problems.error(
            place,
            message,
            "write another name, such as `hookgate`".to_owned(),
        );
    } else if schema == "public" {
        let message = "other programs use this schema too: `hookgate migrate --grant` gives rights on their tables and functions, and takes functions from PUBLIC";
        cx.problems.warning(
            place,
            message,
            "remove it: the default is a schema `hookgate`".to_owned(),
        );
    }
    schema
}

/// Checks `connections`.
fn connections_of(connections: Option<u32>, place: &Place, cx: &mut Context<'_>) -> usize {
    let connections = connections.unwrap_or(6);
    if !CONNECTIONS.contains(&connections) {
        let (least, most) = (CONNECTIONS.start(), CONNECTIONS.end());
        let help = "one connection is for claims, one for searches, the others write".to_owned();
        cx.problems
            .error(place, format!("this must be from {least} to {most}"), help);
    }
    usize::try_from(connections).unwrap_or(usize::MAX)
}

/// Parses `timeout`.
fn timeout_of(timeout: Option<&str>, place: &Place, cx: &mut Context<'_>) -> Duration {
    let timeout = cx.duration(timeout, place, Duration::from_secs(2));
    if !TIMEOUT.contains(&timeout) {
        cx.problems
            .error(place, "this must be from 100ms to 1m", None);
    }
    timeout
}

/// Parses `tls.mode`.
fn mode_of(mode: Option<&str>, place: &Place, cx: &mut Context<'_>) -> Option<PostgresTlsMode> {
    let modes = [
        ("verify-full", PostgresTlsMode::VerifyFull),
        ("verify-ca", PostgresTlsMode::VerifyCa),
        ("off", PostgresTlsMode::Off),
    ];
    cx.word(mode, place, &modes)
}

/// Compiles `tls`, with what the URL says where it says nothing.
fn tls_of(
    written: &file::ServerTls,
    mode: Option<PostgresTlsMode>,
    url: Option<&PostgresUrl>,
    place: &Place,
    cx: &mut Context<'_>,
) -> PostgresTls {
    let file::ServerTls {
        mode: _,
        ca,
        certificate,
        key,
    } = written;
    let of_url = match url.and_then(|url| url.ssl_mode.as_ref()) {
        Some(SslMode::Disable) => Some(PostgresTlsMode::Off),
        Some(SslMode::VerifyCa) => Some(PostgresTlsMode::VerifyCa),
        Some(SslMode::VerifyFull | SslMode::Unauthenticated(_)) | None => None,
    };
    let mode = mode.or(of_url).unwrap_or(PostgresTlsMode::VerifyFull);
    let root = url.and_then(|url| url.ssl_root_cert.as_ref());
    let root = match root.filter(|_| ca.is_none()) {
        Some(RootCertificates::File(path)) => Some(cx.loader.base.join(path)),
        Some(RootCertificates::System) | None => None,
    };
    if mode == PostgresTlsMode::Off {
        for (key, written) in [("ca", ca), ("certificate", certificate), ("key", key)] {
            if written.is_some() {
                let message = format!("`{key}` has no effect: TLS is off");
                let help = "remove it, or turn TLS on: `mode: verify-full`".to_owned();
                cx.problems.error(&place.key(key), message, help);
            }
        }
        note_plain_text(url.map_or(&[], |url| &url.hosts), place, cx);
        return PostgresTls {
            mode,
            ca: None,
            client: None,
        };
    }
    let own = ca.as_ref().map(|ca| cx.loader.base.join(ca));
    if let Some(path) = &own {
        check_pem(
            path,
            "certificate",
            &place.key("ca"),
            |bytes| signers(bytes).is_some(),
            cx,
        );
    }
    PostgresTls {
        mode,
        ca: own.or(root),
        client: client_of(certificate.as_deref(), key.as_deref(), place, cx),
    }
}

/// Warns about connections that are not encrypted and leave this machine.
fn note_plain_text(hosts: &[Host], place: &Place, cx: &mut Context<'_>) {
    if let Some(host) = hosts.iter().find(|host| !host.is_local()) {
        let message = format!(
            "TLS is off: passwords and deliveries cross the network to {host} in plain text"
        );
        let help = "write `tls: { mode: verify-full }`, unless the network itself encrypts";
        cx.problems.warning(place, message, help.to_owned());
    }
}

/// Compiles `certificate` and `key`.
fn client_of(
    certificate: Option<&str>,
    key: Option<&str>,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<(PathBuf, PathBuf)> {
    let (certificate, key) = match (certificate, key) {
        (None, None) => return None,
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(_), None) => {
            let help = "add `key: FILE` (PEM)".to_owned();
            cx.problems
                .missing(place, "key", "`certificate` needs `key`", help);
            return None;
        }
        (None, Some(_)) => {
            let help = "add `certificate: FILE` (PEM)".to_owned();
            cx.problems
                .missing(place, "certificate", "`key` needs `certificate`", help);
            return None;
        }
    };
    let paths = (cx.loader.base.join(certificate), cx.loader.base.join(key));
    check_pem(
        &paths.0,
        "certificate",
        &place.key("certificate"),
        |bytes| chain_of(bytes).is_some(),
        cx,
    );
    let is_key = |bytes: &[u8]| matches!(private_key(bytes), Some(PrivateKey::Plain(_)));
    check_pem(
        &paths.1,
        "private key without a passphrase",
        &place.key("key"),
        is_key,
        cx,
    );
    cx.loader.origins.files.push(paths.1.clone());
    Some(paths)
}

/// Reports a PEM file that cannot be read or contains no `what`. A running gateway keeps the last good text, so a reload reports nothing.
fn check_pem(
    path: &Path,
    what: &str,
    place: &Place,
    is_good: impl Fn(&[u8]) -> bool,
    cx: &mut Context<'_>,
) {
    if cx.loader.previous.is_some() {
        return;
    }
    match read_regular(path, MAX_PEM) {
        Ok(bytes) if is_good(&bytes) => {}
        Ok(_) => {
            let message = format!("the file contains no {what}");
            cx.problems
                .error(place, message, "write it as PEM".to_owned());
        }
        Err(why) => cx.problems.error(place, format!("the file {why}"), None),
    }
}
