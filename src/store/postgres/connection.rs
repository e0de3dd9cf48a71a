//! One connection to a server: opened, verified, used for one call after the other, and dropped at the first doubt.
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::error::Severity;
use tokio_postgres::tls::TlsStream;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, Row, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::call::Call;
use super::errors::{Fault, NoConnection, fault_of, no_connection};
use super::figures::OpenConnection;
use super::options::Options;
use super::tls::TlsFiles;

/// The time without an answer after which a silent connection is examined.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// The time in which a server must confirm that bytes arrived.
const USER_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    client: Client,
    /// Whether the server said that a commit may be on no standby, although it answers as if it were.
    poisoned: Arc<AtomicBool>,
    driver: JoinHandle<()>,
    /// Counts it while it is open.
    counted: Option<OpenConnection>,
}

impl Connection {
    /// Connects to the first server that takes writes.
    ///
    /// # Errors
    /// There is none.
    pub(super) async fn open(
        options: &Options,
        files: &Arc<TlsFiles>,
    ) -> Result<Self, NoConnection> {
        let (config, tls) = read(options, files).await?;
        let mut failures = Vec::new();
        for config in each_host(&config) {
            // one that takes the connection and then says nothing must not hide the next one
            let host = name_of(&config);
            let connect = Self::connect(config, options.timeout, tls.as_ref());
            let why = match timeout(options.timeout, connect).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(why)) => why,
                Err(_) => NoConnection::Away("the server did not answer in time".to_owned()),
            };
            failures.push((host, why));
        }
        Err(of_all(failures))
    }

    async fn connect(
        mut config: Config,
        time: Duration,
        tls: Option<&MakeRustlsConnect>,
    ) -> Result<Self, NoConnection> {
        prepare(&mut config, time);
        match tls.filter(|_| !config.get_hosts().iter().any(is_unix)) {
            None => {
                config.ssl_mode(SslMode::Disable);
                let connected = config.connect(NoTls).await;
                let (client, connection) = connected.map_err(|error| no_connection(&error))?;
                Ok(Self::start(client, connection))
            }
            Some(tls) => {
                config.ssl_mode(SslMode::Require);
                let connected = config.connect(tls.clone()).await;
                let (client, connection) = connected.map_err(|error| no_connection(&error))?;
                Ok(Self::start(client, connection))
            }
        }
    }

    fn start<T>(client: Client, connection: tokio_postgres::Connection<Socket, T>) -> Self
    where
        T: TlsStream + Unpin + Send + 'static,
    {
        let poisoned = Arc::<AtomicBool>::default();
        let driver = tokio::spawn(drive(connection, Arc::clone(&poisoned)));
        Self {
            client,
            poisoned,
            driver,
            counted: None,
        }
    }

    /// Counts it among the connections that are open.
    pub(super) fn count(&mut self, counted: OpenConnection) {
        self.counted = Some(counted);
    }

    /// Returns whether it can be used for another call.
    pub(super) fn is_open(&self) -> bool {
        !self.client.is_closed() && !self.poisoned.load(Ordering::Acquire)
    }

    /// Returns the client, for statements that are no calls of functions.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Makes a call, and reads its answer to the end: rows arrive before the commit that they tell of. Nothing is cancelled when the time is
    /// over: a cancelled commit answers as if it were done.
    pub(super) async fn exchange(
        &self,
        schema: &str,
        call: &Call,
        time: Duration,
    ) -> Result<Vec<Row>, Fault> {
        if !self.is_open() {
            return Err(Fault::lost("the connection was lost", call.writes, false));
        }
        let statement = call.statement(schema);
        let parameters: Vec<_> = call
            .parameters
            .iter()
            .map(|(value, kind)| (&**value as &(dyn ToSql + Sync), kind.clone()))
            .collect();
        let answer = timeout(time, self.client.query_typed(&statement, &parameters)).await;
        if self.poisoned.load(Ordering::Acquire) {
            let why = "the server gave up waiting for its standby";
            return Err(Fault::lost(why, call.writes, true));
        }
        match answer {
            Ok(Ok(rows)) => Ok(rows),
            Ok(Err(error)) => Err(fault_of(&error, call.writes)),
            Err(_) => Err(Fault::lost(
                "the server did not answer in time",
                call.writes,
                true,
            )),
        }
    }
}

