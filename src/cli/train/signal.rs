//! Which signal asked to stop: `ctrlc` handles several alike, and does not tell.

/// The exit code of a command that the last signal ended, as shells report it: 128 + its number.
#[cfg(unix)]
pub fn exit_code() -> u8 {
    u8::try_from(128 + unix::last()).unwrap_or(INTERRUPTED)
}

#[cfg(not(unix))]
pub fn exit_code() -> u8 {
    INTERRUPTED
}

/// 128 + SIGINT.
const INTERRUPTED: u8 = 130;

/// Notes signals on their way to the handler that `ctrlc` has installed.
pub fn note() {
    #[cfg(unix)]
    unix::note();
}

#[cfg(unix)]
mod unix {
    use std::{
        mem::{MaybeUninit, transmute},
        ptr::{null, null_mut},
        sync::atomic::{AtomicI32, AtomicUsize, Ordering},
    };

    use libc::{SA_SIGINFO, SIG_DFL, SIG_IGN, SIGHUP, SIGINT, SIGTERM, c_int, sigaction};

    static LAST: AtomicI32 = AtomicI32::new(SIGINT);
    /// The installed handler, the same for every signal.
    static HANDLER: AtomicUsize = AtomicUsize::new(SIG_DFL);

    pub fn last() -> c_int {
        LAST.load(Ordering::Relaxed)
    }

    pub fn note() {
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            let mut action = MaybeUninit::<sigaction>::uninit();
            // SAFETY: the pointer is valid for a write; a null pointer leaves the handler as it is.
            let found = unsafe { sigaction(signal, null(), action.as_mut_ptr()) };
            if found != 0 {
                continue;
            }
            // SAFETY: `sigaction` has succeeded, so it has written the action.
            let mut action = unsafe { action.assume_init() };
            let handler = action.sa_sigaction;
            if [SIG_DFL, SIG_IGN].contains(&handler) || action.sa_flags & SA_SIGINFO != 0 {
                continue;
            }
            HANDLER.store(handler, Ordering::Relaxed);
            action.sa_sigaction = pass_on as extern "C" fn(c_int) as usize;
            // SAFETY: the action is the installed one but for its handler, which has the type that
            // goes without SA_SIGINFO and does only what is allowed in one.
            unsafe { sigaction(signal, &action, null_mut()) };
        }
    }

    extern "C" fn pass_on(signal: c_int) {
        LAST.store(signal, Ordering::Relaxed);
        // SAFETY: `note` stores a handler of this type before it installs this one.
        let handler: extern "C" fn(c_int) = unsafe { transmute(HANDLER.load(Ordering::Relaxed)) };
        handler(signal);
    }
}
