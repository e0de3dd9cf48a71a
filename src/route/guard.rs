//! Guarded paths: paths of an app that only a webhook route may request. Judges whether an app could take a target for one of them. Pure.
//!
//! An app may decode a path never, once or many times, before or after it resolves `..`; take `\` for `/` or not; cut at `;`, `?` or `#`,
//! or keep them. There is no one normal form: `/hooks/%252e%252e/../github` is `/github` to an app that decodes first, and `/hooks/github` to
//! one that decodes late. So nothing is normalised here. The path is decoded and split as finely as any app could, and each segment is
//! followed in every way in which it could be read. The path is guarded if one of the readings ends on a guarded path.
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::route::guard::readings::Readings;
use crate::route::guard::segments::{Kind, Segment, Separator, pattern_segments, segments};
use crate::route::router;
use crate::route::template::{PathPart, PathTemplate};

mod readings;
mod segments;

/// The most `..` segments in one path: each is followed as one, and as a name.
const MAX_PARENT_SEGMENTS: usize = 60;
/// The mark of a parameter in the text of a pattern: no path has a control byte.
const PARAMETER_MARK: char = '\u{1}';
/// The mark of a parameter that takes the rest of the path.
const REST_MARK: char = '\u{2}';

/// The verdict on a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathVerdict {
    /// No app takes it for a guarded path.
    Free,
    /// Some app could take it for the guarded path at this index.
    Guarded(usize),
    /// No honest client sends such a path.
    Malformed,
}

/// A path that only webhooks may request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardedPath {
    /// The path as the config writes it.
    pub path: String,
    /// The name of the route that guards it.
    pub route: Arc<str>,
    pattern: Pattern,
}

/// The guarded paths of one app.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuardedPaths {
    /// All of them, each once for each route.
    pub list: Vec<GuardedPath>,
}

/// The guarded paths of all apps, by address: two upstreams with one address are one app.
#[derive(Clone, Debug, Default)]
pub struct GuardedPathsByApp(BTreeMap<AppAddress, Arc<GuardedPaths>>);

/// The address of an app in the config. Two upstreams with one address are one app.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AppAddress(Address);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Address {
    Tcp(String, u16),
    Unix(PathBuf),
}

/// The paths that one webhook route guards.
#[derive(Debug)]
pub struct GuardedRoute<'a> {
    /// The route's name.
    pub name: &'a Arc<str>,
    /// The path of the route, as the config writes it.
    pub path: &'a str,
    /// The path at the app; `None` if it is the route's own.
    pub onward: Option<&'a PathTemplate>,
    /// The app that the route forwards to.
    pub app: AppAddress,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    segments: Vec<PatternSegment>,
    /// Whether all paths below are guarded, too.
    rest: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum PatternSegment {
    /// This text, folded, and the same without its extension.
    Text(String, String),
    /// Anything between these two.
    Any(String, String),
}

impl GuardedPathsByApp {
    /// Collects the paths that the webhook routes guard: of each its own path, and the path that it forwards to.
    pub fn of_routes<'a>(routes: impl Iterator<Item = GuardedRoute<'a>>) -> Self {
        let mut by_app = BTreeMap::<AppAddress, GuardedPaths>::new();
        for route in routes {
            let guards = by_app.entry(route.app).or_default();
            let own = mark_parameters(route.path);
            let onward = route.onward.map(|path| mark_template(path, route.path));
            for (text, path) in [Some((own, route.path.to_owned())), onward]
                .into_iter()
                .flatten()
            {
                let guard = GuardedPath {
                    pattern: Pattern::new(&text),
                    path,
                    route: Arc::clone(route.name),
                };
                if !guards.list.contains(&guard) {
                    guards.list.push(guard);
                }
            }
        }
        Self(
            by_app
                .into_iter()
                .map(|(app, guards)| (app, Arc::new(guards)))
                .collect(),
        )
    }

    /// Returns the guarded paths of the app at `address`.
    pub fn of(&self, address: &AppAddress) -> Arc<GuardedPaths> {
        self.0.get(address).cloned().unwrap_or_default()
    }
}

impl AppAddress {
    /// Returns the address of an app on a Unix socket.
    pub fn unix(path: PathBuf) -> Self {
        Self(Address::Unix(path))
    }

    /// Returns the address of an app on a TCP port. All names of this machine count as one.
    pub fn tcp(host: &str, port: u16) -> Self {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let is_this_machine =
            |ip: IpAddr| ip.to_canonical().is_loopback() || ip.to_canonical().is_unspecified();
        let host = match host.parse::<IpAddr>() {
            Ok(ip) if is_this_machine(ip) => "localhost".to_owned(),
            Ok(ip) => ip.to_canonical().to_string(),
            Err(_) if host.ends_with(".localhost") => "localhost".to_owned(),
            Err(_) => host,
        };
        Self(Address::Tcp(host, port))
    }
}

