//! A small disk in memory, which root may mount. It is unmounted on drop.
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small disk.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one of this size, such as `12m`.
    pub fn of(path: &Path, size: &str) -> Self {
        std::fs::create_dir_all(path).unwrap();
        let mounted = Command::new("mount")
            .args([
                "-t",
                "tmpfs",
                "-o",
                &format!("size={size},mode=0700"),
                "tmpfs",
            ])
            .arg(path)
            .output()
            .unwrap();
        assert!(
            mounted.status.success(),
            "a small disk must be mounted, which root may: {}",
            String::from_utf8_lossy(&mounted.stderr)
        );
        Self(path.to_owned())
    }

    /// Returns the directory at which it is mounted.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the file of somebody else that takes its room.
    pub fn ballast(&self) -> PathBuf {
        self.0.join("of-somebody-else")
    }

    /// Takes every byte that is left.
    pub fn fill(&self) {
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.ballast())
            .unwrap();
        for size in [64 << 10, 4 << 10, 1] {
            while file.write_all(&vec![7; size]).is_ok() {}
        }
    }

    /// Takes all but so many bytes.
    pub fn fill_but(&self, left: u64) {
        self.fill();
        let file = std::fs::OpenOptions::new().write(true).open(self.ballast());
        let file = file.unwrap();
        let length = file.metadata().unwrap().len();
        file.set_len(length.saturating_sub(left)).unwrap();
    }

    /// Gives back what [`Self::fill`] took.
    pub fn make_room(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}
