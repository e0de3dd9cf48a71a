//! Compiles bearer tokens: those of the admin listener, and those of the app that publishes events.
use std::sync::Arc;

use crate::config::compile::context::Context;
use crate::config::compile::routes;
use crate::config::diagnostic::Place;
use crate::config::file;
use crate::config::secret::WEAK_BELOW;
use crate::config::snapshot::Token;

/// The largest number of named tokens. Each of them is compared with the token of a request.
const MAX_TOKENS: usize = 100;

/// A named token as written: its name, its text and its permissions.
pub(super) struct Written {
    pub(super) name: Option<String>,
    pub(super) secret: file::Secret,
    pub(super) allow: Vec<String>,
}

impl Written {
    fn new(
        name: Option<String>,
        env: Option<String>,
        file: Option<String>,
        insecure_inline: Option<file::InlineSecret>,
        allow: Vec<String>,
    ) -> Self {
        Self {
            name,
            secret: file::Secret {
                env,
                file,
                insecure_inline,
                ..file::Secret::default()
            },
            allow,
        }
    }
}

impl From<file::AdminToken> for Written {
    fn from(token: file::AdminToken) -> Self {
        let file::AdminToken {
            name,
            env,
            file,
            insecure_inline,
            allow,
        } = token;
        Self::new(name, env, file, insecure_inline, allow)
    }
}

impl From<file::OutboundToken> for Written {
    fn from(token: file::OutboundToken) -> Self {
        let file::OutboundToken {
            name,
            env,
            file,
            insecure_inline,
            allow,
        } = token;
        Self::new(name, env, file, insecure_inline, allow)
    }
}

/// The tokens of one listener.
pub(super) struct Tokens<'a, R> {
    /// The name of the block, for the names of secrets.
    pub(super) block: &'a str,
    /// The kind of token, in messages: `admin token`.
    pub(super) called: &'a str,
    /// The token that has no name, if there is one, and what it is called.
    pub(super) main: Option<(Token, &'a str)>,
    /// Compiles the permissions of a token.
    pub(super) rights: fn(&[String], &Place, &mut Context<'_>) -> R,
}

impl<R> Tokens<'_, R> {
    /// Compiles the named tokens. Names and tokens must be unique, so that the audit log identifies the owner.
    pub(super) fn compile(
        &self,
        written: Vec<Written>,
        place: &Place,
        cx: &mut Context<'_>,
    ) -> Vec<(Arc<str>, Token, R)> {
        if written.len() > MAX_TOKENS {
            cx.problems.error_at_key(
                place,
                format!("there are more than {MAX_TOKENS} tokens"),
                None,
            );
        }
        let mut tokens: Vec<(Arc<str>, Token, R)> = Vec::with_capacity(written.len());
        let mut names: Vec<(String, Place)> = Vec::with_capacity(written.len());
        for (index, token) in written.into_iter().enumerate().take(MAX_TOKENS) {
            let place = place.index(index);
            let Some(name) = name_of(token.name, &names, &place, cx) else {
                continue;
            };
            names.push((name.clone(), place.key("name")));
            let rights = (self.rights)(&token.allow, &place.key("allow"), cx);
            let called = format!("the {} of {name}", self.called);
            let Some(bytes) = one(&token.secret, (self.block, &name), &called, &place, cx) else {
                continue;
            };
            let main = self
                .main
                .as_ref()
                .filter(|(main, _)| main.matches(&bytes))
                .map(|(_, called)| (*called).to_owned());
            let other = tokens
                .iter()
                .find(|(_, other, _)| other.matches(&bytes))
                .map(|(name, ..)| format!("that of {name}"));
            if let Some(of) = main.or(other) {
                let help = "create one token per name: the audit log shows the name".to_owned();
                cx.problems.error_at_key(
                    &place,
                    format!("the token of {name} is the same as {of}"),
                    help,
                );
            }
            tokens.push((Arc::from(name), Token::new(bytes.to_vec()), rights));
        }
        tokens
    }
}

/// Loads the bytes of a token.
pub(super) fn one(
    secret: &file::Secret,
    (block, name): (&str, &str),
    called: &str,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<zeroize::Zeroizing<Vec<u8>>> {
    let token = cx.loader.one(
        secret,
        name,
        &format!("{block}/{name}"),
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
