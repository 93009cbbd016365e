//! The Claude CLI itself. It is proprietary: it is fetched from PyPI into a cache of this user's,
//! where `CONVOCATE_CLAUDE` does not name it, and no test keeps or ships it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The package that has the program in it.
const PACKAGE: &str = "claude-agent-sdk==0.2.189";

/// The program's file; `None`, reported as skipped, if it cannot be had.
pub fn program(test: &str) -> Option<PathBuf> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| match std::env::var_os("CONVOCATE_CLAUDE") {
        Some(path) => Ok(path.into()),
        None => fetched(),
    });
    found.clone().map_err(|why| super::skip(test, &format!("program: {why}"))).ok()
}

/// Fetches it once.
fn fetched() -> Result<PathBuf, String> {
    let home = std::env::var_os("HOME").ok_or("this user has no home")?;
    let cache = Path::new(&home).join(".cache/convocate-tests").join(PACKAGE);
    let program = cache.join("claude");
    if program.exists() {
        return Ok(program);
    }
    let draft = cache.join(format!("draft-{}", std::process::id()));
    fs::create_dir_all(&draft).map_err(|error| error.to_string())?;
    let script = "pip download -q --no-deps --only-binary :all: -d . \"$1\" && \
                  python3 -m zipfile -e ./*.whl . && \
                  chmod 0755 claude_agent_sdk/_bundled/claude && \
                  mv claude_agent_sdk/_bundled/claude ../claude";
    let call = ["-c", script, "sh", PACKAGE];
    let done = Command::new("sh").args(call).current_dir(&draft).output();
    let _left = fs::remove_dir_all(&draft);
    match done {
        Ok(done) if done.status.success() => Ok(program),
        Ok(done) => {
            let why = String::from_utf8_lossy(&done.stderr).into_owned();
            Err(format!("claude cannot be fetched: {}", why.lines().last().unwrap_or_default()))
        }
        Err(error) => Err(error.to_string()),
    }
}
