//! Watches a replay that runs in the gateway: a bar on a terminal, a line every 10 s elsewhere.
use std::time::{Duration, Instant};

use crate::api::actions::{Replay, ReplayState};
use crate::cli::admin_client::{AdminClient, escaped};
use crate::cli::error::{Error, Exit};
use crate::cli::policy::quoted;
use crate::cli::progress::Progress;
use crate::cli::term::{self, DIM, GREEN, Look, RED, Sign};
use crate::clock::{Clock as _, SystemClock};

/// The pause between two requests to the gateway, and between two drawings of the bar.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// The width of the bar, in characters.
const BAR_WIDTH: u64 = 41;

/// Watches a replay until it ends.
pub(super) async fn watch(client: &AdminClient, id: &str) -> Result<Replay, Error> {
    let (mut progress, mut speed) = (Progress::new(), Speed::default());
    let look = Look::of_stdout();
    let target = format!("/-/replays/{}", escaped(id));
    loop {
        let replay: Replay = client.get(&target).await?;
        progress.show(&bar(&replay, speed.of(&replay), &look));
        if replay.state != ReplayState::Running {
            progress.end();
            return Ok(replay);
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// The speed of a replay since the watching began.
#[derive(Default)]
struct Speed {
    began: Option<(Instant, u64)>,
}

impl Speed {
    /// Returns the deliveries per second: the measured ones, or at first those that were planned.
    fn of(&mut self, replay: &Replay) -> f64 {
        let now = SystemClock.mono();
        let attempted = replay.planned.saturating_sub(replay.not_attempted);
        let (began, at_first) = *self.began.get_or_insert((now, attempted));
        let seconds = now.saturating_duration_since(began).as_secs_f64();
        let fresh = u32::try_from(attempted.saturating_sub(at_first)).unwrap_or(u32::MAX);
        if seconds >= 1.0 && fresh > 0 {
            f64::from(fresh) / seconds
        } else {
            replay.rate
        }
    }
}

/// Renders the progress: `━━━━╸━━━   684/1,204   20/s   ✓ 681   ✕ 3   26 s left`.
fn bar(replay: &Replay, speed: f64, look: &Look) -> String {
    let attempted = replay.planned.saturating_sub(replay.not_attempted);
    let full = (attempted.min(replay.planned) * BAR_WIDTH)
        .checked_div(replay.planned)
        .unwrap_or(0);
    let [done, at, rest] = if look.utf8 {
        ["━", "╸", "━"]
    } else {
        ["=", ">", "-"]
    };
    let repeat = |sign: &str, count: u64| sign.repeat(usize::try_from(count).unwrap_or(0));
    let drawn = if full == BAR_WIDTH {
        format!("{GREEN}{}{GREEN:#}", repeat(done, BAR_WIDTH))
    } else {
        format!(
            "{GREEN}{}{at}{GREEN:#}{DIM}{}{DIM:#}",
            repeat(done, full),
            repeat(rest, BAR_WIDTH - full - 1)
        )
    };
    let bad = if replay.failed > 0 { RED } else { DIM };
    let skipped = if replay.skipped > 0 {
        format!("   {} skipped", term::count(replay.skipped))
    } else {
        String::new()
    };
    let counting = if replay.counting { "+" } else { "" };
    format!(
        "{drawn}   {}/{}{counting}   {}   {GREEN}{} {}{GREEN:#}   {bad}{} {}{bad:#}{skipped}   {} left",
        term::count(attempted),
        term::count(replay.planned),
        rate(speed),
        look.bare_sign(Sign::Good),
        term::count(replay.delivered),
        look.bare_sign(Sign::Bad),
        term::count(replay.failed),
        left(replay.not_attempted, speed),
    )
}

/// Renders a rate: `20/s`, `30/m`.
pub(super) fn rate(a_second: f64) -> String {
    match a_second {
        9.95.. => format!("{a_second:.0}/s"),
        1.0.. => format!("{a_second:.1}/s").replace(".0/", "/"),
        _ => format!("{:.1}/m", a_second * 60.0).replace(".0/", "/"),
    }
}

/// Renders the time that `count` deliveries take.
pub(super) fn left(count: u64, a_second: f64) -> String {
    let count = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    Duration::try_from_secs_f64((count / a_second.max(0.001)).ceil())
        .map(term::age)
        .unwrap_or_default()
}

/// Renders the result of a replay.
pub(super) fn end(replay: &Replay, look: &Look) -> String {
    let skipped = if replay.skipped > 0 {
        format!(", {} skipped", term::count(replay.skipped))
    } else {
        String::new()
    };
    let counts = |not_attempted: bool| {
        let rest = if not_attempted {
            format!(", {} not attempted", term::count(replay.not_attempted))
        } else {
            String::new()
        };
        format!(
            "{} delivered, {} failed{skipped}{rest}.",
            term::count(replay.delivered),
            term::count(replay.failed)
        )
    };
    let why = replay
        .stop_reason
        .as_deref()
        .map(|why| format!(": {}", term::clean(why)))
        .unwrap_or_default();
    match replay.state {
        ReplayState::Running => format!("{} running. {}", look.sign(Sign::Warning), counts(true)),
        ReplayState::Done if replay.failed == 0 => {
            format!("{} done. {}", look.sign(Sign::Good), counts(false))
        }
        ReplayState::Done => format!(
            "{} done. {} The failed ones are retried.",
            look.sign(Sign::Warning),
            counts(false)
        ),
        ReplayState::Stopped => format!(
            "{RED}{} stopped{why}.{RED:#} {}",
            look.bare_sign(Sign::Bad),
            counts(true)
        ),
        ReplayState::Cancelled => format!(
            "{} stopped by hand{why}. {}",
            look.sign(Sign::Warning),
            counts(true)
        ),
    }
}

/// Returns the command to run next, at a lower rate if the replay stopped by itself.
pub(super) fn next(replay: &Replay) -> Option<String> {
    let id = term::clean(&quoted(&replay.id));
    match replay.state {
        ReplayState::Running | ReplayState::Done => None,
        ReplayState::Stopped => Some(format!(
            "next: hookgate deliveries replay --resume {id} --rate {}",
            slower(replay.rate)
        )),
        ReplayState::Cancelled => Some(format!("next: hookgate deliveries replay --resume {id}")),
    }
}

/// Returns a quarter of a rate, in the form of `--rate`.
fn slower(a_second: f64) -> String {
    let quarter = a_second / 4.0;
    if quarter >= 1.0 {
        format!("{quarter:.0}/s")
    } else {
        format!("{:.0}/m", (quarter * 60.0).max(1.0))
    }
}

/// Returns the exit code: 0 if all were delivered, else 3.
pub(super) fn exit(replay: &Replay) -> Exit {
    let all = replay.state == ReplayState::Done && replay.failed == 0 && replay.not_attempted == 0;
    if all { Exit::DONE } else { Exit::UNFINISHED }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::deliveries::tests::fake_gateway as fake;

    #[test]
    fn progress_bar_and_result_fit_100_columns() {
        let (look, mut replay) = (fake::look(), fake::replay());
        let mut text = format!("  {}\n", bar(&replay, 20.0, &look));
        replay = Replay {
            state: ReplayState::Stopped,
            stop_reason: Some("5 failures in a row, all 503 from app".to_owned()),
            ..replay
        };
        replay = Replay {
            delivered: 690,
            failed: 9,
            not_attempted: 505,
            ..replay
        };
        text.push_str(&format!(
            "{}\n{}\n",
            end(&replay, &look),
            next(&replay).unwrap()
        ));
        let plain = anstream::adapter::strip_str(&text).to_string();
        assert!(
            plain.lines().all(|line| line.chars().count() <= 100),
            "{plain}"
        );
        insta::assert_snapshot!("replay_plain", plain);
        insta::assert_snapshot!("replay_coloured", text.replace('\x1b', "^"));
        assert_eq!(exit(&replay), Exit::UNFINISHED);
        let done = Replay {
            state: ReplayState::Done,
            failed: 0,
            not_attempted: 0,
            delivered: 1204,
            ..replay
        };
        assert_eq!((exit(&done), next(&done)), (Exit::DONE, None));
        assert!(bar(&done, 20.0, &look).contains(&"━".repeat(41)));
        let none = Replay::default();
        assert!(
            bar(
                &none,
                20.0,
                &Look {
                    utf8: false,
                    ..look
                }
            )
            .contains("0/0")
        );
    }

    #[test]
    fn rates_are_rendered_as_the_user_writes_them() {
        assert_eq!(
            [20.0, 1.0, 2.5, 0.5, 0.01].map(rate),
            ["20/s", "1/s", "2.5/s", "30/m", "0.6/m"]
        );
        assert_eq!([20.0, 0.5, 0.01].map(slower), ["5/s", "8/m", "1/m"]);
    }
}
