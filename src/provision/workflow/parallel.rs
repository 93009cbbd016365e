//! Works on many hosts at once, and hands on what is reported meanwhile.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use super::WorkflowError;
use crate::limits::PROVISION_HOSTS_AT_ONCE;
use crate::provision::remote::event::{HostEvent, Tell};

/// Has each item worked on by one of [`PROVISION_HOSTS_AT_ONCE`] threads. The results in the order
/// of the items. `tell` is called by this thread.
///
/// # Errors
/// [`WorkflowError::NobodyListens`]; each work goes on to its next event.
pub(crate) fn for_each<T: Sync, R: Send>(
    items: &[T],
    tell: &mut Tell<'_>,
    work: impl Fn(&T, &mut Tell<'_>) -> R + Sync,
) -> Result<Vec<R>, WorkflowError> {
    let (sender, events) = channel();
    let (next, work) = (&AtomicUsize::new(0), &work);
    let worker = |sender: Sender<(String, HostEvent)>| {
        move || {
            let mut done = Vec::new();
            let mut tell = |host: &str, event| sender.send((host.to_owned(), event)).is_ok();
            loop {
                let place = next.fetch_add(1, Ordering::Relaxed);
                let Some(item) = items.get(place) else { return done };
                done.push((place, work(item, &mut tell)));
            }
        }
    };
    thread::scope(|scope| {
        let count = items.len().min(PROVISION_HOSTS_AT_ONCE);
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(worker(sender.clone()))).collect();
        drop(sender);
        let is_heard = events.into_iter().all(|(host, event)| tell(&host, event));
        let done = threads.into_iter().flat_map(|thread| thread.join().expect("it has ended"));
        let mut done: Vec<(usize, R)> = done.collect();
        done.sort_by_key(|(place, _)| *place);
        match is_heard {
            true => Ok(done.into_iter().map(|(_, result)| result).collect()),
            false => Err(WorkflowError::NobodyListens),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_worked_on_and_keep_their_order() {
        let items: Vec<usize> = (0..3 * PROVISION_HOSTS_AT_ONCE).collect();
        let mut count = 0;
        let mut tell = |_: &str, _| {
            count += 1;
            true
        };
        let done = for_each(&items, &mut tell, |item, tell| {
            (*item, tell("web-1", HostEvent::Note(format!("item {item}"))))
        });
        let wanted: Vec<(usize, bool)> = items.iter().map(|&item| (item, true)).collect();
        assert_eq!(done.expect("somebody listens"), wanted);
        assert_eq!(count, items.len());
    }
}
