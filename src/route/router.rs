//! Finds the route of a request: by its host, then by its path. Pure.
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use crate::request::Params;

/// The reason why a path or host cannot be routed, with the text to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// The same host and path are routed already, or paths that match the same requests.
    #[error("another route takes the same requests")]
    Taken {
        /// The index of the route that takes them, if it is known.
        by: Option<usize>,
    },
    /// The path does not follow the grammar.
    #[error("{0}")]
    Path(Cow<'static, str>),
    /// The host does not follow the grammar.
    #[error("write a host name, such as `hooks.example.com` or `*.example.com`, without port")]
    Host,
}

impl Conflict {
    /// Returns the conflict of a path that does not follow the grammar.
    fn path(help: &'static str) -> Self {
        Self::Path(Cow::Borrowed(help))
    }
}

/// The routes of one snapshot by host and path.
#[derive(Debug, Default)]
pub struct Router {
    exact: HashMap<String, Paths>,
    /// Paths by the part of the host after `*`, with its dot; the longest first.
    wildcard: Vec<(String, Paths)>,
    any: Paths,
}

#[derive(Debug, Default)]
struct Paths {
    tree: matchit::Router<Target>,
    /// The paths in the tree, to name the route of a conflict.
    known: Vec<Known>,
}

/// The route that a path leads to.
#[derive(Clone, Copy, Debug)]
struct RouteMatch {
    route: usize,
    /// Whether its parameters also match segments that some reader takes for several.
    any_segments: bool,
}

#[derive(Debug)]
struct Target {
    found: RouteMatch,
    /// The parameter of a catch-all that is empty here.
    empty_rest: Option<Box<str>>,
}

#[derive(Debug)]
struct Known {
    path: String,
    route: usize,
    /// Whether it is here only because a catch-all also matches its bare stem. A route with this path replaces it.
    implied: bool,
}

impl Router {
    /// Routes `host` (exact, `*.example.com`, or any) and `path` to the route at `index`.
    ///
    /// # Errors
    /// The fault of host or path, or the route that takes the same requests.
    pub fn insert(&mut self, host: Option<&str>, path: &str, index: usize) -> Result<(), Conflict> {
        self.insert_as(
            host,
            path,
            RouteMatch {
                route: index,
                any_segments: false,
            },
        )
    }

    /// Inserts a route that forwards the target unchanged: its parameters match segments of any kind.
    ///
    /// # Errors
    /// As [`Self::insert`].
    pub fn insert_pass(
        &mut self,
        host: Option<&str>,
        path: &str,
        index: usize,
    ) -> Result<(), Conflict> {
        self.insert_as(
            host,
            path,
            RouteMatch {
                route: index,
                any_segments: true,
            },
        )
    }

    fn insert_as(
        &mut self,
        host: Option<&str>,
        path: &str,
        found: RouteMatch,
    ) -> Result<(), Conflict> {
        check_path(path)?;
        let Some(host) = host else {
            return self.any.insert(path, found);
        };
        let host = host.to_ascii_lowercase();
        if let Some(suffix) = host.strip_prefix('*') {
            let name = suffix
                .strip_prefix('.')
                .filter(|name| is_host(name))
                .ok_or(Conflict::Host)?;
            let suffix = format!(".{name}");
            if let Some((_, paths)) = self.wildcard.iter_mut().find(|(known, _)| *known == suffix) {
                return paths.insert(path, found);
            }
            let mut paths = Paths::default();
            paths.insert(path, found)?;
            self.wildcard.push((suffix, paths));
            self.wildcard
                .sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
            return Ok(());
        }
        if !is_host(&host) {
            return Err(Conflict::Host);
        }
        self.exact.entry(host).or_default().insert(path, found)
    }

    /// Returns the index of the route for `host` (as sent: any case, with or without port) and the raw `path`, with its parameters.
    /// An exact host wins over a wildcard, a longer wildcard over a shorter one, each of them over a route without host.
    pub fn find(&self, host: &str, path: &[u8]) -> Option<(usize, Params)> {
        let path = std::str::from_utf8(path).ok()?;
        let host = without_port(host).to_ascii_lowercase();
        let host = host.strip_suffix('.').unwrap_or(&host);
        let exact = self.exact.get(host).and_then(|paths| paths.find(path));
        let wildcard = || {
            let mut matching = self
                .wildcard
                .iter()
                .filter(|(suffix, _)| host.len() > suffix.len() && host.ends_with(suffix.as_str()));
            matching.find_map(|(_, paths)| paths.find(path))
        };
        exact.or_else(wildcard).or_else(|| self.any.find(path))
    }
}

impl Paths {
    fn insert(&mut self, path: &str, found: RouteMatch) -> Result<(), Conflict> {
        let route = found.route;
        if let Some(at) = self
            .known
            .iter()
            .position(|known| known.implied && shape(&known.path) == shape(path))
        {
            let implied = self.known.swap_remove(at);
            self.tree.remove(implied.path);
        }
        match self.tree.insert(
            path,
            Target {
                found,
                empty_rest: None,
            },
        ) {
            Ok(()) => self.known.push(Known {
                path: path.to_owned(),
                route,
                implied: false,
            }),
            Err(matchit::InsertError::Conflict { with }) => {
                let by = self
                    .known
                    .iter()
                    .find(|known| shape(&known.path) == shape(path) || known.path == with);
                return Err(Conflict::Taken {
                    by: by.map(|known| known.route),
                });
            }
            Err(_) => return Err(Conflict::path(PARAMETERS)),
        }
        // matchit's catch-all matches at least one character, ours also none
        if let Some((stem, rest)) = path.split_once("{*") {
            let target = Target {
                found,
                empty_rest: Some(rest.trim_end_matches('}').into()),
            };
            if self.tree.insert(stem, target).is_ok() {
                self.known.push(Known {
                    path: stem.to_owned(),
                    route,
                    implied: true,
                });
            }
        }
        Ok(())
    }

