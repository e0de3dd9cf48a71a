//! Summarises a loaded config in one line.
use crate::clock::Dates;
use crate::config::load::Loaded;
use crate::config::snapshot::Action;

impl Loaded {
    /// Returns ``7 routes, 2 upstreams, 9 secrets; no route unverified; sends events``
    pub fn summary(&self) -> String {
        let counted = |count: usize, word: &str| {
            format!("{count} {word}{}", if count == 1 { "" } else { "s" })
        };
        let unverified: Vec<&str> = self
            .snapshot
            .webhooks
            .iter()
            .filter(|webhook| webhook.verifier.is_none())
            .map(|webhook| &*webhook.name)
            .collect();
        let passes = self
            .snapshot
            .routes
            .iter()
            .filter(|route| route.pass().is_some())
            .count();
        let unverified = match unverified.as_slice() {
            [] if passes > 0 => "no webhook route unverified".to_owned(),
            [] => "no route unverified".to_owned(),
            names => format!("unverified: {}", names.join(", ")),
        };
        let dates = Dates::at(self.snapshot.loaded_at);
        let observing = self
            .snapshot
            .webhooks
            .iter()
            .filter(|webhook| webhook.observes(&dates));
        let observing: Vec<&str> = observing.map(|webhook| &*webhook.name).collect();
        let observing = if observing.is_empty() {
            String::new()
        } else {
            format!("; observing: {}", observing.join(", "))
        };
        let sends = self.snapshot.outbound.is_some();
        if sends && self.snapshot.routes.is_empty() {
            return format!("only sends events; {}", counted(self.secrets, "secret"));
        }
        let sends = if sends { "; sends events" } else { "" };
        let [routes, upstreams] = [self.snapshot.routes.len(), self.snapshot.upstreams.len()];
        let queues = self
            .snapshot
            .webhooks
            .iter()
            .filter(|webhook| matches!(webhook.action, Action::Queue))
            .count();
        let spills = self
            .snapshot
            .webhooks
            .iter()
            .filter(|webhook| webhook.action.queues())
            .count()
            - queues;
        let kinds = [(queues, "queue"), (spills, "spill"), (passes, "pass")];
        let kinds: Vec<String> = kinds
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, kind)| format!("{count} {kind}"))
            .collect();
        let kinds = if kinds.is_empty() {
            String::new()
        } else {
            format!(" ({})", kinds.join(", "))
        };
        format!(
            "{}{kinds}, {}, {}; {unverified}{observing}{sends}",
            counted(routes, "route"),
            counted(upstreams, "upstream"),
            counted(self.secrets, "secret")
        )
    }
}