impl GuardedPaths {
    /// Judges the raw path of a target, up to its first `?`.
    pub fn judge(&self, path: &[u8]) -> PathVerdict {
        if self.list.is_empty() {
            return PathVerdict::Free;
        }
        let Some(segments) = segments(path).filter(|_| !path.starts_with(b"//")) else {
            return PathVerdict::Malformed;
        };
        if segments
            .iter()
            .filter(|segment| matches!(segment.kind, Kind::Parent | Kind::Dots))
            .count()
            > MAX_PARENT_SEGMENTS
        {
            return PathVerdict::Malformed;
        }
        self.list
            .iter()
            .position(|guard| guard.pattern.may_be(&segments))
            .map_or(PathVerdict::Free, PathVerdict::Guarded)
    }
}

/// Replaces the parameters of a route's path with marks.
fn mark_parameters(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for part in path.split_inclusive('}') {
        let (literal, parameter) = part
            .split_once('{')
            .map_or((part, None), |(literal, name)| (literal, Some(name)));
        text.push_str(literal);
        text.extend(parameter.map(|name| {
            if name.starts_with('*') {
                REST_MARK
            } else {
                PARAMETER_MARK
            }
        }));
    }
    text
}

/// Returns the path at the app, with marks for the parameters of `route`, and as the config writes it.
fn mark_template(template: &PathTemplate, route: &str) -> (String, String) {
    let (mut text, mut path) = (String::new(), String::new());
    for part in &template.0 {
        match part {
            PathPart::Literal(literal) => {
                text.push_str(literal);
                path.push_str(literal);
            }
            PathPart::Parameter(name) => {
                let takes_rest = route.contains(&format!("{{*{name}}}"));
                text.push(if takes_rest {
                    REST_MARK
                } else {
                    PARAMETER_MARK
                });
                path.push_str(&format!("{{{name}}}"));
            }
        }
    }
    (text, path)
}

impl Pattern {
    fn new(text: &str) -> Self {
        let mut segments: Vec<PatternSegment> = Vec::new();
        let (before, rest) = text
            .split_once(REST_MARK)
            .map_or((text, false), |(before, _)| (before, true));
        // nothing is certain about a segment with the mark in it, such as `/x-{*rest}`
        let before = if rest {
            before.rsplit_once('/').map_or("", |(before, _)| before)
        } else {
            before
        };
        for segment in pattern_segments(before) {
            match segment.kind {
                Kind::Empty | Kind::Current => {}
                Kind::Parent => drop(segments.pop()),
                Kind::Name | Kind::Index | Kind::Dots
                    if matches!(segment.separator, Separator::Slash | Separator::MaybeSlash) =>
                {
                    let parsed = match segment.text.split_once(PARAMETER_MARK) {
                        Some((start, end)) => PatternSegment::Any(
                            start.to_owned(),
                            end.rsplit_once(PARAMETER_MARK)
                                .map_or(end, |(_, end)| end)
                                .to_owned(),
                        ),
                        None => PatternSegment::Text(segment.text, segment.stem),
                    };
                    segments.push(parsed);
                }
                Kind::Name | Kind::Index | Kind::Dots => {}
            }
        }
        Self { segments, rest }
    }

    /// Returns whether a reading of the segments ends on this pattern.
    fn may_be(&self, segments: &[Segment]) -> bool {
        let whole = self.segments.len();
        if self.rest && whole == 0 {
            return true;
        }
        let mut readings = Readings::at_the_root(whole);
        let mut after_script = false;
        for segment in segments {
            match segment.separator {
                Separator::Slash | Separator::MaybeSlash => {
                    if after_script {
                        // `/index.php/hooks/github`: the script routes by what follows it
                        readings.restart();
                    }
                    let matched = readings.enter(segment, |index| self.takes(index, segment));
                    if readings.is_at(whole) && (self.rest || matched && segment.is_script) {
                        return true;
                    }
                    after_script = false;
                }
                Separator::Parameter | Separator::Cut if readings.is_at(whole) => return true,
                Separator::Parameter => readings.begin_parameter(),
                Separator::Cut => readings.continue_text(),
            }
            after_script |= segment.is_script;
        }
        readings.is_at(whole)
    }

    /// Returns whether the pattern has this segment at `index`; the last one also with another extension, or none.
    fn takes(&self, index: usize, segment: &Segment) -> bool {
        let is_last = index + 1 == self.segments.len() && !self.rest;
        match self.segments.get(index) {
            Some(PatternSegment::Text(text, stem)) => {
                segment.text == *text || is_last && segment.stem == *stem
            }
            Some(PatternSegment::Any(start, end)) => {
                let between = |text: &str| {
                    text.len() >= start.len() + end.len()
                        && text.starts_with(start)
                        && text.ends_with(end)
                };
                between(&segment.text) || is_last && between(&segment.stem)
            }
            None => false,
        }
    }
}

impl GuardedPath {
    /// Returns whether a route with this path would receive requests for the guarded path itself.
    pub fn is_under(&self, route: &str) -> bool {
        let mut router = router::Router::default();
        let plain = self.path.replace(['{', '}', '*'], "");
        router.insert(None, route, 0).is_ok() && router.find("", plain.as_bytes()).is_some()
    }
}

#[cfg(test)]
mod tests;
