//! One call at a time changes a machine: the next one waits, and says for whom.

use std::fs;
use std::thread;
use std::time::SystemTime;

use crate::cli::output::{Failure, Out};
use crate::io::disk::{self, DiskError, LockFile};
use crate::limits::{PROVISION_TURN_PAUSE, PROVISION_TURN_WAIT};
use crate::paths::Paths;
use crate::provision::engine::StepMode;

/// The right to change this machine, held for as long as this lives. A check needs none.
///
/// Whoever plans from what others write, as the registry of agents, takes it before reading that.
pub(crate) fn turn(
    paths: &Paths,
    mode: StepMode,
    out: &mut Out<'_>,
) -> Result<Option<LockFile>, Failure> {
    if mode == StepMode::Check {
        return Ok(None);
    }
    let failed = |error: DiskError| Failure::Failed(error.to_string());
    let path = paths.changes_lock();
    if let Some(above) = path.parent() {
        disk::make_directories(above, 0o755).map_err(failed)?;
    }
    let mut told = None;
    let begun = std::time::Instant::now();
    loop {
        match LockFile::take(&path) {
            Ok(lock) => return Ok(Some(lock)),
            Err(DiskError::Locked { holder, .. }) if begun.elapsed() < PROVISION_TURN_WAIT => {
                if let Some(holder) = holder.filter(|_| told != holder) {
                    out.note(&format!("waiting for {}", described(holder, &path)));
                    told = Some(holder);
                }
                thread::park_timeout(PROVISION_TURN_PAUSE);
            }
            Err(error) => return Err(failed(error)),
        }
    }
}

/// Who holds it, since when.
fn described(holder: u32, lock: &std::path::Path) -> String {
    let read = |name: &str| fs::read(format!("/proc/{holder}/{name}")).unwrap_or_default();
    let words = read("cmdline");
    let words = String::from_utf8_lossy(&words).replace('\0', " ");
    let environment = read("environ");
    let environment = String::from_utf8_lossy(&environment);
    let of_sudo = environment.split('\0').find_map(|it| it.strip_prefix("SUDO_USER="));
    let since = fs::metadata(lock).and_then(|file| file.modified()).ok();
    let since = since.and_then(|at| SystemTime::now().duration_since(at).ok());
    let (of, user) = of_sudo.map_or(("", ""), |user| (" of ", user));
    format!(
        "process {holder}{of}{user} ({}), which has been changing this machine for {} s",
        words.trim_end(),
        since.unwrap_or_default().as_secs()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::scratch::Scratch;
    use crate::limits::PROVISION_TURN_PAUSE;

    #[test]
    fn the_second_waits_and_says_for_whom() {
        let scratch = Scratch::new();
        let paths = Paths::below(scratch.path());
        let (mut words, mut notes) = (Vec::new(), Vec::new());
        let mut out = Out::new(&mut words, &mut notes, None);
        let first = turn(&paths, StepMode::Apply, &mut out).unwrap();
        assert!(first.is_some());
        assert!(turn(&paths, StepMode::Check, &mut out).unwrap().is_none());
        let free = thread::spawn(move || {
            thread::park_timeout(PROVISION_TURN_PAUSE * 3);
            drop(first);
        });
        assert!(turn(&paths, StepMode::Apply, &mut out).unwrap().is_some());
        free.join().unwrap();
        let told = String::from_utf8(notes).unwrap();
        assert!(told.contains(&format!("waiting for process {}", std::process::id())), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
}
