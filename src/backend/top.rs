//! The largest logits of a row, selected as the head computes them: the vocabulary is never sorted,
//! and with quantised weights its logits never leave the caches.

/// Collects (token, logit) and keeps the k largest and those that tie with the k-th.
#[derive(Debug, Default)]
pub struct Top {
    k: usize,
    /// A lower bound: no smaller logit can be among the k largest.
    least: f32,
    /// `kept` is pruned when it reaches this length.
    limit: usize,
    kept: Vec<(u32, f32)>,
}

impl Top {
    /// Starts over, reusing memory.
    pub fn restart(&mut self, k: usize) {
        self.k = k.max(1);
        self.least = f32::NEG_INFINITY;
        self.limit = self.k.saturating_mul(4).saturating_add(64);
        self.kept.clear();
    }

    /// Takes the logits of the tokens from `first` on. A NaN is never kept.
    #[inline(always)]
    pub fn take(&mut self, first: usize, logits: &[f32]) {
        // Few panels have a logit that is large enough, so one branch-free pass decides.
        let mut any = false;
        for &logit in logits {
            any |= logit >= self.least;
        }
        if any {
            self.keep(first, logits);
        }
    }

    #[cold]
    fn keep(&mut self, first: usize, logits: &[f32]) {
        for (token, &logit) in (first as u32..).zip(logits) {
            if logit >= self.least {
                self.kept.push((token, logit));
            }
        }
        if self.kept.len() >= self.limit {
            self.shrink();
            // With many ties little was removed; pruning again right away would be wasted.
            self.limit = self.limit.max(2 * self.kept.len());
        }
    }

    /// Adds what another collector kept.
    pub fn merge(&mut self, other: &Self) {
        self.kept.extend_from_slice(&other.kept);
    }

    /// Removes what is below the k-th largest.
    fn shrink(&mut self) {
        if self.kept.len() > self.k {
            self.kept.select_nth_unstable_by(self.k - 1, |a, b| b.1.total_cmp(&a.1));
            let least = self.kept[self.k - 1].1;
            self.kept.retain(|c| c.1 >= least);
            self.least = least;
        }
    }

    /// The k largest and those that tie with the k-th, unordered.
    pub fn finish(&mut self) -> Vec<(u32, f32)> {
        self.shrink();
        self.kept.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keeps_what_a_sort_would(
            logits in prop::collection::vec(prop_oneof![(-9i8..9).prop_map(f32::from), Just(f32::NAN)], 1..900),
            k in 1usize..60,
            cut in 0usize..900,
        ) {
            let cut = cut.min(logits.len());
            let (mut a, mut b) = (Top::default(), Top::default());
            a.restart(k);
            b.restart(k);
            for (i, chunk) in logits[..cut].chunks(8).enumerate() {
                a.take(8 * i, chunk);
            }
            for (i, chunk) in logits[cut..].chunks(8).enumerate() {
                b.take(cut + 8 * i, chunk);
            }
            a.merge(&b);
            let mut found = a.finish();
            found.sort_by_key(|c| c.0);
            let mut sorted: Vec<f32> = logits.iter().copied().filter(|l| !l.is_nan()).collect();
            sorted.sort_by(|a, b| b.total_cmp(a));
            let least = sorted.get(k - 1).or(sorted.last()).copied().unwrap_or(f32::INFINITY);
            let expected: Vec<(u32, f32)> =
                (0u32..).zip(logits.iter().copied()).filter(|&(_, l)| l >= least).collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn more_than_there_are_is_all() {
        let mut top = Top::default();
        top.restart(usize::MAX);
        top.take(0, &[1.0, 2.0]);
        assert_eq!(top.finish(), [(0, 1.0), (1, 2.0)]);
    }

    #[test]
    fn minus_infinity_is_kept_only_where_nothing_else_is() {
        let mut top = Top::default();
        top.restart(2);
        top.take(0, &[f32::NEG_INFINITY, 1.0, f32::NEG_INFINITY, 2.0]);
        let mut found = top.finish();
        found.sort_by_key(|c| c.0);
        assert_eq!(found, [(1, 1.0), (3, 2.0)]);
    }
}
