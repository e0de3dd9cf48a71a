//! `hookgate forget`: a delivery ID that the gate shall not know any more.
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
    /// The provider's ID of the delivery, or its ID in `deliveries list`.
    id: String,
    /// A path parameter that it came with, where the route has any.
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = param)]
    params: Vec<(String, String)>,
    /// The account it came from, where the route finds its secrets by a key.
    #[arg(long, value_name = "KEY")]
    account: Option<String>,
    /// A file with the body exactly as it came, where the key is made of it too and the gateway did not store the delivery.
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// Why, for the audit.
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
    let door = args.gate.door()?;
    let forgotten: Forgotten = context::block_on(door.post("/-/forget", &order))??;
    let (id, look) = (term::clean(&args.id), Look::of_stdout());
    if args.json {
        term::print_line(&serde_json::json!({ "forgotten": forgotten.forgotten }).to_string())?;
    } else if forgotten.forgotten {
        term::print_line(&format!(
            "{} {id} is forgotten: the next delivery with this ID is handed on",
            look.sign(Sign::Good)
        ))?;
    } else {
        term::print_line(&format!(
            "{} route {} does not know {id}",
            look.sign(Sign::Look),
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
    use crate::cli::deliveries::fake::Fake;

    #[test]
    fn an_id_is_forgotten_or_was_not_known() {
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
