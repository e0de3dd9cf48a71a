//! The inputs and outputs that every block needs, and the values that many blocks parse.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::config::diagnostic::{Diagnostics, Place, Step};
use crate::config::presets::Catalogue;
use crate::config::report::Finding;
use crate::config::secret::Loader;
use crate::config::snapshot::{Allow, CertificateUse, OnStoreDown, TrustedProxies, Upstream};
use crate::mount::Mount;
use crate::units;

/// The largest size that a config may have.
const MAX_SIZE: usize = 1 << 40;
/// The longest duration that a config may have. Calculations with longer ones could overflow.
const MAX_DURATION: Duration = Duration::from_secs(10 * 366 * 86_400);

/// The inputs and outputs that every block needs.
#[derive(Debug)]
pub struct Context<'a> {
    /// The diagnostics.
    pub problems: Diagnostics,
    /// The loader of secrets and other files.
    pub loader: Loader<'a>,
    /// The presets.
    pub catalogue: &'a Catalogue,
    /// The mounts of the machine.
    pub mounts: &'a [Mount],
    /// The certificates that were read.
    pub certificates: Vec<CertificateUse>,
    /// The findings about files beside the config: those of the catalogue of events.
    pub findings: Vec<Finding>,
    /// Whether a listener has a `client_ca`.
    pub asks_for_certificates: bool,
    /// Whether there is a store on disk, or one with an error.
    pub has_store: bool,
    /// The treatment of deliveries while the store cannot be asked for their IDs, as `store` says it.
    pub on_store_down: Option<OnStoreDown>,
    /// Whether gateways share the store, or it has an error.
    pub is_shared: bool,
}

/// The upstreams by name. One with an error is `None`, so that routes to it are not reported as well.
pub(super) type Upstreams = BTreeMap<Arc<str>, Option<Arc<Upstream>>>;

