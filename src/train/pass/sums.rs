//! Gradients in main memory, summed over the micro-batches of a step.

use std::collections::BTreeMap;

use crate::train::{TrainError, huge_pages, ops};

/// One row-major gradient per variable, by the variable's name. Allocated once and reused for every
/// step: [`Sums::clear`] keeps the memory.
pub(crate) struct Sums {
    sums: BTreeMap<String, Vec<f32>>,
    /// Whether nothing was added since the last clear; the contents of `sums` are then to be
    /// overwritten.
    empty: bool,
}

impl Sums {
    /// Empty sums, allocated for variables of these names and lengths.
    pub fn new<'a>(variables: impl Iterator<Item = (&'a str, usize)>) -> Self {
        let sums = variables.map(|(name, length)| (name.to_owned(), huge_pages::zeros(length))).collect();
        Self { sums, empty: true }
    }

    /// Discards the sums, for the next step.
    pub fn clear(&mut self) {
        self.empty = true;
    }

    /// A variable's gradient; `None` until one has been added.
    pub fn get(&self, name: &str) -> Option<&[f32]> {
        self.sums.get(name).filter(|_| !self.empty).map(Vec::as_slice)
    }

    /// L2 norm of all gradients together, summed in f64 in a fixed order.
    pub fn norm(&self) -> f32 {
        if self.empty {
            return 0.0;
        }
        self.sums.values().map(|sum| ops::sum_of_squares(sum)).sum::<f64>().sqrt() as f32
    }

    /// Whether there are sums to add to; marks them as present from now on.
    pub(super) fn hold_sums(&mut self) -> bool {
        !std::mem::replace(&mut self.empty, false)
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Result<&mut [f32], TrainError> {
        let missing = || TrainError::MissingTensor { name: name.into() };
        self.sums.get_mut(name).map(Vec::as_mut_slice).ok_or_else(missing)
    }

    /// A variable's gradient to add to, zeroed first unless `add`.
    pub(super) fn get_mut_zeroed(&mut self, name: &str, add: bool) -> Result<&mut [f32], TrainError> {
        let sums = self.get_mut(name)?;
        if !add {
            sums.fill(0.0);
        }
        Ok(sums)
    }

    /// Adds the gradients of a layer norm's gain and bias, concatenated in `both` (2 C); overwrites
    /// unless `add`.
    pub(super) fn store_norm(&mut self, name: &str, both: &[f32], add: bool) -> Result<(), TrainError> {
        let (gain, bias) = both.split_at(both.len() / 2);
        for (part, values) in [("weight", gain), ("bias", bias)] {
            let sums = self.get_mut_zeroed(&format!("{name}.{part}"), add)?;
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        }
        Ok(())
    }
}
