//! Lists of the outbound API, read page by page.
use std::collections::HashMap;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::cli::error::Error;
use crate::cli::outbound_client::OutboundClient;
use crate::cli::term;

/// The largest number of things in one request.
const PAGE: u64 = 200;

/// The options of a list.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ListArgs {
    /// The largest number of them.
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    limit: u64,
    /// Prints one JSON object for each.
    #[arg(long)]
    json: bool,
}

/// A list, or the first part of it.
#[derive(Debug)]
pub(super) struct Listed<T> {
    pub(super) items: Vec<T>,
    /// Whether there are no more.
    pub(super) is_whole: bool,
}

impl ListArgs {
    /// Gets the list under `key` of the answer to `target`, up to the limit. With `--json` it prints each of them, and returns none.
    ///
    /// # Errors
    /// As [`OutboundClient::get`].
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        client: &OutboundClient,
        target: &str,
        key: &str,
    ) -> Result<Option<Listed<T>>, Error> {
        if self.json {
            let mut print = |one: &RawValue| term::print_line(one.get());
            pages(client, target, key, self.limit, &mut print).await?;
            return Ok(None);
        }
        list(client, target, key, self.limit).await.map(Some)
    }
}

/// Gets the list under `key` of the answer to `target`, up to `limit`.
///
/// # Errors
/// As [`OutboundClient::get`].
pub(super) async fn list<T: DeserializeOwned>(
    client: &OutboundClient,
    target: &str,
    key: &str,
    limit: u64,
) -> Result<Listed<T>, Error> {
    let mut items = Vec::new();
    let mut add = |one: &RawValue| {
        items.push(client.parse(one.get().as_bytes())?);
        Ok(())
    };
    let is_whole = pages(client, target, key, limit, &mut add).await?;
    Ok(Listed { items, is_whole })
}

/// Reads pages up to `limit`. Returns whether there are no more. A page can be empty although there are more.
async fn pages(
    client: &OutboundClient,
    target: &str,
    key: &str,
    limit: u64,
    each: &mut dyn FnMut(&RawValue) -> Result<(), Error>,
) -> Result<bool, Error> {
    let mut after: Option<String> = None;
    let mut count = 0;
    while count < limit {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("limit", &(limit - count).min(PAGE).to_string());
        if let Some(after) = &after {
            query.append_pair("after", after);
        }
        let separator = if target.contains('?') { '&' } else { '?' };
        let page = client
            .bytes(&format!("{target}{separator}{}", query.finish()))
            .await?;
        let page: HashMap<&str, &RawValue> = client.parse(&page)?;
        let part = |name: &str| page.get(name).map_or("null", |part| part.get()).as_bytes();
        for one in client
            .parse::<Option<Vec<&RawValue>>>(part(key))?
            .unwrap_or_default()
        {
            each(one)?;
            count += 1;
        }
        after = client.parse(part("next"))?;
        if after.is_none() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Renders the last line of a list: `3 tenants`, or the option that shows more.
pub(super) fn foot<T>(list: &Listed<T>, word: &str) -> String {
    let shown = u64::try_from(list.items.len()).unwrap_or(u64::MAX);
    let counted = term::counted(shown, word);
    match (shown, list.is_whole) {
        (0, true) => format!("there is no {word}"),
        (_, true) => counted,
        (_, false) => format!(
            "{counted} shown; for more: --limit {}",
            shown.max(1).saturating_mul(10)
        ),
    }
}
