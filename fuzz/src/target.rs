//! The target of a request: which route takes it, and what its parameters are.
//!
//! The input: lines `HOST PATH` (`-` for any host) that are routed in their order, an empty line, then lines `HOST TARGET` that are looked for.
use hookgate::route::router::{Router, parameters};

use super::request;

pub fn run(bytes: &[u8]) {
    let mut rest = bytes;
    let mut router = Router::default();
    let mut routes: Vec<(Option<String>, String)> = Vec::new();
    while !rest.is_empty() && routes.len() < 64 {
        let line = request::line(&mut rest);
        if line.is_empty() {
            break;
        }
        let Some((host, path)) = std::str::from_utf8(line)
            .ok()
            .and_then(|line| line.split_once(' '))
        else {
            continue;
        };
        let host = (host != "-").then_some(host);
        if router.insert(host, path, routes.len()).is_ok() {
            assert!(path.starts_with('/'));
            routes.push((host.map(str::to_ascii_lowercase), path.to_owned()));
        }
    }
    for _ in 0..64 {
        let line = request::line(&mut rest);
        let Some(blank) = line.iter().position(|byte| *byte == b' ') else {
            continue;
        };
        let host = String::from_utf8_lossy(&line[..blank]);
        let path = line[blank + 1..]
            .split(|byte| *byte == b'?')
            .next()
            .unwrap_or_default();
        look(&router, &routes, &host, path);
    }
}

fn look(router: &Router, routes: &[(Option<String>, String)], host: &str, path: &[u8]) {
    let found = router.find(host, path);
    let Ok(path) = std::str::from_utf8(path) else {
        assert!(found.is_none());
        return;
    };
    let bare = match host.strip_prefix('[') {
        Some(_) => host.split_inclusive(']').next().unwrap(),
        None => host.split(':').next().unwrap(),
    };
    let bare = bare.to_ascii_lowercase();
    let bare = bare.strip_suffix('.').unwrap_or(&bare);
    let host_takes = |of: &Option<String>| match of.as_deref() {
        None => true,
        Some(of) => of.strip_prefix('*').map_or(of == bare, |suffix| {
            bare.len() > suffix.len() && bare.ends_with(suffix)
        }),
    };
    let Some((index, params)) = found else {
        // nothing that a plain reader takes for a route's own path is lost
        let plain = path.split('/').all(is_plain);
        let lost = routes
            .iter()
            .find(|(of, pattern)| plain && host_takes(of) && matches(pattern, path));
        assert!(lost.is_none(), "{host} {path} is lost to {lost:?}");
        return;
    };
    let (of, pattern) = &routes[index];
    assert!(host_takes(of), "{host} is not {of:?}");
    // in the order of the path, and put back into it they give the path that was asked for
    let names: Vec<&str> = params.0.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, parameters(pattern));
    let mut values = params.0.iter().map(|(_, value)| &**value);
    let again: Vec<&str> = pattern
        .split('/')
        .map(|segment| {
            if segment.starts_with('{') {
                values.next().unwrap()
            } else {
                segment
            }
        })
        .collect();
    assert_eq!(again.join("/"), path, "{pattern} {params:?}");
    for (segment, value) in pattern
        .split('/')
        .filter(|segment| segment.starts_with('{'))
        .zip(&params.0)
    {
        let is_rest = segment.starts_with("{*");
        let is_right = if is_rest {
            value.1.split('/').all(is_plain)
        } else {
            is_plain(&value.1) && !value.1.is_empty()
        };
        assert!(is_right, "{segment} of {pattern} is {value:?}");
    }
    // no host with fewer letters in common goes before
    let better = routes.iter().filter(|(other, pattern)| {
        let rank = |of: &Option<String>| {
            of.as_deref().map_or((0, 0), |of| {
                if of.starts_with('*') {
                    (1, of.len())
                } else {
                    (2, 0)
                }
            })
        };
        host_takes(other)
            && rank(other) > rank(of)
            && matches(pattern, path)
            && path.split('/').all(is_plain)
    });
    assert_eq!(
        better.count(),
        0,
        "{host} {path}: {pattern} goes before a nearer host"
    );
}

/// Whether a path follows a pattern, segment by segment.
fn matches(pattern: &str, path: &str) -> bool {
    let (mut of, mut is) = (pattern.split('/'), path.split('/'));
    loop {
        match (of.next(), is.next()) {
            (None, None) => return true,
            (Some(of), Some(_)) if of.starts_with("{*") => return true,
            (Some(of), Some(is)) if of.starts_with('{') && !is.is_empty() => {}
            (Some(of), Some(is)) if of == is => {}
            _ => return false,
        }
    }
}

/// Whether a segment is one, however often it is decoded.
fn is_plain(segment: &str) -> bool {
    let mut bytes = segment.as_bytes().to_vec();
    loop {
        if bytes == b"." || bytes == b".." || bytes.iter().any(|byte| b"/\\\0".contains(byte)) {
            return false;
        }
        let decoded = decoded(&bytes);
        if decoded == bytes {
            return true;
        }
        bytes = decoded;
    }
}

fn decoded(bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let octet = (bytes[at] == b'%')
            .then(|| bytes.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| hex::decode(digits).ok());
        match octet {
            Some(octet) => {
                decoded.push(octet[0]);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    decoded
}
