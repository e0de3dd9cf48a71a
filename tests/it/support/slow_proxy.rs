//! A proxy before a server's socket that passes bytes on later, or not at all.
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

const NAME: &str = ".s.PGSQL.5432";

/// A proxy. It is as fast as it can be until it is told otherwise.
pub struct SlowProxy {
    directory: tempfile::TempDir,
    pace: Arc<Pace>,
}

#[derive(Default)]
struct Pace {
    /// The delay of each way, in microseconds.
    delay: AtomicU64,
    hangs: AtomicBool,
}

impl SlowProxy {
    /// Starts a proxy before the server whose socket is in this directory.
    pub fn before(server: &Path) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join(NAME)).unwrap();
        let (server, pace) = (server.join(NAME), Arc::<Pace>::default());
        let shared = Arc::clone(&pace);
        std::thread::spawn(move || serve(&listener, &server, &shared));
        Self { directory, pace }
    }

    /// Returns the directory of its socket.
    pub fn directory(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// Delays what it passes on so that a round trip takes so long.
    pub fn round_trip(&self, time: Duration) {
        let way = u64::try_from(time.as_micros()).unwrap() / 2;
        self.pace.delay.store(way, Ordering::SeqCst);
    }

    /// Passes nothing on, or all again.
    pub fn hang(&self, hangs: bool) {
        self.pace.hangs.store(hangs, Ordering::SeqCst);
    }
}

fn serve(listener: &UnixListener, server: &Path, pace: &Arc<Pace>) {
    for client in listener.incoming().map_while(Result::ok) {
        let Ok(server) = UnixStream::connect(server) else {
            continue;
        };
        for (from, to) in [(&client, &server), (&server, &client)] {
            let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            pass(from, to, Arc::clone(pace));
        }
    }
}

/// Passes bytes on in one direction, by two threads: what comes later does not wait for what came before to be sent.
fn pass(mut from: UnixStream, mut to: UnixStream, pace: Arc<Pace>) {
    let (sender, receiver) = mpsc::channel::<(Instant, Vec<u8>)>();
    let reading = Arc::clone(&pace);
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count) = from.read(&mut buffer) {
            let delay = Duration::from_micros(reading.delay.load(Ordering::SeqCst));
            let piece = (Instant::now() + delay, buffer[..count].to_vec());
            if count == 0 || sender.send(piece).is_err() {
                return;
            }
        }
    });
    std::thread::spawn(move || {
        for (at, piece) in receiver {
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            while pace.hangs.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
            if to.write_all(&piece).is_err() {
                break;
            }
        }
        to.shutdown(Shutdown::Both).ok();
    });
}
