//! Chooses the order in which weights are read by timing the first decode steps: the fastest
//! depends on the machine (`benches/README.md`). No bit of the result depends on it.

use super::panels::{MANY_ROWS, ORDERS, Order};
use crate::backend::Batch;

/// Steps timed with each order. The fastest counts, because others may have been disturbed.
const TRIES: usize = 3;

/// Steps with more rows are bound by arithmetic and always use [`MANY_ROWS`], with which one load
/// of activations serves many panels.
const MAX_ROWS: usize = 8;

/// Compares the orders separately for each number of rows, until each is decided.
#[derive(Debug, Default)]
pub struct OrderTuner {
    /// For steps with 1, 2, 3… rows.
    trials: [Trial; MAX_ROWS],
    /// The trial of the batch under way, if its time counts.
    under_way: Option<usize>,
}

#[derive(Debug, Default)]
struct Trial {
    steps: usize,
    /// For each of [`ORDERS`].
    quickest_ms: [Option<f64>; ORDERS.len()],
}

impl OrderTuner {
    /// The order for this batch.
    pub fn begin(&mut self, batch: &Batch) -> Order {
        let rows = batch.rows().wrapping_sub(1);
        let trial = self.trials.get(rows);
        // A request's first batch also allocates memory, so its time does not count.
        let counts = batch.start.is_none() && trial.is_some_and(|trial| !trial.is_over());
        self.under_way = counts.then_some(rows);
        trial.map_or(MANY_ROWS, Trial::order)
    }

    /// Takes the time of the batch that began last.
    pub fn took(&mut self, ms: f64) {
        if let Some(trial) = self.under_way.take().and_then(|rows| self.trials.get_mut(rows)) {
            trial.take(ms);
        }
    }
}

impl Trial {
    fn is_over(&self) -> bool {
        self.steps == TRIES * ORDERS.len()
    }

    fn order(&self) -> Order {
        let timed = ORDERS.into_iter().zip(self.quickest_ms.map(Option::unwrap_or_default));
        match timed.min_by(|a, b| a.1.total_cmp(&b.1)) {
            Some((quickest, _)) if self.is_over() => quickest,
            _ => ORDERS[self.steps % ORDERS.len()],
        }
    }

    fn take(&mut self, ms: f64) {
        let quickest = &mut self.quickest_ms[self.steps % ORDERS.len()];
        *quickest = Some(quickest.map_or(ms, |before| before.min(ms)));
        self.steps += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{CacheShape, Place, Sequence};

    const ENOUGH: usize = TRIES * ORDERS.len();

    fn step(rows: usize) -> Batch {
        let places = (0..rows).map(|d| Place { sequence: Sequence::Draft(d), position: 9 }).collect();
        Batch { tokens: vec![0; rows], places, ..Batch::default() }
    }

    /// Runs steps whose time is a function of their order and index.
    fn run(tuner: &mut OrderTuner, rows: usize, steps: usize, ms: impl Fn(Order, usize) -> f64) {
        for i in 0..steps {
            let order = tuner.begin(&step(rows));
            tuner.took(ms(order, i));
        }
    }

    #[test]
    fn the_quickest_stays_even_where_a_step_was_disturbed() {
        for quick in ORDERS {
            let mut tuner = OrderTuner::default();
            run(&mut tuner, 1, ENOUGH, |order, i| if order == quick && i > 1 { 8.0 } else { 10.0 });
            assert_eq!(tuner.begin(&step(1)), quick);
            // Decided: later times are ignored.
            run(&mut tuner, 1, ENOUGH, |order, _| if order == quick { 99.0 } else { 1.0 });
            assert_eq!(tuner.begin(&step(1)), quick);
        }
    }

    #[test]
    fn only_steps_of_one_size_are_compared() {
        let mut tuner = OrderTuner::default();
        let [few, many] = [ORDERS[1], ORDERS[0]];
        let faster = |quick: Order| move |order, _| if order == quick { 1.0 } else { 2.0 };
        run(&mut tuner, 5, ENOUGH - 1, faster(few));
        run(&mut tuner, 200, ENOUGH, faster(few));
        let shape = CacheShape { prompt: 5, drafts: 1, tail: 1 };
        tuner.begin(&Batch::prompt(&[0; 5], vec![4], shape));
        tuner.took(0.0);
        run(&mut tuner, 4, ENOUGH, faster(many));
        run(&mut tuner, 5, 1, faster(few));
        assert_eq!([4, 5, 200].map(|rows| tuner.begin(&step(rows))), [many, few, MANY_ROWS]);
    }
}
