//! The deliveries that an action is about, and a walk through them.
use crate::replay::access::StoreAccess;
use crate::store::StoreError;
use crate::store::archive::{self, Order, Row, Scope, Status, Statuses, UnitsShown};
use crate::store::queue::DeliveryRef;

/// A search of the store.
#[derive(Clone, Debug)]
pub struct Search {
    /// The routes whose deliveries are searched.
    pub scope: Scope,
    /// The conditions.
    pub filter: archive::Filter,
}

/// The deliveries that an action is about.
#[derive(Clone, Debug)]
pub enum Selection {
    /// Deliveries by their IDs.
    Ids(Vec<DeliveryRef>),
    /// The deliveries that a search finds.
    Found(Box<Search>),
}

/// Returns whether units with that status wait.
pub fn is_waiting(status: Status) -> bool {
    Statuses::waiting().contains(status)
}

/// An iterator over the selected rows, a few at a time.
#[derive(Debug)]
pub struct Walk<'a> {
    access: &'a StoreAccess,
    selection: &'a Selection,
    order: Order,
    /// The delivery after which the next query begins.
    pub after: Option<DeliveryRef>,
    position: usize,
    is_done: bool,
}

impl<'a> Walk<'a> {
    /// Returns a walk that begins with the first row of `order`.
    pub fn new(access: &'a StoreAccess, selection: &'a Selection, order: Order) -> Self {
        Self {
            access,
            selection,
            order,
            after: None,
            position: 0,
            is_done: false,
        }
    }

    /// Returns whether all rows were returned.
    pub fn is_done(&self) -> bool {
        self.is_done
    }

    /// Returns the next rows, at most `limit` and possibly none. `None` at the end.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn next(&mut self, limit: u16) -> Result<Option<Vec<Row>>, StoreError> {
        if self.is_done {
            return Ok(None);
        }
        match self.selection {
            Selection::Ids(ids) => {
                let left = ids.get(self.position..).unwrap_or_default();
                let some = left.get(..usize::from(limit)).unwrap_or(left);
                self.position += some.len();
                self.is_done = self.position >= ids.len();
                self.access
                    .store
                    .rows(Scope::All, some, UnitsShown::All)
                    .await
                    .map(Some)
            }
            Selection::Found(search) => {
                let page = self
                    .access
                    .store
                    .page(
                        search.scope.clone(),
                        &search.filter,
                        self.order,
                        self.after,
                        limit,
                        UnitsShown::All,
                    )
                    .await?;
                self.after = page.next;
                self.is_done = page.next.is_none();
                Ok(Some(page.rows))
            }
        }
    }
}
