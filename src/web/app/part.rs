//! The page comes part by part, each in a task of its own: made in one task it
//! would hold a phone up for a third of a second.

use gloo::timers::callback::Timeout;
use leptos::prelude::*;

/// How many parts have come.
#[derive(Clone, Copy)]
pub struct Come(RwSignal<usize>);

impl Come {
    /// Lets `parts` parts come, one after the other, and then does what comes `after`.
    pub fn begin(parts: usize, after: impl FnOnce() + 'static) -> Self {
        let come = Self(RwSignal::new(0));
        provide_context(come);
        come.next(parts, after);
        come
    }

    /// Whether the `nth` part, counted from 1, is there.
    pub fn has(self, nth: usize) -> bool {
        self.0.get() >= nth
    }

    fn next(self, parts: usize, after: impl FnOnce() + 'static) {
        let step = move || match parts {
            0 => after(),
            _ => {
                self.0.update(|come| *come += 1);
                self.next(parts - 1, after);
            }
        };
        Timeout::new(0, step).forget();
    }
}

/// What comes as the `nth` part. Parts are counted from top to bottom, so that
/// none pushes down what is there.
#[component]
pub fn Part(nth: usize, children: ChildrenFn) -> impl IntoView {
    let come: Come = expect_context();
    let due = Memo::new(move |_| come.has(nth));
    move || due.get().then(|| children())
}
