//! Gateways that share a database.
use super::config;
use super::postgres_server::Server;

/// The database of a test.
pub struct Shared {
    server: &'static Server,
    name: String,
}

impl Shared {
    /// Makes an empty database.
    pub fn new(server: &'static Server) -> Self {
        let name = server.empty().get_dbname().unwrap().to_owned();
        Self { server, name }
    }

    /// Returns the block `store` of a config that names it, for a role. `more` is added to `postgres`.
    pub fn store(&self, role: &str, more: &str) -> String {
        let (name, directory) = (&self.name, self.server.directory().display());
        format!(
            "store: {{ postgres: {{ url: 'postgres://{role}@/{name}?host={directory}', timeout: 10s{more} }} }}"
        )
    }

    /// Returns a config with this store and a GitHub route that does `action`.
    pub fn yaml(&self, app: &str, action: &str) -> String {
        config::with_action(app, action)
            .replace("store: { path: STORE }", &self.store("hookgate", ""))
            .replace(
                "admin: { address: 127.0.0.1:0 }",
                "admin: { address: 127.0.0.1:0, token: { insecure_inline: the-token-of-the-tests } }",
            )
    }

    /// Runs statements in it.
    pub fn execute(&self, sql: &str) {
        self.server.execute(&self.name, sql);
    }

    /// Lets no gateway reach it any more, or again.
    pub fn reach(&self, may: bool) {
        let Self { server, name } = self;
        let allow = format!("alter database {name} with allow_connections {may}");
        server.execute("postgres", &allow);
        if !may {
            let end = format!(
                "select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = '{name}'"
            );
            server.execute("postgres", &end);
        }
    }
}
