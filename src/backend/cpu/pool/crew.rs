//! One parallel region at a time, on threads that wait between regions.
//!
//! A region is open or shut, and counts the threads inside: the gate. The
//! caller opens it and works along; whoever finds no task left shuts it. The
//! caller waits only for threads that came in, so one that sleeps, is late or
//! never started costs nothing but its help. Waiting is a short spin, then
//! parking, because the regions of one step of the engine follow each other
//! within microseconds and steps may be seconds apart.

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

/// The gate's bit for an open region; the bits below count threads inside,
/// the caller not among them.
const OPEN: u32 = 1 << 31;

/// The caller looks so many times as long as a thread without work: the others
/// are at their last task.
const PATIENCE: u32 = 10;

type Task = dyn Fn(usize) + Sync;

/// What the threads of a pool share.
#[derive(Default)]
pub struct Crew {
    gate: AtomicU32,
    /// The next task that nobody took.
    next: AtomicUsize,
    /// Written by the caller while the gate is shut and nobody is inside; read
    /// by who came in.
    region: UnsafeCell<Region>,
    /// Threads that serve, the caller not among them.
    members: AtomicUsize,
    /// A region is under way.
    busy: AtomicBool,
    dismissed: AtomicBool,
    /// A member died inside a region without leaving it.
    failed: AtomicBool,
    /// The first panic of the region.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// Guards nothing but falling asleep.
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

// SAFETY: `region` is the one field that is not `Sync`; it is written only by
// the caller that holds `busy`, before the gate opens and when nobody is
// inside, and read only by threads inside. The task it points to is `Sync`.
unsafe impl Send for Crew {}
// SAFETY: as above.
unsafe impl Sync for Crew {}

impl Crew {
    /// Threads that serve, the caller not among them.
    pub fn members(&self) -> usize {
        self.members.load(Acquire)
    }

    /// Threads that sleep.
    #[cfg(test)]
    pub fn parked(&self) -> usize {
        self.parked.load(SeqCst)
    }

    /// Counts one more thread that serves, or is about to.
    pub fn admit(&self) {
        self.members.fetch_add(1, AcqRel);
    }

    /// Works until the crew is dismissed: the whole life of a thread.
    pub fn serve(&self) {
        while self.wait_until_open() {
            if self.enter() {
                self.work();
                self.leave();
            }
        }
    }

    /// Ends [`Crew::serve`] on every thread.
    pub fn dismiss(&self) {
        self.dismissed.store(true, SeqCst);
        drop(self.asleep());
        self.opened.notify_all();
    }

    /// Says that a member died inside [`Crew::serve`]: its region never ends
    /// by itself.
    pub fn fail(&self) {
        self.failed.store(true, SeqCst);
        drop(self.asleep());
        self.emptied.notify_all();
    }

    /// A whole region: see [`super::Pool::run`].
    pub fn run(&self, tasks: usize, f: &(dyn Fn(usize) + Sync)) {
        if self.members() == 0 || self.busy.swap(true, Acquire) {
            return (0..tasks).for_each(f);
        }
        // SAFETY: `busy` makes this thread the only caller, and the last region
        // ended with nobody inside, so nothing reads `region` now. The erased
        // lifetime ends after this function: it returns, or unwinds, only when
        // the gate is shut and nobody is inside.
        unsafe {
            let f = std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static Task>(f);
            *self.region.get() = Region { tasks, f: Some(f) };
        }
        self.next.store(0, Relaxed);
        self.gate.store(OPEN, SeqCst);
        if self.parked.load(SeqCst) > 0 {
            drop(self.asleep());
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

    /// Takes tasks until none is left. Called inside only.
    fn work(&self) {
        // SAFETY: this thread is inside (or is the caller), so `region` is not
        // written, and the task outlives the region.
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
            // Nobody takes another task of this region.
            self.next.store(region.tasks, Relaxed);
            self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
        }
    }

    /// Goes inside if the gate is still open.
    fn enter(&self) -> bool {
        let inside = |gate| (gate & OPEN != 0).then_some(gate + 1);
        self.gate.fetch_update(SeqCst, Relaxed, inside).is_ok()
    }

    /// Shuts the gate, for no task is left, and goes outside.
    fn leave(&self) {
        // Still inside, so this is the gate of this thread's own region.
        self.gate.fetch_and(!OPEN, SeqCst);
        if self.gate.fetch_sub(1, SeqCst) == 1 && self.caller_parked.load(SeqCst) {
            drop(self.asleep());
            self.emptied.notify_all();
        }
    }

    /// False when the crew is dismissed.
    fn wait_until_open(&self) -> bool {
        let called = || self.gate.load(SeqCst) & OPEN != 0 || self.dismissed.load(SeqCst);
        if !spin(SPINS, called) {
            // Raising the count and looking again is ordered against opening
            // and looking at the count: one of the two sides sees the other.
            let mut asleep = self.asleep();
            self.parked.fetch_add(1, SeqCst);
            while !called() {
                asleep = self.opened.wait(asleep).unwrap_or_else(PoisonError::into_inner);
            }
            self.parked.fetch_sub(1, SeqCst);
        }
        !self.dismissed.load(SeqCst)
    }

    /// Returns when nobody is inside.
    fn wait_until_empty(&self) {
        let empty = || self.gate.load(SeqCst) == 0 || self.failed.load(SeqCst);
        if !spin(SPINS * PATIENCE, empty) {
            let mut asleep = self.asleep();
            self.caller_parked.store(true, SeqCst);
            while !empty() {
                asleep = self.emptied.wait(asleep).unwrap_or_else(PoisonError::into_inner);
            }
            self.caller_parked.store(false, SeqCst);
        }
        // Where threads can fail, a panic ends the program: nothing that the
        // lost thread borrowed is ever freed.
        assert!(!self.failed.load(SeqCst), "a thread of the engine died");
    }

    fn asleep(&self) -> MutexGuard<'_, ()> {
        self.sleep.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks so many times; true as soon as `done`.
fn spin(looks: u32, done: impl Fn() -> bool) -> bool {
    (0..looks).any(|_| {
        std::hint::spin_loop();
        done()
    })
}
