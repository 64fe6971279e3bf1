//! Respects `nohup`: a run begun with it must outlast the terminal, even though signal handlers are
//! installed.

/// Calls `listen`, which installs a handler for SIGHUP among other signals; restores SIGHUP to
/// ignored if it was before.
#[cfg(target_os = "linux")]
pub fn heeded<T>(listen: impl FnOnce() -> T) -> T {
    // SAFETY: SIG_IGN is a valid disposition for SIGHUP, and no Rust code is installed as a
    // handler.
    let before = unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
    let result = listen();
    if before == libc::SIG_IGN {
        // SAFETY: as above; `before` is SIG_IGN.
        unsafe { libc::signal(libc::SIGHUP, before) };
    }
    result
}

/// Calls `listen`: here one cannot ask which signals were ignored before.
#[cfg(not(target_os = "linux"))]
pub fn heeded<T>(listen: impl FnOnce() -> T) -> T {
    listen()
}
