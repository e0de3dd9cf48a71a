//! The deliveries that a filter finds, page by page.
use super::filter_args;
use crate::api::deliveries::{Deliveries, Delivery, Filter, Order};
use crate::cli::admin_client::AdminClient;
use crate::cli::error::Error;

/// The largest number of deliveries in one request.
const PAGE: u64 = 100;

/// A list of deliveries that is read page by page.
pub(super) struct Pages<'a> {
    client: &'a AdminClient,
    filter: Filter,
    order: Order,
    after: Option<String>,
    is_over: bool,
}

impl<'a> Pages<'a> {
    pub(super) fn new(client: &'a AdminClient, filter: Filter, order: Order) -> Self {
        Self {
            client,
            filter,
            order,
            after: None,
            is_over: false,
        }
    }

    /// Returns the next page of at most `most`, or `None` at the end. A page can be empty, since a search examines a limited number of deliveries.
    pub(super) async fn next(&mut self, most: u64) -> Result<Option<Vec<Delivery>>, Error> {
        if self.is_over {
            return Ok(None);
        }
        let order = if self.order == Order::Oldest {
            "oldest"
        } else {
            "newest"
        };
        let page: Deliveries = self
            .client
            .get(&filter_args::target(
                &self.filter,
                order,
                most.min(PAGE),
                self.after.as_deref(),
            ))
            .await?;
        self.is_over = page.next.is_none();
        self.after = page.next;
        Ok(Some(page.deliveries))
    }

    /// Returns whether the last page was read.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }
}