impl Connection {
    /// Waits until the server has answered all that was sent, or the connection is lost. Nothing is cancelled: a cancelled commit looks like any other.
    pub(super) async fn end_of_call(&self) {
        if self.is_open() {
            // the server answers in order
            self.client.batch_execute("").await.ok();
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Reads the URL, the password and the files of TLS. A disk that does not answer blocks no other task.
async fn read(
    options: &Options,
    files: &Arc<TlsFiles>,
) -> Result<(Config, Option<MakeRustlsConnect>), NoConnection> {
    let (servers, tls) = (Arc::clone(&options.servers), options.tls.clone());
    let shared = Arc::clone(files);
    let read = move || {
        let config = servers.config().map_err(|error| error.to_string())?;
        // a host may also be given by its address alone
        let hosts = config.get_hosts();
        let tls = if !hosts.is_empty() && hosts.iter().all(is_unix) {
            None
        } else {
            shared.connector(&tls)?
        };
        Ok((config, tls))
    };
    let reading = Arc::clone(&files.reading).lock_owned();
    let read = async {
        let reading = reading.await;
        let read = move || {
            let _reading = reading;
            read()
        };
        tokio::task::spawn_blocking(read).await
    };
    let read = timeout(options.timeout, read).await;
    let late = || Err("the files of the URL, the password or TLS are not read in time".to_owned());
    let read = read.unwrap_or_else(|_| Ok(late()));
    // the task is cancelled only when the runtime ends
    let read = read.unwrap_or_else(|error| Err(error.to_string()));
    read.map_err(NoConnection::Unusable)
}

fn is_unix(host: &Host) -> bool {
    matches!(host, Host::Unix(_))
}

/// Returns the way to each host by itself, in order.
fn each_host(config: &Config) -> Vec<Config> {
    let (hosts, addresses, ports) = (
        config.get_hosts(),
        config.get_hostaddrs(),
        config.get_ports(),
    );
    (0..hosts.len().max(addresses.len()))
        .map(|place| {
            let mut one = Config::new();
            match hosts.get(place) {
                Some(Host::Tcp(host)) => {
                    one.host(host);
                }
                Some(Host::Unix(path)) => {
                    one.host_path(path);
                }
                None => {}
            }
            if let Some(address) = addresses.get(place) {
                one.hostaddr(*address);
            }
            if let Some(port) = ports.get(place).or_else(|| ports.first()) {
                one.port(*port);
            }
            if let Some(user) = config.get_user() {
                one.user(user);
            }
            if let Some(password) = config.get_password() {
                one.password(password);
            }
            if let Some(name) = config.get_dbname() {
                one.dbname(name);
            }
            if let Some(options) = config.get_options() {
                one.options(options);
            }
            one.channel_binding(config.get_channel_binding());
            one
        })
        .collect()
}

/// Returns the name or address of the host of a way.
fn name_of(config: &Config) -> String {
    let address = || config.get_hostaddrs().first().map(ToString::to_string);
    let name = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => Some(host.clone()),
        Some(Host::Unix(path)) => Some(path.display().to_string()),
        None => address(),
    };
    name.unwrap_or_default()
}

/// Returns the reason for which no host can be used: that of each. One that is away may be the one that takes writes, and may come back.
fn of_all(mut failures: Vec<(String, NoConnection)>) -> NoConnection {
    if failures.len() == 1
        && let Some((_, why)) = failures.pop()
    {
        return why;
    }
    let all: Vec<String> = failures
        .iter()
        .map(|(host, why)| format!("{host}: {}", why.detail()))
        .collect();
    let all = all.join("; ");
    let first = failures.first().map(|(_, why)| why);
    let is_away = |(_, why): &(_, NoConnection)| matches!(why, NoConnection::Away(_));
    match first {
        None => NoConnection::Unusable("no server is configured".to_owned()),
        _ if failures.iter().any(is_away) => NoConnection::Away(all),
        Some(NoConnection::Login(_)) => NoConnection::Login(all),
        Some(_) => NoConnection::Unusable(all),
    }
}

/// Sets what each connection has, whatever the URL says.
fn prepare(config: &mut Config, time: Duration) {
    config
        .application_name(concat!("hookgate/", env!("CARGO_PKG_VERSION")))
        // asking for it also reads what the server says while it is connected to, such as that its collations changed: that is about no call
        .target_session_attrs(TargetSessionAttrs::ReadWrite)
        // a name may have several addresses
        .connect_timeout(time / 2)
        .tcp_user_timeout(USER_TIMEOUT)
        .keepalives(true)
        .keepalives_idle(KEEPALIVE)
        .keepalives_interval(USER_TIMEOUT);
}

/// Moves bytes between the client and the server until either ends, and watches what the server says beside its answers.
async fn drive<T>(mut connection: tokio_postgres::Connection<Socket, T>, poisoned: Arc<AtomicBool>)
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        let AsyncMessage::Notice(notice) = message else {
            continue;
        };
        // Functions of the schema warn of nothing. The server does when it ends the wait for a standby: the commit then looks like any other, but may
        // be nowhere else. Its text may be in another language, so the code counts too; it comes before the answer.
        let is_warning = notice.parsed_severity() == Some(Severity::Warning)
            && matches!(notice.code().code(), "01000" | "57P01");
        if is_warning || notice.message().contains("synchronous replication") {
            tracing::warn!(
                code = notice.code().code(),
                message = notice.message(),
                "the database warns: the connection is not used again"
            );
            poisoned.store(true, Ordering::Release);
        }
    }
}
