//! The operating system's threads.

use std::{sync::Arc, thread::Builder};

use super::crew::Crew;

/// Polls of the gate before an idle worker parks: about 50 µs. Within a step the next region comes
/// sooner, and waking a parked thread takes longer.
pub const SPINS: u32 = 2_000;

/// Starts up to `count` worker threads, which serve the crew until it is dismissed.
pub fn start(crew: &Arc<Crew>, count: usize) {
    for index in 0..count {
        let served = crew.clone();
        let builder = Builder::new().name(format!("engine-{}", index + 1));
        let Ok(_detached) = builder.spawn(move || served.serve()) else { break };
        crew.add_member();
    }
}
