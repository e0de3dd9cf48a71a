//! Which paths of an app only a webhook route may ask for, and whether a target could be taken for one of them. Pure.
//!
//! An app may decode a path never, once or many times, before or after it resolves `..`; take `\` for `/` or not; cut at `;`, `?` or `#`,
//! or keep them. There is no one normal form: `/hooks/%252e%252e/../github` is `/github` to who decodes first, and `/hooks/github` to
//! who decodes late. So nothing is normalised here. The path is decoded and split as finely as anybody could, and each piece is followed
//! in every way in which it could be read; the path is guarded if one of the readings ends on a guarded path.
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::route::guard::segments::{Kind, Piece, Separator, pieces};
use crate::route::router;
use crate::route::template::{PathPart, PathTemplate};

mod segments;

/// Ways up in one path, at most: each is followed as one, and as a name.
const MOST_UPS: usize = 60;
/// Stands for a parameter in the text of a pattern: no path has a control byte.
const ANY: char = '\u{1}';
/// Stands for a parameter that takes the rest.
const REST: char = '\u{2}';

/// What a path is to the guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nobody takes it for a guarded path.
    Free,
    /// Some app could take it for the guarded path at this place.
    Guarded(usize),
    /// Not a path that anybody sends in good faith.
    Malformed,
}

/// A path that only webhooks may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The path as the config writes it.
    pub path: String,
    /// The name of the route that guards it.
    pub route: Arc<str>,
    pattern: Pattern,
}

/// The guarded paths of one app.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guards {
    /// All of them, each once a route.
    pub list: Vec<Guard>,
}

/// The guarded paths of all apps, by where they are: two upstreams with one address are one app.
#[derive(Clone, Debug, Default)]
pub struct GuardsByApp(BTreeMap<AppAddress, Arc<Guards>>);

/// The address of an app, as far as a config tells. Two upstreams with one address are one app.
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
    segments: Vec<Segment>,
    /// All that is below, too.
    rest: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    /// This text, folded; beside it without its extension.
    Text(String, String),
    /// Anything between these two.
    Any(String, String),
}

