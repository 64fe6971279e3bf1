//! The machine that a run was made on, for comparing throughput; nothing that identifies its
//! owner.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

/// Hardware and operating system, without host or user name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    /// The processor's brand name.
    pub cpu: String,
    /// Threads available to this process.
    pub cores: usize,
    pub memory_bytes: u64,
    /// Name and version of the operating system, and the architecture.
    pub os: String,
    /// The GPU used for training, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu: Option<String>,
}

impl Machine {
    /// Detects this machine. Unknown fields are empty or 0.
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

    /// Adds the machine's NVIDIA GPUs.
    pub fn with_nvidia(self) -> Self {
        const DRIVER: &str = "/proc/driver/nvidia/gpus";
        Self { gpu: Some(nvidia_names(Path::new(DRIVER)).unwrap_or_else(|| "an NVIDIA GPU".into())), ..self }
    }
}

/// Returns the distinct GPU names from the driver's `information` files.
fn nvidia_names(driver: &Path) -> Option<String> {
    let mut names: Vec<String> = Vec::new();
    for gpu in fs::read_dir(driver).ok()?.flatten() {
        let text = fs::read_to_string(gpu.path().join("information")).unwrap_or_default();
        names.extend(text.lines().find_map(|line| Some(line.strip_prefix("Model:")?.trim().to_owned())));
    }
    names.sort();
    names.dedup();
    (!names.is_empty()).then(|| names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_is_named_as_its_driver_does() {
        let driver = tempfile::tempdir().unwrap();
        assert_eq!(nvidia_names(driver.path()), None);
        for gpu in ["0000:01:00.0", "0000:02:00.0"] {
            fs::create_dir(driver.path().join(gpu)).unwrap();
            let text = "Model: \t\t NVIDIA H200\nIRQ:   \t\t 182\nGPU UUID: \t GPU-1\n";
            fs::write(driver.path().join(gpu).join("information"), text).unwrap();
        }
        assert_eq!(nvidia_names(driver.path()).as_deref(), Some("NVIDIA H200"));
        assert_eq!(nvidia_names(&driver.path().join("none")), None);
    }

    #[test]
    fn this_machine_has_a_core_and_memory() {
        let machine = Machine::detect();
        assert!(machine.cores > 0 && machine.memory_bytes > 1 << 20, "{machine:?}");
        assert!(machine.os.contains(std::env::consts::ARCH));
    }
}
