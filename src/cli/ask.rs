//! Finds the admin listener of a running gateway, and the token for it. Reads tokens and addresses of a config.
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::admin::TOKEN_FILE;
use crate::cli::admin_client::AdminClient;
use crate::cli::context;
use crate::cli::error::{Error, Exit};
use crate::cli::policy::quoted;
use crate::cli::running::Running;
use crate::cli::term;
use crate::config::file;

/// The address of the admin listener where neither a config nor a running gateway is known.
const DEFAULT_ADDRESS: &str = "127.0.0.1:9090";

/// The options that say which gateway is asked.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct GateArgs {
    /// The admin listener, HOST:PORT or unix:PATH (default: the address of the running gateway, else `admin.address` of the config; without a
    /// config 127.0.0.1:9090).
    #[arg(long, global = true, value_name = "ADDRESS")]
    admin: Option<String>,
    /// The config of the gateway, which names its admin listener and its token.
    #[arg(long, global = true, env = "HOOKGATE_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// The file with the admin token (default: the token of the config, else `admin-token` in its store). Changes and bodies need the token
    /// everywhere, other reads only on an address that is not loopback.
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl GateArgs {
    /// Makes the options of a command that has some of its own beside them. Without a `config`, the environment names it.
    pub(super) fn new(
        admin: Option<String>,
        config: Option<PathBuf>,
        token_file: Option<PathBuf>,
    ) -> Self {
        let of_environment = || std::env::var_os("HOOKGATE_CONFIG").map(PathBuf::from);
        Self {
            admin,
            config: config.or_else(of_environment),
            token_file,
        }
    }

    /// Gets `target` from the admin listener. Returns its JSON as text, and parsed.
    ///
    /// # Errors
    /// Exit 69 if nothing answers, 1 if the response is not that of a gateway.
    pub(super) fn ask<T: DeserializeOwned>(&self, target: &str) -> Result<(String, T), Error> {
        let client = self.client()?;
        let body = context::block_on(client.bytes(target))??;
        Ok((
            String::from_utf8_lossy(&body).trim_end().to_owned(),
            client.parse(&body)?,
        ))
    }

    /// Finds the admin listener and the token: those of the running gateway, else those of its config.
    ///
    /// # Errors
    /// A token file that cannot be read, or a config that cannot be read while no running gateway left its addresses.
    pub(super) fn client(&self) -> Result<AdminClient, Error> {
        let config = self
            .config
            .as_deref()
            .filter(|_| self.admin.is_none() || self.token_file.is_none());
        let written = config.map(context::written).transpose();
        let store = context::store_of(self.config.as_deref());
        let running = Running::find(config, store.as_deref());
        let written = match (written, &running) {
            (Ok(written), _) => written.unwrap_or_default(),
            (Err(_), Some(_)) => file::File::default(),
            (Err(error), None) => return Err(error),
        };
        let admin = written.admin.unwrap_or_default();
        let listens = match &running {
            // this gateway is known to have none: a process at the default address is another one
            Some(running) => running.admin.clone(),
            None if self.config.is_some() => admin
                .address
                .as_ref()
                .map(|address| resolved(address, beside(self.config.as_deref()))),
            None => Some(DEFAULT_ADDRESS.to_owned()),
        };
        let address = self.admin.clone().or(listens).ok_or_else(no_listener)?;
        let token = match &self.token_file {
            Some(path) => Some(Zeroizing::new(context::read(path, "the token file")?)),
            None if admin.token.is_none() && admin.tokens.is_empty() => {
                store.and_then(|store| token_at(store.join(TOKEN_FILE)))
            }
            None => self.token_of(&admin),
        };
        let token = token.or_else(|| token_at(running?.token_file?));
        Ok(AdminClient::new(
            address,
            token,
            self.config.clone(),
            self.repeated(),
        ))
    }

    /// Returns the options that found the gateway, for a command to run next: ` --config FILE`. The environment keeps a config that it names.
    fn repeated(&self) -> String {
        let listener = ("--admin", self.admin.as_deref());
        repeated(self.config.as_deref(), listener, self.token_file.as_deref())
    }

    /// Returns the addresses that the running gateway left, if it has no admin listener.
    pub(super) fn without_listener(&self) -> Option<Running> {
        let store = context::store_of(self.config.as_deref());
        Running::find(self.config.as_deref(), store.as_deref())
            .filter(|running| self.admin.is_none() && running.admin.is_none())
    }

    /// Reads the admin token of a config: `admin.token`, else the one of `admin.tokens` with the most rights. Skips a token that cannot be read.
    fn token_of(&self, admin: &file::Admin) -> Option<Zeroizing<Vec<u8>>> {
        let beside = beside(self.config.as_deref());
        let main = admin.token.as_ref().and_then(|token| {
            token_written(
                [&token.env, &token.file],
                token.insecure_inline.as_ref(),
                beside,
            )
        });
        let may = |token: &file::AdminToken, right: &str| {
            token.allow.iter().any(|allowed| allowed == right)
        };
        let mut named: Vec<&file::AdminToken> = admin.tokens.iter().collect();
        // stable: the first of those that may do the same
        named.sort_by_key(|token| (!may(token, "act"), !may(token, "read")));
        let of = |token: &file::AdminToken| {
            token_written(
                [&token.env, &token.file],
                token.insecure_inline.as_ref(),
                beside,
            )
        };
        main.or_else(|| named.into_iter().find_map(of))
    }
}

