//! `hookgate endpoints delete`.
use super::name::EndpointName;
use super::shown::Endpoint;
use crate::cli::deliveries::confirm::YesArgs;
use crate::cli::error::{Error, Exit};
use crate::cli::outbound_client::OutboundClient;
use crate::cli::term::{self, BOLD, Look, Sign};

/// Arguments of `endpoints delete`.
#[derive(Debug, clap::Args)]
pub(super) struct DeleteArgs {
    #[command(flatten)]
    name: EndpointName,
    #[command(flatten)]
    yes: YesArgs,
    /// Prints the plan and stops.
    #[arg(long)]
    dry_run: bool,
}

/// Runs `endpoints delete`.
pub(super) async fn delete(client: &OutboundClient, args: &DeleteArgs) -> Result<Exit, Error> {
    let target = args.name.target(&[]);
    let endpoint: Endpoint = client.get(&target).await?;
    term::say(&plan(&endpoint));
    if args.dry_run {
        return Ok(Exit::DONE);
    }
    args.yes.ask(&args.name.endpoint)?;
    client.delete(&target).await?;
    let sign = Look::of_stdout().sign(Sign::Good);
    term::print_line(&format!(
        "{sign} endpoint {BOLD}{}{BOLD:#} is removed",
        term::clean(&endpoint.id)
    ))?;
    Ok(Exit::DONE)
}

/// Describes what the removal does.
fn plan(endpoint: &Endpoint) -> String {
    let waiting = endpoint.paused.as_ref().and_then(|paused| paused.waiting);
    let waiting = match waiting {
        Some(0) => "no event waits for it".to_owned(),
        Some(1) => "1 event that waits for it is not sent any more".to_owned(),
        Some(many) => format!(
            "{} events that wait for it are not sent any more",
            term::count(many)
        ),
        None => "events that wait for it are not sent any more".to_owned(),
    };
    format!(
        "plan: removes {BOLD}{}{BOLD:#}, {}\n      {waiting}; its attempts stay until their retention is over",
        term::clean(&endpoint.id),
        term::clean(&endpoint.url)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::endpoints::shown::Paused;

    #[test]
    fn plan_says_what_is_lost() {
        let mut endpoint = Endpoint {
            id: "ep_9D1C".to_owned(),
            url: "https://hooks.acme.example/in".to_owned(),
            ..Endpoint::default()
        };
        let plain = |endpoint: &Endpoint| anstream::adapter::strip_str(&plan(endpoint)).to_string();
        assert_eq!(
            plain(&endpoint),
            "plan: removes ep_9D1C, https://hooks.acme.example/in\n      events that wait for it are not sent any more; its attempts stay until their retention is over"
        );
        endpoint.paused = Some(Paused {
            waiting: Some(1030),
            ..Paused::default()
        });
        assert!(plain(&endpoint).contains("1,030 events that wait for it are not sent any more"));
    }
}
