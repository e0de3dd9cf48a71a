//! The methods of a route.
use http::Method;

use crate::config::compile::context::Context;
use crate::config::diagnostic::Place;

/// The methods that a config may name.
const METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];

/// Compiles the methods, if any are written.
pub(super) fn methods_of(
    written: &[String],
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<Vec<Method>> {
    let mut methods = Vec::new();
    for (index, text) in written.iter().enumerate() {
        match METHODS.iter().find(|method| method.as_str() == text) {
            Some(method) if methods.contains(method) => {
                cx.problems
                    .error(&place.index(index), "this method is listed twice", None);
            }
            Some(method) => methods.push(method.clone()),
            None => cx.problems.error(
                &place.index(index),
                "this is not a supported method",
                "write it in capitals, such as `POST`".to_owned(),
            ),
        }
    }
    (!methods.is_empty()).then_some(methods)
}
