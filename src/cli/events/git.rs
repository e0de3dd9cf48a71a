//! Reads a catalogue from a commit of git.
//!
//! The name of the commit may come from anywhere, such as a pull request. It is resolved once, after `--end-of-options`, and from then on
//! only the hash is used. Nothing of the repository is run, checked out or fetched.
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::cli::error::Error;
use crate::cli::term;
use crate::event::catalogue::{Files, MAX_FILE_BYTES, MAX_TOTAL_BYTES};

/// The largest number of files that are read.
pub(super) const MAX_FILES: usize = 200_000;

/// Reads `REF` or `REF:PATH`. Without a path it is that of the directory `beside`.
pub(super) fn read(place: &str, beside: Option<&Path>) -> Result<Files, Error> {
    let (reference, path) = match place.split_once(':') {
        Some((reference, path)) => (reference, Some(path)),
        None => (place, None),
    };
    if reference.is_empty() || reference.starts_with('-') || reference.contains(char::is_control) {
        return Err(
            Error::usage(format!("`{reference}` is no name of a commit"))
                .hint("hookgate events check git:main events"),
        );
    }
    let (dir, prefix) = match (path, beside) {
        (Some(path), _) => (Path::new("."), path.trim_matches('/').to_owned()),
        (None, Some(beside)) => (beside, prefix(beside)?),
        (None, None) => {
            return Err(
                Error::usage(format!("`git:{reference}` needs the path of the catalogue"))
                    .hint(format!("hookgate events check git:{reference}:events")),
            );
        }
    };
    let commit = resolve(dir, reference)?;
    let blobs = blobs(dir, &commit, &prefix)?;
    if blobs.is_empty() {
        term::say(&term::clean(&format!(
            "git:{reference} has no files in `{prefix}`: everything is new"
        )));
    }
    contents(dir, blobs)
}

/// Returns the path of a directory below the root of its repository.
fn prefix(dir: &Path) -> Result<String, Error> {
    let text = run(
        dir,
        &["rev-parse", "--show-prefix"],
        "the directory is in no git repository",
    )?;
    Ok(String::from_utf8_lossy(&text)
        .trim_end_matches(['\n', '/'])
        .to_owned())
}

/// Returns the hash of a commit.
fn resolve(dir: &Path, reference: &str) -> Result<String, Error> {
    let commit = format!("{reference}^{{commit}}");
    let arguments = [
        "rev-parse",
        "--verify",
        "--quiet",
        "--end-of-options",
        &commit,
    ];
    let text = run(
        dir,
        &arguments,
        &format!("git has no commit `{reference}` here"),
    )?;
    let hash = String::from_utf8_lossy(&text).trim().to_owned();
    if hash.len() >= 40 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(hash)
    } else {
        Err(Error::no(format!("git has no commit `{reference}` here")))
    }
}

/// A file of a commit.
struct Blob {
    /// The path below the directory of the catalogue.
    path: String,
    hash: String,
    size: usize,
}

