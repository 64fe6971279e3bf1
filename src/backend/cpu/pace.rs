//! How many panels are multiplied in turn, found while drafts are written: what is
//! quickest is the memory's to say (`benches/README.md`), and no bit depends on it.

use super::panels::BESIDE;
use crate::backend::Batch;

/// Steps that are timed with each number; the quickest counts, for others may have
/// been disturbed.
const TRIES: usize = 3;

/// Steps with more rows are held up by arithmetic, whatever the memory does.
const MOST_ROWS: usize = 8;

/// Compares steps of one number of rows until it knows.
#[derive(Debug, Default)]
pub struct Pace {
    /// The time of the batch under way is of use.
    compares: bool,
    /// Rows of the steps compared, and how many there were.
    rows: usize,
    steps: usize,
    quickest_ms: [Option<f64>; BESIDE.len()],
    found: Option<usize>,
}

impl Pace {
    /// Panels side by side in this batch, one of [`BESIDE`].
    pub fn begin(&mut self, batch: &Batch) -> usize {
        self.compares = false;
        if let Some(found) = self.found {
            return found;
        }
        // A request's first batch allocates, too.
        let rows = batch.rows();
        if batch.start.is_some() || rows > MOST_ROWS {
            return BESIDE[0];
        }
        if rows != self.rows {
            *self = Self { rows, ..Self::default() };
        }
        self.compares = true;
        BESIDE[self.steps % BESIDE.len()]
    }

    /// Takes the time of the batch that was begun.
    pub fn took(&mut self, ms: f64) {
        if !std::mem::take(&mut self.compares) {
            return;
        }
        let quickest = &mut self.quickest_ms[self.steps % BESIDE.len()];
        *quickest = Some(quickest.map_or(ms, |before| before.min(ms)));
        self.steps += 1;
        if self.steps == TRIES * BESIDE.len() {
            let timed = BESIDE.into_iter().zip(self.quickest_ms.map(Option::unwrap_or_default));
            self.found = timed.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(beside, _)| beside);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{CacheShape, Place, Sequence};

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
            let ms = |beside, i| if beside == quick && i > 1 { 8.0 } else { 10.0 };
            run(&mut pace, 1, TRIES * BESIDE.len(), ms);
            for rows in [1, 5, 64] {
                assert_eq!(pace.begin(&step(rows)), quick);
            }
        }
    }

    #[test]
    fn only_steps_of_one_size_are_compared() {
        let mut pace = Pace::default();
        run(&mut pace, 5, 3, |_, _| 20.0);
        run(&mut pace, 200, 9, |_, _| 1.0);
        let shape = CacheShape { prompt: 4, drafts: 1, tail: 1 };
        pace.begin(&Batch::prompt(&[0; 4], vec![3], shape));
        pace.took(1.0);
        assert_eq!((pace.found, pace.steps), (None, 3));
        // A draft has ended: from the beginning.
        run(&mut pace, 4, TRIES * BESIDE.len() - 1, |beside, _| beside as f64);
        assert_eq!(pace.found, None);
        run(&mut pace, 4, 1, |beside, _| beside as f64);
        assert_eq!(pace.found, BESIDE.into_iter().min());
    }
}
