//! Compiles `outbound.events`: reads the files of the catalogue, and reports its mistakes with their lines.
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::config::compile::context::Context;
use crate::config::diagnostic::{Level, Place, shown};
use crate::config::file;
use crate::config::inputs::{Digest, Inputs};
use crate::config::report::Finding;
use crate::config::secret::CompiledCatalogue;
use crate::config::snapshot::EventCatalogue;
use crate::event::catalogue::{
    self, Catalogue, Files, MAX_FILE_BYTES, MAX_TOTAL_BYTES, OnFault, Policy,
};

/// The largest number of files of a catalogue.
const MAX_FILES: usize = 50_000;

/// Compiles the catalogue of events. It is usable only if no error was reported.
pub(super) fn events(
    written: Option<file::OutboundEvents>,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<EventCatalogue> {
    // No `..`: a new field must be dealt with here.
    let file::OutboundEvents {
        dir,
        invalid,
        unknown,
    } = written?;
    let policy = Policy {
        invalid: on_fault(invalid.as_deref(), &place.key("invalid"), cx),
        unknown: on_fault(unknown.as_deref(), &place.key("unknown"), cx),
    };
    let Some(dir) = dir else {
        let help = "add `dir: events`: the directory with a folder for each type".to_owned();
        cx.problems
            .missing(place, "dir", "`events` needs a directory", help);
        return None;
    };
    let dir = cx.loader.base.join(dir);
    let files = match read(&dir, &mut cx.loader.inputs) {
        Ok(files) => files,
        Err(message) => {
            let help = "write a directory with a folder for each type, such as `demo/events`";
            cx.problems
                .error(&place.key("dir"), message, help.to_owned());
            return None;
        }
    };
    let compiled = compiled(&files, cx);
    let catalogue = Arc::clone(&compiled.catalogue);
    let found = compiled.findings.iter();
    let found = found.map(|found| beside(&dir, &files, found));
    cx.findings.extend(found);
    let has_error = compiled
        .findings
        .iter()
        .any(|finding| finding.level == catalogue::Level::Error);
    if catalogue.types().len() == 0 && !has_error {
        let help = "write `TYPE/1.schema.json` below it, or leave `events` out".to_owned();
        let message = "the catalogue has no type of events, so every event would be refused";
        cx.problems.error(&place.key("dir"), message, help);
    }
    if !has_error {
        cx.loader.cache.keep_catalogue(compiled);
    }
    Some(EventCatalogue { catalogue, policy })
}

/// Compiles a reaction.
fn on_fault(written: Option<&str>, place: &Place, cx: &mut Context<'_>) -> OnFault {
    let words = [("refuse", OnFault::Refuse), ("warn", OnFault::Warn)];
    cx.word(written, place, &words).unwrap_or_default()
}

/// Compiles the files, or returns what the load before made of the same files.
fn compiled(files: &Files, cx: &Context<'_>) -> CompiledCatalogue {
    let content = digest(files);
    let known = cx
        .loader
        .previous
        .and_then(|previous| previous.catalogue(content));
    if let Some(known) = known {
        return known.clone();
    }
    let (catalogue, findings) = Catalogue::compile(files);
    CompiledCatalogue {
        content,
        catalogue: Arc::new(catalogue),
        findings,
    }
}

/// Returns a digest of all names and contents.
fn digest(files: &Files) -> Digest {
    let mut hash = Sha256::new();
    for (name, bytes) in files {
        for part in [name.as_bytes(), bytes] {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
    }
    hash.finalize().into()
}

/// Returns a finding about the catalogue as one of the config's report.
fn beside(dir: &Path, files: &Files, found: &catalogue::Finding) -> Finding {
    let path = match found.file.as_str() {
        "." => dir.to_owned(),
        file => dir.join(file),
    };
    let position = found.line.map(|line| (line, found.column.unwrap_or(1)));
    let text = files
        .get(&found.file)
        .and_then(|bytes| std::str::from_utf8(bytes).ok());
    let line = found.line.and_then(|line| line.checked_sub(1));
    let line = text
        .zip(line)
        .and_then(|(text, line)| text.lines().nth(line));
    let level = match found.level {
        catalogue::Level::Error => Level::Error,
        catalogue::Level::Warning => Level::Warning,
    };
    Finding::beside(
        level,
        path.display().to_string(),
        position,
        line,
        found.message.clone(),
        found.help.clone(),
    )
}

/// Reads the files of a directory, and those of the folders in it. A load or the watcher finds a change of any of them, and a new one.
///
/// # Errors
/// The reason why the catalogue cannot be read.
fn read(dir: &Path, inputs: &mut Inputs) -> Result<Files, String> {
    let (mut files, mut bytes) = (Files::new(), 0_usize);
    let mut add = |name: String, path: &Path, inputs: &mut Inputs| {
        if !path.is_file() {
            return Ok(());
        }
        inputs.feed(name.as_bytes());
        let read = inputs.read_listed(path, MAX_FILE_BYTES);
        let read =
            read.map_err(|why| format!("the file {} {why}", shown(&path.display().to_string())))?;
        bytes = bytes.saturating_add(read.len());
        files.insert(name, read.to_vec());
        if bytes > MAX_TOTAL_BYTES || files.len() > MAX_FILES {
            let most = MAX_TOTAL_BYTES >> 20;
            return Err(format!(
                "the directory has more than {MAX_FILES} files or {most} MiB, too much for a catalogue"
            ));
        }
        Ok(())
    };
    for (name, path) in entries(dir, inputs)? {
        if path.is_dir() {
            for (inside, path) in entries(&path, inputs)? {
                add(format!("{name}/{inside}"), &path, inputs)?;
            }
        } else {
            add(name, &path, inputs)?;
        }
    }
    Ok(files)
}

/// Returns the names and paths in a directory, sorted. Hidden ones are left out, and those that are not UTF-8: they name no type.
fn entries(dir: &Path, inputs: &mut Inputs) -> Result<Vec<(String, PathBuf)>, String> {
    inputs.list(dir);
    let read = || -> io::Result<Vec<(String, PathBuf)>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string()
                && !name.starts_with('.')
            {
                found.push((name, entry.path()));
            }
        }
        found.sort();
        Ok(found)
    };
    read().map_err(|error| {
        let dir = shown(&dir.display().to_string());
        format!("the directory {dir} cannot be read ({:?})", error.kind())
    })
}
