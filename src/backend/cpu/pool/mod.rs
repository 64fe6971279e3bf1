//! The kernels' thread pool: [`Pool::run`] hands out the tasks of one parallel region and returns
//! when all are done.
//!
//! Which thread runs which task varies, so each task has its own outputs and its own order of sums:
//! results never depend on the number of threads. The region is in `crew`; `native` and [`web`]
//! create the threads, and only this module chooses between them.

mod crew;
#[cfg(not(target_family = "wasm"))]
mod native;
pub mod web;

use std::sync::Arc;

use crew::Crew;
#[cfg(not(target_family = "wasm"))]
use native as threads;
#[cfg(target_family = "wasm")]
use web as threads;

/// A pool of threads, the caller's included. Cheap to clone; the threads end with the last clone.
#[derive(Clone, Default)]
pub struct Pool {
    /// `None`: the caller's thread alone.
    owner: Option<Arc<Owner>>,
}

/// Dismisses the threads when the last clone of the pool is dropped.
struct Owner {
    crew: Arc<Crew>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.crew.dismiss();
    }
}

impl Pool {
    /// A pool of the caller's thread alone.
    pub fn serial() -> Self {
        Self::default()
    }

    /// A pool of up to `threads` threads, the caller's included. If the system refuses some, the
    /// others do their work.
    pub fn new(threads: usize) -> Self {
        if threads <= 1 {
            return Self::serial();
        }
        let crew = Arc::new(Crew::default());
        threads::start(&crew, threads - 1);
        Self { owner: Some(Arc::new(Owner { crew })) }
    }

    /// The number of threads that serve now, the caller's included.
    pub fn threads(&self) -> usize {
        1 + self.owner.as_ref().map_or(0, |owner| owner.crew.members())
    }

    /// Calls `f(i)` once for every i in `0..tasks`, in any order and on any of the threads. A panic
    /// in a task ends the region and is raised here. A region begun inside a task, or while another
    /// thread's region runs on this pool, runs on its caller's thread.
    pub fn run(&self, tasks: usize, f: &(dyn Fn(usize) + Sync)) {
        match &self.owner {
            Some(owner) if tasks > 1 => owner.crew.run(tasks, f),
            _ => (0..tasks).for_each(f),
        }
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("threads", &self.threads()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    /// How many times each task ran.
    fn counts(pool: &Pool, tasks: usize) -> Vec<usize> {
        let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
        pool.run(tasks, &|i| {
            counts[i].fetch_add(1, Ordering::Relaxed);
        });
        counts.into_iter().map(AtomicUsize::into_inner).collect()
    }

    #[test]
    fn every_task_runs_once() {
        for threads in [1, 2, 3, 8] {
            let pool = Pool::new(threads);
            assert_eq!(pool.threads(), threads);
            for tasks in (0..50).chain([1000]) {
                assert_eq!(counts(&pool, tasks), vec![1; tasks], "{threads} threads");
            }
        }
    }

    #[test]
    fn many_short_regions_lose_no_task() {
        let pool = Pool::new(3);
        let sum = AtomicUsize::new(0);
        for _ in 0..20_000 {
            pool.run(3, &|i| {
                sum.fetch_add(i + 1, Ordering::Relaxed);
            });
        }
        assert_eq!(sum.into_inner(), 20_000 * 6);
    }

    #[test]
    fn a_parked_pool_wakes() {
        let pool = Pool::new(2);
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(20));
            // Only two threads together can pass: each waits for the other.
            let meeting = std::sync::Barrier::new(2);
            pool.run(2, &|_| {
                meeting.wait();
            });
        }
    }

    #[test]
    fn threads_without_work_sleep() {
        let pool = Pool::new(3);
        counts(&pool, 10);
        let crew = &pool.owner.as_ref().unwrap().crew;
        let asleep = (0..1000).any(|_| {
            std::thread::sleep(Duration::from_millis(5));
            crew.parked() == crew.members()
        });
        assert!(asleep, "{} of {} threads sleep", crew.parked(), crew.members());
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_goes_on() {
        let pool = Pool::new(3);
        for panicking in 0..20 {
            let result = catch_unwind(AssertUnwindSafe(|| {
                pool.run(20, &|i| assert_ne!(i, panicking, "this task panics"));
            }));
            let payload = result.unwrap_err();
            let message = payload.downcast_ref::<String>().unwrap();
            assert!(message.contains("this task panics"), "{message}");
            assert_eq!(counts(&pool, 20), vec![1; 20]);
        }
    }

    #[test]
    fn a_region_inside_a_task_runs_where_it_began() {
        let pool = Pool::new(2);
        let sum = AtomicUsize::new(0);
        pool.run(4, &|_| {
            let here = std::thread::current().id();
            pool.run(5, &|i| {
                assert_eq!(std::thread::current().id(), here);
                sum.fetch_add(i, Ordering::Relaxed);
            });
        });
        assert_eq!(sum.into_inner(), 4 * 10);
    }

    #[test]
    fn clones_on_several_threads_share_one_crew() {
        let pool = Pool::new(2);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let pool = pool.clone();
                scope.spawn(move || {
                    for _ in 0..500 {
                        assert_eq!(counts(&pool, 7), vec![1; 7]);
                    }
                });
            }
        });
    }

    #[test]
    fn the_threads_end_with_the_last_clone() {
        let pool = Pool::new(3);
        let crew = Arc::downgrade(&pool.owner.as_ref().unwrap().crew);
        let clone = pool.clone();
        drop(pool);
        assert_eq!(counts(&clone, 10), vec![1; 10]);
        drop(clone);
        let ended = (0..1000).any(|_| {
            std::thread::sleep(Duration::from_millis(5));
            crew.upgrade().is_none()
        });
        assert!(ended, "a thread still waits");
    }
}
