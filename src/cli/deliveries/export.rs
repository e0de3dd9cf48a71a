//! `hookgate deliveries export`: writes deliveries with their bodies, to be stored or sent elsewhere.
use std::fs::OpenOptions;
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use bytes::Bytes;
use serde::Serialize;

use super::list::json;
use super::pages::Pages;
use super::raw;
use crate::api::deliveries::{DeliveryDetails, Filter, Order};
use crate::cli::admin_client::{AdminClient, escaped};
use crate::cli::ask::GateArgs;
use crate::cli::context;
use crate::cli::deliveries::filter_args::FilterArgs;
use crate::cli::error::{Error, Exit};
use crate::cli::term;
use crate::clock::{Clock as _, SystemClock};

/// Arguments of `deliveries export`.
#[derive(Debug, clap::Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// Writes a curl command for each delivery instead of JSON lines.
    #[arg(long, conflicts_with = "http")]
    curl: bool,
    /// Writes raw HTTP requests, each followed by a newline.
    #[arg(long)]
    http: bool,
    /// Writes to this file, readable by its owner only, instead of stdout.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// The largest number of deliveries (default: all).
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,
    /// Writes the newest first (default: the oldest first).
    #[arg(long)]
    newest: bool,
}

/// Runs `deliveries export`.
pub(super) fn export(gate: &GateArgs, args: &ExportArgs) -> Result<Exit, Error> {
    let (client, filter) = (gate.client()?, args.filter.to_filter(context::now()));
    let form = if args.curl {
        Form::Curl
    } else {
        Form::of(args.http)
    };
    let order = if args.newest {
        Order::Newest
    } else {
        Order::Oldest
    };
    let most = args.limit.unwrap_or(u64::MAX);
    let count = match &args.to {
        Some(path) => to_file(path, |file| {
            context::block_on(write(&client, filter, form, order, most, file))?
        })?,
        None => context::block_on(write(
            &client,
            filter,
            form,
            order,
            most,
            &mut std::io::stdout().lock(),
        ))??,
    };
    let location = args
        .to
        .as_ref()
        .map(|path| format!(" written to {}", term::clean(&path.display().to_string())))
        .unwrap_or_default();
    term::say(&format!("{}{location}", deliveries(count)));
    Ok(Exit::DONE)
}

/// Renders a number of deliveries: `1 delivery`, `1,204 deliveries`.
pub(in crate::cli) fn deliveries(count: u64) -> String {
    if count == 1 {
        "1 delivery".to_owned()
    } else {
        format!("{} deliveries", term::count(count))
    }
}

/// Writes the deliveries of a filter to a file as JSON lines. Returns how many.
pub(in crate::cli) fn to_lines(
    client: &AdminClient,
    filter: &FilterArgs,
    path: &Path,
) -> Result<u64, Error> {
    let filter = filter.to_filter(SystemClock.now().wall);
    to_file(path, |file| {
        context::block_on(write(
            client,
            filter,
            Form::Lines,
            Order::Oldest,
            u64::MAX,
            file,
        ))?
    })
}

/// Runs `work` with a file that only its owner can read, and syncs the file to the disk.
fn to_file(
    path: &Path,
    work: impl FnOnce(&mut BufWriter<std::fs::File>) -> Result<u64, Error>,
) -> Result<u64, Error> {
    let failed = |error: std::io::Error| {
        Error::no("the file cannot be written")
            .at(path.display().to_string())
            .cause(error)
    };
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    let mut file = BufWriter::new(file);
    let count = work(&mut file)?;
    file.flush()
        .and_then(|()| file.get_ref().sync_all())
        .map_err(failed)?;
    Ok(count)
}

/// The format of an exported delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Lines,
    Curl,
    Http,
}

impl Form {
    fn of(http: bool) -> Self {
        if http { Self::Http } else { Self::Lines }
    }
}

/// One JSON line: the fields of `show --json`, and the raw request, as text if it is UTF-8.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    shown: &'a DeliveryDetails,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_base64: Option<String>,
}

async fn write(
    client: &AdminClient,
    filter: Filter,
    form: Form,
    order: Order,
    most: u64,
    to: &mut dyn Write,
) -> Result<u64, Error> {
    let mut pages = Pages::new(client, filter, order);
    let mut count = 0;
    while count < most
        && let Some(page) = pages.next(most - count).await?
    {
        for delivery in page {
            let id = escaped(&delivery.id);
            // skips a delivery that was purged meanwhile
            let Some(shown) = client
                .find::<DeliveryDetails>(&format!("/-/deliveries/{id}"))
                .await?
            else {
                continue;
            };
            let raw = client.bytes(&format!("/-/deliveries/{id}/http")).await?;
            to.write_all(&written(form, &shown, &raw)?)?;
            count += 1;
        }
    }
    to.flush()?;
    Ok(count)
}

fn written(form: Form, shown: &DeliveryDetails, raw: &Bytes) -> Result<Vec<u8>, Error> {
    let line = |text: String| Ok(format!("{text}\n").into_bytes());
    match form {
        Form::Http => Ok([raw, b"\n".as_slice()].concat()),
        Form::Curl => line(raw::curl(raw, shown.request.tls)?),
        Form::Lines => {
            let raw_text = std::str::from_utf8(raw).ok();
            let raw_base64 = raw_text
                .is_none()
                .then(|| base64::engine::general_purpose::STANDARD.encode(raw));
            line(json(&Line {
                shown,
                raw_text,
                raw_base64,
            })?)
        }
    }
}
