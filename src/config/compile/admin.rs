//! Compiles the admin listener and its tokens.
use crate::config::compile::context::Context;
use crate::config::compile::listen;
use crate::config::compile::tokens::{Tokens, one};
use crate::config::diagnostic::Place;
use crate::config::file;
use crate::config::snapshot::{Admin, Engine, NamedToken, Token};

/// Compiles `admin`.
pub(super) fn admin(
    admin: file::Admin,
    place: &Place,
    engine: &Engine,
    cx: &mut Context<'_>,
) -> Option<Admin> {
    let file::Admin {
        address,
        token,
        tokens,
    } = admin;
    let is_left_out = |key| cx.problems.is_spoiled(&place.key(key));
    let has_token =
        token.is_some() || !tokens.is_empty() || is_left_out("token") || is_left_out("tokens");
    let token = token.and_then(|secret| {
        one(
            &secret,
            ("admin", "token"),
            "the admin token",
            &place.key("token"),
            cx,
        )
    });
    let token = token.map(|bytes| Token::new(bytes.to_vec()));
    if !has_token && engine.postgres().is_some() {
        let help = "add `token: { file: /run/secrets/admin }`".to_owned();
        let message = "the admin listener needs a token: with `store.postgres` the gateway has no directory to create one in";
        cx.problems.error_at_key(place, message, help);
    }
    let of_names = Tokens {
        block: "admin",
        called: "admin token",
        main: token.clone().map(|token| (token, "`admin.token`")),
        rights,
    };
    let written = tokens.into_iter().map(Into::into).collect();
    let tokens = of_names
        .compile(written, &place.key("tokens"), cx)
        .into_iter()
        .map(|(name, token, (read, act))| NamedToken {
            name,
            token,
            read,
            act,
        })
        .collect();
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
        && engine.postgres().is_none()
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
