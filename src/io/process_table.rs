//! What the kernel tells of processes that are not ours, in `/proc`.

use std::fs;
use std::fs::File;
use std::io::Read;

/// What is read of one file of it at most, in bytes.
const PROC_FILE_BYTES_MAX: u64 = 16 * 1024;

/// When a process started, in ticks since the boot (proc_pid_stat(5), field 22). `None` if there is
/// none, or it has ended and nobody has asked for its status yet.
pub(crate) fn start_of(pid: u32) -> Option<u64> {
    let stat = read(pid, "stat")?;
    // Its name, in parentheses, may have anything in it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X" | "x") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// The numbers of a process, that in our own space of numbers first and that in its own last. One
/// alone if it lives in our space. `None` if they cannot be seen.
pub(crate) fn numbers_of(pid: u32) -> Option<Vec<u32>> {
    let status = read(pid, "status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    line.split_whitespace().map(|number| number.parse().ok()).collect()
}

/// The space of numbers in which a process lives, as the kernel names it. `None` if it may not be
/// seen.
pub(crate) fn number_space_of(pid: u32) -> Option<String> {
    let link = fs::read_link(format!("/proc/{pid}/ns/pid")).ok()?;
    link.into_os_string().into_string().ok()
}

fn read(pid: u32, name: &str) -> Option<String> {
    let mut text = Vec::new();
    let file = File::open(format!("/proc/{pid}/{name}")).ok()?;
    file.take(PROC_FILE_BYTES_MAX).read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn this_process_is_there_and_one_that_has_ended_is_not() {
        let own = std::process::id();
        assert!(start_of(own).is_some());
        assert_eq!(numbers_of(own).unwrap().last(), Some(&own));
        assert!(number_space_of(own).unwrap().starts_with("pid:["));
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        assert!(start_of(child.id()) >= start_of(own));
        child.kill().unwrap();
        while start_of(child.id()).is_some() {
            std::thread::yield_now();
        }
        // It is a zombie now, and counts as gone.
        assert!(read(child.id(), "stat").is_some());
        child.wait().unwrap();
        assert_eq!(start_of(child.id()), None);
        assert_eq!(numbers_of(child.id()), None);
    }
}
