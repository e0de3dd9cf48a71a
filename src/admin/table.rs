//! The calls of the admin API: what they need, and how they are described.
use axum::handler::Handler;

use super::state::Api;
use crate::web::call::{Answers, Call, Need, Security, Verb};

/// A call of the admin API.
pub(super) type AdminCall = Call<Api>;

/// The access that a call needs on loopback. On other addresses every call needs a token with `read`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// No token.
    Nothing,
    /// A token with `read`.
    Read,
    /// A token with `act`.
    Act,
}

impl Need for Needs {
    fn security(&self) -> Security {
        match self {
            Self::Nothing => Security::Optional,
            Self::Read | Self::Act => Security::Token,
        }
    }
}

/// Makes a call that reads, without a token on loopback.
pub(super) fn read_call<H, T>(
    path: &'static str,
    about: &'static str,
    answers: Answers,
    handler: H,
) -> AdminCall
where
    H: Handler<T, Api>,
    T: 'static,
{
    Call::new(Verb::Get, path, about, &Needs::Nothing, answers, handler)
}

/// Makes a call that changes something, with a token that has `act`.
pub(super) fn change_call<H, T>(
    path: &'static str,
    about: &'static str,
    answers: Answers,
    handler: H,
) -> AdminCall
where
    H: Handler<T, Api>,
    T: 'static,
{
    Call::new(Verb::Post, path, about, &Needs::Act, answers, handler)
}
