//! What the demo shows.
use crate::cli::table::{Align, Cell, Table};
use crate::cli::term::{self, BOLD, DIM, GREEN, Look, PLAIN, RED, Sign};
use crate::config::load::Loaded;

/// What the gate said of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It was let in; the secret that matched.
    Authentic(String),
    /// It was acknowledged, and delivered afterwards.
    Queued,
    /// It was refused; the code.
    Refused(String),
    /// It was answered without the app.
    Duplicate,
    /// Something else; the status in words.
    Other(String),
}

/// A request and what became of it.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) provider: &'static str,
    pub(super) sent: &'static str,
    pub(super) said: Said,
    /// What it should say; any secret may match.
    pub(super) expect: Said,
    pub(super) status: u16,
    pub(super) app_saw_it: bool,
}

impl Row {
    fn is_right(&self) -> bool {
        let (said, status, seen) = match (&self.said, &self.expect) {
            (Said::Authentic(_), Said::Authentic(_)) | (Said::Queued, Said::Queued) => {
                (true, 200, true)
            }
            (said, expect @ Said::Refused(_)) => (said == expect, 401, false),
            (said, expect) => (said == expect, 200, false),
        };
        said && self.status == status && self.app_saw_it == seen
    }

    fn verdict(&self, look: &Look) -> Cell {
        let (sign, words) = match &self.said {
            Said::Authentic(secret) => (Sign::Good, format!("authentic, {secret}")),
            Said::Queued => (Sign::Good, "authentic, queued".to_owned()),
            Said::Refused(code) => (Sign::Bad, code.clone()),
            Said::Duplicate => (Sign::Look, "duplicate of 1".to_owned()),
            Said::Other(words) => (Sign::Bad, words.clone()),
        };
        Cell::styled(
            format!("{} {}", look.bare_sign(sign), term::clean(&words)),
            sign.style(),
        )
    }
}

/// The lines about the gate and the app.
pub(super) fn head(config: &str, loaded: &Loaded, app_url: &str, look: &Look) -> String {
    let gate = loaded
        .snapshot
        .listeners
        .first()
        .map(|listener| format!("http://{}", listener.address))
        .unwrap_or_default();
    let routes = term::counted(
        u64::try_from(loaded.snapshot.routes.len()).unwrap_or(u64::MAX),
        "route",
    );
    let sign = look.sign(Sign::Good);
    format!(
        "  {sign} gate       {gate:<23} {}, generation {}, {routes}\n  {sign} app        {app_url:<23} hookgate echo, stands for your app\n\n",
        term::clean(config),
        loaded.snapshot.generation,
    )
}

/// The table, which fits 80 columns, and the sentence under it.
pub(super) fn page(rows: &[Row], seen: u64, look: &Look) -> String {
    let columns = [
        ("#", Align::Left),
        ("PROVIDER", Align::Left),
        ("WHAT WAS SENT", Align::Left),
        ("THE GATE SAID", Align::Left),
        ("STATUS", Align::Right),
        ("TO APP", Align::Left),
    ];
    let mut table = Table::new(&columns, 2);
    for (number, row) in (1_u64..).zip(rows) {
        let seen = if row.app_saw_it { "yes" } else { "no" };
        table.row([
            Cell::styled(number.to_string(), PLAIN),
            row.provider.into(),
            row.sent.into(),
            row.verdict(look),
            row.status.to_string().into(),
            seen.into(),
        ]);
    }
    format!("{}\n{}", table.render(look), sentence(rows, seen))
}

fn sentence(rows: &[Row], seen: u64) -> String {
    let count = |is: fn(&Said) -> bool| {
        u64::try_from(rows.iter().filter(|row| is(&row.said)).count()).unwrap_or(u64::MAX)
    };
    let (let_in, refused) = (
        count(|said| matches!(said, Said::Authentic(_) | Said::Queued)),
        count(|said| matches!(said, Said::Refused(_))),
    );
    let duplicates = term::counted(count(|said| *said == Said::Duplicate), "duplicate");
    let counts = format!(
        "{let_in} let in, {refused} refused, {duplicates}; the app saw {}.",
        term::counted(seen, "request")
    );
    match wrong(rows, seen) {
        None => format!("  {GREEN}{counts} As it should be.{GREEN:#}\n"),
        Some(why) => format!("  {RED}{counts} {why}{RED:#}\n"),
    }
}

/// What is not as it should be.
pub(super) fn wrong(rows: &[Row], seen: u64) -> Option<String> {
    let numbers: Vec<String> = (1_u64..)
        .zip(rows)
        .filter(|(_, row)| !row.is_right())
        .map(|(number, _)| number.to_string())
        .collect();
    match numbers.as_slice() {
        [] if seen == 4 && rows.len() == 7 => None,
        [] => Some("That is not as it should be.".to_owned()),
        [one] => Some(format!("Number {one} is not as it should be.")),
        many => Some(format!(
            "Numbers {} are not as they should be.",
            many.join(", ")
        )),
    }
}

/// What can be done now.
pub(super) fn tail() -> String {
    let program = std::env::args_os().next().map_or_else(
        || "hookgate".into(),
        |program| program.to_string_lossy().into_owned(),
    );
    format!(
        "  {DIM}The gate runs until Ctrl-C. In another terminal:{DIM:#}\n    {BOLD}{} status{BOLD:#}     {DIM}what is refused and why, which secrets match{DIM:#}\n",
        term::clean(&program)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_rows() -> Vec<Row> {
        let row = |provider, sent, said: Said, status, app_saw_it| Row {
            provider,
            sent,
            expect: said.clone(),
            said,
            status,
            app_saw_it,
        };
        let refused = |code: &str| Said::Refused(code.to_owned());
        let secret = |name: &str| Said::Authentic(name.to_owned());
        vec![
            row("github", "signed", secret("2026-11"), 200, true),
            row("stripe", "signed", Said::Queued, 200, true),
            row("slack", "signed", secret("secret-1"), 200, true),
            row("standard-webhooks", "signed", secret("secret-1"), 200, true),
            row(
                "github",
                "one byte changed",
                refused("signature_mismatch"),
                401,
                false,
            ),
            row(
                "stripe",
                "signed 10 min ago",
                refused("timestamp_stale"),
                401,
                false,
            ),
            row("github", "number 1 again", Said::Duplicate, 200, false),
        ]
    }

    fn look() -> Look {
        Look {
            width: Some(80),
            utf8: true,
            zone: jiff::tz::TimeZone::UTC,
        }
    }

    #[test]
    fn a_table_at_80_columns() {
        let page = page(&all_rows(), 4, &look());
        let plain = anstream::adapter::strip_str(&page).to_string();
        assert!(plain.lines().all(|line| line.chars().count() <= 80));
        insta::assert_snapshot!("page_plain", plain);
        insta::assert_snapshot!("page_coloured", page.replace('\x1b', "^"));
    }

    #[test]
    fn a_wrong_verdict_is_named() {
        let mut rows = all_rows();
        rows[4].said = Said::Authentic("2026-11".to_owned());
        assert_eq!(
            wrong(&rows, 4).as_deref(),
            Some("Number 5 is not as it should be.")
        );
        rows[6].app_saw_it = true;
        assert!(sentence(&rows, 5).contains("Numbers 5, 7 are not"));
        assert!(wrong(&all_rows(), 5).is_some() && wrong(&all_rows(), 4).is_none());
    }
}
