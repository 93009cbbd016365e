//! Threads for work that would block the loop.
//!
//! One kind of job, one kind of result, a bounded number in flight. With one thread, jobs are done
//! in the order in which they were given. A result is announced by the reactor's waker and fetched
//! by the owner.

use std::io;
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
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
    jobs: Sender<J>,
    results: Receiver<R>,
    threads: Vec<JoinHandle<()>>,
    in_flight: usize,
    jobs_max: usize,
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
        let (jobs, waiting) = mpsc::channel();
        let (done, results) = mpsc::channel();
        let (waiting, run) = (Arc::new(Mutex::new(waiting)), Arc::new(run));
        let threads = (0..crew.threads).map(|_| {
            let (waiting, run) = (Arc::clone(&waiting), Arc::clone(&run));
            let (done, waker) = (done.clone(), waker.clone());
            let work = move || work(&waiting, &done, &waker, &*run);
            thread::Builder::new().name(crew.name.to_owned()).spawn(work)
        });
        let threads = threads.collect::<io::Result<_>>()?;
        Ok(Worker { jobs, results, threads, in_flight: 0, jobs_max: crew.jobs_max })
    }

    /// Hands a job over.
    ///
    /// # Errors
    /// The job itself, when as many as allowed are in flight.
    pub(crate) fn submit(&mut self, job: J) -> Result<(), J> {
        if self.is_full() {
            return Err(job);
        }
        self.jobs.send(job).map_err(|refused| refused.0)?;
        self.in_flight += 1;
        Ok(())
    }

    /// The next result that is there; to be called until there is none.
    pub(crate) fn next_result(&mut self) -> Option<R> {
        match self.results.try_recv() {
            Ok(result) => {
                self.in_flight -= 1;
                Some(result)
            }
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => None,
        }
    }

    /// Whether a job would be refused now.
    pub(crate) fn is_full(&self) -> bool {
        self.in_flight >= self.jobs_max
    }

    /// Jobs whose result has not been fetched.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Waits for all that was given, and returns the results that were not fetched. Blocks; for the
    /// end of a program.
    pub(crate) fn finish(self) -> Vec<R> {
        drop(self.jobs);
        for thread in self.threads {
            // A job that panicked has ended the process already, except in tests.
            let _ = thread.join();
        }
        self.results.try_iter().collect()
    }
}

/// What one thread does, until the owner is gone.
fn work<J, R>(waiting: &Mutex<Receiver<J>>, done: &Sender<R>, waker: &Waker, run: &dyn Fn(J) -> R) {
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else {
            return;
        };
        // Whoever dropped the worker does not want the result.
        if done.send(run(job)).is_ok() {
            waker.wake();
        }
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
