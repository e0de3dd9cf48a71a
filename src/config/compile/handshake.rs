//! Compiles the tests of the endpoint that the gateway answers: the preset's, or the route's own.
use crate::config::compile::context::Context;
use crate::config::diagnostic::Place;
use crate::config::file::{self, HandshakeOrNone, OneOrMany};
use crate::config::presets::Preset;
use crate::verify::Verifier;
use crate::verify::handshake::{Handshakes, TokenGrammar};

mod compiler;

use compiler::Compiler;

/// Returns the grammars of tokens whose MAC the gateway reveals for a preset. Errors in them are reported where the handshake is compiled.
pub(super) fn handed_out(preset: Option<&file::Provider>) -> Vec<TokenGrammar> {
    let written = preset
        .and_then(|preset| preset.handshake.as_ref())
        .map(OneOrMany::all)
        .unwrap_or_default();
    written
        .iter()
        .filter(|one| has_mac(one))
        .filter_map(|one| {
            TokenGrammar::with_extra(one.token_also.as_deref().unwrap_or_default()).ok()
        })
        .collect()
}

/// Returns whether the answer contains a MAC.
fn has_mac(written: &file::Handshake) -> bool {
    written
        .answer
        .as_ref()
        .and_then(|answer| answer.json.as_ref())
        .is_some_and(|json| json.values().any(|text| text.contains("{mac}")))
}

/// Returns the kind of a handshake in one word, for people.
pub fn kind(written: &file::Handshake) -> &'static str {
    let Some(token) = &written.token else {
        return "probe";
    };
    match (
        has_mac(written),
        token.query.is_some(),
        token.header.is_some(),
    ) {
        (false, true, _) => "echo_query",
        (false, false, true) => "echo_header",
        (false, false, false) => "echo_json",
        (true, true, _) => "mac_query",
        (true, false, true) => "mac_header",
        (true, false, false) => "mac_json",
    }
}

/// Compiles the handshakes of a route.
pub(super) fn handshakes(
    written: Option<HandshakeOrNone>,
    preset: Option<&Preset>,
    verifier: Option<&Verifier>,
    place: &Place,
    cx: &mut Context<'_>,
) -> Handshakes {
    let of_preset = preset
        .and_then(|preset| preset.provider.handshake.as_ref())
        .map(OneOrMany::all)
        .unwrap_or_default();
    let here = place.key("handshake");
    let (own, secret) = match written {
        Some(HandshakeOrNone::None) => return Handshakes::default(),
        Some(HandshakeOrNone::Block(mut block)) => {
            let secret = block.verify_token.take();
            (Some(*block), secret)
        }
        None => (None, None),
    };
    let secret_place = here.key("verify_token");
    let is_own = own.as_ref().is_some_and(says_something);
    let all = if is_own { own.as_slice() } else { of_preset };
    let has_guard = all.iter().any(|one| one.guard.is_some());
    if own.is_some() && all.is_empty() && secret.is_none() {
        cx.problems.error_at_key(
            &here,
            "`handshake` is empty",
            "write `handshake: none`, or describe the request".to_owned(),
        );
    }
    if secret.is_some() && !has_guard {
        cx.problems.error_at_key(
            &secret_place,
            "no handshake of this route uses a verify token",
            "leave it out".to_owned(),
        );
    }
    let label = "verify_token";
    let secret = secret.and_then(|secret| {
        cx.loader
            .one(&secret, label, label, &secret_place, &mut cx.problems)
    });
    if has_guard && secret.is_none() && !cx.problems.is_spoiled(&secret_place) {
        let help =
            "add `handshake: { verify_token: { file: … } }`, or write `handshake: none`".to_owned();
        let who = preset.map_or("the sender", Preset::title);
        cx.problems.warning(
            place,
            format!("{who} tests the endpoint with a verify token, and the route has none"),
            help,
        );
    }
    let mut made = Vec::with_capacity(all.len());
    for one in all
        .iter()
        .filter(|one| one.guard.is_none() || secret.is_some())
    {
        let mut compiler = Compiler {
            place: if is_own { &here } else { place },
            problems: &mut cx.problems,
        };
        made.extend(compiler.handshake(one, secret.as_ref(), verifier));
    }
    Handshakes(made)
}

/// Returns whether the block describes a request or an answer.
fn says_something(written: &file::Handshake) -> bool {
    // No `..`: a new field must be dealt with here.
    let file::Handshake {
        method,
        signed,
        when,
        token,
        token_also,
        guard,
        answer,
        verify_token: _,
    } = written;
    method.is_some()
        || signed.is_some()
        || when.is_some()
        || token.is_some()
        || token_also.is_some()
        || guard.is_some()
        || answer.is_some()
}

#[cfg(test)]
mod tests;
