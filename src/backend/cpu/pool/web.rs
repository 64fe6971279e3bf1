//! A browser's threads: workers that run the same module over the same memory. The page's scripts
//! start them (`www/worker-start.js`), and each calls [`join`] and [`serve`]. If memory is not
//! shared none ever comes, and the pool is the caller's thread alone.

use std::sync::{Arc, Mutex, PoisonError};

use super::crew::Crew;

/// Polls of the gate before an idle worker parks: about 250 µs, so that it is mostly awake when the
/// event loop returns between two tokens (7% more tokens on two threads than with 50 µs), and
/// parked during longer pauses. WebAssembly has no pause instruction, so the number is larger than
/// natively.
pub const SPINS: u32 = 100_000;

/// The crew that workers join: the newest.
static CREW: Mutex<Option<Arc<Crew>>> = Mutex::new(None);

/// Starts no thread: makes this the crew that arriving workers serve.
pub fn start(crew: &Arc<Crew>, _count: usize) {
    *CREW.lock().unwrap_or_else(PoisonError::into_inner) = Some(crew.clone());
}

fn crew() -> Option<Arc<Crew>> {
    CREW.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Counts the calling worker; done before it reports that it has joined.
pub fn join() {
    if let Some(crew) = crew() {
        crew.add_member();
    }
}

/// Runs a worker that has joined: works until the crew is dismissed.
pub fn serve() {
    if let Some(crew) = crew() {
        crew.serve();
    }
}

/// Reports that a worker died inside [`serve`].
pub fn fail() {
    if let Some(crew) = crew() {
        crew.fail();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::{
            Barrier,
            atomic::{AtomicUsize, Ordering},
        },
        thread,
        time::Duration,
    };

    #[test]
    fn workers_join_when_they_come_and_a_lost_one_is_no_endless_wait() {
        let crew = Arc::new(Crew::default());
        start(&crew, 1);
        let count = AtomicUsize::new(0);
        let task = |_: usize| {
            count.fetch_add(1, Ordering::Relaxed);
        };
        crew.run(5, &task);
        assert_eq!((count.load(Ordering::Relaxed), crew.members()), (5, 0));
        let (joined, has_joined) = std::sync::mpsc::channel();
        let life = move || {
            join();
            joined.send(()).unwrap();
            serve();
        };
        thread::Builder::new().name("lost".into()).spawn(life).unwrap();
        has_joined.recv().unwrap();
        assert_eq!(crew.members(), 1, "counted before it says that it has joined");
        crew.run(5, &task);
        assert_eq!(count.load(Ordering::Relaxed), 10);

        // Each of the two tasks waits for the other, so one is the worker's; that one never ends.
        let region = Arc::new(Barrier::new(2));
        let caller = thread::spawn({
            let region = region.clone();
            move || {
                crew.run(2, &|_| {
                    region.wait();
                    while thread::current().name() == Some("lost") {
                        thread::park();
                    }
                });
            }
        });
        thread::sleep(Duration::from_millis(50));
        assert!(!caller.is_finished());
        fail();
        let message = caller.join().unwrap_err();
        assert_eq!(message.downcast_ref::<&str>(), Some(&"a thread of the engine died"));
    }
}
