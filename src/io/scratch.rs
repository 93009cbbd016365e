//! For the tests here: a directory of a test's own, gone when the test is; the half of a test that
//! runs in a process of its own; and how a test that cannot run on this machine says so.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Removes its directory when dropped.
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// An empty directory below the system's temporary one.
    pub(crate) fn new() -> Scratch {
        Scratch::below(&std::env::temp_dir())
    }

    /// An empty directory below `parent`.
    pub(crate) fn below(parent: &Path) -> Scratch {
        let name: [u8; 8] = super::entropy::bytes();
        let path = parent.join(format!("convocate-test-{:016x}", u64::from_le_bytes(name)));
        std::fs::create_dir(&path).unwrap();
        Scratch { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A path in the directory.
    pub(crate) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A test that has failed is told by its own words; else what is left over is a failure.
        let removed = super::disk::remove_tree(&self.path);
        assert!(removed.is_ok() || std::thread::panicking(), "{removed:?}");
    }
}

/// Names a file of the parent's in the environment of a test's other process.
pub(crate) const CHILD_FILE: &str = "CONVOCATE_TEST_FILE";

/// The file, in the process that a test started; `None` when the harness itself comes by, and then
/// there is nothing to do.
pub(crate) fn child_file() -> Option<PathBuf> {
    std::env::var_os(CHILD_FILE).map(PathBuf::from)
}

/// What makes this very program run one test alone, with its output shown.
pub(crate) fn child_arguments(test: &str) -> [&str; 4] {
    ["--exact", test, "--nocapture", "--test-threads=1"]
}

/// Reports `test` as skipped: on standard error, past the harness, which would swallow it, and in
/// the file that `CONVOCATE_SKIPPED` names, from which the summary of all tests is made.
pub(crate) fn skip(test: &str, reason: &str) {
    let line = format!("skipped: {test}: {reason}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    if let Some(path) = std::env::var_os("CONVOCATE_SKIPPED") {
        File::options().append(true).open(path).unwrap().write_all(line.as_bytes()).unwrap();
    }
}
