//! PgBouncer in transaction mode before the server of this process: each statement may go to another of the server's processes.
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use tokio_postgres::{Config, NoTls};

use super::server;

/// A pooler, and the pipe that ends it: standard input of a shell, which this process alone holds.
#[derive(Debug)]
struct Bouncer {
    directory: PathBuf,
    _keeper: Child,
}

/// Starts the program, and ends it when standard input does. `$1` is the directory; the command follows.
const KEEPER: &str = r#"
dir=$1
shift
trap '' INT HUP TERM
"$@" </dev/null >"$dir/bouncer.log" 2>&1 &
runs=$!
cat >/dev/null
kill -KILL $runs
rm -rf "$dir"
"#;

static BOUNCER: OnceLock<Bouncer> = OnceLock::new();

/// Returns the way to a database of the server through the pooler. The first caller starts it.
pub(super) fn before(config: &Config) -> Config {
    let bouncer = BOUNCER.get_or_init(start);
    let mut through = Config::new();
    through
        .host_path(&bouncer.directory)
        .port(6432)
        .user("hookgate")
        .dbname(config.get_dbname().unwrap());
    through
}

fn start() -> Bouncer {
    let directory = tempfile::Builder::new()
        .prefix("hookgate-pgbouncer-")
        .tempdir()
        .unwrap()
        .keep();
    let (users, ini) = (directory.join("users"), directory.join("bouncer.ini"));
    std::fs::write(&users, "\"hookgate\" \"\"\n").unwrap();
    let text = format!(
        "[databases]\n* = host={} user=hookgate\n[pgbouncer]\nlisten_addr =\nunix_socket_dir = {}\nauth_type = trust\nauth_file = {}\n\
        pool_mode = transaction\ndefault_pool_size = 3\nmax_client_conn = 200\nserver_reset_query =\n",
        server::server().directory().display(),
        directory.display(),
        users.display()
    );
    std::fs::write(&ini, text).unwrap();
    for file in [&directory, &users, &ini] {
        server::give(file);
    }
    let keeper = Command::new("sh")
        .args(["-c", KEEPER, "sh"])
        .arg(&directory)
        .args(server::as_user())
        .arg(program())
        .args(["-q".as_ref(), ini.as_os_str()])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    wait(&directory);
    Bouncer {
        directory,
        _keeper: keeper,
    }
}

/// Waits until it passes a statement on.
fn wait(directory: &Path) {
    let mut config = Config::new();
    config
        .host_path(directory)
        .port(6432)
        .user("hookgate")
        .dbname("postgres");
    for _ in 0..200 {
        let config = config.clone();
        let connected = server::in_thread(async move { config.connect(NoTls).await.is_ok() });
        if connected {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let log = std::fs::read_to_string(directory.join("bouncer.log"));
    panic!("PgBouncer does not answer: {}", log.unwrap_or_default());
}

fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        // where Debian has it, which the PATH of a user may lack
        .chain(["/usr/sbin".into()])
        .map(|directory| directory.join("pgbouncer"))
        .find(|program| program.exists())
        .expect("there is no pgbouncer: install it (Debian: apt-get install pgbouncer)")
}
