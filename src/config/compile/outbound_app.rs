//! Compiles the listener of the app that publishes events, and its tokens.
use crate::config::compile::context::Context;
use crate::config::compile::tokens::Tokens;
use crate::config::compile::{listen, tls};
use crate::config::diagnostic::Place;
use crate::config::file;
use crate::config::snapshot::{AppRights, AppToken, ListenAddress, Listener};

/// Compiles the listener.
pub(super) fn listener(
    written: Option<file::Listen>,
    place: &Place,
    block: &Place,
    cx: &mut Context<'_>,
) -> Option<Listener> {
    let Some(file::Listen {
        address,
        proxy_protocol,
        tls,
    }) = written
    else {
        let help = "add `listen: { address: 127.0.0.1:9400 }`, or `unix:/run/hookgate/outbound.sock` as the address".to_owned();
        cx.problems.missing(
            block,
            "listen",
            "`outbound` has no listener for your app",
            help,
        );
        return None;
    };
    if proxy_protocol.is_some() {
        cx.problems.error_at_key(
            &place.key("proxy_protocol"),
            "`proxy_protocol` is for the listeners of senders",
            "leave it out".to_owned(),
        );
    }
    let address = listen::listen_address(
        address.as_deref(),
        "unix:/run/hookgate/outbound.sock",
        place,
        cx,
    );
    let has_tls = tls.is_some();
    let tls = tls.map(|tls| tls::server(tls, "outbound.listen".to_owned(), &place.key("tls"), cx));
    let address = address?;
    if let ListenAddress::Tcp(tcp) = &address
        && !tcp.ip().is_loopback()
        && !has_tls
    {
        cx.problems.warning(
            &place.key("address"),
            "tokens and events cross the network unencrypted",
            "add `tls: { certificate: …, key: … }`, or listen on 127.0.0.1".to_owned(),
        );
    }
    Some(Listener {
        address,
        proxy_protocol: false,
        tls: tls.flatten(),
    })
}

/// Compiles the tokens. At least one must be able to publish.
pub(super) fn tokens(
    written: Vec<file::OutboundToken>,
    block: &Place,
    cx: &mut Context<'_>,
) -> Vec<AppToken> {
    let place = block.key("tokens");
    let is_empty = written.is_empty();
    let of_names = Tokens {
        block: "outbound",
        called: "outbound token",
        main: None,
        rights,
    };
    let written = written.into_iter().map(Into::into).collect();
    let tokens: Vec<AppToken> = of_names
        .compile(written, &place, cx)
        .into_iter()
        .map(|(name, token, rights)| AppToken {
            name,
            token,
            rights,
        })
        .collect();
    if is_empty {
        let help =
            "add `tokens: [{ name: app, file: /run/secrets/outbound-token, allow: [publish, read, manage] }]`"
                .to_owned();
        cx.problems
            .missing(block, "tokens", "your app has no token", help);
    } else if !tokens.iter().any(|token| token.rights.publish) && !cx.problems.is_faulty(&place) {
        cx.problems.error_at_key(
            &place,
            "no token may publish",
            "add `publish` to the `allow` of one".to_owned(),
        );
    }
    tokens
}

/// Compiles the permissions of a token.
fn rights(allow: &[String], place: &Place, cx: &mut Context<'_>) -> AppRights {
    let mut rights = AppRights::default();
    if allow.is_empty() {
        rights.publish = true;
    }
    let words = [("publish", 0_u8), ("read", 1), ("manage", 2)];
    for (index, word) in allow.iter().enumerate() {
        match cx.word(Some(word), &place.index(index), &words) {
            Some(0) => rights.publish = true,
            Some(1) => rights.read = true,
            Some(_) => rights.manage = true,
            None => {}
        }
    }
    rights
}
