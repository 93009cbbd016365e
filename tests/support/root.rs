//! A directory of a test's own, and nothing left of it afterwards.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use convocate::paths::Paths;

/// A temporary root as `--root` takes it. Dropping it ends the tmux servers of its sessions and
/// removes it; with `CONVOCATE_KEEP` set it stays to be looked at, and says where.
#[derive(Debug)]
pub struct Root {
    dir: PathBuf,
}

impl Root {
    /// A new, empty directory that only its owner may enter. Its path is short, so that unix
    /// sockets below it can be bound.
    pub fn new() -> Root {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("convocate-{}-{count}", process::id()));
        fs::create_dir(&dir).expect("nobody else uses this process's number");
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).expect("it is ours");
        let root = Root { dir };
        fs::create_dir(root.tmux_dir()).expect("the root is empty");
        root
    }

    /// Its path.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The product's paths below it.
    pub fn paths(&self) -> Paths {
        Paths::below(&self.dir)
    }

    /// What every program of a test gets as `TMUX_TMPDIR`, so that its tmux servers are found.
    pub fn tmux_dir(&self) -> PathBuf {
        self.dir.join("tmux")
    }

    /// Writes a file below it, with the directories above.
    pub fn write(&self, path: &Path, text: &str, mode: u32) {
        assert!(path.starts_with(&self.dir), "{} is outside", path.display());
        fs::create_dir_all(path.parent().expect("a file has a directory")).expect("a directory");
        fs::write(path, text).expect("a file");
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    }

    fn end_tmux_servers(&self) {
        let Ok(users) = fs::read_dir(self.tmux_dir()) else { return };
        let sockets = users.flatten().filter_map(|user| fs::read_dir(user.path()).ok()).flatten();
        for socket in sockets.flatten() {
            let mut call = Command::new("tmux");
            call.arg("-S").arg(socket.path()).arg("kill-server");
            let _gone = call.stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }

    /// Directories that were made read-only would keep what is in them.
    fn open_directories(&self) {
        let mut waiting = vec![self.dir.clone()];
        while let Some(dir) = waiting.pop() {
            let _foreign = fs::set_permissions(&dir, fs::Permissions::from_mode(0o700));
            let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
            waiting.extend(
                entries
                    .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                    .map(|entry| entry.path()),
            );
        }
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        self.end_tmux_servers();
        if std::env::var_os("CONVOCATE_KEEP").is_some() {
            eprintln!("kept: {}", self.dir.display());
            return;
        }
        self.open_directories();
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            eprintln!("{} is left behind: {error}", self.dir.display());
        }
    }
}
