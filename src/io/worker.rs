//! Threads for work that would block the loop.
//!
//! One kind of job, one kind of result, a bounded number in flight. With one thread, jobs are done
//! in the order in which they were given. A result is announced by the reactor's waker and fetched
//! by the owner.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::reactor::Waker;

/// What the threads of a worker run on, and how many jobs it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crew {
    /// The threads' name, at most 15 bytes of it seen by the system.
    pub(crate) name: &'static str,
    /// How many threads: one keeps the order.
    pub(crate) threads: usize,
    /// Jobs that are given and whose result has not been fetched.
    pub(crate) jobs_max: usize,
}

/// Threads that turn jobs into results. Dropping it lets what was given be finished, unattended.
#[derive(Debug)]
pub(crate) struct Worker<J, R> {
    shared: Arc<Shared<J, R>>,
    threads: Vec<JoinHandle<()>>,
    in_flight: usize,
    jobs_max: usize,
}

/// What the owner and the threads have in common. One lock costs less code than two channels.
#[derive(Debug)]
struct Shared<J, R> {
    queues: Mutex<Queues<J, R>>,
    /// A job was added, or there will be no more.
    changed: Condvar,
}

#[derive(Debug)]
struct Queues<J, R> {
    waiting: VecDeque<J>,
    results: VecDeque<R>,
    is_closed: bool,
}

impl<J: Send + 'static, R: Send + 'static> Worker<J, R> {
    /// Starts the threads. Each result wakes the owner.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start<F>(crew: Crew, waker: &Waker, run: F) -> io::Result<Worker<J, R>>
    where
        F: Fn(J) -> R + Send + Sync + 'static,
    {
        assert!(crew.threads > 0 && crew.jobs_max > 0, "a crew of nobody finishes nothing");
        let queues =
            Queues { waiting: VecDeque::new(), results: VecDeque::new(), is_closed: false };
        let shared = Arc::new(Shared { queues: Mutex::new(queues), changed: Condvar::new() });
        let run = Arc::new(run);
        let mut worker =
            Worker { shared, threads: Vec::new(), in_flight: 0, jobs_max: crew.jobs_max };
        for _ in 0..crew.threads {
            let (shared, run, waker) =
                (Arc::clone(&worker.shared), Arc::clone(&run), waker.clone());
            let work = move || work(&shared, &waker, &*run);
            worker.threads.push(thread::Builder::new().name(crew.name.to_owned()).spawn(work)?);
        }
        Ok(worker)
    }

    /// Hands a job over.
    ///
    /// # Errors
    /// The job itself, when as many as allowed are in flight.
    pub(crate) fn submit(&mut self, job: J) -> Result<(), J> {
        if self.is_full() {
            return Err(job);
        }
        self.shared.queues().waiting.push_back(job);
        self.shared.changed.notify_one();
        self.in_flight += 1;
        Ok(())
    }

    /// The next result that is there; to be called until there is none.
    pub(crate) fn next_result(&mut self) -> Option<R> {
        let result = self.shared.queues().results.pop_front()?;
        self.in_flight -= 1;
        Some(result)
    }

    /// Waits for all that was given, and returns the results that were not fetched. Blocks; for the
    /// end of a program.
    #[cfg(test)]
    pub(crate) fn finish(mut self) -> Vec<R> {
        self.shared.close();
        for thread in self.threads.drain(..) {
            // A job that panicked has ended the process already, except in tests.
            let _ = thread.join();
        }
        self.shared.queues().results.drain(..).collect()
    }
}

impl<J, R> Worker<J, R> {
    /// Whether a job would be refused now.
    pub(crate) fn is_full(&self) -> bool {
        self.in_flight >= self.jobs_max
    }

    /// Jobs whose result has not been fetched.
    #[cfg(test)]
    fn in_flight(&self) -> usize {
        self.in_flight
    }
}

impl<J, R> Drop for Worker<J, R> {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl<J, R> Shared<J, R> {
    fn queues(&self) -> MutexGuard<'_, Queues<J, R>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The threads end when they have done what waits.
    fn close(&self) {
        self.queues().is_closed = true;
        self.changed.notify_all();
    }

    /// The next job, or nothing when there will be none.
    fn next_job(&self) -> Option<J> {
        let queues = self.queues();
        let is_idle = |queues: &mut Queues<J, R>| queues.waiting.is_empty() && !queues.is_closed;
        let waited = self.changed.wait_while(queues, is_idle);
        waited.unwrap_or_else(PoisonError::into_inner).waiting.pop_front()
    }
}

/// What one thread does, until the owner is gone.
fn work<J, R>(shared: &Shared<J, R>, waker: &Waker, run: &dyn Fn(J) -> R) {
    while let Some(job) = shared.next_job() {
        let result = run(job);
        shared.queues().results.push_back(result);
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock::Clock;
    use super::super::reactor::Reactor;
    use super::*;
    use crate::base::slots::Key;

    fn crew(threads: usize, jobs_max: usize) -> Crew {
        Crew { name: "test", threads, jobs_max }
    }

    #[test]
    fn results_come_in_order_and_wake_the_loop() {
        let (clock, mut reactor, mut ready) = (Clock::new(), Reactor::new().unwrap(), Vec::new());
        let key = Key::from_bits(4);
        let waker = reactor.waker(key).unwrap();
        let mut worker = Worker::start(crew(1, 100), &waker, |job: u32| job * 2).unwrap();
        (0..100).for_each(|job| worker.submit(job).unwrap());
        let mut results = Vec::new();
        while results.len() < 100 {
            reactor.wait(&clock, None, &mut ready).unwrap();
            assert!(ready.iter().all(|event| event.key == key));
            results.extend(std::iter::from_fn(|| worker.next_result()));
        }
        assert!(results.iter().copied().eq((0..100).map(|job| job * 2)));
        assert_eq!(worker.in_flight(), 0);
    }

    #[test]
    fn it_refuses_what_is_too_much_until_results_are_fetched() {
        let mut reactor = Reactor::new().unwrap();
        let waker = reactor.waker(Key::from_bits(0)).unwrap();
        let mut worker = Worker::start(crew(3, 2), &waker, |job: u32| job).unwrap();
        assert_eq!(worker.submit(1), Ok(()));
        assert_eq!(worker.submit(2), Ok(()));
        assert_eq!(worker.submit(3), Err(3));
        while worker.next_result().is_none() {
            thread::yield_now();
        }
        assert_eq!(worker.submit(3), Ok(()));
        assert_eq!(worker.finish().len(), 2);
    }
}
