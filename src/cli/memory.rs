//! Peak memory of this process.

/// Peak resident memory in bytes; `None` if the system does not report it.
#[cfg(target_os = "linux")]
pub fn peak_bytes() -> Option<u64> {
    peak_of_status(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// Peak resident memory in bytes; `None` if the system does not report it.
#[cfg(not(target_os = "linux"))]
pub fn peak_bytes() -> Option<u64> {
    None
}

/// Parses the line `VmHWM:   123 kB` ("high water mark") of Linux's status file into bytes.
#[cfg(any(target_os = "linux", test))]
fn peak_of_status(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_high_water_mark_is_read() {
        assert_eq!(peak_of_status("Name:\tx\nVmHWM:\t   2048 kB\nVmRSS:\t 1 kB\n"), Some(2 << 20));
        assert_eq!(peak_of_status("Name:\tx\n"), None);
        assert_eq!(peak_of_status("VmHWM:\tmany kB\n"), None);
    }
}