/// Returns the files of a directory in a commit, and those of the folders in it.
fn blobs(dir: &Path, commit: &str, prefix: &str) -> Result<Vec<Blob>, Error> {
    let arguments = [
        "--literal-pathspecs",
        "ls-tree",
        "-r",
        "-z",
        "-l",
        "--full-tree",
        commit,
        "--",
        prefix,
    ];
    // an empty path is no pathspec
    let arguments = if prefix.is_empty() {
        arguments.get(..7).unwrap_or(&arguments)
    } else {
        &arguments
    };
    let listed = run(dir, arguments, "git cannot list the files of the commit")?;
    let mut blobs = Vec::new();
    for line in listed
        .split(|byte| *byte == 0)
        .filter(|line| !line.is_empty())
    {
        let line = String::from_utf8_lossy(line);
        let Some((facts, path)) = line.split_once('\t') else {
            continue;
        };
        let mut facts = facts.split_whitespace();
        let (Some(mode), Some("blob"), Some(hash), Some(size)) =
            (facts.next(), facts.next(), facts.next(), facts.next())
        else {
            continue;
        };
        let inside = if prefix.is_empty() {
            Some(path)
        } else {
            path.strip_prefix(prefix)
                .and_then(|path| path.strip_prefix('/'))
        };
        let Some(inside) = inside.filter(|path| path.matches('/').count() <= 1) else {
            continue;
        };
        // a symbolic link has no content of its own
        if mode.starts_with("100") {
            blobs.push(Blob {
                path: inside.to_owned(),
                hash: hash.to_owned(),
                size: size.parse().unwrap_or(usize::MAX),
            });
        }
    }
    let total = blobs.iter().fold(0, |sum: usize, blob| {
        sum.saturating_add(blob.size.min(MAX_FILE_BYTES + 1))
    });
    if blobs.len() > MAX_FILES || total > MAX_TOTAL_BYTES {
        return Err(Error::no("the commit has too many files for a catalogue").at(prefix));
    }
    Ok(blobs)
}

/// Reads the content of files. One that is too large for a catalogue is not read, and is as large as shows that.
fn contents(dir: &Path, blobs: Vec<Blob>) -> Result<Files, Error> {
    let (large, small): (Vec<Blob>, Vec<Blob>) = blobs
        .into_iter()
        .partition(|blob| blob.size > MAX_FILE_BYTES);
    let mut files: Files = large
        .into_iter()
        .map(|blob| (blob.path, vec![b' '; MAX_FILE_BYTES + 1]))
        .collect();
    let mut child = git(dir)
        .args(["cat-file", "--batch"])
        .stdin(Stdio::piped())
        .spawn()
        .map_err(|error| no_git(&error))?;
    let wanted: String = small
        .iter()
        .map(|blob| format!("{}\n", blob.hash))
        .collect();
    let stdin = child.stdin.take();
    // git answers while it reads, so writing everything before reading would block
    let writer =
        std::thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(wanted.as_bytes())));
    let output = child.wait_with_output().map_err(|error| no_git(&error))?;
    // a failed write is seen as a missing answer
    writer.join().ok();
    let broken = || Error::no("git did not give the files of the commit");
    let mut rest = output.stdout.as_slice();
    for blob in small {
        let end = rest
            .iter()
            .position(|byte| *byte == b'\n')
            .ok_or_else(broken)?;
        let head = String::from_utf8_lossy(rest.get(..end).unwrap_or_default()).into_owned();
        if head != format!("{} blob {}", blob.hash, blob.size) {
            return Err(broken());
        }
        let body = rest.get(end + 1..).unwrap_or_default();
        files.insert(
            blob.path,
            body.get(..blob.size).ok_or_else(broken)?.to_vec(),
        );
        rest = body.get(blob.size + 1..).unwrap_or_default();
    }
    Ok(files)
}

/// Runs git, and returns its output.
fn run(dir: &Path, arguments: &[&str], failed: &str) -> Result<Vec<u8>, Error> {
    let output = git(dir)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| no_git(&error))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let error = Error::no(failed)
        .at(dir.display().to_string())
        .why("In CI fetch the commit first; a shallow clone has only its own.")
        .hint("git fetch --depth 1 origin main, and then git:FETCH_HEAD");
    let said = String::from_utf8_lossy(&output.stderr);
    Err(if said.trim().is_empty() {
        error
    } else {
        error.cause(said.trim())
    })
}

/// Returns a command of git that runs nothing of the repository and fetches nothing.
fn git(dir: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .current_dir(dir)
        .args([
            "--no-pager",
            "-c",
            "core.fsmonitor=false",
            "-c",
            "protocol.allow=never",
        ])
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn no_git(error: &std::io::Error) -> Error {
    Error::no("git cannot be run")
        .why("`git:REF` is read by the program git.")
        .hint("install git, or give two directories")
        .cause(error)
}
