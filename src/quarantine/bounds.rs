//! Decides whether a request still fits: a bound for each route, and a share of it for each client. Pure.
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// The bytes that each request counts beside its own: its row, its places in the indexes, and the pages that it fills only in part.
pub(super) const ROW_OVERHEAD: u64 = 512;
/// The part of a route's bytes that one client may hold, as a divisor.
const CLIENT_SHARE: u64 = 16;

/// The reason why a request was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotKept {
    /// The route has no room.
    RouteFull,
    /// The client has no room.
    ClientFull,
    /// Requests are refused faster than the disk takes them.
    Busy,
    /// The file could not be written.
    Disk,
}

impl NotKept {
    /// Every reason.
    pub(super) const ALL: [Self; 4] = [Self::RouteFull, Self::ClientFull, Self::Busy, Self::Disk];

    /// Returns the label of the metric.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::RouteFull => "route_full",
            Self::ClientFull => "client_full",
            Self::Busy => "busy",
            Self::Disk => "disk",
        }
    }
}

/// The owner of a kept request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Owner {
    /// The route.
    pub(super) route: Arc<str>,
    /// The client as limits count it; `None` if the address is not its own, so that it names no single client.
    pub(super) client: Option<IpAddr>,
}

/// A number of kept requests and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// The requests.
    pub requests: u64,
    /// Their bytes, with a fixed overhead for each.
    pub bytes: u64,
}

/// The kept bytes by route and client.
#[derive(Debug, Default)]
pub(super) struct Usage(HashMap<Arc<str>, OfRoute>);

#[derive(Debug, Default)]
struct OfRoute {
    sum: Sum,
    clients: HashMap<IpAddr, u64>,
}

impl Usage {
    /// Counts a request of `bytes`, if it fits into the `max_bytes` of its route and the share of its client. Nothing is evicted for it.
    ///
    /// # Errors
    /// The bound that it exceeds; then nothing has changed.
    pub(super) fn take(
        &mut self,
        owner: &Owner,
        bytes: u64,
        max_bytes: u64,
    ) -> Result<(), NotKept> {
        let of_route = self.0.get(&owner.route);
        let held = of_route.map_or(0, |of| of.sum.bytes);
        let by_client = owner.client.map(|client| {
            of_route
                .and_then(|of| of.clients.get(&client).copied())
                .unwrap_or(0)
        });
        fits(bytes, held, by_client, max_bytes)?;
        self.add(owner, Sum { requests: 1, bytes });
        Ok(())
    }

    /// Counts requests that are kept already, whatever the bounds are now.
    pub(super) fn add(&mut self, owner: &Owner, more: Sum) {
        let of = self.0.entry(Arc::clone(&owner.route)).or_default();
        of.sum.requests += more.requests;
        of.sum.bytes += more.bytes;
        if let Some(client) = owner.client {
            *of.clients.entry(client).or_default() += more.bytes;
        }
    }

    /// Takes a request of `bytes` off the count.
    pub(super) fn give_back(&mut self, owner: &Owner, bytes: u64) {
        let Some(of) = self.0.get_mut(&owner.route) else {
            return;
        };
        of.sum.requests = of.sum.requests.saturating_sub(1);
        of.sum.bytes = of.sum.bytes.saturating_sub(bytes);
        if let Some(client) = owner.client
            && let Some(held) = of.clients.get_mut(&client)
        {
            *held = held.saturating_sub(bytes);
            if *held == 0 {
                of.clients.remove(&client);
            }
        }
        if of.sum == Sum::default() {
            self.0.remove(&owner.route);
        }
    }

    /// Counts what a route held under an earlier name for the name that it has now.
    pub(super) fn rename(&mut self, before: &str, now: &Arc<str>) {
        let Some(old) = self.0.remove(before) else {
            return;
        };
        let of = self.0.entry(Arc::clone(now)).or_default();
        of.sum.requests += old.sum.requests;
        of.sum.bytes += old.sum.bytes;
        for (client, bytes) in old.clients {
            *of.clients.entry(client).or_default() += bytes;
        }
    }

