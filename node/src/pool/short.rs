//! The short lane: a bounded queue of jobs, and the threads that take from it.
//!
//! A thread is woken for a job only if one sleeps; whoever is at work takes the next job by itself.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::Semaphore;

use super::PoolError;

/// Work for one thread. It must not panic: that would end the thread.
pub(super) type Job = Box<dyn FnOnce() + Send>;

/// Where jobs are queued. Clones share it; the threads end with the last clone, once they have done what is queued.
#[derive(Debug, Clone)]
pub(super) struct Lane {
    owner: Arc<Owner>,
}

/// What all clones of a lane hold, and no thread does.
#[derive(Debug)]
struct Owner(Arc<Queue>);

#[derive(Debug)]
struct Queue {
    state: Mutex<State>,
    work: Condvar,
    /// A permit for each job that may still be queued.
    room: Semaphore,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Threads that sleep and that nobody has woken.
    sleeping: usize,
    is_over: bool,
}

impl Lane {
    /// A lane of `threads` for which `queued_max` jobs may wait. Fails if no thread at all can be started.
    pub(super) fn new(threads: usize, queued_max: usize) -> Result<Self, PoolError> {
        let queue = Arc::new(Queue {
            state: Mutex::default(),
            work: Condvar::new(),
            room: Semaphore::new(queued_max),
        });
        let spawn = |index: usize| {
            let queue = Arc::clone(&queue);
            thread::Builder::new().name(format!("pool-{index}")).spawn(move || queue.work())
        };
        let started = (0..threads).filter(|index| spawn(*index).is_ok()).count();
        if started == 0 {
            return Err(PoolError::NoThread);
        }
        Ok(Self { owner: Arc::new(Owner(queue)) })
    }

    /// Queues a job if there is room, or else gives it back.
    pub(super) fn try_push(&self, job: Job) -> Result<(), Job> {
        let Ok(permit) = self.owner.0.room.try_acquire() else { return Err(job) };
        permit.forget();
        self.owner.0.push(job);
        Ok(())
    }

    /// Queues a job as soon as there is room.
    pub(super) async fn push(&self, job: Job) {
        // Nobody closes the semaphore.
        if let Ok(permit) = self.owner.0.room.acquire().await {
            permit.forget();
            self.owner.0.push(job);
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.work.notify_all();
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, job: Job) {
        let mut state = self.lock();
        state.jobs.push_back(job);
        let wakes = state.sleeping > 0;
        state.sleeping -= usize::from(wakes);
        drop(state);
        if wakes {
            self.work.notify_one();
        }
    }

    /// What a thread does: jobs, until there are none and none can come.
    fn work(&self) {
        while let Some(job) = self.next() {
            self.room.add_permits(1);
            job();
        }
    }

    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            if state.is_over {
                return None;
            }
            state.sleeping += 1;
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("queued", &self.jobs.len()).finish_non_exhaustive()
    }
}
