//! Who began a run with `nohup` wants it to outlast the terminal: listening for signals
//! must not undo that.

/// Calls `listen`, which takes SIGHUP among other signals; one that was ignored before
/// is ignored again.
#[cfg(target_os = "linux")]
pub fn heeded<T>(listen: impl FnOnce() -> T) -> T {
    // SAFETY: both handlers are the system's own, and no memory is touched.
    let before = unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
    let result = listen();
    if before == libc::SIG_IGN {
        // SAFETY: as above.
        unsafe { libc::signal(libc::SIGHUP, before) };
    }
    result
}

/// Calls `listen`: what was ignored before cannot be asked for here.
#[cfg(not(target_os = "linux"))]
pub fn heeded<T>(listen: impl FnOnce() -> T) -> T {
    listen()
}
