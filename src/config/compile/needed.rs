//! The blocks for senders that a config needs: one that only sends has none.
use crate::config::compile::context::Context;
use crate::config::diagnostic::Place;
use crate::config::file;

/// The blocks for senders that a config needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needed {
    /// A listener and a route.
    ToReceive,
    /// A listener and a route, because the config has one of them. Without both it would send alone.
    ToReceiveToo,
    /// None: the config sends alone.
    None,
}

/// Returns the blocks for senders that a config needs. One with `outbound` alone is complete.
pub(super) fn needed(
    listen: &[file::Listen],
    routes: &[(Place, file::Route)],
    sends: bool,
    root: &Place,
    cx: &Context<'_>,
) -> Needed {
    if !sends && !cx.problems.is_spoiled(&root.key("outbound")) {
        Needed::ToReceive
    } else if listen.is_empty() && routes.is_empty() {
        Needed::None
    } else {
        Needed::ToReceiveToo
    }
}
