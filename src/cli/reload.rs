//! `hookgate reload`: makes the running gateway reload its config. The exit code says whether it was accepted.
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::cli::ask::{self, GateArgs};
use crate::cli::context;
use crate::cli::error::{Error, Exit};
use crate::cli::running::Running;
use crate::cli::term::{self, Look, Sign};
use crate::clock::{Clock as _, SystemClock};

/// The variable in which systemd gives `ExecReload` the ID of the gateway's process.
const MAIN_PID: &str = "MAINPID";
/// The longest time of a reload by signal, and the pause between two looks for its outcome.
const MAX_WAIT: Duration = Duration::from_secs(50);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Arguments of `reload`.
#[derive(Debug, clap::Args)]
pub(super) struct ReloadArgs {
    #[command(flatten)]
    gate: GateArgs,
}

/// Runs `reload`. A config with mistakes changes nothing: they are printed, and the exit code is 1.
pub(super) fn reload(args: &ReloadArgs) -> Result<Exit, Error> {
    let reloaded = match args.gate.without_listener() {
        Some(running) => by_signal(&args.gate, &running)?,
        None => context::block_on(args.gate.client()?.reload())??,
    };
    let generation = match reloaded {
        Ok(generation) => generation,
        Err(report) => {
            term::say(&refusal(&report));
            return Ok(Exit::NO);
        }
    };
    term::print_line(&format!(
        "{} config reloaded, generation {generation}",
        Look::of_stdout().sign(Sign::Good)
    ))?;
    Ok(Exit::DONE)
}

/// Renders the reason for which the gateway refused the config, line by line as `check` prints it.
fn refusal(report: &str) -> String {
    let lines = term::clean_body(report.trim_end().as_bytes());
    let begin = if lines.starts_with("error: ") || lines.starts_with("warning: ") {
        ""
    } else {
        "error: "
    };
    format!("{begin}{lines}\nThe config was not reloaded.")
}

/// Sends SIGHUP to a gateway without an admin listener, and waits for the outcome in the file of the running gateway. Only systemd is trusted to know the
/// process: an ID in a file may be that of another process by now.
fn by_signal(gate: &GateArgs, before: &Running) -> Result<Result<u64, String>, Error> {
    let main = std::env::var(MAIN_PID)
        .ok()
        .and_then(|text| text.parse().ok())
        .filter(|pid| *pid > 1)
        .and_then(Pid::from_raw);
    let main = main.ok_or_else(ask::no_listener)?;
    kill_process(main, Signal::HUP)
        .map_err(|error| Error::no("SIGHUP cannot be sent to the gateway").cause(error))?;
    let begun = SystemClock.mono();
    while SystemClock.mono().saturating_duration_since(begun) < MAX_WAIT {
        match gate.without_listener() {
            Some(Running {
                signals,
                reloaded: Some(outcome),
                ..
            }) if signals != before.signals => return Ok(outcome),
            _ => std::thread::sleep(POLL_INTERVAL),
        }
    }
    Err(Error::new(
        Exit::UNREACHED,
        "the gateway did not report whether it accepted the config",
    )
    .hint("read its log"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::deliveries::tests::fake_gateway::Fake;

    #[test]
    fn mistakes_keep_their_lines_and_words() {
        let report = "error: this duration has no unit\n --> config.yaml:18:23\n  |\n18 | window: 24 \u{1b}[2J\n\n1 error.\n";
        assert_eq!(
            refusal(report),
            "error: this duration has no unit\n --> config.yaml:18:23\n  |\n18 | window: 24 \\x1b[2J\n\n1 error.\nThe config was not reloaded."
        );
        assert!(refusal("the config could not be read").starts_with("error: the config could"));
    }

    #[test]
    fn refused_config_is_exit_1() {
        let gate = Fake::start(|_, _| (422, json!({ "error": "error: wrong", "help": "" })));
        assert_eq!(gate.run(&["reload"]), Exit::NO);
        assert_eq!(gate.asked(), [("POST /-/reload".to_owned(), json!({}))]);
        let gate = Fake::start(|_, _| (200, json!({ "generation": 2 })));
        assert_eq!(gate.run(&["reload"]), Exit::DONE);
    }
}
