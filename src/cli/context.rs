//! The inputs of commands: a config, a preset, a file, a time.
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::error::{Error, Exit};
use crate::cli::term;
use crate::clock::{Clock as _, SystemClock};
use crate::config::diagnostic::{Diagnostics, Step, did_you_mean};
use crate::config::file;
use crate::config::load::{self, Loaded, RefusedConfig};
use crate::config::presets::{Catalogue, Preset};
use crate::config::source::Source;
use crate::config::verifier;
use crate::config::yaml_tree::{self, Node, Spanned};
use crate::verify::Shape;

/// The largest request, body or config that a command reads, in bytes.
const MAX_FILE: u64 = 64 << 20;

/// Returns the wall time.
pub(super) fn now() -> SystemTime {
    SystemClock.now().wall
}

/// Loads a config as the gateway does.
pub(super) fn try_load(path: &Path) -> Result<Loaded, RefusedConfig> {
    load::load(
        path,
        &|name| std::env::var_os(name),
        None,
        1,
        SystemClock.now(),
    )
}

/// Loads a config as the gateway does. Prints its mistakes to stderr.
pub(super) fn load(path: &Path) -> Result<Loaded, Error> {
    try_load(path).map_err(|refused| {
        term::say(refused.report.render(true).trim_end());
        Error::usage("the config cannot be used")
            .at(path.display().to_string())
            .hint(format!("hookgate check {}", path.display()))
    })
}

/// Parses a config without compiling it, for addresses: no secret has to be readable.
pub(super) fn written(path: &Path) -> Result<file::File, Error> {
    let bytes = read(path, "the config")?;
    let mut problems = Diagnostics::default();
    let mut source = Source::new(path.display().to_string(), &bytes);
    let file = source.parse(0, &mut problems);
    if source.tree.is_none() {
        return Err(Error::usage("the config cannot be read")
            .at(path.display().to_string())
            .hint(format!("hookgate check {}", path.display())));
    }
    Ok(file)
}

/// Lines that are left out from the end of a broken config, one by one, until the rest can be read.
const LINES_LEFT_OUT: usize = 200;

/// Returns the directory of the store that a config names, even if the rest of the config has mistakes. A relative path begins beside the config.
pub(super) fn store_of(config: Option<&Path>) -> Option<PathBuf> {
    let config = config?;
    let bytes = read(config, "the config").ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let store = [Step::Key("store".to_owned()), Step::Key("path".to_owned())];
    let of = |text: &str| match &yaml_tree::read(text).0?.find(&store) {
        (
            Spanned {
                node: Node::Scalar { text, .. },
                ..
            },
            _,
            true,
        ) => Some(text.clone()),
        _ => None,
    };
    let mut ends = std::iter::once(text.len())
        .chain(text.rmatch_indices('\n').map(|(at, _)| at))
        .take(LINES_LEFT_OUT);
    let path = ends.find_map(|end| of(text.get(..end)?))?;
    Some(config.parent().unwrap_or_else(|| Path::new("")).join(path))
}

/// Finds a preset by its name.
pub(super) fn preset(catalogue: &Catalogue, name: &str) -> Result<Arc<Preset>, Error> {
    catalogue.get(name).ok_or_else(|| {
        let error = Error::usage(format!("no provider is called `{name}`"));
        match did_you_mean(name, catalogue.names()) {
            Some(near) => error.why(near),
            None => error.hint("hookgate providers list"),
        }
    })
}

/// Compiles the scheme of a preset. `header` is the header of the signature or token, if the preset leaves it to the route.
pub(super) fn shape(preset: &Preset, header: Option<&str>) -> Result<Shape, Error> {
    verifier::shape(preset, header).map_err(|why| {
        let error = Error::usage(format!(
            "the preset {} is incomplete without a route",
            preset.name
        ));
        let error = error.hint("--header NAME, or --config FILE --route ROUTE");
        match why {
            Some(why) => error.why(why),
            None => error,
        }
    })
}

/// Reads a whole file; `-` is stdin.
pub(super) fn read(path: &Path, what: &str) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let result = if path.as_os_str() == "-" {
        std::io::stdin()
            .lock()
            .take(MAX_FILE + 1)
            .read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes))
    };
    let location = path.display().to_string();
    match result {
        Ok(_) if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_FILE => Err(Error::usage(
            format!("{what} is larger than {}", term::size(MAX_FILE)),
        )
        .at(location)),
        Ok(_) => Ok(bytes),
        Err(error) => Err(
            Error::usage(format!("{what} cannot be read: {}", in_words(&error)))
                .at(location)
                .cause(error),
        ),
    }
}

/// Returns the reason why the system did not read a file.
pub(super) fn in_words(error: &std::io::Error) -> &'static str {
    let known = [
        (ErrorKind::NotFound, "there is no such file"),
        (ErrorKind::PermissionDenied, "permission denied"),
        (ErrorKind::IsADirectory, "it is a directory"),
    ];
    known
        .iter()
        .find(|(kind, _)| *kind == error.kind())
        .map_or("the system failed (-v shows its message)", |(_, words)| {
            words
        })
}

/// Parses a time, in unix seconds or RFC 3339.
pub(super) fn moment(text: &str) -> Result<SystemTime, String> {
    let at = match text.parse::<i64>() {
        Ok(seconds) => jiff::Timestamp::from_second(seconds).ok(),
        Err(_) => text.parse().ok(),
    };
    at.and_then(|at: jiff::Timestamp| SystemTime::try_from(at).ok())
        .ok_or_else(|| {
            "write unix seconds, or RFC 3339 with a zone: 2026-11-24T12:00:00Z".to_owned()
        })
}

/// Runs the asynchronous part of a command.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    Ok(runtime
        .map_err(|error| {
            Error::new(Exit::NO, "the system provides no threads or sockets").cause(error)
        })?
        .block_on(work))
}

/// Waits for Ctrl-C, SIGTERM, or the end of the terminal, so that what a command started ends with it.
///
/// # Errors
/// The system provides no signals.
pub(super) async fn interrupted() -> Result<(), Error> {
    let handler = |kind| {
        signal(kind).map_err(|error| Error::no("the system provides no signals").cause(error))
    };
    let (mut int, mut term, mut hup) = (
        handler(SignalKind::interrupt())?,
        handler(SignalKind::terminate())?,
        handler(SignalKind::hangup())?,
    );
    tokio::select! {
        _ = int.recv() => {}
        _ = term.recv() => {}
        _ = hup.recv() => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_seconds_or_rfc_3339() {
        assert_eq!(moment("1767225600"), moment("2026-01-01T00:00:00Z"));
        assert_eq!(moment("1767225600"), moment("2026-01-01T01:00:00+01:00"));
        for wrong in ["", "now", "2026-01-01", "99999999999999999", "1767225600.5"] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn misspelled_name_gets_a_suggestion() {
        let error = preset(Catalogue::built_in(), "gihub").unwrap_err();
        assert_eq!(error.why.as_deref(), Some("did you mean `github`?"));
        assert_eq!(error.exit, Exit::USAGE);
    }
}
