//! Timings of the GPU and the CPU, remembered for as long as everything that they depend on stays
//! the same.

use super::{
    Machine,
    storage::{remember_measurement, remembered_measurement},
};
use crate::backend::webgpu::Adapter;

/// Digest of the kernels' and the network's sources (`build.rs`), which affect speed and can
/// change within one version.
const KERNELS: &str = env!("HUGGINGTWEETS_KERNELS");

/// A stored measurement.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Measured {
    /// Milliseconds per decoding step of one draft.
    pub gpu_ms: f64,
    pub simd_ms: f64,
}

impl Measured {
    pub fn gpu_wins(self) -> bool {
        self.gpu_ms < self.simd_ms
    }
}

/// Everything that a measurement depends on.
#[derive(Debug, Clone, Copy)]
struct Subject<'a> {
    /// URL of the weights' file.
    model: &'a str,
    /// The adapter's name.
    gpu: &'a str,
    version: &'a str,
    kernels: &'a str,
    /// With or without relaxed SIMD, shared memory or not.
    build: &'a str,
    threads: usize,
}

impl Subject<'_> {
    /// Returns a unique URL, since the Cache API's keys are URLs.
    fn key(self) -> String {
        let Self { model, gpu, version, kernels, build, threads } = self;
        let separator = if model.contains('?') { '&' } else { '?' };
        let gpu: String = gpu.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        format!(
            "{model}{separator}measured={version}&kernels={kernels}&gpu={gpu}&build={build}&threads={threads}"
        )
    }
}

/// Where a measurement is stored.
pub struct Memory {
    key: String,
}

impl Memory {
    /// `model` is a URL that identifies the weights' file uniquely.
    pub fn new(model: &str, adapter: &Adapter, machine: &Machine) -> Self {
        let subject = Subject {
            model,
            gpu: &adapter.name,
            version: env!("CARGO_PKG_VERSION"),
            kernels: KERNELS,
            build: &machine.build,
            threads: machine.threads,
        };
        Self { key: subject.key() }
    }

    pub async fn recall(&self) -> Option<Measured> {
        serde_json::from_str(&remembered_measurement(&self.key).await?).ok()
    }

    pub async fn remember(&self, measured: Measured) {
        if let Ok(text) = serde_json::to_string(&measured) {
            remember_measurement(&self.key, &text).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_measurement_holds_for_one_of_each() {
        let all = Subject {
            model: "https://example.org/bot/model-q8_0.gguf?sha256=00",
            gpu: "nvidia ampere",
            version: "0.1.0",
            kernels: KERNELS,
            build: "relaxed-shared",
            threads: 4,
        };
        let others = [
            Subject { model: "https://example.org/bot/model-q8_0.gguf?sha256=01", ..all },
            Subject { model: "https://example.org/bot/model-q8_0.gguf", ..all },
            Subject { gpu: "nvidia turing", ..all },
            Subject { version: "0.1.1", ..all },
            Subject { kernels: "0123456789abcdef", ..all },
            Subject { build: "plain-shared", ..all },
            Subject { build: "relaxed-single", ..all },
            Subject { threads: 1, ..all },
        ];
        let keys: HashSet<String> = others.iter().chain([&all]).map(|subject| subject.key()).collect();
        assert_eq!(keys.len(), others.len() + 1, "{keys:?}");
        assert_eq!(all.key(), all.key());
        for key in keys {
            assert!(
                key.starts_with("https://example.org/bot/model-q8_0.gguf?") && !key.contains(' '),
                "{key}"
            );
            assert_eq!(key.matches('?').count(), 1, "{key}");
        }
    }

    #[test]
    fn the_build_has_a_digest_of_its_kernels() {
        assert!(KERNELS.len() == 16 && KERNELS.bytes().all(|b| b.is_ascii_hexdigit()), "{KERNELS}");
    }
}
