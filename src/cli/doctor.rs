//! `hookgate doctor`: finds problems around a gateway, each with what to do. This file gathers facts; the files below judge them.
mod bypass;
mod certificates;
mod files;
mod finding;
mod gate;
mod handshakes;
mod mounts;
mod postgres;
mod sending;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::sys::resource::{Resource, getrlimit};

use crate::admin::Status;
use crate::cli::ask::GateArgs;
use crate::cli::context;
use crate::cli::error::{Error, Exit};
use crate::cli::policy::quoted;
use crate::cli::term::{self, Look};
use crate::clock::{Clock as _, SystemClock};
use crate::config::load::Loaded;
use crate::config::source::read_regular;
use crate::mount::{self, Mount};
use finding::Finding;

/// The largest file that is searched for certificates and keys, in bytes.
const MAX_PEM: usize = 1024 * 1024;

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    gate: GateArgs,
    /// Prints one JSON object for each finding, including those that are good.
    #[arg(long)]
    json: bool,
}

/// Runs `doctor`. With `verbose`, good findings are shown as well.
pub(super) fn doctor(args: &DoctorArgs, verbose: bool) -> Result<Exit, Error> {
    let Some(path) = &args.gate.config else {
        return Err(Error::usage("the config of the gateway is missing")
            .hint("hookgate doctor --config config.yaml"));
    };
    let now = SystemClock.now().wall;
    let mut findings = Vec::new();
    let loaded = match context::try_load(path) {
        Ok(loaded) => Some(loaded),
        Err(refused) => {
            let help = format!("hookgate check {}", quoted(&path.display().to_string()));
            findings.push(Finding::bad(
                "config",
                format!("the config cannot be used: {}", refused.report.counts()),
                help,
            ));
            None
        }
    };
    let mounts = mount::own();
    findings.extend(mounts::watched(path, &mounts));
    if let Some(loaded) = &loaded {
        let warnings = loaded.report.warnings();
        findings.push(if warnings == 0 {
            Finding::good("config", loaded.summary(), "config")
        } else {
            let help = format!("hookgate check {}", quoted(&path.display().to_string()));
            Finding::warning(
                "config",
                term::counted(u64::try_from(warnings).unwrap_or(u64::MAX), "warning"),
                help,
            )
        });
        findings.extend(upstreams(loaded)?);
        findings.extend(handshakes(loaded)?);
        findings.extend(gate::routes(&loaded.snapshot, now));
        findings.extend(gate::listeners(&loaded.snapshot));
        findings.extend(gate::secrets(&loaded.origins));
        findings.extend(sending::config(&loaded.snapshot));
        findings.extend(inputs(loaded, path, now, &mounts));
        findings.extend(store(loaded, path, &mounts)?);
    }
    findings.extend(running(args, loaded.as_ref()));
    if args.json {
        term::print(&finding::json(&findings))?;
    } else {
        term::print(&finding::render(&findings, verbose, &Look::of_stdout()))?;
    }
    Ok(if findings.iter().any(Finding::needs_attention) {
        Exit::NO
    } else {
        Exit::DONE
    })
}

/// Looks for ways past the gateway.
fn upstreams(loaded: &Loaded) -> Result<Vec<Finding>, Error> {
    let Some(own) = bypass::own_addresses() else {
        return Ok(vec![Finding::skipped(
            "bypass",
            "not checked: the system does not list its addresses",
        )]);
    };
    let reaches = context::block_on(bypass::look(&loaded.snapshot, &own))?;
    Ok(reaches.iter().map(bypass::judge).collect())
}

/// Makes a TLS handshake with each upstream that has TLS.
fn handshakes(loaded: &Loaded) -> Result<Vec<Finding>, Error> {
    let made = context::block_on(handshakes::make(&loaded.snapshot))?;
    Ok(made.iter().map(handshakes::judge).collect())
}

