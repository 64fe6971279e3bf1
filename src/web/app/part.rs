//! The page is created part by part, each in a task of its own: a single task would block a phone
//! for a third of a second.

use gloo::timers::callback::Timeout;
use leptos::prelude::*;

/// How many parts have been created.
#[derive(Clone, Copy)]
pub struct CreatedParts(RwSignal<usize>);

impl CreatedParts {
    /// Creates `parts` parts one after the other, then calls `after`.
    pub fn begin(parts: usize, after: impl FnOnce() + 'static) -> Self {
        let created = Self(RwSignal::new(0));
        provide_context(created);
        created.next(parts, after);
        created
    }

    /// Whether the `nth` part, counted from 1, has been created.
    pub fn has(self, nth: usize) -> bool {
        self.0.get() >= nth
    }

    fn next(self, parts: usize, after: impl FnOnce() + 'static) {
        let step = move || match parts {
            0 => after(),
            _ => {
                self.0.update(|count| *count += 1);
                self.next(parts - 1, after);
            }
        };
        Timeout::new(0, step).forget();
    }
}

/// The content of the `nth` part. Parts are counted from top to bottom, so that none shifts what is
/// already shown.
#[component]
pub fn Part(nth: usize, children: ChildrenFn) -> impl IntoView {
    let created: CreatedParts = expect_context();
    let due = Memo::new(move |_| created.has(nth));
    move || due.get().then(|| children())
}
