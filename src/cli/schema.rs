//! `hookgate schema`: the JSON Schema of the config.
use crate::cli::error::{Error, Exit};
use crate::cli::term;

/// Runs `schema`.
pub(super) fn print() -> Result<Exit, Error> {
    let text = serde_json::to_string_pretty(&crate::config::schema());
    term::print_line(
        &text.map_err(|error| Error::no("the schema cannot be written").cause(error))?,
    )?;
    Ok(Exit::DONE)
}
