//! A PostgreSQL server of this test process: private, on a Unix socket, and gone when the process is, however that ends.
//!
//! Unit tests, integration tests and benches share this file by its path, so it names nothing of the crate.
#![allow(dead_code, reason = "not each of them uses all of it")]
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio_postgres::{Config, NoTls};

/// Starts the server, and ends it when standard input does: the pipe is held by the test process alone. `$1` is the directory of the programs, `$2`
/// that of the data, `$3` more arguments of the server, `$4` the directory of the server that this one is a standby of, or nothing; what comes before
/// the programs' names, such as `setpriv`, follows.
const KEEPER: &str = r#"
bin=$1 dir=$2 more=$3 primary=$4
shift 4
trap '' INT HUP TERM
cd "$dir"
if [ -d "$bin/../lib" ]; then export LD_LIBRARY_PATH="$bin/../lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"; fi
make() {
    if [ -n "$primary" ]; then
        "$@" "$bin/pg_basebackup" --host="$primary" --username=hookgate --pgdata="$dir/data" --write-recovery-conf --checkpoint=fast --no-sync
    else
        "$@" "$bin/initdb" --pgdata="$dir/data" --username=hookgate --auth=trust --no-sync --encoding=UTF8 --locale=C
    fi
}
if make "$@" >"$dir/initdb.log" 2>&1; then
    # a server that ends is started again, until the test process ends
    while [ ! -e "$dir/end" ]; do
        "$@" "$bin/postgres" -D "$dir/data" -k "$dir" -c listen_addresses= -c shared_buffers=64MB -c max_connections=300 \
            -c deadlock_timeout=100ms -c log_min_messages=warning $more </dev/null >>"$dir/server.log" 2>&1
        sleep 0.1
    done &
    runs=$!
    echo started
    cat >/dev/null
    touch "$dir/end"
    while kill -0 $runs 2>/dev/null; do
        pid=$(head -n 1 "$dir/data/postmaster.pid" 2>/dev/null) && kill -QUIT $pid 2>/dev/null
        sleep 0.1
    done
else
    cat "$dir/initdb.log" >&2
fi
rm -rf "$dir"
"#;

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    directory: PathBuf,
    /// It holds the pipe, which is closed when this process ends.
    _keeper: Child,
}

static SERVER: OnceLock<Server> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// Returns the server of this process. The first caller starts it.
pub(crate) fn server() -> &'static Server {
    // what a crash of the machine would lose is of no use to a test
    SERVER.get_or_init(|| Server::start("-c fsync=off"))
}

impl Server {
    /// Starts a server of its own, with more arguments.
    pub(crate) fn start(more: &str) -> Self {
        Self::start_in(new_directory(), more, None)
    }

    /// Starts a standby, which has what the primary has. `more` are its arguments.
    pub(crate) fn standby_of(primary: &Self, more: &str) -> Self {
        Self::start_in(new_directory(), more, Some(primary))
    }

