//! The machine a run was made on: what makes its tokens a second comparable,
//! and nothing that tells whose it is.

use serde::{Deserialize, Serialize};
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

/// The hardware and the system; no host or user name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    /// The processor's name as it says it.
    pub cpu: String,
    /// Threads that this process may run at once.
    pub cores: usize,
    pub memory_bytes: u64,
    /// The system's name and version, and the instruction set.
    pub os: String,
    /// An accelerator, where one computed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu: Option<String>,
}

impl Machine {
    /// This machine; what cannot be found out is empty or 0.
    pub fn detect() -> Self {
        let kind = RefreshKind::nothing()
            .with_cpu(CpuRefreshKind::nothing())
            .with_memory(MemoryRefreshKind::nothing().with_ram());
        let system = System::new_with_specifics(kind);
        let os = System::long_os_version().or_else(System::name).unwrap_or_default();
        Self {
            cpu: system.cpus().first().map(|cpu| cpu.brand().trim().to_owned()).unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_bytes: system.total_memory(),
            os: format!("{os} ({})", std::env::consts::ARCH).trim().to_owned(),
            gpu: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_core_and_memory() {
        let machine = Machine::detect();
        assert!(machine.cores > 0 && machine.memory_bytes > 1 << 20, "{machine:?}");
        assert!(machine.os.contains(std::env::consts::ARCH));
    }
}
