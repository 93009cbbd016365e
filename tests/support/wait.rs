//! Waiting until a condition holds, and not a moment by guess.

use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for what should take milliseconds, on a machine that does much else.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Does nothing for a while, as an operator between two calls.
pub fn pause(span: Duration) {
    thread::sleep(span);
}

/// Asks `condition` again and again until it gives a value; `None` after `patience`.
pub fn poll<T>(patience: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    let mut pause = Duration::from_millis(1);
    loop {
        let value = condition();
        if value.is_some() || Instant::now() >= deadline {
            return value;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Waits until `condition` gives a value.
///
/// # Panics
///
/// After `patience`, naming `what` was waited for.
#[track_caller]
pub fn wait_for<T>(patience: Duration, what: &str, condition: impl FnMut() -> Option<T>) -> T {
    let Some(value) = poll(patience, condition) else {
        panic!("waited {patience:?} in vain for {what}");
    };
    value
}

/// Waits until `condition` holds.
///
/// # Panics
///
/// After `patience`, naming `what` was waited for.
#[track_caller]
pub fn wait_until(patience: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(patience, what, || condition().then_some(()));
}