    /// Starts a server in a directory, or a standby of another.
    pub(crate) fn start_in(directory: PathBuf, more: &str, primary: Option<&Self>) -> Self {
        let mut programs = programs();
        let is_root = nix::unistd::geteuid().is_root();
        let user = as_user();
        if is_root {
            // PostgreSQL refuses to run as root
            give(&directory);
            // its programs may lie where only root may look
            let probe = Command::new("setpriv")
                .args(&user[1..])
                .arg(programs.join("postgres"))
                .arg("--version")
                .output();
            if !probe.is_ok_and(|probe| probe.status.success()) {
                let copy = directory.join("programs");
                let from = programs.parent().unwrap();
                let done = Command::new("sh")
                    .args(["-c", "cp -rL \"$1\" \"$2\" && chmod -R a+rX \"$2\"", "sh"])
                    .args([from, &copy])
                    .status();
                assert!(done.unwrap().success());
                programs = copy.join("bin");
            }
        }
        std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, "sh"])
            .args([&programs, &directory])
            .arg(more)
            .arg(primary.map_or(Path::new(""), |primary| &primary.directory))
            .args(user)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line.trim(), "started", "initdb failed");
        let server = Self {
            directory,
            _keeper: keeper,
        };
        server.wait();
        server
    }

    /// Returns the directory of its socket.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the process ID of the server.
    pub(crate) fn pid(&self) -> i32 {
        let file = std::fs::read_to_string(self.directory.join("data/postmaster.pid"));
        file.unwrap().lines().next().unwrap().parse().unwrap()
    }

    /// Ends the server for good.
    pub(crate) fn end(&self) {
        let end = self.directory.join("end");
        std::fs::write(end, "").unwrap();
        kill("-INT", self.pid());
    }

    /// Ends the server for good, as the loss of its machine does.
    pub(crate) fn lose(&self) {
        std::fs::write(self.directory.join("end"), "").unwrap();
        let pid = self.pid();
        kill("-KILL", pid);
        while kill("-0", pid) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Stops all processes of the server where they are, or lets them go on.
    pub(crate) fn freeze(&self, is_frozen: bool) {
        let signal = if is_frozen { "-STOP" } else { "-CONT" };
        let pid = self.pid();
        let mut children = Command::new("pkill");
        let children = children.args([signal, "-P", &pid.to_string()]);
        // it starts others as long as it goes on
        if is_frozen {
            kill(signal, pid);
        }
        children.status().unwrap();
        kill(signal, pid);
    }

    /// Makes a standby a server that takes writes. Returns when it does.
    pub(crate) fn promote(&self) {
        self.execute("postgres", "select pg_promote(true, 60)");
    }

    /// Sets a parameter of the server, and lets it read it.
    pub(crate) fn set(&self, parameter: &str, value: &str) {
        self.execute(
            "postgres",
            &format!("alter system set {parameter} = '{value}'"),
        );
        self.execute("postgres", "select pg_reload_conf()");
    }

    /// Ends the server as a crash does, and starts it again.
    pub(crate) fn crash(&self) {
        let pid = self.pid();
        kill("-KILL", pid);
        while kill("-0", pid) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        self.wait();
    }

    /// Makes an empty database.
    pub(crate) fn empty(&self) -> Config {
        self.create("template1")
    }

    /// Makes a database that is a copy of another.
    pub(crate) fn create(&self, template: &str) -> Config {
        let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        self.execute(
            "postgres",
            &format!("create database {name} template {template}"),
        );
        self.database(&name)
    }

    /// Returns the way to a database.
    pub(crate) fn database(&self, name: &str) -> Config {
        let mut config = Config::new();
        config
            .host_path(&self.directory)
            .user("hookgate")
            .dbname(name);
        config
    }

    /// Runs statements in a database. May be called from a task: a thread of its own does it.
    pub(crate) fn execute(&self, database: &str, sql: &str) {
        let done = self.try_execute(database, sql);
        done.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// Does the same, if the server answers and takes them.
    pub(crate) fn try_execute(
        &self,
        database: &str,
        sql: &str,
    ) -> Result<(), tokio_postgres::Error> {
        let (config, sql) = (self.database(database), sql.to_owned());
        in_thread(async move {
            let (client, connection) = config.connect(NoTls).await?;
            let driver = tokio::spawn(connection);
            let done = client.batch_execute(&sql).await;
            drop(client);
            driver.await.unwrap().ok();
            done
        })
    }

    /// Waits until the server answers.
    pub(crate) fn wait(&self) {
        for _ in 0..600 {
            if self.try_execute("postgres", "select 1").is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        let log = std::fs::read_to_string(self.directory.join("server.log"));
        panic!("the server does not answer: {}", log.unwrap_or_default());
    }
}

/// Sends a signal. Returns whether there is such a process.
fn kill(signal: &str, pid: i32) -> bool {
    let mut kill = Command::new("kill");
    let kill = kill.args([signal, &pid.to_string()]).stderr(Stdio::null());
    kill.status().unwrap().success()
}

/// Gives a file to the user that the server runs as.
pub(crate) fn give(path: &Path) {
    if nix::unistd::geteuid().is_root() {
        let nobody = nobody();
        let (user, group) = (nobody.uid.as_raw(), nobody.gid.as_raw());
        std::os::unix::fs::chown(path, Some(user), Some(group)).unwrap();
    }
}

/// Returns the command before one that must not run as root: nothing for another user.
pub(crate) fn as_user() -> Vec<String> {
    if !nix::unistd::geteuid().is_root() {
        return Vec::new();
    }
    let nobody = nobody();
    [
        "setpriv",
        &format!("--reuid={}", nobody.uid),
        &format!("--regid={}", nobody.gid),
        "--clear-groups",
    ]
    .map(str::to_owned)
    .to_vec()
}

fn new_directory() -> PathBuf {
    let directory = tempfile::Builder::new().prefix("hookgate-pg-").tempdir();
    directory.unwrap().keep()
}

fn nobody() -> nix::unistd::User {
    nix::unistd::User::from_name("nobody").unwrap().unwrap()
}

/// Runs a future on a thread and a runtime of its own, and waits for it.
pub(crate) fn in_thread<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    std::thread::spawn(|| {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(future)
    })
    .join()
    .unwrap()
}

/// Returns the directory of the server's programs.
fn programs() -> PathBuf {
    if let Some(named) = std::env::var_os("PGBIN") {
        return named.into();
    }
    let version = |path: &PathBuf| {
        let name = path.parent()?.file_name()?.to_str()?;
        name.parse::<u32>().ok()
    };
    let mut found: Vec<_> = glob::glob("/usr/lib/postgresql/*/bin")
        .unwrap()
        .filter_map(Result::ok)
        .filter(|path| path.join("initdb").exists())
        .collect();
    found.sort_by_key(version);
    let on_path = || {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).find(|path| path.join("initdb").exists())
    };
    found.pop().or_else(on_path).unwrap_or_else(|| {
        panic!(
            "there is no initdb: install PostgreSQL 15 or later (Debian: apt-get install postgresql, with `create_main_cluster = false` in /etc/postgresql-common/createcluster.conf), or set PGBIN to the directory of its programs"
        )
    })
}
