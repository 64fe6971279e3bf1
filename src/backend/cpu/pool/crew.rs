//! One parallel region at a time, on worker threads that wait between regions.
//!
//! The gate is a word that holds whether a region is open and how many workers are inside. The
//! caller opens it and takes tasks too; whoever finds no task left shuts it. The caller waits only
//! for workers that entered, so one that sleeps, is late or never started costs only its help.
//! Waiting is a short spin, then parking, because the regions of one step follow each other within
//! microseconds and steps may be seconds apart.

use std::{
    any::Any,
    cell::UnsafeCell,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool, AtomicU32, AtomicUsize,
            Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
        },
    },
};

use super::threads::SPINS;

/// The gate's bit for an open region; the bits below count the workers inside (not the caller).
const OPEN: u32 = 1 << 31;

/// How many times longer the caller spins than an idle worker: the others are in their last task.
const PATIENCE: u32 = 10;

type Task = dyn Fn(usize) + Sync;

/// State shared by the threads of a pool.
#[derive(Default)]
pub struct Crew {
    gate: AtomicU32,
    /// The next task to take.
    next: AtomicUsize,
    /// Written by the caller while the gate is shut and nobody is inside; read by threads inside.
    region: UnsafeCell<Region>,
    /// Worker threads that serve (not the caller).
    members: AtomicUsize,
    /// A region is in progress.
    busy: AtomicBool,
    dismissed: AtomicBool,
    /// A worker died inside a region without leaving it.
    failed: AtomicBool,
    /// The region's first panic.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// Protects no data: locked to park, and before a notification.
    sleep: Mutex<()>,
    parked: AtomicUsize,
    opened: Condvar,
    caller_parked: AtomicBool,
    emptied: Condvar,
}

#[derive(Clone, Copy, Default)]
struct Region {
    tasks: usize,
    f: Option<*const Task>,
}

// SAFETY: `region` is the only field that is not `Sync`. It is written only by the caller that
// holds `busy`, before the gate opens and when nobody is inside, and read only by threads inside
// and that caller. The task it points to is `Sync`.
unsafe impl Send for Crew {}
// SAFETY: as above.
unsafe impl Sync for Crew {}

impl Crew {
    /// Worker threads that serve (not the caller).
    pub fn members(&self) -> usize {
        self.members.load(Acquire)
    }

    /// Worker threads that are parked.
    #[cfg(test)]
    pub fn parked(&self) -> usize {
        self.parked.load(SeqCst)
    }

    /// Counts one more worker, which serves or is about to.
    pub fn add_member(&self) {
        self.members.fetch_add(1, AcqRel);
    }

    /// Runs a worker thread: works until the crew is dismissed.
    pub fn serve(&self) {
        while self.wait_until_open() {
            if self.enter() {
                self.work();
                self.leave();
            }
        }
    }

    /// Ends [`Crew::serve`] on every worker.
    pub fn dismiss(&self) {
        self.dismissed.store(true, SeqCst);
        drop(self.lock_sleep());
        self.opened.notify_all();
    }

    /// Reports that a worker died inside [`Crew::serve`], so that the caller does not wait for it
    /// forever.
    pub fn fail(&self) {
        self.failed.store(true, SeqCst);
        drop(self.lock_sleep());
        self.emptied.notify_all();
    }

    /// Runs a whole region; see [`super::Pool::run`].
    pub fn run(&self, tasks: usize, f: &(dyn Fn(usize) + Sync)) {
        if self.members() == 0 || self.busy.swap(true, Acquire) {
            return (0..tasks).for_each(f);
        }
        // SAFETY: `busy` makes this thread the only caller, and the last region ended with nobody
        // inside, so nothing reads `region` now. The erased lifetime ends after this function,
        // which returns or unwinds only when the gate is shut and nobody is inside; or after
        // `fail`, which (tests aside) only a browser's worker calls, where a panic aborts.
        unsafe {
            let f = std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static Task>(f);
            *self.region.get() = Region { tasks, f: Some(f) };
        }
        self.next.store(0, Relaxed);
        self.gate.store(OPEN, SeqCst);
        if self.parked.load(SeqCst) > 0 {
            drop(self.lock_sleep());
            self.opened.notify_all();
        }
        self.work();
        self.gate.fetch_and(!OPEN, SeqCst);
        self.wait_until_empty();
        let panic = self.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.busy.store(false, Release);
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }

    /// Takes tasks until none is left. Called only inside (or by the caller).
    fn work(&self) {
        // SAFETY: this thread is inside (or is the caller), so `region` is not being written, and
        // the task outlives the region.
        let region = unsafe { *self.region.get() };
        let Some(f) = region.f else { return };
        // SAFETY: as above.
        let f = unsafe { &*f };
        let result = catch_unwind(AssertUnwindSafe(|| {
            loop {
                let task = self.next.fetch_add(1, Relaxed);
                if task >= region.tasks {
                    return;
                }
                f(task);
            }
        }));
        if let Err(panic) = result {
            // No further task of this region is taken.
            self.next.store(region.tasks, Relaxed);
            self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
        }
    }

    /// Enters if the gate is still open.
    fn enter(&self) -> bool {
        let inside = |gate| (gate & OPEN != 0).then_some(gate + 1);
        self.gate.fetch_update(SeqCst, Relaxed, inside).is_ok()
    }

    /// Shuts the gate, since no task is left, and leaves.
    fn leave(&self) {
        // This thread is still inside, so the gate is that of its own region.
        self.gate.fetch_and(!OPEN, SeqCst);
        if self.gate.fetch_sub(1, SeqCst) == 1 && self.caller_parked.load(SeqCst) {
            drop(self.lock_sleep());
            self.emptied.notify_all();
        }
    }

    /// Waits for a region; false when the crew is dismissed.
    fn wait_until_open(&self) -> bool {
        let called = || self.gate.load(SeqCst) & OPEN != 0 || self.dismissed.load(SeqCst);
        if !spin(SPINS, called) {
            // Both sides write, then read the other's variable, in one total order (SeqCst): a
            // worker raises the count and looks at the gate, the caller opens the gate and looks at
            // the count. So at least one sees the other, and no wake-up is lost.
            let mut guard = self.lock_sleep();
            self.parked.fetch_add(1, SeqCst);
            while !called() {
                guard = self.opened.wait(guard).unwrap_or_else(PoisonError::into_inner);
            }
            self.parked.fetch_sub(1, SeqCst);
        }
        !self.dismissed.load(SeqCst)
    }

    /// Waits until nobody is inside.
    fn wait_until_empty(&self) {
        let empty = || self.gate.load(SeqCst) == 0 || self.failed.load(SeqCst);
        if !spin(SPINS * PATIENCE, empty) {
            let mut guard = self.lock_sleep();
            self.caller_parked.store(true, SeqCst);
            while !empty() {
                guard = self.emptied.wait(guard).unwrap_or_else(PoisonError::into_inner);
            }
            self.caller_parked.store(false, SeqCst);
        }
        // Where workers can fail, a panic aborts: nothing that the lost worker borrowed is ever
        // freed.
        assert!(!self.failed.load(SeqCst), "a thread of the engine died");
    }

    /// Locks what threads hold from their last look at the gate until they park. Whoever changes the
    /// gate locks and unlocks it before the notification, which then cannot come in between.
    fn lock_sleep(&self) -> MutexGuard<'_, ()> {
        self.sleep.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Polls `done` up to `looks` times; true as soon as it is.
fn spin(looks: u32, done: impl Fn() -> bool) -> bool {
    (0..looks).any(|_| {
        std::hint::spin_loop();
        done()
    })
}
