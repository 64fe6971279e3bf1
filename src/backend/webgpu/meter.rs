//! Measures where a step's time goes: with a clock supplied by the caller, since this crate's core
//! has none, and with GPU timestamps where available.

use std::cell::Cell;

/// Returns milliseconds since an arbitrary moment.
pub type Clock = fn() -> f64;

/// Where a step's time went, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct StepTimes {
    /// Recording its commands.
    pub encode_ms: f64,
    /// Submitting them.
    pub submit_ms: f64,
    /// Waiting for them and reading the results.
    pub wait_ms: f64,
}

/// Total GPU time of a kernel during a step.
#[derive(Debug, Clone, PartialEq)]
pub struct KernelTime {
    /// Name of the kernel's file.
    pub kernel: &'static str,
    /// The words of its shape uniform (R, N, K…, in the kernel's order).
    pub shape: Vec<u32>,
    pub dispatches: usize,
    /// Milliseconds of all its dispatches together.
    pub ms: f64,
}

/// Times the phases of a step; without a clock it does nothing.
#[derive(Debug, Default)]
pub struct Stopwatch {
    clock: Option<Clock>,
    last_ms: Cell<f64>,
    times: Cell<StepTimes>,
}

impl Stopwatch {
    pub fn new(clock: Option<Clock>) -> Self {
        Self { clock, ..Self::default() }
    }

    /// Starts a step.
    pub fn begin(&self) {
        self.times.take();
        self.lap(|_, _| ());
    }

    /// Ends recording.
    pub fn recorded(&self) {
        self.lap(|times, ms| times.encode_ms += ms);
    }

    /// Ends submission.
    pub fn submitted(&self) {
        self.lap(|times, ms| times.submit_ms += ms);
    }

    /// Ends the wait for results.
    pub fn read(&self) {
        self.lap(|times, ms| times.wait_ms += ms);
    }

    /// Returns the times of the last step.
    pub fn times(&self) -> StepTimes {
        self.times.get()
    }

    fn lap(&self, take: impl FnOnce(&mut StepTimes, f64)) {
        let Some(clock) = self.clock else { return };
        let now_ms = clock();
        let mut times = self.times.get();
        take(&mut times, now_ms - self.last_ms.replace(now_ms));
        self.times.set(times);
    }
}

/// Sums kernel times by kernel and shape, in order of first appearance.
pub fn add_up(times: impl IntoIterator<Item = (&'static str, Vec<u32>, f64)>) -> Vec<KernelTime> {
    let mut sums: Vec<KernelTime> = Vec::new();
    for (kernel, shape, ms) in times {
        match sums.iter_mut().find(|sum| sum.kernel == kernel && sum.shape == shape) {
            Some(sum) => {
                sum.dispatches += 1;
                sum.ms += ms;
            }
            None => sums.push(KernelTime { kernel, shape, dispatches: 1, ms }),
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn a_step_is_recorded_then_submitted_then_waited_for() {
        static NOW_MS: AtomicU32 = AtomicU32::new(0);
        let watch = Stopwatch::new(Some(|| f64::from(NOW_MS.load(Ordering::Relaxed))));
        let pass = |ms| {
            NOW_MS.fetch_add(ms, Ordering::Relaxed);
        };
        for _ in 0..2 {
            pass(1000);
            watch.begin();
            for (ms, end) in [
                (1, Stopwatch::recorded as fn(&Stopwatch)),
                (2, Stopwatch::submitted),
                (4, Stopwatch::read),
                // The selection overflowed, so all logits are read as well.
                (8, Stopwatch::recorded),
                (16, Stopwatch::submitted),
                (32, Stopwatch::read),
            ] {
                pass(ms);
                end(&watch);
            }
            assert_eq!(watch.times(), StepTimes { encode_ms: 9.0, submit_ms: 18.0, wait_ms: 36.0 });
        }
        let without = Stopwatch::default();
        without.begin();
        without.read();
        assert_eq!(without.times(), StepTimes::default());
    }

    #[test]
    fn kernels_are_added_up_by_name_and_shape() {
        let times = [("linear", vec![8, 1], 1.0), ("norm", vec![8], 2.0), ("linear", vec![8, 1], 4.0)];
        let found = add_up(times.into_iter().chain([("linear", vec![9, 1], 8.0)]));
        let found: Vec<_> = found.iter().map(|t| (t.kernel, t.shape[0], t.dispatches, t.ms)).collect();
        assert_eq!(found, [("linear", 8, 2, 5.0), ("norm", 8, 1, 2.0), ("linear", 9, 1, 8.0)]);
    }
}
