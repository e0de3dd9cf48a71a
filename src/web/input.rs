//! The inputs of a request: its body and its query. An error names the field, and never a value.
mod body;
mod fault;
mod pointer;
mod query;

pub use body::{JsonBody, body_length, check_document, parse, read_body};
pub use query::ApiQuery;

#[cfg(test)]
mod tests;
