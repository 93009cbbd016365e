//! Time that the processors have spent, which a noisy machine changes less than the wall clock.

use std::fs;

/// Seconds of a process and of those of its children that have ended and were waited for. The
/// kernel counts in hundredths of a second here.
pub fn of_process(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name may hold anything, blanks too, and ends with the last parenthesis.
    let fields: Vec<&str> = match stat.rsplit_once(')') {
        Some((_, behind)) => behind.split_whitespace().collect(),
        None => return 0.0,
    };
    let ticks: f64 = (11..15).map(|field| fields[field].parse::<f64>().unwrap()).sum();
    ticks / 100.0
}

/// Seconds of a process's first thread alone, exactly.
pub fn of_thread(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
    stat.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1e9
}

/// Whether a process has children that run.
pub fn has_children(pid: u32) -> bool {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    list.is_ok_and(|list| !list.trim().is_empty())
}

/// Resident memory of a process in bytes that are its own: anonymous pages.
pub fn resident(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<f64>().unwrap() * 1024.0
}
