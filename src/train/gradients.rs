//! Gradients of every variable, summed over the micro-batches of a step.

use std::collections::BTreeMap;

use super::{model::Model, ops};

/// One flat, row-major gradient a variable, by the variable's name. Made once
/// and used for every step: [`Gradients::clear`] keeps the memory.
pub struct Gradients {
    sums: BTreeMap<String, Vec<f32>>,
}

impl Gradients {
    /// Zeros of the model's shapes.
    pub fn new(model: &Model) -> Self {
        let zeros = |(name, var): (&str, &candle_core::Var)| (name.to_owned(), vec![0.0; var.elem_count()]);
        Self { sums: model.vars().map(zeros).collect() }
    }

    /// Zeros everywhere, for the next step.
    pub fn clear(&mut self) {
        self.sums.values_mut().for_each(|sum| sum.fill(0.0));
    }

    /// A variable's gradient.
    pub fn get(&self, name: &str) -> Option<&[f32]> {
        self.sums.get(name).map(Vec::as_slice)
    }

    /// Every gradient, in the order of the variables' names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[f32])> {
        self.sums.iter().map(|(name, sum)| (name.as_str(), sum.as_slice()))
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Vec<f32>> {
        self.sums.get_mut(name)
    }

    /// The norm of all gradients together, summed in f64 in a fixed order.
    pub fn norm(&self) -> f32 {
        self.sums.values().map(|sum| ops::sum_of_squares(sum)).sum::<f64>().sqrt() as f32
    }
}
