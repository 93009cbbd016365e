//! Keys, made by OpenSSH so that ours is not judged by itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::process::{command, run};
use super::root::Root;

/// A key pair on disk: an OpenSSH file, and its public half beside it with `.pub`.
#[derive(Clone, Debug)]
pub struct KeyFile {
    path: PathBuf,
}

impl KeyFile {
    /// Makes an ed25519 pair at `path`, without a passphrase.
    ///
    /// # Panics
    ///
    /// Where `ssh-keygen` is missing; tests ask for it by `Need::Program("ssh-keygen")`.
    pub fn make(root: &Root, path: &Path, comment: &str) -> KeyFile {
        fs::create_dir_all(path.parent().expect("a file has a directory")).expect("a directory");
        let mut call = command(root, "ssh-keygen");
        call.args(["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"]).arg(path);
        run(&mut call, b"", Duration::from_secs(20)).expect_done();
        KeyFile { path: path.to_path_buf() }
    }

    /// The private half.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The public half as a line, `ssh-ed25519 BASE64 COMMENT`, without its newline.
    pub fn public_line(&self) -> String {
        let line = fs::read_to_string(self.path.with_added_extension("pub")).expect("it was made");
        line.trim_end().to_string()
    }

    /// Both halves, under another name.
    pub fn copy_public_to(&self, root: &Root, path: &Path) {
        root.write(path, &format!("{}\n", self.public_line()), 0o644);
    }
}