impl Context<'_> {
    /// Parses a duration, or returns the default.
    pub(super) fn duration(
        &mut self,
        written: Option<&str>,
        place: &Place,
        default: Duration,
    ) -> Duration {
        self.maybe_duration(written, place).unwrap_or(default)
    }

    /// Parses a duration, if one is written.
    pub(super) fn maybe_duration(
        &mut self,
        written: Option<&str>,
        place: &Place,
    ) -> Option<Duration> {
        let text = written?;
        match units::duration(text) {
            Ok(duration) if duration.is_zero() => {
                self.problems
                    .error(place, "this must be greater than 0", None);
            }
            Ok(duration) if duration > MAX_DURATION => {
                self.problems
                    .error(place, "this must not be longer than ten years", None);
            }
            Ok(duration) => return Some(duration),
            Err(_) if is_count(text) => self.problems.error(
                place,
                "this duration has no unit",
                format!("write a unit: `{text}s`, `{text}m` or `{text}h`"),
            ),
            Err(why) => self
                .problems
                .error(place, "this is not a duration", why.to_string()),
        }
        None
    }

    /// Parses a size in bytes, or returns the default.
    pub(super) fn size(&mut self, written: Option<&str>, place: &Place, default: usize) -> usize {
        let Some(text) = written else { return default };
        match units::size(text) {
            Ok(0) => self
                .problems
                .error(place, "this must be greater than 0", None),
            Ok(size) if size > MAX_SIZE => {
                self.problems
                    .error(place, "this must not be larger than 1 TiB", None);
            }
            Ok(size) => return size,
            Err(why) => self
                .problems
                .error(place, "this is not a size", why.to_string()),
        }
        default
    }

    /// Parses a rate.
    pub(super) fn rate(&mut self, text: &str, place: &Place) -> Option<units::Rate> {
        match units::rate(text) {
            Ok(rate) => return Some(rate),
            Err(_)
                if text.split_once('/').is_some_and(|(count, _)| {
                    count.trim().bytes().all(|byte| byte == b'0') && !count.is_empty()
                }) =>
            {
                self.problems.error(
                    place,
                    "a rate must be greater than 0",
                    "write at least `1/s`, `1/m` or `1/h`".to_owned(),
                );
            }
            Err(_) if is_count(text) && text != "0" => {
                let help = format!("write a unit: `{text}/s`, `{text}/m` or `{text}/h`");
                self.problems.error(place, "this rate has no unit", help);
            }
            Err(why) => self
                .problems
                .error(place, "this is not a rate", why.to_string()),
        }
        None
    }

    /// Parses a network as CIDR, or a single address. `instead` names the alternative that the key allows.
    pub(super) fn network(
        &mut self,
        text: &str,
        instead: &str,
        place: &Place,
    ) -> Option<ipnet::IpNet> {
        let network = text.parse::<ipnet::IpNet>().ok().or_else(|| {
            text.parse::<std::net::IpAddr>()
                .ok()
                .map(ipnet::IpNet::from)
        });
        let Some(network) = network else {
            let help = format!("write CIDR, such as `10.0.0.0/8` or `2001:db8::/32`{instead}");
            self.problems.error(place, "this is not a network", help);
            return None;
        };
        if network.addr() != network.network() {
            let message = format!(
                "the address is not the first one of its network; it is read as {}",
                network.trunc()
            );
            let one = ipnet::IpNet::from(network.addr());
            self.problems.warning(
                place,
                message,
                format!(
                    "write `{}`, or `{one}` for this address alone",
                    network.trunc()
                ),
            );
        }
        Some(network.trunc())
    }

    /// Compiles `trusted_proxies`.
    pub(super) fn proxies(&mut self, written: &[String], place: &Place) -> TrustedProxies {
        let mut proxies = TrustedProxies::default();
        for (index, text) in written.iter().enumerate() {
            if text == "unix" {
                proxies.unix = true;
            } else {
                proxies
                    .networks
                    .extend(self.network(text, ", or `unix`", &place.index(index)));
            }
        }
        proxies
    }

    /// Compiles the `allow` of a route.
    pub(super) fn allow(&mut self, written: &[String], place: &Place) -> Allow {
        let mut allow = Allow::default();
        for (index, text) in written.iter().enumerate() {
            let place = place.index(index);
            match text.strip_prefix("subject:") {
                None => allow
                    .networks
                    .extend(self.network(text, ", or `subject:NAME`", &place)),
                Some("") => self.problems.error(
                    &place,
                    "`subject:` needs a name",
                    "write `subject:NAME`".to_owned(),
                ),
                Some(_) if !self.asks_for_certificates => {
                    // the `tls` of a listener with an error may ask for one
                    if self.problems.is_faulty(&Place::root(0).key("listen")) {
                        continue;
                    }
                    let help = "add `client_ca: FILE` to the `tls` of a listener".to_owned();
                    self.problems
                        .error(&place, "no listener asks clients for a certificate", help);
                }
                Some(name) => allow.subjects.push(name.to_owned()),
            }
        }
        allow
    }

    /// Parses one of a few words.
    pub(super) fn word<T: Copy>(
        &mut self,
        written: Option<&str>,
        place: &Place,
        words: &[(&str, T)],
    ) -> Option<T> {
        let text = written?;
        let found = words
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, value)| *value);
        if found.is_none() {
            let known: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
            self.problems.error(
                place,
                "this value is not allowed",
                format!("write {}", known.join(" or ")),
            );
        }
        found
    }

    /// Returns whether a part of the config that was left out may contain the value at `path`, so that its absence is no error.
    pub(super) fn may_be_left_out(&self, path: &[&str]) -> bool {
        let path: Vec<Step> = path
            .iter()
            .map(|key| Step::Key((*key).to_owned()))
            .collect();
        self.problems.is_spoiled_in_any_file(&path)
            || self.problems.is_faulty(&Place::root(0).key("include"))
    }

    /// Reports that `what` at `place` needs a store, if there is none.
    pub(super) fn needs_store(&mut self, place: &Place, what: &str) {
        if !self.has_store {
            let help = "add `store: { path: /var/lib/hookgate }` to the config".to_owned();
            self.problems
                .error_at_key(place, format!("{what} needs a store on disk"), help);
        }
    }
}

/// Returns whether the text consists of digits.
fn is_count(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