/// Checks the files that the config was read from: secrets, keys, certificates, and how they are mounted.
fn inputs(loaded: &Loaded, config: &Path, now: SystemTime, mounts: &[Mount]) -> Vec<Finding> {
    let mut facts = Vec::new();
    let mut certificates = Vec::new();
    let mut findings = Vec::new();
    // routes may share a file
    let secrets: BTreeSet<&PathBuf> = loaded.origins.files.iter().collect();
    for path in &secrets {
        if let Ok(metadata) = std::fs::metadata(path) {
            facts.push(files::Fact::new(path, files::Kind::Secret, &metadata));
        }
        findings.extend(mounts::watched(path, mounts));
    }
    for path in loaded
        .snapshot
        .files
        .iter()
        .filter(|path| !secrets.contains(path) && path.as_path() != config)
    {
        let Ok(bytes) = read_regular(path, MAX_PEM) else {
            continue;
        };
        let (is_key, is_certificate) = (
            certificates::is_key(&bytes),
            certificates::is_certificate(&bytes),
        );
        if is_key && let Ok(metadata) = std::fs::metadata(path) {
            facts.push(files::Fact::new(path, files::Kind::Key, &metadata));
        }
        if is_certificate {
            certificates.extend(certificates::read(path, &bytes));
        }
        findings.extend(mounts::watched(path, mounts));
    }
    findings.extend(files::judge(&facts, nix::unistd::geteuid().as_raw(), now));
    findings.extend(certificates::judge(&certificates, now));
    findings
}

/// Checks the server or the disk of the store.
fn store(loaded: &Loaded, config: &Path, mounts: &[Mount]) -> Result<Vec<Finding>, Error> {
    if let Some(engine) = loaded.snapshot.store.engine.postgres() {
        let config = quoted(&config.display().to_string());
        return postgres::look(engine, &format!("hookgate migrate --config {config}"));
    }
    Ok(disk(loaded, mounts))
}

/// Checks the disk of the store.
fn disk(loaded: &Loaded, mounts: &[Mount]) -> Vec<Finding> {
    let Some(path) = loaded.snapshot.store.engine.directory() else {
        let remembers = loaded
            .snapshot
            .webhooks
            .iter()
            .any(|webhook| webhook.dedupe.is_some());
        let message = "in memory: a restart forgets which IDs were delivered";
        return remembers
            .then(|| Finding::warning("store", message, "`store: { path: /var/lib/hookgate }`"))
            .into_iter()
            .collect();
    };
    let real = mount::real(path);
    let free = mount::Space::of(&real).map(|space| space.free);
    mounts::store(path, &real, mounts, free)
}

/// Checks the clock and the limits of the running gateway, or without one the limits of this process.
fn running(args: &DoctorArgs, loaded: Option<&Loaded>) -> Vec<Finding> {
    let status = args
        .gate
        .ask::<Status>("/-/status")
        .map(|(_, status)| status);
    // a gateway that only sends gets no signed times to compare with; that its clock jumped matters all the same
    let receives = loaded.is_none_or(|loaded| gate::receives(&loaded.snapshot));
    let clock = match &status {
        Ok(status) => (receives || status.clock.jumped).then(|| gate::clock(status.clock)),
        Err(error) => {
            let location = error
                .location
                .as_deref()
                .map(|location| format!(" at {location}"))
                .unwrap_or_default();
            let message = format!("not checked: {}{location}", error.message);
            Some(Finding::skipped("clock", message))
        }
    };
    let mut findings: Vec<Finding> = clock.into_iter().collect();
    if let Ok(status) = &status
        && !status.ready
    {
        findings.push(Finding::warning(
            "gateway",
            "it is not ready",
            "hookgate status",
        ));
    }
    if let Ok(status) = &status {
        findings.extend(gate::restarts(&status.config.needs_restart));
    }
    let old_seals = status.as_ref().ok();
    let old_seals = old_seals.and_then(|status| status.store.sealed_by_old_keys);
    findings.extend(old_seals.map(gate::old_keys));
    if let Some(outbound) = status
        .as_ref()
        .ok()
        .and_then(|status| status.outbound.as_ref())
    {
        findings.extend(sending::running(outbound));
    }
    let of_gate = status
        .ok()
        .map(|status| status.open_files)
        .filter(|limit| *limit > 0);
    let own = || {
        getrlimit(Resource::RLIMIT_NOFILE)
            .ok()
            .map(|(limit, _)| limit)
    };
    if let (Some(limit), Some(loaded)) = (of_gate.or_else(own), loaded) {
        findings.push(gate::open_files(limit, &loaded.snapshot, of_gate.is_some()));
    }
    findings
}
