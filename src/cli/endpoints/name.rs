//! The endpoint that a command is about.
use clap::builder::NonEmptyStringValueParser;

use crate::cli::outbound_client::within;
use crate::cli::policy::quoted;
use crate::cli::term;

/// The names of an endpoint.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct EndpointName {
    /// The tenant.
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(super) tenant: String,
    /// The endpoint: its ID, `ep_…`, or your `uid`.
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(super) endpoint: String,
}

impl EndpointName {
    /// Returns the target of a call for this endpoint, with these segments behind it.
    pub(super) fn target(&self, more: &[&str]) -> String {
        let segments = [&["endpoints", self.endpoint.as_str()], more].concat();
        within(&self.tenant, &segments)
    }

    /// Returns both names as words of a command.
    pub(super) fn words(&self) -> String {
        let words = [&self.tenant, &self.endpoint].map(|word| quoted(word));
        term::clean(&words.join(" "))
    }
}
