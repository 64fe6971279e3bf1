//! How many panels are multiplied in turn, found while drafts are written: what is
//! quickest is the memory's to say (`benches/README.md`), and no bit depends on it.

use super::panels::{BESIDE, MOST_BESIDE};
use crate::backend::Batch;

/// Steps that are timed with each number; the quickest counts, for others may have
/// been disturbed.
const TRIES: usize = 3;

/// Steps with more rows are held up by arithmetic, whatever the memory does: what they
/// load of activations had better serve many panels.
const MOST_ROWS: usize = 8;

/// Compares steps of a number of rows until it knows.
#[derive(Debug, Default)]
pub struct Pace {
    /// Of steps with 1, 2, 3… rows.
    trials: [Trial; MOST_ROWS],
    /// Which of them the batch under way belongs to, where its time is of use.
    under_way: Option<usize>,
}

#[derive(Debug, Default)]
struct Trial {
    steps: usize,
    /// With each of [`BESIDE`].
    quickest_ms: [Option<f64>; BESIDE.len()],
}

impl Pace {
    /// Panels in turn in this batch, one of [`BESIDE`].
    pub fn begin(&mut self, batch: &Batch) -> usize {
        let rows = batch.rows().wrapping_sub(1);
        let trial = self.trials.get(rows);
        // A request's first batch allocates, too.
        let counts = batch.start.is_none() && trial.is_some_and(|trial| !trial.is_over());
        self.under_way = counts.then_some(rows);
        trial.map_or(MOST_BESIDE, Trial::beside)
    }

    /// Takes the time of the batch that was begun.
    pub fn took(&mut self, ms: f64) {
        if let Some(trial) = self.under_way.take().and_then(|rows| self.trials.get_mut(rows)) {
            trial.take(ms);
        }
    }
}

impl Trial {
    fn is_over(&self) -> bool {
        self.steps == TRIES * BESIDE.len()
    }

    fn beside(&self) -> usize {
        let timed = BESIDE.into_iter().zip(self.quickest_ms.map(Option::unwrap_or_default));
        match timed.min_by(|a, b| a.1.total_cmp(&b.1)) {
            Some((quickest, _)) if self.is_over() => quickest,
            _ => BESIDE[self.steps % BESIDE.len()],
        }
    }

    fn take(&mut self, ms: f64) {
        let quickest = &mut self.quickest_ms[self.steps % BESIDE.len()];
        *quickest = Some(quickest.map_or(ms, |before| before.min(ms)));
        self.steps += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{CacheShape, Place, Sequence};

    const ENOUGH: usize = TRIES * BESIDE.len();

    fn step(rows: usize) -> Batch {
        let places = (0..rows).map(|d| Place { sequence: Sequence::Draft(d), position: 9 }).collect();
        Batch { tokens: vec![0; rows], places, ..Batch::default() }
    }

    /// Steps whose time is a function of what is side by side and of their number.
    fn run(pace: &mut Pace, rows: usize, steps: usize, ms: impl Fn(usize, usize) -> f64) {
        for i in 0..steps {
            let beside = pace.begin(&step(rows));
            pace.took(ms(beside, i));
        }
    }

    #[test]
    fn the_quickest_stays_even_where_a_step_was_disturbed() {
        for quick in BESIDE {
            let mut pace = Pace::default();
            run(&mut pace, 1, ENOUGH, |beside, i| if beside == quick && i > 1 { 8.0 } else { 10.0 });
            assert_eq!(pace.begin(&step(1)), quick);
            // Nothing changes it any more.
            run(&mut pace, 1, ENOUGH, |beside, _| if beside == quick { 99.0 } else { 1.0 });
            assert_eq!(pace.begin(&step(1)), quick);
        }
    }

    #[test]
    fn only_steps_of_one_size_are_compared() {
        let mut pace = Pace::default();
        let [few, many] = [BESIDE[1], BESIDE[0]];
        let faster = |quick: usize| move |beside, _| if beside == quick { 1.0 } else { 2.0 };
        run(&mut pace, 5, ENOUGH - 1, faster(few));
        run(&mut pace, 200, ENOUGH, faster(few));
        let shape = CacheShape { prompt: 5, drafts: 1, tail: 1 };
        pace.begin(&Batch::prompt(&[0; 5], vec![4], shape));
        pace.took(0.0);
        run(&mut pace, 4, ENOUGH, faster(many));
        run(&mut pace, 5, 1, faster(few));
        assert_eq!([4, 5, 200].map(|rows| pace.begin(&step(rows))), [many, few, MOST_BESIDE]);
    }
}
