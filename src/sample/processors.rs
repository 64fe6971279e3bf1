//! From logits to a token, with the same steps in the same order as `transformers`: repetition
//! penalty, no-repeat n-gram, temperature, top-k, top-p, min-p, typical-p.

use super::Params;

/// The network's logits for the next token.
#[derive(Debug, Clone, Copy)]
pub enum Logits<'a> {
    /// All of them (V).
    All(&'a [f32]),
    /// (token, logit) of at least [`Params::enough`] of the largest, including all that tie with
    /// the smallest of them.
    Top(&'a [(u32, f32)]),
}

/// Applies [`Params`] to logits; reuses its memory from token to token.
#[derive(Debug, Default)]
pub struct Sampler {
    /// (token id, logit) of the tokens that are still possible, most likely first.
    candidates: Vec<(u32, f32)>,
    /// Probabilities of `candidates`.
    probabilities: Vec<f64>,
}

impl Sampler {
    /// Returns the token that the uniform sample `coin` in [0, 1) selects, given logits and
    /// `history`; `None` if no token is possible. `forbidden` is never selected (`<|endoftext|>`
    /// below the minimum length).
    pub fn sample(
        &mut self,
        logits: Logits,
        history: &[u32],
        params: &Params,
        forbidden: Option<u32>,
        coin: f64,
    ) -> Option<u32> {
        self.distribute(logits, history, params, forbidden);
        let index = draw(&self.probabilities, coin);
        self.candidates.get(index).map(|c| c.0)
    }

    /// Computes the remaining candidates and their probabilities.
    fn distribute(&mut self, logits: Logits, history: &[u32], params: &Params, forbidden: Option<u32>) {
        let candidates = &mut self.candidates;
        candidates.clear();
        match logits {
            Logits::All(logits) => {
                // NaN and infinite logits can never be selected.
                let number = |&l: &f32| if l.is_finite() { l } else { f32::NEG_INFINITY };
                candidates.extend((0u32..).zip(logits.iter().map(number)));
                // Both index candidates by token id, so they run before any is dropped or moved.
                penalise_repetition(candidates, history, params.repetition_penalty);
                forbid_repeated_ngrams(candidates, history, params.no_repeat_ngram);
            }
            Logits::Top(largest) => candidates.extend(largest.iter().filter(|c| c.1.is_finite())),
        }
        if let Some(entry) = forbidden.and_then(|id| candidates.iter_mut().find(|c| c.0 == id)) {
            entry.1 = f32::NEG_INFINITY;
        }
        let greedy = params.temperature == 0.0;
        let keep = match params.top_k {
            _ if greedy => 1,
            0 => candidates.len(),
            k => k.min(candidates.len()),
        };
        // Ties go to the smaller id, so that the order is the same everywhere.
        let order = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        if keep < candidates.len() && keep > 0 {
            candidates.select_nth_unstable_by(keep - 1, order);
            // Like transformers, keep all that tie with the k-th.
            let least = candidates[keep - 1].1;
            let tied = |c: &(u32, f32)| !greedy && c.1 == least;
            let mut end = keep;
            for i in keep..candidates.len() {
                if tied(&candidates[i]) {
                    candidates.swap(end, i);
                    end += 1;
                }
            }
            candidates.truncate(end);
        }
        candidates.sort_unstable_by(order);
        candidates.retain(|c| c.1 > f32::NEG_INFINITY);
        if !greedy {
            // Subtract the largest first: with a tiny temperature several logits could overflow to
            // infinity, and the difference of two infinities is NaN.
            let largest = candidates.first().map_or(0.0, |c| c.1);
            for candidate in candidates.iter_mut() {
                candidate.1 = (candidate.1 - largest) / params.temperature;
            }
        }
        self.normalise();
        if params.top_p < 1.0 {
            let kept = keep_top_p(&self.probabilities, params.top_p);
            self.truncate(kept);
        }
        if params.min_p > 0.0
            && let Some(&largest) = self.probabilities.first()
        {
            let least = f64::from(params.min_p) * largest;
            let kept = self.probabilities.iter().take_while(|&&p| p >= least).count();
            self.truncate(kept);
        }
        if params.typical_p < 1.0 {
            self.keep_typical(f64::from(params.typical_p));
        }
    }

    fn truncate(&mut self, kept: usize) {
        self.candidates.truncate(kept.max(1));
        self.normalise();
    }

    /// Computes the softmax of the candidates, in f64 so that sums over 50257 values are exact
    /// enough for the thresholds, and with [`exp`], whose bits do not depend on the platform.
    fn normalise(&mut self) {
        let largest = self.candidates.iter().fold(f32::NEG_INFINITY, |a, c| a.max(c.1));
        self.probabilities.clear();
        self.probabilities.extend(self.candidates.iter().map(|c| exp(f64::from(c.1) - f64::from(largest))));
        let sum: f64 = self.probabilities.iter().sum();
        for p in &mut self.probabilities {
            *p /= sum;
        }
    }

    /// Locally typical sampling (Meister et al. 2022): keeps the candidates whose surprisal is
    /// nearest to the entropy, until their mass reaches `mass`.
    fn keep_typical(&mut self, mass: f64) {
        let entropy: f64 = self.probabilities.iter().filter(|&&p| p > 0.0).map(|&p| -p * ln(p)).sum();
        let surprise = |p: f64| if p > 0.0 { (-ln(p) - entropy).abs() } else { f64::INFINITY };
        let mut order: Vec<usize> = (0..self.probabilities.len()).collect();
        order.sort_by(|&a, &b| surprise(self.probabilities[a]).total_cmp(&surprise(self.probabilities[b])));
        let mut total = 0.0;
        let mut kept = vec![false; order.len()];
        for index in order {
            kept[index] = true;
            total += self.probabilities[index];
            if total >= mass {
                break;
            }
        }
        let mut kept = kept.into_iter();
        self.candidates.retain(|_| kept.next().unwrap_or(false));
        self.normalise();
    }
}

/// Returns the probability of every token (V) after processing; zero if excluded.
pub fn probabilities(logits: &[f32], history: &[u32], params: &Params) -> Vec<f64> {
    let mut sampler = Sampler::default();
    sampler.distribute(Logits::All(logits), history, params, None);
    let mut all = vec![0.0; logits.len()];
    for (candidate, p) in sampler.candidates.iter().zip(&sampler.probabilities) {
        all[candidate.0 as usize] = *p;
    }
    all
}

/// Returns the index whose share of the unit interval contains the uniform sample `coin` in [0,
/// 1).
pub fn draw(probabilities: &[f64], coin: f64) -> usize {
    let mut total = 0.0;
    for (index, p) in probabilities.iter().enumerate() {
        total += p;
        if coin < total {
            return index;
        }
    }
    // Rounding may leave the sum slightly below the sample.
    probabilities.len().saturating_sub(1)
}

fn penalise_repetition(candidates: &mut [(u32, f32)], history: &[u32], penalty: f32) {
    if penalty == 1.0 {
        return;
    }
    let mut seen: Vec<u32> = history.to_vec();
    seen.sort_unstable();
    seen.dedup();
    for id in seen {
        if let Some((_, logit)) = candidates.get_mut(id as usize).filter(|(_, logit)| logit.is_finite()) {
            let penalised = if *logit < 0.0 { *logit * penalty } else { *logit / penalty };
            *logit = penalised.clamp(f32::MIN, f32::MAX);
        }
    }
}

fn forbid_repeated_ngrams(candidates: &mut [(u32, f32)], history: &[u32], n: usize) {
    if n == 0 || history.len() + 1 < n {
        return;
    }
    let tail = &history[history.len() + 1 - n..];
    for window in history.windows(n) {
        if window[..n - 1] == *tail
            && let Some((_, logit)) = candidates.get_mut(window[n - 1] as usize)
        {
            *logit = f32::NEG_INFINITY;
        }
    }
}

/// Returns how many of the descending probabilities top-p keeps: the fewest whose sum reaches p.
fn keep_top_p(probabilities: &[f64], p: f32) -> usize {
    // transformers drops from the least likely upwards while the dropped sum is at most 1 - p, in
    // f32.
    let budget = f64::from(1.0 - p);
    let mut dropped = 0.0;
    let mut kept = probabilities.len();
    while kept > 1 {
        dropped += probabilities[kept - 1];
        if dropped > budget {
            break;
        }
        kept -= 1;
    }
    kept
}

/// e^x with the same bits on every target (a library's depend on the platform).
fn exp(x: f64) -> f64 {
    const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    if x < -700.0 {
        return 0.0;
    }
    let n = (x * std::f64::consts::LOG2_E).round();
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    // Taylor polynomial up to r^13 on |r| <= ln(2)/2: its error is below 2^-53.
    let mut p = 1.0;
    for k in (1..=13).rev() {
        p = 1.0 + p * r / f64::from(k);
    }
    p * f64::from_bits(((1023 + n as i64) as u64) << 52)
}

/// Natural logarithm of 0 < x <= 1, from [`exp`] by Halley's method.
fn ln(x: f64) -> f64 {
    let exponent = ((x.to_bits() >> 52) & 0x7ff) as i64 - 1022;
    let mut y = exponent as f64 * std::f64::consts::LN_2 - 0.35;
    for _ in 0..5 {
        let e = exp(y);
        y += 2.0 * (x - e) / (x + e);
    }
    y
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_and_ln_follow_the_library() {
        for i in -6000..=50 {
            let x = f64::from(i) * 0.1;
            assert!((exp(x) / x.exp() - 1.0).abs() < 1e-14, "{x}");
        }
        for i in 1..=1000 {
            let x = f64::from(i) * 1e-3;
            assert!((ln(x) - x.ln()).abs() < 1e-12, "{x}");
            assert!((ln(x * 1e-9) - (x * 1e-9).ln()).abs() < 1e-11, "{x}");
        }
    }

    #[test]
    fn greedy_takes_the_first_of_the_largest() {
        let params = Params { temperature: 0.0, ..Params::NEUTRAL };
        let logits = Logits::All(&[1.0, 3.0, 3.0, 2.0]);
        assert_eq!(Sampler::default().sample(logits, &[], &params, None, 0.9), Some(1));
    }

    #[test]
    fn forbidden_and_not_a_number_are_never_drawn() {
        for step in 0..100 {
            let coin = f64::from(step) / 100.0;
            let top = [(0, 5.0), (1, f32::INFINITY), (2, 1.0)];
            for logits in [Logits::All(&[5.0, f32::NAN, 1.0, f32::INFINITY]), Logits::Top(&top)] {
                let drawn = Sampler::default().sample(logits, &[], &Params::NEUTRAL, Some(0), coin);
                assert_eq!(drawn, Some(2));
            }
        }
    }

    #[test]
    fn settings_near_nothing_draw_the_likeliest() {
        let logits = Logits::All(&[-40.0, -41.0, -39.5, -60.0]);
        let cold = Params { temperature: 1e-38, ..Params::NEUTRAL };
        let unlike = Params { repetition_penalty: 1e-39, ..Params::NEUTRAL };
        for coin in [0.0, 0.4, 0.999] {
            let draw = |logits, params| Sampler::default().sample(logits, &[1], params, None, coin);
            assert_eq!(draw(logits, &cold), Some(2));
            assert_eq!(draw(logits, &unlike), Some(1));
            assert_eq!(draw(Logits::All(&[3.0, 2.0, 9.0]), &unlike), Some(1));
        }
    }

    #[test]
    fn nothing_is_drawn_where_nothing_is_left() {
        let greedy = Params { temperature: 0.0, ..Params::NEUTRAL };
        for params in [Params::default(), Params::NEUTRAL, greedy] {
            for logits in [
                Logits::Top(&[]),
                Logits::Top(&[(3, f32::NAN)]),
                Logits::All(&[1.0, f32::NAN]),
                Logits::All(&[]),
            ] {
                assert_eq!(Sampler::default().sample(logits, &[], &params, Some(0), 0.5), None);
            }
        }
    }

    #[test]
    fn the_largest_logits_are_enough() {
        let logits: Vec<f32> = (0..200u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 28) as f32).collect();
        let settings = [
            Params { top_k: 5, ..Params::NEUTRAL },
            Params { top_k: 40, top_p: 0.7, typical_p: 0.9, temperature: 0.7, ..Params::NEUTRAL },
            Params { temperature: 0.0, ..Params::NEUTRAL },
        ];
        for params in settings {
            let k = params.enough().unwrap();
            let mut sorted = logits.clone();
            sorted.sort_by(|a, b| b.total_cmp(a));
            let mut top: Vec<(u32, f32)> =
                (0u32..).zip(logits.iter().copied()).filter(|c| c.1 >= sorted[k - 1]).collect();
            top.reverse();
            for forbidden in [None, Some(top[0].0), Some(7)] {
                for coin in (0..50).map(|i| f64::from(i) / 50.0) {
                    let all = Sampler::default().sample(Logits::All(&logits), &[], &params, forbidden, coin);
                    let few = Sampler::default().sample(Logits::Top(&top), &[], &params, forbidden, coin);
                    assert_eq!(all, few);
                }
            }
        }
        assert_eq!(Params::NEUTRAL.enough(), None);
        assert_eq!(Params { repetition_penalty: 1.2, ..Params::default() }.enough(), None);
        assert_eq!(Params { no_repeat_ngram: 2, ..Params::default() }.enough(), None);
    }

    #[test]
    fn a_coin_falls_on_its_share() {
        let p = [0.5, 0.25, 0.25];
        assert_eq!([0.0, 0.49, 0.5, 0.74, 0.75, 0.999_999].map(|c| draw(&p, c)), [0, 0, 1, 1, 2, 2]);
        assert_eq!(draw(&[], 0.3), 0);
    }

    #[test]
    fn an_unseen_ngram_stays_allowed() {
        let mut candidates: Vec<(u32, f32)> = (0..5).map(|i| (i, 0.0)).collect();
        forbid_repeated_ngrams(&mut candidates, &[1, 2, 3, 1, 2], 3);
        let forbidden: Vec<u32> =
            candidates.iter().filter(|c| c.1 == f32::NEG_INFINITY).map(|c| c.0).collect();
        assert_eq!(forbidden, [3]);
    }

    /// Constructed logits with the probabilities that `transformers` gives for them.
    #[test]
    fn reference_cases() {
        #[derive(serde::Deserialize)]
        struct Group {
            logits: Vec<f32>,
            history: Vec<u32>,
            cases: Vec<Case>,
        }
        #[derive(serde::Deserialize)]
        struct Case {
            name: String,
            params: serde_json::Value,
            probs: Vec<f64>,
        }
        let text = include_str!("../../tests/fixtures/sampling-cases.json");
        for group in serde_json::from_str::<Vec<Group>>(text).unwrap() {
            for case in group.cases {
                let params = Params::neutral_with(&case.params).unwrap();
                let ours = probabilities(&group.logits, &group.history, &params);
                assert_eq!(ours.len(), case.probs.len(), "{}", case.name);
                for (id, (ours, theirs)) in ours.iter().zip(&case.probs).enumerate() {
                    assert!((ours - theirs).abs() < 1e-6, "{} token {id}: {ours} {theirs}", case.name);
                }
            }
        }
    }
}