    /// Returns what each route holds.
    pub(super) fn sums(&self) -> impl Iterator<Item = (&Arc<str>, Sum)> {
        self.0.iter().map(|(route, of)| (route, of.sum))
    }
}

/// Decides whether `bytes` more fit beside the `held` ones of the route and those of the client, if it is one.
fn fits(bytes: u64, held: u64, by_client: Option<u64>, max_bytes: u64) -> Result<(), NotKept> {
    if by_client.is_some_and(|by_client| by_client.saturating_add(bytes) > max_bytes / CLIENT_SHARE)
    {
        return Err(NotKept::ClientFull);
    }
    if held.saturating_add(bytes) > max_bytes {
        return Err(NotKept::RouteFull);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn owner(route: u8, client: Option<u8>) -> Owner {
        Owner {
            route: format!("route-{route}").into(),
            client: client.map(|last| [192, 0, 2, last].into()),
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Take(u8, Option<u8>, u64),
        GiveBack(prop::sample::Index),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let take = (0..2_u8, prop::option::of(0..5_u8), 1..2000_u64)
            .prop_map(|(route, client, bytes)| Step::Take(route, client, bytes));
        let step = prop_oneof![
            3 => take,
            1 => any::<prop::sample::Index>().prop_map(Step::GiveBack),
        ];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        /// A model counts the same requests one by one.
        #[test]
        fn bounds_hold_whatever_comes_and_goes(steps in steps(), max_bytes in 0..40_000_u64) {
            let (mut usage, mut kept) = (Usage::default(), Vec::<(Owner, u64)>::new());
            for step in steps {
                match step {
                    Step::Take(route, client, bytes) => {
                        let owner = owner(route, client);
                        let sum = |is_it: &dyn Fn(&Owner) -> bool| -> u64 {
                            kept.iter().filter(|(of, _)| is_it(of)).map(|(_, bytes)| bytes).sum()
                        };
                        let in_all = sum(&|of| of.route == owner.route) + bytes;
                        let of_client = sum(&|of| *of == owner) + bytes;
                        let expected = if client.is_some() && of_client > max_bytes / 16 {
                            Err(NotKept::ClientFull)
                        } else if in_all > max_bytes {
                            Err(NotKept::RouteFull)
                        } else {
                            Ok(())
                        };
                        prop_assert_eq!(usage.take(&owner, bytes, max_bytes), expected);
                        if expected.is_ok() {
                            kept.push((owner, bytes));
                        }
                    }
                    Step::GiveBack(at) if !kept.is_empty() => {
                        let (owner, bytes) = kept.swap_remove(at.index(kept.len()));
                        usage.give_back(&owner, bytes);
                    }
                    Step::GiveBack(_) => {}
                }
            }
            for (owner, bytes) in kept.drain(..) {
                usage.give_back(&owner, bytes);
            }
            prop_assert!(usage.0.is_empty(), "nothing is counted of what is gone");
        }
    }

    #[test]
    fn renamed_route_holds_what_it_held() {
        let mut usage = Usage::default();
        usage.take(&owner(1, Some(1)), 60, 1600).unwrap();
        usage.take(&owner(2, Some(1)), 30, 1600).unwrap();
        usage.rename("route-1", &"route-2".into());
        assert_eq!(
            usage.take(&owner(2, Some(1)), 11, 1600),
            Err(NotKept::ClientFull)
        );
        assert_eq!(usage.take(&owner(2, Some(1)), 10, 1600), Ok(()));
        let sums: Vec<_> = usage.sums().map(|(route, sum)| (&**route, sum)).collect();
        let sum = Sum {
            requests: 3,
            bytes: 100,
        };
        assert_eq!(sums, [("route-2", sum)]);
    }
}
