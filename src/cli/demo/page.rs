//! The output of the demo.
use crate::cli::table::{Align, Cell, Table};
use crate::cli::term::{self, BOLD, DIM, GREEN, Look, PLAIN, RED, Sign};
use crate::config::load::Loaded;

/// The gateway's verdict on a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Authentic, with the secret that matched.
    Authentic(String),
    /// Accepted, and delivered afterwards.
    Queued,
    /// Refused, with the code.
    Refused(String),
    /// Answered as a duplicate, without the app.
    Duplicate,
    /// Another response, with its status in words.
    Other(String),
}

/// A request and its verdict.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) provider: &'static str,
    pub(super) sent: &'static str,
    pub(super) verdict: Verdict,
    /// The expected verdict; any secret may match.
    pub(super) expect: Verdict,
    pub(super) status: u16,
    pub(super) reached_app: bool,
}

impl Row {
    fn is_right(&self) -> bool {
        let (is_expected, status, reaches_app) = match (&self.verdict, &self.expect) {
            (Verdict::Authentic(_), Verdict::Authentic(_)) | (Verdict::Queued, Verdict::Queued) => {
                (true, 200, true)
            }
            (verdict, expect @ Verdict::Refused(_)) => (verdict == expect, 401, false),
            (verdict, expect) => (verdict == expect, 200, false),
        };
        is_expected && self.status == status && self.reached_app == reaches_app
    }

    fn cell(&self, look: &Look) -> Cell {
        let (sign, words) = match &self.verdict {
            Verdict::Authentic(secret) => (Sign::Good, format!("authentic, {secret}")),
            Verdict::Queued => (Sign::Good, "authentic, queued".to_owned()),
            Verdict::Refused(code) => (Sign::Bad, code.clone()),
            Verdict::Duplicate => (Sign::Warning, "duplicate of 1".to_owned()),
            Verdict::Other(words) => (Sign::Bad, words.clone()),
        };
        Cell::styled(
            format!("{} {}", look.bare_sign(sign), term::clean(&words)),
            sign.style(),
        )
    }
}

/// Renders the lines about the gateway and the app.
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
        "  {sign} gateway    {gate:<23} {}, generation {}, {routes}\n  {sign} app        {app_url:<23} hookgate echo, in place of your app\n\n",
        term::clean(config),
        loaded.snapshot.generation,
    )
}

/// Renders the table, which fits 80 columns, and the sentence under it.
pub(super) fn page(rows: &[Row], request_count: u64, look: &Look) -> String {
    let columns = [
        ("#", Align::Left),
        ("PROVIDER", Align::Left),
        ("WHAT WAS SENT", Align::Left),
        ("VERDICT", Align::Left),
        ("STATUS", Align::Right),
        ("TO APP", Align::Left),
    ];
    let mut table = Table::new(&columns, 2);
    for (number, row) in (1_u64..).zip(rows) {
        let reached = if row.reached_app { "yes" } else { "no" };
        table.row([
            Cell::styled(number.to_string(), PLAIN),
            row.provider.into(),
            row.sent.into(),
            row.cell(look),
            row.status.to_string().into(),
            reached.into(),
        ]);
    }
    format!("{}\n{}", table.render(look), sentence(rows, request_count))
}

fn sentence(rows: &[Row], request_count: u64) -> String {
    let count = |is: fn(&Verdict) -> bool| {
        u64::try_from(rows.iter().filter(|row| is(&row.verdict)).count()).unwrap_or(u64::MAX)
    };
    let (authentic, refused) = (
        count(|verdict| matches!(verdict, Verdict::Authentic(_) | Verdict::Queued)),
        count(|verdict| matches!(verdict, Verdict::Refused(_))),
    );
    let duplicates = term::counted(count(|verdict| *verdict == Verdict::Duplicate), "duplicate");
    let counts = format!(
        "{authentic} authentic, {refused} refused, {duplicates}; the app got {}",
        term::counted(request_count, "request")
    );
    match wrong(rows, request_count) {
        None => format!("  {GREEN}{counts}, as expected.{GREEN:#}\n"),
        Some(why) => format!("  {RED}{counts}. {why}{RED:#}\n"),
    }
}

/// Returns what is not as expected.
pub(super) fn wrong(rows: &[Row], request_count: u64) -> Option<String> {
    let numbers: Vec<String> = (1_u64..)
        .zip(rows)
        .filter(|(_, row)| !row.is_right())
        .map(|(number, _)| number.to_string())
        .collect();
    match numbers.as_slice() {
        [] if request_count == 4 && rows.len() == 7 => None,
        [] => Some("This is not as expected.".to_owned()),
        [one] => Some(format!("Number {one} is not as expected.")),
        many => Some(format!("Numbers {} are not as expected.", many.join(", "))),
    }
}

/// Renders the commands to run next.
pub(super) fn tail() -> String {
    let program = std::env::args_os().next().map_or_else(
        || "hookgate".into(),
        |program| program.to_string_lossy().into_owned(),
    );
    format!(
        "  {DIM}The gateway runs until Ctrl-C. In another terminal:{DIM:#}\n    {BOLD}{} status{BOLD:#}     {DIM}what is refused and why, which secrets match{DIM:#}\n",
        term::clean(&program)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_rows() -> Vec<Row> {
        let row = |provider, sent, verdict: Verdict, status, reached_app| Row {
            provider,
            sent,
            expect: verdict.clone(),
            verdict,
            status,
            reached_app,
        };
        let refused = |code: &str| Verdict::Refused(code.to_owned());
        let secret = |name: &str| Verdict::Authentic(name.to_owned());
        vec![
            row("github", "signed", secret("2026-11"), 200, true),
            row("stripe", "signed", Verdict::Queued, 200, true),
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
            row("github", "number 1 again", Verdict::Duplicate, 200, false),
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
    fn table_fits_80_columns() {
        let page = page(&all_rows(), 4, &look());
        let plain = anstream::adapter::strip_str(&page).to_string();
        assert!(plain.lines().all(|line| line.chars().count() <= 80));
        insta::assert_snapshot!("page_plain", plain);
        insta::assert_snapshot!("page_coloured", page.replace('\x1b', "^"));
    }

    #[test]
    fn unexpected_verdict_is_named() {
        let mut rows = all_rows();
        rows[4].verdict = Verdict::Authentic("2026-11".to_owned());
        assert_eq!(
            wrong(&rows, 4).as_deref(),
            Some("Number 5 is not as expected.")
        );
        rows[6].reached_app = true;
        assert!(sentence(&rows, 5).contains("Numbers 5, 7 are not"));
        assert!(wrong(&all_rows(), 5).is_some() && wrong(&all_rows(), 4).is_none());
    }
}