/// Returns the directory of a config. Relative paths begin there.
pub(super) fn beside(config: Option<&Path>) -> &Path {
    config
        .and_then(Path::parent)
        .unwrap_or_else(|| Path::new(""))
}

/// Resolves an address of the config: a relative path of a socket begins beside the config.
pub(super) fn resolved(address: &str, beside: &Path) -> String {
    match address.strip_prefix("unix:") {
        Some(path) => format!("unix:{}", beside.join(path).display()),
        None => address.to_owned(),
    }
}

/// Reads a token from a variable, a file or the config. Returns `None` if it cannot be read.
pub(super) fn token_written(
    [env, file]: [&Option<String>; 2],
    inline: Option<&file::InlineSecret>,
    beside: &Path,
) -> Option<Zeroizing<Vec<u8>>> {
    if let Some(name) = env {
        return std::env::var(name)
            .ok()
            .map(|text| Zeroizing::new(text.into_bytes()));
    }
    if let Some(path) = file {
        return token_at(beside.join(path));
    }
    inline.map(|inline| Zeroizing::new(inline.0.clone().into_bytes()))
}

/// Returns the options by which a command to run next finds the same listener. The environment keeps a config that it names.
pub(super) fn repeated(
    config: Option<&Path>,
    listener: (&str, Option<&str>),
    token_file: Option<&Path>,
) -> String {
    let named = std::env::var_os("HOOKGATE_CONFIG").map(PathBuf::from);
    let config = config.filter(|config| named.as_deref() != Some(config));
    let shown = |path: &Path| path.display().to_string();
    let (name, address) = listener;
    let options = [
        ("--config", config.map(shown)),
        (name, address.map(str::to_owned)),
        ("--token-file", token_file.map(shown)),
    ];
    options
        .into_iter()
        .filter_map(|(name, value)| Some(format!(" {name} {}", term::clean(&quoted(&value?)))))
        .collect()
}

/// Reads a token. Returns `None` if it cannot be read, since reading on loopback needs none.
fn token_at(path: PathBuf) -> Option<Zeroizing<Vec<u8>>> {
    std::fs::read(path).ok().map(Zeroizing::new)
}

/// Returns the error for a gateway without an admin listener, which no command can ask.
pub(super) fn no_listener() -> Error {
    Error::new(Exit::UNREACHED, "the gateway has no admin listener")
        .why("Commands ask the gateway through it. To reload only the config, send SIGHUP to the gateway: `kill -HUP PID`.")
        .hint("add `admin: { address: 127.0.0.1:9090 }` to its config, and restart it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_to_run_next_repeats_the_options() {
        let mut gate = GateArgs {
            admin: None,
            config: None,
            token_file: None,
        };
        assert_eq!(gate.repeated(), "");
        gate.config = Some("my config.yaml".into());
        gate.admin = Some("127.0.0.1:9090".to_owned());
        gate.token_file = Some("token".into());
        assert_eq!(
            gate.repeated(),
            " --config 'my config.yaml' --admin 127.0.0.1:9090 --token-file token"
        );
    }
}
