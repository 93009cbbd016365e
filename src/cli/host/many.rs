//! Works on many hosts at once, and writes what is said meanwhile.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use crate::cli::host::output::OutputLine;
use crate::cli::output::{Failure, Out};
use crate::limits::PROVISION_HOSTS_AT_ONCE;

/// Has each item worked on by one of [`PROVISION_HOSTS_AT_ONCE`] threads. The results in the order
/// of the items.
///
/// # Errors
/// When nobody reads the output; each work goes on to its next word.
pub(crate) fn work_on<T: Sync, R: Send>(
    items: &[T],
    out: &mut Out<'_>,
    work: impl Fn(&T, &Sender<OutputLine>) -> R + Sync,
) -> Result<Vec<R>, Failure> {
    let (sender, said) = channel();
    let next = AtomicUsize::new(0);
    let some = |sender: Sender<OutputLine>| {
        let mut done = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(place) else { return done };
            done.push((place, work(item, &sender)));
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..items.len().min(PROVISION_HOSTS_AT_ONCE))
            .map(|_| {
                let sender = sender.clone();
                scope.spawn(|| some(sender))
            })
            .collect();
        drop(sender);
        let told = said.into_iter().try_for_each(|said| said.write(out));
        let done = threads.into_iter().flat_map(|thread| thread.join().expect("it has ended"));
        let mut done: Vec<(usize, R)> = done.collect();
        done.sort_by_key(|(place, _)| *place);
        told.map(|()| done.into_iter().map(|(_, result)| result).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_worked_on_and_keep_their_order() {
        let items: Vec<usize> = (0..3 * PROVISION_HOSTS_AT_ONCE).collect();
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let mut out = Out::new(&mut output, &mut errors, None);
        let done = work_on(&items, &mut out, |item, sender| {
            let heard = sender.send(OutputLine::Text(format!("item {item}")));
            (*item, heard.is_ok())
        });
        let wanted: Vec<(usize, bool)> = items.iter().map(|&item| (item, true)).collect();
        assert_eq!(done, Ok(wanted));
        let said = String::from_utf8(output).expect("text");
        assert_eq!(said.lines().count(), items.len());
    }
}
