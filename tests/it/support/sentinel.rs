//! A server that nothing may connect to.
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A server on every address of this machine that nothing may connect to.
pub struct Sentinel {
    pub port: u16,
    connections: Arc<AtomicUsize>,
}

impl Sentinel {
    pub fn start() -> Self {
        let listener = TcpListener::bind("[::]:0")
            .or_else(|_| TcpListener::bind("0.0.0.0:0"))
            .unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        std::thread::spawn(move || {
            for _ in listener.incoming() {
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { port, connections }
    }

    #[track_caller]
    pub fn saw_nothing(&self) {
        // a connection that was just made is counted
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(self.connections.load(Ordering::SeqCst), 0);
    }
}