    fn find(&self, path: &str) -> Option<(usize, Params)> {
        let found = self.tree.at(path).ok()?;
        let mut params = Vec::with_capacity(found.params.len());
        for (name, value) in found.params.iter() {
            if !found.value.found.any_segments && !value.split('/').all(is_plain_segment) {
                return None;
            }
            params.push((name.into(), value.into()));
        }
        params.extend(
            found
                .value
                .empty_rest
                .iter()
                .map(|rest| (rest.clone(), "".into())),
        );
        Some((found.value.found.route, Params(params)))
    }
}

/// Returns the names of the parameters of a path, in its order.
pub fn parameters(path: &str) -> Vec<&str> {
    path.split('{')
        .skip(1)
        .filter_map(|rest| rest.split_once('}'))
        .map(|(name, _)| name.trim_start_matches('*'))
        .collect()
}

/// Returns a path with its parameters unnamed: equal for paths that match the same requests.
fn shape(path: &str) -> String {
    let mut shape = String::with_capacity(path.len());
    for part in path.split_inclusive('{') {
        shape.push_str(part.split_once('}').map_or(part, |(_, after)| after));
        if part.starts_with('*') {
            shape.push('*');
        }
    }
    shape
}

fn check_path(path: &str) -> Result<(), Conflict> {
    if !path.starts_with('/') {
        return Err(Conflict::path("begin the path with `/`"));
    }
    if path.contains(['?', '#', '\\']) || path.contains("//") {
        return Err(Conflict::path(
            "write the path alone: no query, no `#`, no `\\`, no empty segment",
        ));
    }
    if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Conflict::path(
            "write the path as it is sent: ASCII without blanks, other bytes percent-encoded",
        ));
    }
    if path.replace("{*", "{").contains('*') {
        return Err(Conflict::Path(instead_of_star(path).into()));
    }
    let names = parameters(path);
    let known = |name: &&str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let distinct = names.iter().collect::<HashSet<_>>().len() == names.len();
    let braces =
        path.matches('{').count() == names.len() && path.matches('}').count() == names.len();
    // a parameter within a segment would be another grammar, which neither the guard nor the reader of a config expects
    let whole = path.split('/').all(|segment| {
        !segment.contains('{')
            || (segment.starts_with('{') && segment.find('}') == Some(segment.len() - 1))
    });
    if !braces || !distinct || !whole || !names.iter().all(known) {
        return Err(Conflict::path(PARAMETERS));
    }
    let mut segments = path.split('/').filter(|segment| !segment.contains('{'));
    if !segments.all(|segment| segment.is_empty() || is_plain_segment(segment)) {
        return Err(Conflict::path(
            "write the path without `.` and `..` segments and encoded slashes",
        ));
    }
    Ok(())
}

/// Returns the text to write instead of a path with a `*` that belongs to no parameter.
fn instead_of_star(path: &str) -> String {
    let stem = path.trim_end_matches('*');
    let write = match stem.strip_suffix('/') {
        Some(stem) if !stem.contains('*') => format!("write `{stem}/{{*rest}}`"),
        Some(_) | None => {
            "write `/{name}` for one segment, `/{*rest}` at the end for all that follow".to_owned()
        }
    };
    format!("{write}; a path cannot contain a literal `*`")
}

const PARAMETERS: &str =
    "write parameters as whole segments, `/{name}`, each name once, and `/{*rest}` only at the end";

fn is_host(host: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    !host.is_empty() && host.len() <= 253 && host.split('.').all(label)
}

fn without_port(host: &str) -> &str {
    if host.starts_with('[') {
        return host.split_inclusive(']').next().unwrap_or(host);
    }
    host.split(':').next().unwrap_or(host)
}

/// Returns whether no reader, however often it decodes, takes the raw segment for several segments or for `..`.
fn is_plain_segment(raw: &str) -> bool {
    let mut text = raw.as_bytes().to_vec();
    loop {
        if text.iter().any(|byte| matches!(byte, b'/' | b'\\' | 0)) || text == b"." || text == b".."
        {
            return false;
        }
        match decode(&text) {
            Some(decoded) => text = decoded,
            None => return true,
        }
    }
}

/// Decodes percent escapes once; `None` if there are none.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        let octet = (*first == b'%')
            .then(|| after.split_at_checked(2))
            .flatten()
            .and_then(|(digits, after)| {
                let mut octet = [0];
                hex::decode_to_slice(digits, &mut octet).ok()?;
                Some((octet, after))
            });
        (rest, _) = match octet {
            Some(([octet], after)) => (after, decoded.push(octet)),
            None => (after, decoded.push(*first)),
        };
    }
    (decoded.len() < text.len()).then_some(decoded)
}

#[cfg(test)]
mod tests;
