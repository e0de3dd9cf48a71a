use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use super::*;
use crate::clock::{Now, SystemClock};

/// A clock that a test moves.
#[derive(Debug)]
struct Moved(Mutex<Now>);

impl Moved {
    fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(SystemClock.now())))
    }

    fn by(&self, seconds: u64) {
        self.0.lock().unwrap().mono += Duration::from_secs(seconds);
    }
}

impl Clock for Moved {
    fn now(&self) -> Now {
        *self.0.lock().unwrap()
    }
}

/// A resolver whose look-ups give these results in turn (the last one again and again), and a count of them.
fn scripted(clock: &Arc<Moved>, results: &[Option<&str>]) -> (Arc<Resolver>, Arc<AtomicUsize>) {
    let results: Vec<Option<SocketAddr>> = results.iter().map(|result| result.map(|text| text.parse().unwrap())).collect();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let lookup: Lookup = Box::new(move |_, _| {
        let turn = counted.fetch_add(1, Ordering::SeqCst);
        let result = results[turn.min(results.len() - 1)];
        Box::pin(async move {
            tokio::task::yield_now().await;
            result.map(|address| vec![address]).ok_or_else(|| io::Error::other("no such name"))
        })
    });
    (Resolver::with("app.test", 80, Arc::clone(clock) as Arc<dyn Clock>, lookup), count)
}

/// Lets the look-up beside the request come to its end.
async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_address_is_never_looked_up() {
    let clock = Moved::new();
    let resolver = Resolver::new("::1", 8080, Arc::clone(&clock) as Arc<dyn Clock>);
    clock.by(100_000);
    assert_eq!(resolver.addresses().await.unwrap()[..], ["[::1]:8080".parse().unwrap()]);
}

#[tokio::test]
async fn a_stale_name_is_refreshed_beside_the_request() {
    let clock = Moved::new();
    let (resolver, count) = scripted(&clock, &[Some("10.0.0.1:80"), Some("10.0.0.2:80")]);
    let first = resolver.addresses().await.unwrap();
    clock.by(29);
    assert!(Arc::ptr_eq(&first, &resolver.addresses().await.unwrap()));
    settle().await;
    assert_eq!(count.load(Ordering::SeqCst), 1);
    clock.by(1);
    assert_eq!(resolver.addresses().await.unwrap(), first, "the request does not wait");
    settle().await;
    assert_eq!(resolver.addresses().await.unwrap()[..], ["10.0.0.2:80".parse().unwrap()]);
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn what_was_found_last_holds_while_look_ups_fail() {
    let clock = Moved::new();
    let (resolver, count) = scripted(&clock, &[Some("10.0.0.1:80"), None, Some("10.0.0.2:80")]);
    let first = resolver.addresses().await.unwrap();
    clock.by(31);
    resolver.addresses().await.unwrap();
    settle().await;
    assert_eq!(resolver.addresses().await.unwrap(), first);
    settle().await;
    assert_eq!(count.load(Ordering::SeqCst), 2, "the next look-up waits a little");
    clock.by(5);
    resolver.addresses().await.unwrap();
    settle().await;
    assert_eq!(resolver.addresses().await.unwrap()[..], ["10.0.0.2:80".parse().unwrap()]);
}

#[tokio::test]
async fn the_first_look_up_is_shared_and_may_fail() {
    let clock = Moved::new();
    let (resolver, count) = scripted(&clock, &[None, Some("10.0.0.1:80")]);
    assert_eq!(resolver.addresses().await, Err(Unresolved));
    let (one, other) = tokio::join!(resolver.addresses(), resolver.addresses());
    assert!(Arc::ptr_eq(&one.unwrap(), &other.unwrap()));
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_look_up_outlives_the_request_that_gave_up() {
    let clock = Moved::new();
    let (resolver, count) = scripted(&clock, &[Some("10.0.0.1:80")]);
    tokio::select! {
        biased;
        _ = resolver.addresses() => panic!("it waits for the look-up"),
        () = async {} => {}
    }
    settle().await;
    assert!(resolver.addresses().await.is_ok());
    assert_eq!(count.load(Ordering::SeqCst), 1);
}
