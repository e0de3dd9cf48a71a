//! `hookgate forget`: makes the gateway forget a delivery ID.
use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::api::actions::{Forget, Forgotten};
use crate::cli::ask::GateArgs;
use crate::cli::context;
use crate::cli::error::{Error, Exit};
use crate::cli::term::{self, Look, Sign};

/// Arguments of `forget`.
#[derive(Debug, clap::Args)]
pub(super) struct ForgetArgs {
    /// The route.
    #[arg(long, value_name = "ROUTE")]
    route: String,
    /// The provider's ID of the delivery, or the gateway's.
    id: String,
    /// A path parameter of its request, if the path of the route has any.
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = param)]
    params: Vec<(String, String)>,
    /// Its account, if the route finds its secrets by a key.
    #[arg(long, value_name = "KEY")]
    account: Option<String>,
    /// A file with the exact body, if duplicates are found by it too and the gateway did not store the delivery.
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// The reason, for the audit log.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    gate: GateArgs,
    /// Prints a JSON object.
    #[arg(long)]
    json: bool,
}

fn param(text: &str) -> Result<(String, String), String> {
    let pair = text
        .split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    pair.filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| "write NAME=VALUE".to_owned())
}

/// Runs `forget`.
pub(super) fn forget(args: &ForgetArgs) -> Result<Exit, Error> {
    let params: BTreeMap<String, String> = args.params.iter().cloned().collect();
    let (route, id, account) = (args.route.clone(), args.id.clone(), args.account.clone());
    let unread = |path: &PathBuf, error| {
        Error::usage("the body cannot be read")
            .at(path.display().to_string())
            .cause(error)
    };
    let body = args
        .body
        .as_ref()
        .map(|path| std::fs::read(path).map_err(|error| unread(path, error)))
        .transpose()?;
    let body_base64 = body.map(|body| STANDARD.encode(body));
    let order = Forget {
        route,
        id,
        params,
        account,
        body_base64,
        reason: args.reason.clone(),
    };
    let client = args.gate.client()?;
    let forgotten: Forgotten = context::block_on(client.post("/-/forget", &order))??;
    let (id, look) = (term::clean(&args.id), Look::of_stdout());
    if args.json {
        term::print_line(&serde_json::json!({ "forgotten": forgotten.forgotten }).to_string())?;
    } else if forgotten.forgotten {
        term::print_line(&format!(
            "{} {id} is forgotten: the next delivery with this ID is not a duplicate",
            look.sign(Sign::Good)
        ))?;
    } else {
        term::print_line(&format!(
            "{} route {} does not know {id}",
            look.sign(Sign::Warning),
            term::clean(&args.route)
        ))?;
    }
    Ok(if forgotten.forgotten {
        Exit::DONE
    } else {
        Exit::NO
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::deliveries::tests::fake_gateway::Fake;

    #[test]
    fn forget_reports_whether_the_id_was_known() {
        for (known, exit) in [(true, Exit::DONE), (false, Exit::NO)] {
            let gate = Fake::start(move |_, _| (200, json!({ "forgotten": known })));
            assert_eq!(
                gate.run(&[
                    "forget",
                    "--route",
                    "acme",
                    "evt_1",
                    "--param",
                    "account=a=b",
                    "--reason",
                    "so"
                ]),
                exit
            );
            let order = json!({ "route": "acme", "id": "evt_1", "params": { "account": "a=b" }, "reason": "so" });
            assert_eq!(gate.asked(), [("POST /-/forget".to_owned(), order)]);
            assert_eq!(
                gate.run(&["forget", "--route", "acme", "evt_1", "--account", "a1"]),
                exit
            );
            let order = json!({ "route": "acme", "id": "evt_1", "params": {}, "account": "a1", "reason": "" });
            assert_eq!(
                gate.asked().last(),
                Some(&("POST /-/forget".to_owned(), order))
            );
        }
        assert!(param("x").is_err() && param("=x").is_err());
    }
}
