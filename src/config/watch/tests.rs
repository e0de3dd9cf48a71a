use std::fs;
use std::os::unix::fs::symlink;

use super::*;

struct Rig {
    dir: tempfile::TempDir,
    list: watch::Sender<Vec<PathBuf>>,
    changed: mpsc::Receiver<()>,
}

impl Rig {
    async fn new(setup: impl Fn(&Path), paths: &[&str]) -> Self {
        Self::begin(setup, paths, |_| {}).await
    }

    /// Watches without events of the system.
    async fn polling(setup: impl Fn(&Path), paths: &[&str]) -> Self {
        Self::begin(setup, paths, |beginning| beginning.events = Events(None)).await
    }

    async fn begin(
        setup: impl Fn(&Path),
        paths: &[&str],
        change: impl FnOnce(&mut Beginning),
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        setup(dir.path());
        let (list, files) =
            watch::channel(paths.iter().map(|path| dir.path().join(path)).collect());
        let (tx, changed) = mpsc::channel(1);
        let mut beginning = Beginning::look(files).await;
        change(&mut beginning);
        tokio::spawn(watch(beginning, tx));
        Self { dir, list, changed }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn notices(&mut self) -> bool {
        tokio::time::timeout(Duration::from_secs(3), self.changed.recv())
            .await
            .is_ok_and(|message| message.is_some())
    }

    async fn stays_quiet(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(1_300), self.changed.recv())
            .await
            .is_err()
    }
}

#[tokio::test]
async fn edit_is_noticed_once_and_touch_is_ignored() {
    let mut rig = Rig::new(
        |dir| fs::write(dir.join("a"), "1").unwrap(),
        &["a", "absent"],
    )
    .await;
    fs::write(rig.path("a"), "1").unwrap();
    assert!(rig.stays_quiet().await, "the same content");
    fs::write(rig.path("a"), "2").unwrap();
    assert!(rig.notices().await);
    assert!(rig.stays_quiet().await);
    fs::write(rig.path("absent"), "now it is there").unwrap();
    assert!(rig.notices().await);
    fs::remove_file(rig.path("a")).unwrap();
    assert!(rig.notices().await);
}

#[tokio::test]
async fn a_swapped_symlink_is_noticed() {
    let setup = |dir: &Path| {
        for (version, content) in [("..1", "one"), ("..2", "two")] {
            fs::create_dir(dir.join(version)).unwrap();
            fs::write(dir.join(version).join("config.yaml"), content).unwrap();
        }
        symlink("..1", dir.join("..data")).unwrap();
        symlink("..data/config.yaml", dir.join("config.yaml")).unwrap();
    };
    let mut rig = Rig::new(setup, &["config.yaml"]).await;
    symlink("..2", rig.path("..data_tmp")).unwrap();
    fs::rename(rig.path("..data_tmp"), rig.path("..data")).unwrap();
    assert!(rig.notices().await);
    assert!(rig.stays_quiet().await);
}

#[tokio::test]
async fn directories_and_patterns_are_watched_by_their_files() {
    let setup = |dir: &Path| {
        fs::create_dir(dir.join("keys")).unwrap();
        fs::write(dir.join("keys/acme"), "1").unwrap();
    };
    let mut rig = Rig::new(setup, &["keys", "*.yaml"]).await;
    fs::write(rig.path("keys/acme"), "2").unwrap();
    assert!(rig.notices().await, "an entry");
    fs::write(rig.path("keys/other"), "1").unwrap();
    assert!(rig.notices().await, "a new entry");
    fs::write(rig.path("b.yaml"), "1").unwrap();
    assert!(rig.notices().await, "a new match");
    fs::write(rig.path("b.txt"), "1").unwrap();
    assert!(rig.stays_quiet().await, "not a match");
}

#[tokio::test]
async fn changes_without_events_are_noticed() {
    let mut rig = Rig::polling(|dir| fs::write(dir.join("a"), "1").unwrap(), &["a", "b"]).await;
    for (name, text) in [("a", "2"), ("b", "1"), ("a", "3")] {
        fs::write(rig.path(name), text).unwrap();
        assert!(rig.notices().await, "{name} {text}");
    }
    assert!(rig.stays_quiet().await, "once each");
}

#[tokio::test]
async fn new_list_of_files_is_watched() {
    let setup = |dir: &Path| {
        ["a", "b"]
            .iter()
            .for_each(|name| fs::write(dir.join(name), "1").unwrap());
    };
    let mut rig = Rig::new(setup, &["a"]).await;
    rig.list.send(vec![rig.path("b")]).unwrap();
    assert!(rig.stays_quiet().await);
    fs::write(rig.path("a"), "2").unwrap();
    assert!(rig.stays_quiet().await);
    fs::write(rig.path("b"), "2").unwrap();
    assert!(rig.notices().await);
}

#[tokio::test]
async fn new_directory_in_a_directory_is_noticed() {
    let mut rig = Rig::new(
        |dir| fs::create_dir_all(dir.join("events/a")).unwrap(),
        &["events", "events/a"],
    )
    .await;
    fs::create_dir(rig.path("events/b")).unwrap();
    assert!(rig.notices().await);
    fs::write(rig.path("events/a/1"), "").unwrap();
    assert!(rig.notices().await);
    fs::remove_dir(rig.path("events/b")).unwrap();
    assert!(rig.notices().await);
}
