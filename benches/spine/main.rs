//! Instructions and allocations that one request costs the gateway, from the first byte of the head to the last byte of the answer.
//!
//!     cargo bench --bench spine      # prints a table
//!     make bench-check               # the same with a quicker build; also fails if a count is more than 5 % above the baseline
//!     make bench-baseline            # renews the baseline
//!
//! Each case runs the gateway twice under valgrind, with few requests and with many, and divides the difference: starting and stopping cancel out.
//! The counts do not depend on the load of the machine, so two versions can be compared on different days. `HOOKGATE_BINARY` names another binary,
//! of which only the instructions are counted. valgrind offers no SHA instructions to the program, so hashing counts for more here than it costs.
#![allow(
    clippy::print_stdout,
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a bench may panic, and prints its table"
)]
mod baseline;
mod cases;
mod http;
mod runs;

use std::process::ExitCode;

use crate::baseline::{Baseline, Cost};
use crate::cases::CASES;

/// The use of the counts once they are printed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Print,
    Check,
    Write,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // started by itself, to count allocations
    if arguments.first().is_some_and(|first| first == "run") {
        return hookgate::cli::main(std::env::args_os()).into();
    }
    let mode = mode(&arguments);
    // only tests' profiles have assertions for debugging
    assert!(
        mode == Mode::Print || cfg!(debug_assertions) && runs::other_binary().is_none(),
        "the baseline is of another build: run make bench-check or make bench-baseline, without HOOKGATE_BINARY"
    );

    let mut measured = Baseline::new();
    println!("{}", Cost::HEADING);
    for case in &CASES {
        let cost = runs::cost(case);
        println!("{}", cost.row(case.name));
        measured.insert(case.name.to_owned(), cost);
    }
    match mode {
        Mode::Print => ExitCode::SUCCESS,
        Mode::Check => baseline::check(&measured),
        Mode::Write => baseline::write(&measured),
    }
}

/// Returns the mode that the arguments ask for. cargo adds `--bench`.
fn mode(arguments: &[String]) -> Mode {
    let mut mode = Mode::Print;
    for argument in arguments {
        match argument.as_str() {
            "--bench" => {}
            "--check" => mode = Mode::Check,
            "--write" => mode = Mode::Write,
            other => panic!("{other}: there are --check and --write"),
        }
    }
    mode
}
