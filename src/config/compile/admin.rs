//! Compiles the admin listener and its tokens.
use std::sync::Arc;

use crate::config::compile::context::Context;
use crate::config::compile::{listen, routes};
use crate::config::diagnostic::Place;
use crate::config::file;
use crate::config::secret::WEAK_BELOW;
use crate::config::snapshot::{Admin, NamedToken, Token};

/// The largest number of named tokens. Each of them is compared with the token of a request.
const MAX_TOKENS: usize = 100;

/// Compiles `admin`.
pub(super) fn admin(admin: file::Admin, place: &Place, cx: &mut Context<'_>) -> Option<Admin> {
    let file::Admin {
        address,
        token,
        tokens,
    } = admin;
    let is_left_out = |key| cx.problems.is_spoiled(&place.key(key));
    let has_token =
        token.is_some() || !tokens.is_empty() || is_left_out("token") || is_left_out("tokens");
    let token =
        token.and_then(|secret| one(&secret, "token", "the admin token", &place.key("token"), cx));
    let tokens = named(tokens, token.as_ref(), &place.key("tokens"), cx);
    let token = token.map(|bytes| Token::new(bytes.to_vec()));
    let address = listen::listen_address(
        address.as_deref(),
        "unix:/run/hookgate/admin.sock",
        place,
        cx,
    )?;
    if address
        .tcp()
        .is_some_and(|address| !address.ip().is_loopback())
        && !has_token
    {
        let help = "add `token: { file: /run/secrets/admin }`, or listen on 127.0.0.1".to_owned();
        cx.problems.error(
            &place.key("address"),
            "an admin listener that is not on loopback needs a token",
            help,
        );
    }
    Some(Admin {
        address,
        token,
        tokens,
    })
}

/// Loads the bytes of a token.
fn one(
    secret: &file::Secret,
    name: &str,
    called: &str,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<zeroize::Zeroizing<Vec<u8>>> {
    let token = cx.loader.one(
        secret,
        name,
        &format!("admin/{name}"),
        place,
        &mut cx.problems,
    )?;
    if token.text.len() < WEAK_BELOW {
        let message = format!("{called} is shorter than {WEAK_BELOW} bytes");
        cx.problems.warning_at_key(
            place,
            message,
            "create one with `openssl rand -hex 32`".to_owned(),
        );
    }
    if !token.text.iter().all(u8::is_ascii_graphic) {
        let help = "create one with `openssl rand -hex 32`".to_owned();
        cx.problems.error_at_key(
            place,
            "the token contains bytes that are not allowed in a header",
            help,
        );
    }
    Some(token.text)
}

/// Compiles the named tokens. Names and tokens must be unique, so that the audit log identifies the owner.
fn named(
    written: Vec<file::AdminToken>,
    main: Option<&zeroize::Zeroizing<Vec<u8>>>,
    place: &Place,
    cx: &mut Context<'_>,
) -> Vec<NamedToken> {
    if written.len() > MAX_TOKENS {
        cx.problems.error_at_key(
            place,
            format!("there are more than {MAX_TOKENS} tokens"),
            None,
        );
    }
    let main = main.map(|bytes| Token::new(bytes.to_vec()));
    let mut tokens: Vec<NamedToken> = Vec::with_capacity(written.len());
    let mut names: Vec<(String, Place)> = Vec::with_capacity(written.len());
    for (index, token) in written.into_iter().enumerate().take(MAX_TOKENS) {
        let place = place.index(index);
        let file::AdminToken {
            name,
            env,
            file,
            insecure_inline,
            allow,
        } = token;
        let Some(name) = name_of(name, &names, &place, cx) else {
            continue;
        };
        names.push((name.clone(), place.key("name")));
        let (read, act) = rights(&allow, &place.key("allow"), cx);
        let secret = file::Secret {
            env,
            file,
            insecure_inline,
            ..file::Secret::default()
        };
        let Some(bytes) = one(
            &secret,
            &name,
            &format!("the admin token of {name}"),
            &place,
            cx,
        ) else {
            continue;
        };
        let is_main = main.as_ref().is_some_and(|main| main.matches(&bytes));
        let of = tokens
            .iter()
            .find(|other| other.token.matches(&bytes))
            .map(|other| format!("that of {}", other.name));
        if let Some(of) = is_main.then(|| "`admin.token`".to_owned()).or(of) {
            let help = "create one token per name: the audit log shows the name".to_owned();
            cx.problems.error_at_key(
                &place,
                format!("the token of {name} is the same as {of}"),
                help,
            );
        }
        tokens.push(NamedToken {
            name: Arc::from(name),
            token: Token::new(bytes.to_vec()),
            read,
            act,
        });
    }
    tokens
}

/// Checks the name of a token.
fn name_of(
    name: Option<String>,
    names: &[(String, Place)],
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<String> {
    let Some(name) = name else {
        cx.problems.missing(
            place,
            "name",
            "the token has no name",
            "add `name: NAME`; the audit log shows it".to_owned(),
        );
        return None;
    };
    if !routes::is_name(&name) {
        let help =
            "use at most 63 lower-case letters, digits and `-`; begin with a letter or digit"
                .to_owned();
        cx.problems
            .error(&place.key("name"), "this is not a valid token name", help);
        return None;
    }
    if let Some((_, there)) = names.iter().find(|(other, _)| *other == name) {
        let help = "give each token a unique name".to_owned();
        cx.problems.clash(
            &place.key("name"),
            there,
            format!("another token has the name `{name}`"),
            help,
        );
    }
    Some(name)
}

/// Returns whether a token may read, and whether it may act.
fn rights(allow: &[String], place: &Place, cx: &mut Context<'_>) -> (bool, bool) {
    if allow.is_empty() {
        return (true, false);
    }
    let (mut read, mut act) = (false, false);
    for (index, word) in allow.iter().enumerate() {
        match cx.word(
            Some(word),
            &place.index(index),
            &[("read", true), ("act", false)],
        ) {
            Some(true) => read = true,
            Some(false) => act = true,
            None => {}
        }
    }
    (read, act)
}