impl GuardsByApp {
    /// Collects the paths that the webhook routes guard: each its own path, and the one it forwards to.
    pub fn of_routes<'a>(routes: impl Iterator<Item = GuardedRoute<'a>>) -> Self {
        let mut by_app = BTreeMap::<AppAddress, Guards>::new();
        for route in routes {
            let guards = by_app.entry(route.app).or_default();
            let own = with_marks(route.path);
            let onward = route.onward.map(|path| of_template(path, route.path));
            for (text, path) in [Some((own, route.path.to_owned())), onward]
                .into_iter()
                .flatten()
            {
                let guard = Guard {
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
    pub fn of(&self, address: &AppAddress) -> Arc<Guards> {
        self.0.get(address).cloned().unwrap_or_default()
    }
}

impl AppAddress {
    /// Returns the address of an app on a Unix socket.
    pub fn unix(path: PathBuf) -> Self {
        Self(Address::Unix(path))
    }

    /// Returns the address of an app on a TCP port. All names of this machine are one.
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

impl Guards {
    /// Judges the raw path of a target, up to its first `?`.
    pub fn judge(&self, path: &[u8]) -> Verdict {
        if self.list.is_empty() {
            return Verdict::Free;
        }
        let Some(pieces) = pieces(path).filter(|_| !path.starts_with(b"//")) else {
            return Verdict::Malformed;
        };
        if pieces
            .iter()
            .filter(|piece| matches!(piece.kind, Kind::Up | Kind::Dots))
            .count()
            > MOST_UPS
        {
            return Verdict::Malformed;
        }
        self.list
            .iter()
            .position(|guard| guard.pattern.may_be(&pieces))
            .map_or(Verdict::Free, Verdict::Guarded)
    }
}

/// A route's path with marks for its parameters.
fn with_marks(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for piece in path.split_inclusive('}') {
        let (literal, parameter) = piece
            .split_once('{')
            .map_or((piece, None), |(literal, name)| (literal, Some(name)));
        text.push_str(literal);
        text.extend(parameter.map(|name| if name.starts_with('*') { REST } else { ANY }));
    }
    text
}

/// The path at the app with marks for the parameters of `route`, and as the config writes it.
fn of_template(template: &PathTemplate, route: &str) -> (String, String) {
    let (mut text, mut path) = (String::new(), String::new());
    for piece in &template.0 {
        match piece {
            PathPart::Literal(literal) => {
                text.push_str(literal);
                path.push_str(literal);
            }
            PathPart::Parameter(name) => {
                let takes_rest = route.contains(&format!("{{*{name}}}"));
                text.push(if takes_rest { REST } else { ANY });
                path.push_str(&format!("{{{name}}}"));
            }
        }
    }
    (text, path)
}

impl Pattern {
    fn new(text: &str) -> Self {
        let mut segments: Vec<Segment> = Vec::new();
        let (before, rest) = text
            .split_once(REST)
            .map_or((text, false), |(before, _)| (before, true));
        // of a segment with the mark in it, `/x-{*rest}`, nothing is certain
        let before = if rest {
            before.rsplit_once('/').map_or("", |(before, _)| before)
        } else {
            before
        };
        for piece in segments::of_pattern(before) {
            match piece.kind {
                Kind::Empty | Kind::Here => {}
                Kind::Up => drop(segments.pop()),
                Kind::Name | Kind::Index | Kind::Dots
                    if matches!(piece.separator, Separator::Slash | Separator::MaybeSlash) =>
                {
                    let segment = match piece.text.split_once(ANY) {
                        Some((start, end)) => Segment::Any(
                            start.to_owned(),
                            end.rsplit_once(ANY).map_or(end, |(_, end)| end).to_owned(),
                        ),
                        None => Segment::Text(piece.text, piece.stem),
                    };
                    segments.push(segment);
                }
                Kind::Name | Kind::Index | Kind::Dots => {}
            }
        }
        Self { segments, rest }
    }

    /// Whether a reading of the pieces ends on this pattern.
    fn may_be(&self, pieces: &[Piece]) -> bool {
        let whole = self.segments.len();
        if self.rest && whole == 0 {
            return true;
        }
        let mut readings = Readings::at_the_root(whole);
        let mut after_script = false;
        for piece in pieces {
            match piece.separator {
                Separator::Slash | Separator::MaybeSlash => {
                    if after_script {
                        // `/index.php/hooks/github`: the script routes by what follows it
                        readings.restart();
                    }
                    let matched = readings.enter(piece, |place| self.takes(place, piece));
                    if readings.is_at(whole) && (self.rest || matched && piece.is_script) {
                        return true;
                    }
                    after_script = false;
                }
                Separator::Parameter | Separator::Cut if readings.is_at(whole) => return true,
                Separator::Parameter => readings.begin_parameter(),
                Separator::Cut => readings.go_on(),
            }
            after_script |= piece.is_script;
        }
        readings.is_at(whole)
    }

    /// Whether the segment at `place` is this piece; the last one also with another extension, or none.
    fn takes(&self, place: usize, piece: &Piece) -> bool {
        let is_last = place + 1 == self.segments.len() && !self.rest;
        match self.segments.get(place) {
            Some(Segment::Text(text, stem)) => {
                piece.text == *text || is_last && piece.stem == *stem
            }
            Some(Segment::Any(start, end)) => {
                let between = |text: &str| {
                    text.len() >= start.len() + end.len()
                        && text.starts_with(start)
                        && text.ends_with(end)
                };
                between(&piece.text) || is_last && between(&piece.stem)
            }
            None => false,
        }
    }
}

/// All readings of the pieces so far. A reading has taken the first so many segments of the pattern, and on top of them holds so many
/// other segments that only `..` can take away: for each number of segments taken, a bit for each number of others.
struct Readings {
    all: Vec<u64>,
    /// Those in which the last segment is one of the others.
    other: Vec<u64>,
    /// Those in which a parameter goes on that does not count.
    parameter: Vec<u64>,
}

impl Readings {
    fn at_the_root(segments: usize) -> Self {
        let mut all = vec![0; segments + 1];
        all.iter_mut().take(1).for_each(|first| *first = 1);
        Self {
            all,
            other: vec![0; segments + 1],
            parameter: vec![0; segments + 1],
        }
    }

    /// Whether a reading has taken so many segments, and nothing else.
    fn is_at(&self, taken: usize) -> bool {
        self.all.get(taken).is_some_and(|others| others & 1 == 1)
    }

    /// Some reading begins here.
    fn restart(&mut self) {
        self.all.iter_mut().take(1).for_each(|first| *first |= 1);
    }

    /// What follows `;` does not count, or belongs to the segment before it.
    fn begin_parameter(&mut self) {
        for ((all, other), parameter) in self
            .all
            .iter_mut()
            .zip(&self.other)
            .zip(&mut self.parameter)
        {
            *parameter |= *all;
            *all |= other;
        }
    }

    /// What follows `?` or `#` belongs to the segment or the parameter before it.
    fn go_on(&mut self) {
        for ((all, other), parameter) in self.all.iter_mut().zip(&self.other).zip(&self.parameter) {
            *all = other | parameter;
        }
    }

    /// Reads a piece after `/`: as the next segment of the pattern where `takes` says so, as another, as what its kind says it may be;
    /// and if that `/` may be none, as the end of the segment or parameter before it. Whether some reading took it for a segment of the
    /// pattern.
    fn enter(&mut self, piece: &Piece, takes: impl Fn(usize) -> bool) -> bool {
        let maybe = if piece.separator == Separator::MaybeSlash {
            u64::MAX
        } else {
            0
        };
        let others = self
            .all
            .iter()
            .zip(&self.other)
            .map(|(all, other)| all << 1 | (other & maybe));
        let other: Vec<u64> = others.collect();
        let parameter: Vec<u64> = self
            .parameter
            .iter()
            .map(|parameter| parameter & maybe)
            .collect();
        let mut all: Vec<u64> = other
            .iter()
            .zip(&parameter)
            .map(|(other, parameter)| other | parameter)
            .collect();
        let mut matched = false;
        for (place, others) in self.all.iter().enumerate() {
            let bare = others & 1;
            if bare == 1 && takes(place) {
                add(&mut all, Some(place + 1), 1);
                matched = true;
            }
            if piece.kind != Kind::Name {
                add(&mut all, Some(place), *others);
            }
            if matches!(piece.kind, Kind::Up | Kind::Dots) {
                add(&mut all, Some(place), others >> 1);
                // at the root there is nothing to take away
                add(&mut all, Some(place.saturating_sub(1)), bare);
            }
        }
        *self = Self {
            all,
            other,
            parameter,
        };
        matched
    }
}

fn add(readings: &mut [u64], taken: Option<usize>, others: u64) {
    if let Some(known) = taken.and_then(|taken| readings.get_mut(taken)) {
        *known |= others;
    }
}

impl Guard {
    /// Whether a route with this path lets the guarded path itself through to the guard.
    pub fn is_under(&self, route: &str) -> bool {
        let mut router = router::Router::default();
        let plain = self.path.replace(['{', '}', '*'], "");
        router.insert(None, route, 0).is_ok() && router.find("", plain.as_bytes()).is_some()
    }
}

#[cfg(test)]
mod tests;
