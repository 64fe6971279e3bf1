//! Which engine is requested: the visitor's choice, or the CPU once the GPU is lost.

use crate::web::protocol::{BackendChoice, FailureKind, Ready};

#[derive(Debug, Clone, PartialEq)]
pub struct Fallback {
    choice: BackendChoice,
    /// Whether the engine, or its load under way, uses the GPU.
    on_gpu: bool,
    gpu_lost: bool,
}

impl Fallback {
    pub fn new(choice: BackendChoice) -> Self {
        Self { choice, on_gpu: false, gpu_lost: false }
    }

    /// The engine to request.
    pub fn choice(&self) -> BackendChoice {
        self.choice
    }

    pub fn on_gpu(&self) -> bool {
        self.on_gpu
    }

    /// Whether the CPU took over from a GPU that was lost.
    pub fn gpu_lost(&self) -> bool {
        self.gpu_lost
    }

    /// Notes that a load begins.
    pub fn begin_load(&mut self) {
        self.on_gpu = self.choice == BackendChoice::WebGpu;
    }

    /// Notes whether the load is using the GPU now.
    pub fn tries_gpu(&mut self, tries: bool) {
        self.on_gpu = tries;
    }

    /// Notes which engine was loaded.
    pub fn ready(&mut self, ready: &Ready) {
        self.on_gpu = ready.backend == BackendChoice::WebGpu.name();
    }

    /// Handles the end of the engine; returns whether the CPU takes over, which is then the choice.
    pub fn take_over(&mut self, kind: FailureKind) -> bool {
        let takes_over = kind.cpu_can_continue(self.on_gpu);
        if takes_over {
            *self = Self { choice: BackendChoice::Simd, on_gpu: false, gpu_lost: true };
        }
        takes_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_takes_over_from_the_gpu_once() {
        let mut fallback = Fallback::new(BackendChoice::Auto);
        fallback.begin_load();
        fallback.tries_gpu(true);
        assert!(!fallback.take_over(FailureKind::Network), "no fault of the GPU");
        assert!(fallback.take_over(FailureKind::Crash));
        assert_eq!((fallback.choice(), fallback.gpu_lost()), (BackendChoice::Simd, true));
        fallback.begin_load();
        assert!(!fallback.take_over(FailureKind::Crash));
    }

    #[test]
    fn a_crash_after_the_gpu_was_given_up_is_not_its_fault() {
        for choice in [BackendChoice::Auto, BackendChoice::WebGpu] {
            let mut fallback = Fallback::new(choice);
            fallback.begin_load();
            fallback.tries_gpu(true);
            fallback.tries_gpu(false);
            assert!(!fallback.take_over(FailureKind::Crash), "{choice:?}");
            assert_eq!((fallback.choice(), fallback.gpu_lost()), (choice, false));
        }
    }
}
