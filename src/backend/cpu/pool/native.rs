//! Threads of the operating system.

use std::{sync::Arc, thread::Builder};

use super::crew::Crew;

/// Looks at the gate before a waiting thread parks: about 50 µs. Within a step
/// of the engine the next region comes sooner, and a woken thread comes later.
pub const SPINS: u32 = 2_000;

/// Starts up to `count` threads that serve the crew until it is dismissed.
pub fn hire(crew: &Arc<Crew>, count: usize) {
    for index in 0..count {
        let served = crew.clone();
        let builder = Builder::new().name(format!("engine-{}", index + 1));
        let Ok(_detached) = builder.spawn(move || served.serve()) else { break };
        crew.admit();
    }
}
