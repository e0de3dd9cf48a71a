//! Explains why a signature was refused: tries what people get wrong with secrets, bodies, URLs, headers and clocks, until something matches.
//!
//! Pure: a request, the verifiers and `now` in, a finding out. It never runs while a request is served, since it hashes a body many times.
use std::sync::Arc;

use crate::clock::Dates;
use crate::request::{Body, Received};

mod address;
mod body;
mod cause;
mod json;
mod key;
mod question;
mod search;
mod signs;

#[cfg(test)]
mod tests;

pub use address::AddressChange;
pub use body::{BodyChange, BodySign};
pub use cause::Cause;
pub use json::{Spacing, TextForm};
pub use key::SecretChange;
pub use question::{Finding, Question, Subject, Tried};

/// Explains why a request is not authentic.
pub fn explain(question: &Question<'_>) -> Finding {
    let received = Received {
        head: question.received.head.clone(),
        body: Body::new(question.received.body.bytes().clone(), None),
    };
    let verifier = question.route.verifier;
    match verifier.verify(received, question.params, question.now) {
        Ok(authentic) => Finding {
            refused: None,
            causes: Vec::new(),
            is_proven: true,
            matched: Some((question.route.name.into(), Arc::clone(authentic.secret()))),
            tried: Tried::default(),
        },
        Err(refused) => search::search(question, refused.why, &Dates::at(question.now.wall)),
    }
}
