//! Signals that ask the command to stop: SIGINT (Ctrl-C), SIGTERM, and SIGHUP from a terminal that
//! closes. On other systems than Unix, Ctrl-C alone.

use std::{
    io,
    sync::atomic::{AtomicI32, Ordering},
};

const SIGINT: i32 = 2;

/// The last signal.
static LAST: AtomicI32 = AtomicI32::new(SIGINT);

/// The exit code of a command that the last signal ended, as shells report it: 128 + its number.
pub fn exit_code() -> u8 {
    u8::try_from(128 + LAST.load(Ordering::Relaxed)).unwrap_or(u8::MAX)
}

/// Calls `stop` for each signal, on a thread of its own. After `nohup`, SIGHUP stays ignored.
///
/// # Errors
/// If the system refuses a handler or the thread.
#[cfg(unix)]
pub fn listen(mut stop: impl FnMut() + Send + 'static) -> io::Result<()> {
    use signal_hook::{
        consts::{SIGHUP, SIGTERM},
        iterator::Signals,
    };

    let signals = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|&signal| !is_ignored(signal));
    let mut signals = Signals::new(signals)?;
    let listener = move || {
        for signal in signals.forever() {
            LAST.store(signal, Ordering::Relaxed);
            stop();
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(listener).map(drop)
}

#[cfg(not(unix))]
pub fn listen(stop: impl FnMut() + Send + 'static) -> io::Result<()> {
    ctrlc::set_handler(stop).map_err(io::Error::other)
}

/// Whether this process was started with the signal ignored.
#[cfg(unix)]
fn is_ignored(signal: i32) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: the pointer is valid for a write, and the null pointer leaves the handler as it is.
    let status = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: after success, the action has been written.
    status == 0 && unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}
